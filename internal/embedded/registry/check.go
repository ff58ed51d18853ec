package registry

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"github.com/twmb/avro"
	"github.com/twmb/franz-go/pkg/sr"

	"github.com/ledgerline-es/ledgerline/schemas"
)

// register answers POST /subjects/{subject}/versions.
func (h *Handler) register(w http.ResponseWriter, req *http.Request) {
	s, ok := readSchema(w, req)
	if !ok {
		return
	}
	subject := req.PathValue("subject")
	h.mu.Lock()
	defer h.mu.Unlock()
	text, err := h.inline(s)
	if err != nil {
		refuse(w, http.StatusUnprocessableEntity, sr.ErrInvalidSchema, "Invalid schema for subject %q: %v", subject, err)
		return
	}
	// What is there already needs no check, and is no change.
	if known := h.find(subject, s); known != 0 {
		answer(w, http.StatusOK, map[string]int{"id": known})
		return
	}
	level := h.levelOf(subject)
	earlier, err := h.earlier(subject, "")
	if err == nil {
		err = check(level, text, earlier)
	}
	if err != nil {
		refuse(w, http.StatusConflict, sr.ErrIncompatibleSchema, "Schema being registered is incompatible with an earlier schema for subject %q, details: [%v, compatibility: %s]", subject, err, level)
		return
	}
	body, err := json.Marshal(s)
	if err != nil {
		refuse(w, http.StatusUnprocessableEntity, sr.ErrInvalidSchema, "%v", err)
		return
	}
	h.keep(w, entry{Method: http.MethodPost, Path: "/subjects/" + url.PathEscape(subject) + "/versions", Body: string(body)})
}

// lookUp answers POST /subjects/{subject}: is this schema there?
func (h *Handler) lookUp(w http.ResponseWriter, req *http.Request) {
	s, ok := readSchema(w, req)
	if !ok {
		return
	}
	body, err := json.Marshal(s)
	if err != nil {
		refuse(w, http.StatusUnprocessableEntity, sr.ErrInvalidSchema, "%v", err)
		return
	}
	h.mu.RLock()
	defer h.mu.RUnlock()
	entry{Method: http.MethodPost, Path: req.URL.EscapedPath(), Query: req.URL.RawQuery, Body: string(body)}.play(h.fake).copyTo(w)
}

// compatible answers POST /compatibility/subjects/{subject}/versions and …/versions/{version}.
func (h *Handler) compatible(w http.ResponseWriter, req *http.Request) {
	s, ok := readSchema(w, req)
	if !ok {
		return
	}
	subject, version := req.PathValue("subject"), req.PathValue("version")
	h.mu.RLock()
	defer h.mu.RUnlock()
	text, err := h.inline(s)
	if err != nil {
		refuse(w, http.StatusUnprocessableEntity, sr.ErrInvalidSchema, "Invalid schema for subject %q: %v", subject, err)
		return
	}
	earlier, err := h.earlier(subject, version)
	if err != nil {
		refuse(w, http.StatusNotFound, sr.ErrVersionNotFound, "%v", err)
		return
	}
	result := map[string]any{"is_compatible": true}
	if err := check(h.levelOf(subject), text, earlier); err != nil {
		result["is_compatible"] = false
		if req.URL.Query().Get("verbose") == "true" {
			result["messages"] = []string{err.Error()}
		}
	}
	answer(w, http.StatusOK, result)
}

// readSchema takes what the registry knows from a request's body; clients send fields beside it.
func readSchema(w http.ResponseWriter, req *http.Request) (sr.Schema, bool) {
	var body struct {
		Schema     string               `json:"schema"`
		Type       sr.SchemaType        `json:"schemaType"`
		References []sr.SchemaReference `json:"references"`
	}
	if err := json.NewDecoder(req.Body).Decode(&body); err != nil {
		refuse(w, http.StatusUnprocessableEntity, sr.ErrInvalidSchema, "request body: %v", err)
		return sr.Schema{}, false
	}
	if body.Type != sr.TypeAvro {
		refuse(w, http.StatusUnprocessableEntity, sr.ErrInvalidSchema, "schemaType %s: this registry takes AVRO alone", body.Type)
		return sr.Schema{}, false
	}
	return sr.Schema{Schema: body.Schema, References: body.References}, true
}

