package api

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/danielgtaylor/huma/v2"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/twmb/franz-go/pkg/sr"

	"github.com/ledgerline-es/ledgerline/producer"
	"github.com/ledgerline-es/ledgerline/schemas"
)

// echoInput is of an operation that says who asked and what.
type echoInput struct {
	Page

	Body *struct {
		Text string `json:"text" maxLength:"100000"`
	}
}

type countInput struct {
	Body struct {
		Count int64 `json:"count"`
	}
}

type echoOutput struct {
	Body struct {
		Who  string `json:"who"`
		Text string `json:"text"`
	}
}

// lonely is an API with nothing behind it: neither Kafka nor Postgres answer.
func lonely(t *testing.T, change func(*Config)) *API {
	t.Helper()
	pool, err := pgxpool.New(t.Context(), "postgres://nobody@127.0.0.1:1/nothing")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	registry, err := sr.NewClient(sr.URLs("http://127.0.0.1:1"))
	if err != nil {
		t.Fatal(err)
	}
	cfg := Config{
		Title: "echo", Postgres: pool, MaxBody: 1000, Metrics: prometheus.NewRegistry(),
		Client: producer.ClientConfig{Brokers: []string{"127.0.0.1:1"}, Registry: schemas.NewRegistry(registry)},
	}
	if change != nil {
		change(&cfg)
	}
	a, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	echo := func(ctx context.Context, in *echoInput) (*echoOutput, error) {
		out := &echoOutput{}
		out.Body.Who = Principal(ctx)
		if in.Body != nil {
			out.Body.Text = in.Body.Text
		}
		switch out.Body.Text {
		case "panic":
			panic("as asked")
		case "fail":
			return nil, errors.New("the secret of the house")
		}
		return out, nil
	}
	huma.Register(a.Huma(), huma.Operation{OperationID: "echo", Method: http.MethodPost, Path: "/echo/{id}"}, echo)
	huma.Register(a.Huma(), huma.Operation{OperationID: "count", Method: http.MethodPost, Path: "/count"}, func(context.Context, *countInput) (*struct{}, error) {
		return &struct{}{}, nil
	})
	return a
}

// call is one request and what is wanted of its answer.
type call struct {
	method, path, body string
	headers            map[string]string // Content-Type is application/json unless it is here
	status             int
	code, says         string
}

func (c call) on(t *testing.T, a *API) string {
	t.Helper()
	var body io.Reader
	if c.body != "" {
		body = strings.NewReader(c.body)
	}
	req := httptest.NewRequest(c.method, "http://127.0.0.1:8080"+c.path, body)
	if c.body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for key, value := range c.headers {
		req.Header.Set(key, value)
	}
	if host := req.Header.Get("Host"); host != "" {
		req.Host = host
	}
	w := httptest.NewRecorder()
	a.router.ServeHTTP(w, req)
	if w.Code != c.status {
		t.Errorf("%s %s %v: %d %s, wanted %d", c.method, c.path, c.headers, w.Code, w.Body, c.status)
	}
	if w.Header().Get(HeaderPosition) == "" {
		t.Errorf("%s %s: no position", c.method, c.path)
	}
	if c.code != "" {
		var p Problem
		if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil || p.Code != c.code || p.Status != c.status || !strings.Contains(p.Detail, c.says) ||
			w.Header().Get("Content-Type") != problemJSON {
			t.Errorf("%s %s %v: %s %s (%v), wanted code %s, saying %q", c.method, c.path, c.headers, w.Header().Get("Content-Type"), w.Body, err, c.code, c.says)
		}
	} else if !strings.Contains(w.Body.String(), c.says) {
		t.Errorf("%s %s: %s, wanted %q", c.method, c.path, w.Body, c.says)
	}
	return w.Body.String()
}

