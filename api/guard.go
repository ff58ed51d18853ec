package api

import (
	"bytes"
	"errors"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"slices"
)

// guard refuses what must not reach an operation. A page in somebody's browser can ask any address that the browser
// reaches: it must not write (CSRF), nor read by having its own name point here (DNS rebinding).
func (a *API) guard(next http.Handler) http.Handler {
	pages := http.NewCrossOriginProtection()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !a.hostAllowed(r.Host) {
			a.refuse(w, NewProblem(http.StatusForbidden, CodeHostRefused,
				"the Host header is %.100q: this server is asked by its address or by localhost (other names: --api-hosts)", r.Host))
			return
		}
		if origin := r.Header.Get("Origin"); origin != "" && !sameOrigin(origin, r.Host) || pages.Check(r) != nil {
			a.refuse(w, NewProblem(http.StatusForbidden, CodeOriginRefused,
				"a page of another origin (%.100q) asks: pages of this server alone may", origin))
			return
		}
		if a.cfg.Tokens != nil && !open(r.URL.Path) {
			token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
			name, known := a.cfg.Tokens.name(token)
			if !ok || !known {
				a.refuse(w, NewProblem(http.StatusUnauthorized, CodeUnauthorized,
					"send Authorization: Bearer TOKEN with a token whose hash stands in the server's file of tokens").withHeader("WWW-Authenticate", "Bearer"))
				return
			}
			exchangeOf(r.Context()).principal = name
		}
		if p := a.readBody(w, r); p != nil {
			a.refuse(w, p)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// open are the pages that say what the API is, not what it holds.
func open(path string) bool {
	return path == openAPIPath || path == docsPath || strings.HasPrefix(path, docsPath+"/")
}

// hostAllowed is true for loopback's names and those configured. Off loopback without such names every Host will do: a page
// has no token to show.
func (a *API) hostAllowed(host string) bool {
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	}
	name = strings.TrimSuffix(strings.TrimPrefix(name, "["), "]")
	if loopbackHost(name) || slices.ContainsFunc(a.cfg.Hosts, func(h string) bool { return strings.EqualFold(h, name) }) {
		return true
	}
	return len(a.cfg.Hosts) == 0 && !Loopback(a.cfg.Listen)
}

func sameOrigin(origin, host string) bool {
	u, err := url.Parse(origin)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && strings.EqualFold(u.Host, host)
}

// bodyTimeout is how long the body of a request may take.
const bodyTimeout = 10 * time.Second

// readBody takes in the whole body, which is small, so that nothing behind here waits for a slow sender. Only JSON is
// taken: a form, which any page may send, is not.
func (a *API) readBody(w http.ResponseWriter, r *http.Request) *Problem {
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		return nil
	}
	tooLarge := NewProblem(http.StatusRequestEntityTooLarge, CodeBodyTooLarge, "the body has more than %d bytes", a.cfg.MaxBody)
	given := r.Header.Get("Content-Type")
	if given != "" || r.ContentLength != 0 {
		media, _, err := mime.ParseMediaType(given)
		if err != nil || media != "application/json" {
			return NewProblem(http.StatusUnsupportedMediaType, CodeMediaType, "the body is %.100q: send Content-Type: application/json (curl --json does)", given)
		}
	}
	if r.ContentLength > a.cfg.MaxBody {
		return tooLarge
	}
	if r.ContentLength == 0 {
		return nil
	}
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyTimeout)) // not every transport has one
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, a.cfg.MaxBody))
	var over *http.MaxBytesError
	switch {
	case errors.As(err, &over):
		return tooLarge
	case err != nil:
		return NewProblem(http.StatusRequestTimeout, CodeBodyTimeout, "the body did not come in %v: %v", bodyTimeout, err)
	}
	_ = http.NewResponseController(w).SetReadDeadline(time.Time{})
	r.Body = io.NopCloser(bytes.NewReader(body))
	return nil
}