// inline validates a schema and writes what it refers to into it.
func (h *Handler) inline(s sr.Schema) (string, error) {
	var cache avro.SchemaCache
	if err := h.loadReferences(&cache, s.References, map[sr.SchemaReference]bool{}); err != nil {
		return "", err
	}
	parsed, err := cache.Parse(s.Schema)
	if err != nil {
		return "", err
	}
	if len(s.References) == 0 {
		return s.Schema, nil
	}
	whole, err := parsed.Root().ExpandReferences().Schema()
	if err != nil {
		return "", err
	}
	return whole.String(), nil
}

func (h *Handler) loadReferences(cache *avro.SchemaCache, refs []sr.SchemaReference, seen map[sr.SchemaReference]bool) error {
	for _, ref := range refs {
		if seen[ref] {
			continue
		}
		seen[ref] = true
		of, ok := h.fake.GetSchema(ref.Subject, ref.Version)
		if !ok {
			return fmt.Errorf("reference %q: no subject %q version %d", ref.Name, ref.Subject, ref.Version)
		}
		if err := h.loadReferences(cache, of.References, seen); err != nil {
			return err
		}
		if _, err := cache.Parse(of.Schema.Schema); err != nil {
			return fmt.Errorf("reference %q: %w", ref.Name, err)
		}
	}
	return nil
}

// find gives the id of a schema that the subject has already; 0 when it has not.
func (h *Handler) find(subject string, s sr.Schema) int {
	body, err := json.Marshal(s)
	if err != nil {
		return 0
	}
	got := entry{Method: http.MethodPost, Path: "/subjects/" + url.PathEscape(subject), Body: string(body)}.play(h.fake)
	if got.status != http.StatusOK {
		return 0
	}
	return got.id()
}

// levelOf is the level that holds for a subject: its own, else the global one.
func (h *Handler) levelOf(subject string) sr.CompatibilityLevel {
	var body struct {
		Level sr.CompatibilityLevel `json:"compatibilityLevel"`
	}
	got := entry{Method: http.MethodGet, Path: "/config/" + url.PathEscape(subject), Query: "defaultToGlobal=true"}.play(h.fake)
	if json.Unmarshal(got.body.Bytes(), &body) != nil {
		return sr.CompatBackward
	}
	return body.Level
}

// earlier gives the schemas of a subject, oldest first: all of them, or the one of a version.
func (h *Handler) earlier(subject, version string) ([]string, error) {
	var versions []int
	got := entry{Method: http.MethodGet, Path: "/subjects/" + url.PathEscape(subject) + "/versions"}.play(h.fake)
	if got.status == http.StatusOK {
		if err := json.Unmarshal(got.body.Bytes(), &versions); err != nil {
			return nil, fmt.Errorf("versions of subject %q: %w", subject, err)
		}
	}
	slices.Sort(versions)
	if version != "" {
		at := len(versions) - 1
		if version != "latest" && version != "-1" {
			n, err := strconv.Atoi(version)
			if err != nil {
				return nil, fmt.Errorf("version %q is no number", version)
			}
			at = slices.Index(versions, n)
		}
		if at < 0 {
			return nil, fmt.Errorf("subject %q has no version %s", subject, version)
		}
		versions = versions[at : at+1]
	}
	texts := make([]string, 0, len(versions))
	for _, v := range versions {
		s, ok := h.fake.GetSchema(subject, v)
		if !ok {
			return nil, fmt.Errorf("subject %q has no version %d", subject, v)
		}
		text, err := h.inline(s.Schema)
		if err != nil {
			return nil, fmt.Errorf("subject %q version %d: %w", subject, v, err)
		}
		texts = append(texts, text)
	}
	return texts, nil
}

// check holds a schema to a level; the levels that are not transitive look at the last version alone.
func check(level sr.CompatibilityLevel, text string, earlier []string) error {
	last := earlier[max(0, len(earlier)-1):]
	switch level {
	case sr.CompatBackward:
		return schemas.CheckCompatible(schemas.BackwardTransitive, text, last)
	case sr.CompatForward:
		return schemas.CheckCompatible(schemas.ForwardTransitive, text, last)
	case sr.CompatFull:
		return schemas.CheckCompatible(schemas.FullTransitive, text, last)
	case sr.CompatBackwardTransitive:
		return schemas.CheckCompatible(schemas.BackwardTransitive, text, earlier)
	case sr.CompatForwardTransitive:
		return schemas.CheckCompatible(schemas.ForwardTransitive, text, earlier)
	case sr.CompatFullTransitive:
		return schemas.CheckCompatible(schemas.FullTransitive, text, earlier)
	}
	return nil
}
