package api

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The page at /docs shows every operation, its parameters, bodies and answers, and a line to try it.
func TestDocs_PageShowsTheDocument(t *testing.T) {
	document := filepath.Join(t.TempDir(), "openapi.json")
	text := call{method: "GET", path: "/openapi.json", status: 200}.on(t, lonely(t, nil))
	if err := os.WriteFile(document, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), "node", "testdata/browser.js", "docs/page.js", document).CombinedOutput()
	if err != nil {
		t.Fatalf("node (it comes with npm): %v\n%s", err, out)
	}
	shown := strings.Join(strings.Fields(string(out)), " ")
	for _, want := range []string{
		"echo", "POST /echo/{id}", "GET /stats", `curl --json '{"text":"text"}' http://127.0.0.1:8080/echo/ID`, "limit query integer (int64) The most items to give. minimum 1, maximum 1000, default 50",
		"202 the command is in the log", "application/problem+json code string stable code", "cachedRecord integer (int64) rows in the caches",
	} {
		if !strings.Contains(shown, want) {
			t.Errorf("the page does not show %q", want)
		}
	}
	if strings.Contains(shown, "[object Object]") || strings.Contains(shown, "undefined") {
		t.Errorf("the page shows what it does not understand: %s", shown)
	}
}
