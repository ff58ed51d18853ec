package api

import (
	"bytes"
	"errors"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"
)

// guard refuses what must not reach an operation. A page in somebody's browser can ask any address that the browser
// reaches: it must not write (CSRF), nor read by having its own name point here (DNS rebinding).
func (a *API) guard(next http.Handler) http.Handler {
	pages := http.NewCrossOriginProtection()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if hasBody(r) { // until it is read; a deadline that stood longer would end a write that waits for its reply
			_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyTimeout)) // not every transport has one
		}
		if p := a.admit(r, pages); p != nil {
			a.refuseUnread(w, r, p)
			return
		}
		if p := a.readBody(w, r); p != nil {
			a.refuseUnread(w, r, p)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// refuseUnread answers without waiting for the rest of the body, which may never come.
func (a *API) refuseUnread(w http.ResponseWriter, r *http.Request, p *Problem) {
	if hasBody(r) {
		w.Header().Set("Connection", "close")
	}
	a.refuse(w, p)
}

func hasBody(r *http.Request) bool { return r.ContentLength != 0 }

// admit says why a request is not let in, before its body is looked at.
func (a *API) admit(r *http.Request, pages *http.CrossOriginProtection) *Problem {
	if !a.hostAllowed(r.Host) {
		return NewProblem(http.StatusForbidden, CodeHostRefused,
			"the Host header is %.100q: this server is asked by its address or by localhost (other names: --api-hosts)", r.Host)
	}
	if origin := r.Header.Get("Origin"); origin != "" && !sameOrigin(origin, r.Host) || pages.Check(r) != nil {
		return NewProblem(http.StatusForbidden, CodeOriginRefused,
			"a page of another origin (%.100q) asks: pages of this server alone may", origin)
	}
	if a.cfg.Tokens == nil || open(r.URL.Path) {
		return nil
	}
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	name, known := a.cfg.Tokens.name(token)
	if !strings.EqualFold(scheme, "Bearer") || !known {
		return NewProblem(http.StatusUnauthorized, CodeUnauthorized,
			"send Authorization: Bearer TOKEN with a token whose hash stands in the server's file of tokens").withHeader("WWW-Authenticate", "Bearer")
	}
	exchangeOf(r.Context()).principal = name
	return nil
}

// open are the pages that say what the API is, not what it holds.
func open(path string) bool {
	return path == "/" || path == openAPIPath || path == docsPath || strings.HasPrefix(path, docsPath+"/")
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
	reading := r.Method == http.MethodGet || r.Method == http.MethodHead // then a body means nothing
	given := r.Header.Get("Content-Type")
	if !reading && (given != "" || hasBody(r)) {
		media, _, err := mime.ParseMediaType(given)
		if err != nil || media != "application/json" {
			return NewProblem(http.StatusUnsupportedMediaType, CodeMediaType, "the body is %.100q: send Content-Type: application/json (curl --json does)", given)
		}
		if encoding := r.Header.Get("Content-Encoding"); encoding != "" && !strings.EqualFold(encoding, "identity") {
			return NewProblem(http.StatusUnsupportedMediaType, CodeMediaType, "the body's encoding is %.100q: send it as it is, without Content-Encoding", encoding)
		}
	}
	if !hasBody(r) {
		return nil
	}
	tooLarge := NewProblem(http.StatusRequestEntityTooLarge, CodeBodyTooLarge, "the body has more than %d bytes", a.cfg.MaxBody)
	if r.ContentLength > a.cfg.MaxBody {
		return tooLarge
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, a.cfg.MaxBody))
	var over *http.MaxBytesError
	switch {
	case errors.As(err, &over):
		return tooLarge
	case errors.Is(err, os.ErrDeadlineExceeded):
		return NewProblem(http.StatusRequestTimeout, CodeBodyTimeout, "the body did not come within %v", bodyTimeout)
	case err != nil:
		return NewProblem(http.StatusBadRequest, CodeInvalid, "the body ended before its end, or is not in chunks as its header says")
	}
	_ = http.NewResponseController(w).SetReadDeadline(time.Time{})
	if reading {
		body = nil
	}
	if err := unambiguous(body); err != nil {
		return NewProblem(http.StatusBadRequest, CodeInvalid, "the body can be read in more than one way: %v", err)
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	return nil
}
