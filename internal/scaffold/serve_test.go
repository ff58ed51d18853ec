package scaffold_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ledgerline-es/ledgerline/internal/kit"
)

// The example's own routes and question, on its running demo.
func TestExample_ServesHTTP(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "orders")
	run(t, example, "go", "build", "-o", binary, ".")
	at := kit.Demo(t, binary, t.TempDir()).At
	code, header, body := ask(t, http.MethodPost, "http://"+at["api"]+"/orders", `{"customer":"bob","currency":"EUR","lines":[{"sku":"cup","quantity":2,"unit_price_minor":1290}]}`)
	if code != http.StatusCreated {
		t.Fatalf("POST /orders: %d %s", code, body)
	}
	code, _, body = ask(t, http.MethodGet, "http://"+at["api"]+header.Get("Location")+"?position="+header.Get("Ledgerline-Position"), "")
	var summary struct {
		Customer, Status string
		TotalMinor       int64 `json:"total_minor"`
	}
	if err := json.Unmarshal(body, &summary); err != nil || code != http.StatusOK || summary.Customer != "bob" || summary.Status != "placed" || summary.TotalMinor != 2580 {
		t.Errorf("what was placed is %d %s, %v", code, body, err)
	}
	one := "http://" + at["api"] + header.Get("Location")
	for _, step := range []struct {
		verb, body string
		code       int
		says       string
	}{
		{"/ship", `{"carrier":"post"}`, 422, "not_shippable"},
		{"/pay", `{"amount_minor":2579}`, 422, "amount_differs"},
		{"/pay", `{"amount_minor":2580,"reference":"r1"}`, 200, `"version":2`},
		{"/ship", `{"carrier":"post"}`, 200, `"version":3`},
		{"/cancel", `{}`, 422, "not_cancellable"},
	} {
		if code, _, body = ask(t, http.MethodPost, one+step.verb, step.body); code != step.code || !strings.Contains(string(body), step.says) {
			t.Errorf("%s %s: %d %s, wanted %d %s", step.verb, step.body, code, body, step.code, step.says)
		}
	}
	if code, _, body = ask(t, http.MethodGet, one+"?min_version=3", ""); code != http.StatusOK || !strings.Contains(string(body), `"status":"shipped"`) {
		t.Errorf("what was shipped is %d %s", code, body)
	}
	if code, _, body = ask(t, http.MethodPost, "http://"+at["api"]+"/orders", `{"customer":"bob","currency":"EUR","lines":[]}`); code != http.StatusUnprocessableEntity || !strings.Contains(string(body), "nothing_wanted") {
		t.Errorf("without lines: %d %s", code, body)
	}
	for deadline := time.Now().Add(2 * time.Minute); ; <-time.After(20 * time.Millisecond) { // the sample is on its way into ClickHouse
		code, _, body = ask(t, http.MethodGet, "http://"+at["api"]+"/analytics/best-sellers", "")
		if code == http.StatusOK && strings.Contains(string(body), "tea") {
			break
		}
		if code != http.StatusOK || time.Now().After(deadline) {
			t.Fatalf("the best sellers: %d %s", code, body)
		}
	}
	if out := run(t, example, binary, "query", "best-sellers", "--clickhouse-url", "http://"+at["clickhouse"]); !strings.Contains(string(out), "tea") {
		t.Errorf("query best-sellers prints\n%s", out)
	}
}

func ask(t *testing.T, method, url, body string) (int, http.Header, []byte) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, text
}
