package registry

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"

	"github.com/twmb/franz-go/pkg/sr"
)

// Where srfake's subjects differ from Confluent's: there a subject is its versions. One that only has a level is not
// there, and one whose versions were all deleted begins again with the next that is registered.

// subjects answers GET /subjects.
func (h *Handler) subjects(w http.ResponseWriter, req *http.Request) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	got := playGet(h, "/subjects", req.URL.RawQuery)
	var all []string
	if got.status != http.StatusOK || json.Unmarshal(got.body.Bytes(), &all) != nil {
		got.copyTo(w)
		return
	}
	there := make([]string, 0, len(all))
	for _, subject := range all {
		if versions := h.versions(subject, req.URL.RawQuery); len(versions) > 0 {
			there = append(there, subject)
		}
	}
	answer(w, http.StatusOK, there)
}

// subjectVersions answers GET /subjects/{subject}/versions.
func (h *Handler) subjectVersions(w http.ResponseWriter, req *http.Request) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	versions := h.versions(req.PathValue("subject"), req.URL.RawQuery)
	if len(versions) == 0 {
		refuse(w, http.StatusNotFound, sr.ErrSubjectNotFound, "Subject '%s' not found.", req.PathValue("subject"))
		return
	}
	answer(w, http.StatusOK, versions)
}

// versions gives the versions of a subject; query may ask for deleted ones too.
func (h *Handler) versions(subject, query string) []int {
	var versions []int
	got := playGet(h, "/subjects/"+url.PathEscape(subject)+"/versions", query)
	if got.status != http.StatusOK || json.Unmarshal(got.body.Bytes(), &versions) != nil {
		return nil
	}
	return versions
}

// deleteSubject answers DELETE /subjects/{subject}: unless it is for ever, each version is deleted, and the subject
// stays open for new ones.
func (h *Handler) deleteSubject(w http.ResponseWriter, req *http.Request) {
	if req.URL.Query().Get("permanent") == "true" {
		h.change(w, req)
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	subject := req.PathValue("subject")
	versions := h.versions(subject, "")
	if len(versions) == 0 {
		refuse(w, http.StatusNotFound, sr.ErrSubjectNotFound, "Subject '%s' not found.", subject)
		return
	}
	for _, v := range versions {
		var one recorded
		one.header = http.Header{}
		h.keep(&one, entry{Method: http.MethodDelete, Path: "/subjects/" + url.PathEscape(subject) + "/versions/" + strconv.Itoa(v)})
		if one.status != http.StatusOK {
			one.copyTo(w)
			return
		}
	}
	answer(w, http.StatusOK, versions)
}

func playGet(h *Handler, path, query string) *recorded {
	return entry{Method: http.MethodGet, Path: path, Query: query}.play(h.fake)
}
