package registry

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strings"
	"sync"

	"github.com/twmb/franz-go/pkg/sr"
	"github.com/twmb/franz-go/pkg/sr/srfake"
)

// maxBody is the largest request, in bytes; srfake's own limit.
const maxBody = 1 << 20

// Handler is the registry without a listener.
type Handler struct {
	store *store // nil: in memory only
	mux   *http.ServeMux
	guard *http.CrossOriginProtection

	mu      sync.RWMutex // held for writing by what changes the registry
	fake    *srfake.Registry
	entries []entry // what made the registry what it is
	closed  bool    // the folder may be another's by now: nothing changes any more
}

// NewHandler opens the registry kept in dir; an empty dir means memory only.
func NewHandler(dir string) (*Handler, error) {
	h := &Handler{mux: http.NewServeMux(), guard: http.NewCrossOriginProtection()}
	if dir != "" {
		s, err := openStore(dir)
		if err != nil {
			return nil, err
		}
		h.store = s
		if h.entries, err = s.load(); err != nil {
			return nil, errors.Join(err, s.close())
		}
	}
	if err := h.rebuild(); err != nil {
		return nil, errors.Join(err, h.Close())
	}
	h.mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, struct{}{}) })
	h.mux.HandleFunc("GET /schemas/types", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, []string{"AVRO"}) })
	h.mux.HandleFunc("POST /subjects/{subject}/versions", h.register)
	h.mux.HandleFunc("POST /subjects/{subject}", h.lookUp)
	h.mux.HandleFunc("POST /compatibility/subjects/{subject}/versions/{version}", h.compatible)
	h.mux.HandleFunc("POST /compatibility/subjects/{subject}/versions", h.compatible)
	for _, path := range []string{"/config", "/config/{subject}"} {
		h.mux.HandleFunc("PUT "+path, h.setLevel)
	}
	h.mux.HandleFunc("GET /config/{subject}", h.level)
	h.mux.HandleFunc("GET /subjects", h.subjects)
	h.mux.HandleFunc("GET /subjects/{subject}/versions", h.subjectVersions)
	h.mux.HandleFunc("DELETE /subjects/{subject}", h.deleteSubject)
	h.mux.HandleFunc("GET /", h.pass)
	h.mux.HandleFunc("/", h.change)
	return h, nil
}

// Close ends all change, when the one under way is on disk, and gives the folder free for another process. It may be
// repeated.
func (h *Handler) Close() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed || h.store == nil {
		h.closed = true
		return nil
	}
	h.closed = true
	return h.store.close()
}

// ServeHTTP answers a request.
func (h *Handler) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	req.Body = http.MaxBytesReader(w, req.Body, maxBody)
	w.Header().Set("X-Content-Type-Options", "nosniff")
	// It listens on loopback without a password: a page in a browser must not write to it.
	h.guard.Handler(h.mux).ServeHTTP(w, req)
}

// pass leaves a reading request to srfake.
func (h *Handler) pass(w http.ResponseWriter, req *http.Request) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	h.fake.Handler().ServeHTTP(w, req)
}

// level answers as Confluent's does: a subject without a level of its own is not found, unless the global one is asked for.
func (h *Handler) level(w http.ResponseWriter, req *http.Request) {
	q := req.URL.Query()
	if q.Get("defaultToGlobal") == "" {
		q.Set("defaultToGlobal", "false")
		req.URL.RawQuery = q.Encode()
	}
	h.pass(w, req)
}

// setLevel takes the level alone: clients send fields beside it that srfake would refuse.
func (h *Handler) setLevel(w http.ResponseWriter, req *http.Request) {
	var body struct {
		Compatibility sr.CompatibilityLevel `json:"compatibility"`
	}
	if err := json.NewDecoder(req.Body).Decode(&body); err != nil {
		refuse(w, http.StatusUnprocessableEntity, sr.ErrInvalidCompatibilityLevel, "compatibility level: %v", err)
		return
	}
	h.changeTo(w, req, body)
}