func TestGuard_OnLoopback(t *testing.T) {
	a := lonely(t, nil)
	const ok = `{"text":"hello"}`
	for _, c := range []call{
		{method: "POST", path: "/echo/1", body: ok, status: 200, says: "hello"},
		{method: "POST", path: "/echo/1", status: 200},
		{method: "POST", path: "/echo/1", body: ok, headers: map[string]string{"Content-Type": "application/json; charset=utf-8"}, status: 200},
		// What a page of another origin can send without asking.
		{method: "POST", path: "/echo/1", body: ok, headers: map[string]string{"Content-Type": "text/plain"}, status: 415, code: CodeMediaType, says: "application/json"},
		{method: "POST", path: "/echo/1", body: "text=hello", headers: map[string]string{"Content-Type": "application/x-www-form-urlencoded"}, status: 415, code: CodeMediaType},
		{method: "POST", path: "/echo/1", body: ok, headers: map[string]string{"Content-Type": ""}, status: 415, code: CodeMediaType},
		{method: "POST", path: "/echo/1", body: ok, headers: map[string]string{"Origin": "http://evil.example"}, status: 403, code: CodeOriginRefused, says: "evil.example"},
		{method: "POST", path: "/echo/1", body: ok, headers: map[string]string{"Origin": "null"}, status: 403, code: CodeOriginRefused},
		{method: "POST", path: "/echo/1", body: ok, headers: map[string]string{"Origin": "http://127.0.0.1:9090"}, status: 403, code: CodeOriginRefused},
		{method: "GET", path: "/stats", headers: map[string]string{"Origin": "http://evil.example"}, status: 403, code: CodeOriginRefused},
		{method: "POST", path: "/echo/1", body: ok, headers: map[string]string{"Sec-Fetch-Site": "cross-site"}, status: 403, code: CodeOriginRefused},
		{method: "POST", path: "/echo/1", body: ok, headers: map[string]string{"Origin": "http://127.0.0.1:8080", "Sec-Fetch-Site": "same-origin"}, status: 200},
		// A name of somebody else's that points here.
		{method: "GET", path: "/stats", headers: map[string]string{"Host": "evil.example"}, status: 403, code: CodeHostRefused, says: "evil.example"},
		{method: "GET", path: "/stats", headers: map[string]string{"Host": "127.0.0.1.evil.example:8080"}, status: 403, code: CodeHostRefused},
		{method: "GET", path: "/docs", headers: map[string]string{"Host": "localhost.:80"}, status: 403, code: CodeHostRefused},
		{method: "GET", path: "/stats", headers: map[string]string{"Host": "localhost:8080"}, status: 200},
		{method: "GET", path: "/stats", headers: map[string]string{"Host": "[::1]:8080"}, status: 200},
		// Sizes and shapes.
		{method: "POST", path: "/echo/1", body: `{"text":"` + strings.Repeat("x", 1000) + `"}`, status: 413, code: CodeBodyTooLarge, says: "1000 bytes"},
		{method: "POST", path: "/echo/1", body: `{"text":`, status: 400, code: CodeInvalid, says: "body"},
		{method: "POST", path: "/echo/1", body: `{"text":5}`, status: 422, code: CodeInvalid, says: "body.text"},
		{method: "POST", path: "/echo/1", body: `{"txt":"a","text":"b"}`, status: 422, code: CodeInvalid, says: "txt"},
		// What two readers could understand differently.
		{method: "POST", path: "/echo/1", body: `{"text":"a","text":"b"}`, status: 400, code: CodeInvalid, says: "twice"},
		{method: "POST", path: "/echo/1", body: `{"text":"a","TEXT":"b"}`, status: 400, code: CodeInvalid, says: "capitals"},
		{method: "POST", path: "/echo/1", body: "{\"text\":\"\xff\"}", status: 400, code: CodeInvalid, says: "UTF-8"},
		{method: "POST", path: "/echo/1", body: `{"text":"\ud83d"}`, status: 400, code: CodeInvalid, says: "half"},
		{method: "POST", path: "/echo/1", body: `{"text":"\ud83d\ude00 \\ud83d \u00e9"}`, status: 200, says: `😀 \\ud83d é`},
		{method: "POST", path: "/count", body: `{"count":5.0}`, status: 422, code: CodeInvalid, says: "count cannot be 5.0: give digits"},
		{method: "POST", path: "/count", body: `{"count":9223372036854775808}`, status: 422, code: CodeInvalid, says: "64 bits"},
		{method: "POST", path: "/count", body: `{"count":1e999}`, status: 400, code: CodeInvalid, says: "1e999 is too large"},
		{method: "POST", path: "/echo/1", body: ok, headers: map[string]string{"Content-Encoding": "gzip"}, status: 415, code: CodeMediaType, says: "gzip"},
		{method: "GET", path: "/", status: 302},
		{method: "POST", path: "/echo/1?limit=0", body: ok, status: 422, code: CodeInvalid, says: "query.limit"},
		{method: "GET", path: "/nothing", status: 404, code: CodeNotFound, says: "/docs"},
		{method: "DELETE", path: "/stats", status: 405, code: CodeMethod},
		{method: "HEAD", path: "/stats", status: 200},
		// Faults of ours give nothing away.
		{method: "POST", path: "/echo/1", body: `{"text":"panic"}`, status: 500, code: CodeInternal, says: "log"},
	} {
		c.on(t, a)
	}
	said := call{method: "POST", path: "/echo/1", body: `{"text":"fail"}`, status: 500, code: CodeInternal}.on(t, a)
	if strings.Contains(said, "secret") {
		t.Errorf("an inner error was told to the caller: %s", said)
	}
	if n := testutil.ToFloat64(a.metrics.requests.WithLabelValues("/echo/{id}", "POST", "500")); n != 2 {
		t.Errorf("%v requests were counted as failed, wanted 2", n)
	}
	if n := testutil.ToFloat64(a.metrics.requests.WithLabelValues("other", "GET", "404")); n != 1 {
		t.Errorf("%v unknown routes were counted, wanted 1", n)
	}
}

