package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestRun_WriteThenCheck(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "shop")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	schema := `{"type":"record","name":"Sale","namespace":"shop","fields":[{"name":"price_minor","type":"long"}]}`
	if err := os.WriteFile(filepath.Join(dir, "Sale.avsc"), []byte(schema), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"-check", dir}, 1, "missing"},
		{[]string{dir}, 0, "wrote " + filepath.Join(dir, "shop.gen.go")},
		{[]string{dir}, 0, ""},
		{[]string{"-check", dir}, 0, ""},
		{[]string{filepath.Join(dir, "nowhere"), dir}, 1, "nowhere"},
		{[]string{"-nonsense"}, 2, "nonsense"},
	} {
		var out, errs bytes.Buffer
		code := run(step.args, &out, &errs)
		if said := out.String() + errs.String(); code != step.code || !strings.Contains(said, step.says) {
			t.Errorf("generate %v: exit %d, want %d; it said %q, want %q", step.args, code, step.code, said, step.says)
		}
	}
}
