package api

import (
	"bytes"
	"embed"
	"encoding/json"
	"io"
	"io/fs"
	"net/http"
	"path"
	"reflect"
	"strings"
	"sync"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humachi"
)

const (
	openAPIPath = "/openapi.json"
	docsPath    = "/docs"
)

// newHuma sets huma up: OpenAPI 3.1, JSON alone, problems of ours.
func (a *API) newHuma() huma.API {
	config := huma.Config{
		OpenAPI: &huma.OpenAPI{
			OpenAPI:    "3.1.0",
			Info:       &huma.Info{Title: a.cfg.Title, Version: a.cfg.Version, Description: about},
			Components: &huma.Components{Schemas: huma.NewMapRegistry("#/components/schemas/", huma.DefaultSchemaNamer)},
		},
		Formats:       map[string]huma.Format{"application/json": jsonFormat, "json": jsonFormat},
		DefaultFormat: "application/json",
		Transformers:  []huma.Transformer{a.transform},
	}
	if a.cfg.Tokens != nil {
		config.Components.SecuritySchemes = map[string]*huma.SecurityScheme{"token": {Type: "http", Scheme: "bearer"}}
		config.Security = []map[string][]string{{"token": {}}}
	}
	schemas := config.Components.Schemas
	problem := schemas.Schema(reflect.TypeFor[Problem](), true, "Problem")
	late := schemas.Schema(reflect.TypeFor[Late](), true, "Late")
	config.OnAddOperation = []huma.AddOpFunc{func(_ *huma.OpenAPI, op *huma.Operation) {
		// guard has read the body already. A deadline now would end the connection under a write that waits for its reply.
		op.BodyReadTimeout, op.MaxBodyBytes = -1, a.cfg.MaxBody+1
		for status, response := range op.Responses {
			delete(response.Content, problemJSON) // what huma would answer, before we change it
			if len(response.Content) == 0 && status == "default" {
				delete(op.Responses, status)
			}
		}
		op.Responses["default"] = &huma.Response{Description: "a problem", Content: map[string]*huma.MediaType{problemJSON: {Schema: problem}}}
		if op.Method == http.MethodPost {
			op.Responses["202"] = &huma.Response{
				Description: "the command is in the log, and its reply not here yet",
				Headers:     map[string]*huma.Param{"Location": {Description: "where the reply will be", Schema: &huma.Schema{Type: huma.TypeString}}},
				Content:     map[string]*huma.MediaType{"application/json": {Schema: late}},
			}
		}
		for status, response := range op.Responses {
			if strings.HasPrefix(status, "2") {
				if response.Headers == nil {
					response.Headers = map[string]*huma.Param{}
				}
				response.Headers[HeaderPosition] = &huma.Param{Description: "how far in the log this answer reaches: give it as ?position to a later read", Schema: &huma.Schema{Type: huma.TypeString}}
			}
		}
	}}
	return humachi.New(a.router, config)
}

const about = `Every answer says in the header Ledgerline-Position how far in the log it reaches. A read with ?position=TOKEN waits until it
reaches that far too, one with ?min_version=N until the aggregate is at that version; it gives up after ?wait with 503, code behind.

A write waits for its reply. When that is late, the answer is 202 and Location says where it will be. Idempotency-Key is the
command's id: sending a write again with the same key and body has no further effect and gets the same answer.

What is refused is answered as application/problem+json with a stable code.`

// transform gives huma's errors our form, and keeps what failed inside for the log.
func (a *API) transform(ctx huma.Context, _ string, v any) (any, error) {
	if p, ok := v.(*Problem); ok && p.cause != nil {
		a.log.Warn("a request could not be answered", "method", ctx.Method(), "path", ctx.Operation().Path, "status", p.Status, "code", p.Code, "error", p.cause)
	}
	e, ok := v.(*huma.ErrorModel)
	if !ok {
		return v, nil
	}
	if e.Status == http.StatusInternalServerError {
		a.log.Error("a request failed", "method", ctx.Method(), "path", ctx.Operation().Path, "error", errorsOf(e))
	}
	return problemOf(e), nil
}

func errorsOf(e *huma.ErrorModel) string {
	texts := []string{e.Detail}
	for _, d := range e.Errors {
		texts = append(texts, d.Error())
	}
	return strings.Join(texts, ": ")
}

// jsonFormat is encoding/json, with bodies filled up that are to be of one width.
var jsonFormat = huma.Format{
	Marshal: func(w io.Writer, v any) error {
		var body bytes.Buffer
		enc := json.NewEncoder(&body)
		enc.SetEscapeHTML(false)
		if err := enc.Encode(v); err != nil {
			return err
		}
		if wide, ok := v.(Wide); ok && body.Len() < wide.Width() {
			body.Truncate(body.Len() - 1) // the line's end goes last
			body.WriteString(strings.Repeat(" ", wide.Width()-body.Len()-1) + "\n")
		}
		_, err := w.Write(body.Bytes())
		return err
	},
	Unmarshal: readJSON,
}

//go:embed docs
var docs embed.FS

// registerDocs serves the OpenAPI document and a page that shows it, which loads nothing from elsewhere.
func (a *API) registerDocs() {
	document := sync.OnceValues(func() ([]byte, error) {
		for _, name := range []string{"ErrorModel", "ErrorDetail"} { // of huma's errors, which transform changes
			delete(a.huma.OpenAPI().Components.Schemas.Map(), name)
		}
		return json.Marshal(a.huma.OpenAPI())
	})
	a.router.Get(openAPIPath, func(w http.ResponseWriter, _ *http.Request) {
		text, err := document()
		if err != nil {
			panic(err)
		}
		w.Header().Set("Content-Type", "application/openapi+json")
		_, _ = w.Write(text) // the asker may be gone
	})
	types := map[string]string{".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8"}
	page := func(name string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			text, err := fs.ReadFile(docs, path.Join("docs", name))
			if err != nil {
				panic(err)
			}
			w.Header().Set("Content-Type", types[path.Ext(name)])
			w.Header().Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
			_, _ = w.Write(text) // the asker may be gone
		}
	}
	a.router.Get("/", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, docsPath, http.StatusFound) })
	a.router.Get(docsPath, page("index.html"))
	a.router.Get(docsPath+"/page.js", page("page.js"))
	a.router.Get(docsPath+"/page.css", page("page.css"))
}