// change lets srfake change something, and keeps it.
func (h *Handler) change(w http.ResponseWriter, req *http.Request) {
	raw, err := io.ReadAll(req.Body)
	if err != nil {
		refuse(w, http.StatusRequestEntityTooLarge, sr.ErrSchemaTooLarge, "read request: %v", err)
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.keep(w, entry{Method: req.Method, Path: req.URL.EscapedPath(), Query: req.URL.RawQuery, Body: string(raw)})
}

func (h *Handler) changeTo(w http.ResponseWriter, req *http.Request, body any) {
	raw, err := json.Marshal(body)
	if err != nil {
		refuse(w, http.StatusUnprocessableEntity, sr.ErrInvalidCompatibilityLevel, "%v", err)
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.keep(w, entry{Method: req.Method, Path: req.URL.EscapedPath(), Query: req.URL.RawQuery, Body: string(raw)})
}

// keep carries out a change and answers only when it is on disk. h.mu is held.
func (h *Handler) keep(w http.ResponseWriter, e entry) {
	if h.closed {
		refuse(w, http.StatusServiceUnavailable, sr.ErrStoreError, "the registry is closing")
		return
	}
	got := e.play(h.fake)
	if got.status == http.StatusOK {
		if id := got.id(); id != 0 {
			e.ID = id
		}
		if err := h.save(e); err != nil {
			refuse(w, http.StatusInternalServerError, sr.ErrStoreError, "%v", err)
			return
		}
	}
	got.copyTo(w)
}

// save keeps a change that srfake has made; when it cannot be kept it is undone.
func (h *Handler) save(e entry) error {
	next := add(h.entries, e)
	if h.store != nil {
		if err := h.store.save(next); err != nil {
			return errors.Join(err, h.rebuild())
		}
	}
	h.entries = next
	return nil
}

// rebuild makes a registry of the entries. The same entries give the same ids, or it is an error.
func (h *Handler) rebuild() error {
	fake := srfake.NewRegistry()
	for i, e := range h.entries {
		got := e.play(fake)
		if got.status != http.StatusOK || got.id() != e.ID {
			return fmt.Errorf("registry: entry %d of %s, %s %s, gave status %d and id %d, once 200 and id %d: the file does not belong to this version of the registry: go back to the version that wrote it",
				i+1, h.store.path(), e.Method, e.Path, got.status, got.id(), e.ID)
		}
	}
	h.fake = fake
	return nil
}

// entry is one change, as the request that made it.
type entry struct {
	Method string `json:"method"`
	Path   string `json:"path"`
	Query  string `json:"query,omitempty"`
	Body   string `json:"body,omitempty"`
	ID     int    `json:"id,omitempty"` // the schema id it was given
}

// add appends a change. A level or mode that is set again replaces what was set before, so that the list grows with what
// is registered, not with how often a client starts.
func add(entries []entry, e entry) []entry {
	settles := func(e entry) bool {
		return strings.HasPrefix(e.Path, "/config") || strings.HasPrefix(e.Path, "/mode")
	}
	next := make([]entry, 0, len(entries)+1)
	for _, old := range entries {
		if settles(e) && settles(old) && old.Path == e.Path {
			continue
		}
		next = append(next, old)
	}
	return append(next, e)
}

func (e entry) play(fake *srfake.Registry) *recorded {
	rec := &recorded{status: http.StatusOK, header: http.Header{}}
	target := e.Path
	if e.Query != "" {
		target += "?" + e.Query
	}
	// It is carried out in memory, and once begun to its end: what is kept must be what was done.
	req, err := http.NewRequestWithContext(context.Background(), e.Method, target, strings.NewReader(e.Body))
	if err != nil {
		refuse(rec, http.StatusBadRequest, sr.ErrUnknown, "%v", err)
		return rec
	}
	fake.Handler().ServeHTTP(rec, req)
	return rec
}

// recorded is an answer that is not sent yet.
type recorded struct {
	status int
	header http.Header
	body   bytes.Buffer
}

func (r *recorded) Header() http.Header         { return r.header }
func (r *recorded) WriteHeader(status int)      { r.status = status }
func (r *recorded) Write(b []byte) (int, error) { return r.body.Write(b) }

// id is the schema id in the answer; 0 when there is none.
func (r *recorded) id() int {
	var body struct {
		ID int `json:"id"`
	}
	_ = json.Unmarshal(r.body.Bytes(), &body) // many answers are no objects, and have no id
	return body.ID
}

func (r *recorded) copyTo(w http.ResponseWriter) {
	maps.Copy(w.Header(), r.header)
	w.WriteHeader(r.status)
	_, _ = w.Write(r.body.Bytes()) //nolint:gosec // JSON by its content type; an error says that the client has gone
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/vnd.schemaregistry.v1+json")
	raw, err := json.Marshal(body)
	if err != nil {
		status, raw = http.StatusInternalServerError, []byte(`{"error_code":50001,"message":"the answer is no JSON"}`)
	}
	w.WriteHeader(status)
	_, _ = w.Write(raw) // as above
}

func refuse(w http.ResponseWriter, status int, code *sr.Error, format string, args ...any) {
	answer(w, status, map[string]any{"error_code": code.Code, "message": fmt.Sprintf(format, args...)})
}
