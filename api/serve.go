package api

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net"
	"net/http"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/go-chi/chi/v5"
)

// exchange is what is known of one request beside itself.
type exchange struct {
	principal string   // whose token it has
	position  Position // how far its answer reaches; nil: as far as all projections do
	etag      string
}

type exchangeKey struct{}

// exchangeOf gives the exchange of a request's context; one of its own when it has none, as in tests.
func exchangeOf(ctx context.Context) *exchange {
	if x, ok := ctx.Value(exchangeKey{}).(*exchange); ok {
		return x
	}
	return &exchange{}
}

// Principal is the name of the token that the request of this context showed; empty without tokens.
func Principal(ctx context.Context) string { return exchangeOf(ctx).principal }

// answer puts the position on every answer, and keeps the status.
type answer struct {
	http.ResponseWriter

	api    *API
	x      *exchange
	status int
}

func (w *answer) WriteHeader(status int) {
	if w.status == 0 && status >= http.StatusOK {
		w.status = status
		h := w.Header()
		switch {
		case w.x.position != nil:
			h.Set(HeaderPosition, w.x.position.String())
		case h.Get(HeaderPosition) == "":
			h.Set(HeaderPosition, w.api.stands.token())
		}
		if w.x.etag != "" {
			h.Set("ETag", w.x.etag)
		}
		h.Set("Cache-Control", "no-store") // a cache between would know nothing of positions
		h.Set("X-Content-Type-Options", "nosniff")
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *answer) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	return w.ResponseWriter.Write(b)
}

// Unwrap is for http.ResponseController.
func (w *answer) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// observe counts each request, gives it its exchange, and makes an answer of a panic.
func (a *API) observe(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		started := time.Now()
		x := &exchange{}
		out := &answer{ResponseWriter: w, api: a, x: x}
		defer func() {
			if why := recover(); why != nil {
				if why == http.ErrAbortHandler { //nolint:errorlint // net/http compares it so
					panic(why)
				}
				a.log.Error("a request failed", "method", r.Method, "path", r.URL.Path, "panic", why, "stack", string(debug.Stack()))
				if out.status == 0 {
					a.refuse(out, NewProblem(http.StatusInternalServerError, CodeInternal, "something failed that should not; the server's log says what"))
				}
			}
			route := chi.RouteContext(r.Context()).RoutePattern()
			if route == "" {
				route = "other" // what strangers ask for must not make series
			}
			method := knownMethod(r.Method)
			a.metrics.requests.WithLabelValues(route, method, strconv.Itoa(out.status)).Inc()
			a.metrics.seconds.WithLabelValues(route, method).Observe(time.Since(started).Seconds())
		}()
		next.ServeHTTP(out, r.WithContext(context.WithValue(r.Context(), exchangeKey{}, x)))
		if out.status == 0 {
			out.WriteHeader(http.StatusOK)
		}
	})
}

func knownMethod(m string) string {
	switch m {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions:
		return m
	}
	return "other"
}

// refuse answers with a problem, outside of huma.
func (a *API) refuse(w http.ResponseWriter, p *Problem) {
	maps.Copy(w.Header(), p.headers)
	w.Header().Set("Content-Type", problemJSON)
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p) //nolint:errchkjson // the asker may be gone
}

// When the server is told to stop, requests that wait have waitLonger to get what they wait for; then they are answered
// without it. stopTimeout bounds all of it.
const (
	waitLonger  = time.Second
	stopTimeout = 5 * time.Second
)

// errStopping is why the context of a request ends before its client has gone.
var errStopping = errors.New("the server stops")

// serve answers requests until ctx ends.
func (a *API) serve(ctx context.Context, l net.Listener) error {
	base, cut := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cut(nil)
	server := &http.Server{
		Handler: a.router,
		// The body is read by guard, with a deadline of its own.
		ReadHeaderTimeout: 10 * time.Second,
		WriteTimeout:      a.cfg.MaxWait + 30*time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    32 << 10,
		BaseContext:       func(net.Listener) context.Context { return base },
	}
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		<-ctx.Done()
		cutting := time.AfterFunc(waitLonger, func() { cut(errStopping) })
		defer cutting.Stop()
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
		defer cancel()
		if server.Shutdown(grace) != nil {
			_ = server.Close() // whoever still waits has had his time
		}
	}()
	err := server.Serve(l)
	if errors.Is(err, http.ErrServerClosed) {
		<-stopped
		return nil
	}
	return err
}