func TestGuard_Tokens(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tokens")
	if err := os.WriteFile(path, []byte(tokenLine("alice", "secret-a")), 0o600); err != nil {
		t.Fatal(err)
	}
	tokens, err := ReadTokens(path)
	if err != nil {
		t.Fatal(err)
	}
	a := lonely(t, func(c *Config) { c.Listen, c.Tokens = "0.0.0.0:8080", tokens })
	with := func(value string) map[string]string {
		return map[string]string{"Authorization": value, "Host": "bank.example"}
	}
	for _, c := range []call{
		{method: "POST", path: "/echo/1", body: `{"text":"x"}`, headers: with("Bearer secret-a"), status: 200, says: `"who":"alice"`},
		{method: "POST", path: "/echo/1", body: `{"text":"x"}`, headers: with("Bearer secret-b"), status: 401, code: CodeUnauthorized},
		{method: "POST", path: "/echo/1", body: `{"text":"x"}`, headers: with("bearer secret-a"), status: 200, says: `"who":"alice"`},
		{method: "POST", path: "/echo/1", body: `{"text":"x"}`, headers: with("secret-a"), status: 401, code: CodeUnauthorized},
		{method: "POST", path: "/echo/1", body: `{"text":"x"}`, headers: with(""), status: 401, code: CodeUnauthorized, says: "Bearer"},
		{method: "GET", path: "/stats", headers: with(""), status: 401, code: CodeUnauthorized},
		{method: "GET", path: "/", headers: with(""), status: 302},
		{method: "GET", path: "/docs", headers: with(""), status: 200},
		{method: "GET", path: "/openapi.json", headers: with(""), status: 200, says: `"bearer"`},
		{method: "GET", path: "/docsy", headers: with(""), status: 401, code: CodeUnauthorized},
	} {
		c.on(t, a)
	}
	named := lonely(t, func(c *Config) {
		c.Listen, c.Tokens, c.Hosts = "0.0.0.0:8080", tokens, []string{"bank.example"}
	})
	call{method: "GET", path: "/stats", headers: with("Bearer secret-a"), status: 200}.on(t, named)
	call{method: "GET", path: "/stats", headers: map[string]string{"Authorization": "Bearer secret-a", "Host": "other.example"}, status: 403, code: CodeHostRefused}.on(t, named)
}

func TestConfig_OffLoopbackNeedsTokens(t *testing.T) {
	ok := lonely(t, nil).cfg
	for listen, want := range map[string]error{"127.0.0.1:0": nil, "localhost:80": nil, "0.0.0.0:80": ErrOpen, ":80": ErrOpen, "[::]:80": ErrOpen, "192.0.2.1:80": ErrOpen} {
		c := ok
		c.Listen = listen
		if err := c.Validate(); !errors.Is(err, want) || (err == nil) != (want == nil) {
			t.Errorf("%s: %v, wanted %v", listen, err, want)
		}
		c.Insecure = true
		if err := c.Validate(); err != nil {
			t.Errorf("%s, insecure: %v", listen, err)
		}
	}
	bad := Config{Listen: "8080", CacheSize: -1, MaxBody: -1, MaxPending: -1, WriteWait: -1, ReadWait: -1, MaxWait: -1, NoReplyAfter: -1}
	err := bad.Validate()
	for _, field := range []string{"Listen", "Client.Brokers", "Client.Registry", "Postgres", "CacheSize", "MaxBody", "MaxPending", "WriteWait", "ReadWait", "MaxWait", "NoReplyAfter"} {
		if err == nil || !strings.Contains(err.Error(), field+" is ") {
			t.Errorf("nothing is said of %s: %v", field, err)
		}
	}
}

// The document is complete, and the page that shows it loads nothing from elsewhere.
func TestDocs(t *testing.T) {
	a := lonely(t, nil)
	text := call{method: "GET", path: "/openapi.json", status: 200}.on(t, a)
	var document struct {
		OpenAPI string
		Paths   map[string]map[string]struct {
			Responses map[string]struct{ Content, Headers map[string]any }
		}
		Components struct{ Schemas map[string]any }
	}
	if err := json.Unmarshal([]byte(text), &document); err != nil || !strings.HasPrefix(document.OpenAPI, "3.1") {
		t.Fatalf("OpenAPI %q, %v", document.OpenAPI, err)
	}
	answers := document.Paths["/echo/{id}"]["post"].Responses
	if answers["default"].Content[problemJSON] == nil || answers["202"].Headers["Location"] == nil || answers["200"].Headers[HeaderPosition] == nil {
		t.Errorf("the answers are %v", answers)
	}
	if strings.Contains(text, "ErrorModel") || document.Components.Schemas["Problem"] == nil {
		t.Errorf("the schemas are %v", document.Components.Schemas)
	}
	for _, file := range []string{"", "/page.js", "/page.css"} {
		text := call{method: "GET", path: "/docs" + file, status: 200}.on(t, a)
		if strings.Contains(text, "//unpkg") || strings.Contains(text, "http://") || strings.Contains(text, "https://") {
			t.Errorf("/docs%s names another server", file)
		}
	}
}

// Neither Kafka nor Postgres is there: nothing hangs, and readiness says what is missing.
func TestReady_SaysWhatIsMissing(t *testing.T) {
	a := lonely(t, nil)
	if err := a.Ready(); err == nil || !strings.Contains(err.Error(), "not started") {
		t.Errorf("before it runs: %v", err)
	}
}
