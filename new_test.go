package ledgerline_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ledgerline-es/ledgerline"
)

// run runs a program of an empty domain.
func run(t *testing.T, args ...string) (code int, out, errOut string) {
	t.Helper()
	var o, e bytes.Buffer
	code = ledgerline.Run(t.Context(), ledgerline.Domain{Name: "ledgerline"}, args, &o, &e)
	return code, o.String(), e.String()
}

func TestNew_WritesAModuleWhoseCodeIsUpToDate(t *testing.T) {
	source, err := filepath.Abs(".")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	t.Chdir(dir)
	code, out, errOut := run(t, "new", "shop", "--ledgerline-dir", source)
	if code != 0 || !strings.Contains(out, "cd shop") || !strings.Contains(errOut, "wrote shop/order.go") {
		t.Fatalf("exit code %d\n%s%s", code, out, errOut)
	}
	if code, _, errOut := run(t, "generate", "--check", "shop"); code != 0 {
		t.Errorf("generate --check: exit code %d\n%s", code, errOut)
	}
	stale := filepath.Join("shop", "schemas", "order", "order.gen.go")
	if err := os.Remove(stale); err != nil {
		t.Fatal(err)
	}
	if code, _, errOut := run(t, "generate", "--check", "shop"); code != 1 || !strings.Contains(errOut, "order.gen.go is missing") {
		t.Errorf("generate --check without the code: exit code %d\n%s", code, errOut)
	}
	if code, out, errOut := run(t, "generate", "shop/schemas"); code != 0 || out != "wrote "+stale+"\n" {
		t.Errorf("generate: exit code %d\n%s%s", code, out, errOut)
	}
	if code, out, _ := run(t, "generate", "shop"); code != 0 || out != "" {
		t.Errorf("generate again: exit code %d\n%s", code, out)
	}
}

func TestNew_UsageErrors(t *testing.T) {
	t.Chdir(t.TempDir())
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"no name":      {[]string{"new"}, "new wants one NAME"},
		"a bad name":   {[]string{"new", "My Shop", "--ledgerline-dir", "/"}, "give a small letter"},
		"no source":    {[]string{"new", "shop"}, "say where the source is by --ledgerline-dir"},
		"no schemas":   {[]string{"generate"}, "there are no .avsc files in or below"},
		"unknown flag": {[]string{"new", "shop", "--knd", "x"}, "unknown flag: --knd"},
	} {
		t.Run(name, func(t *testing.T) {
			code, out, errOut := run(t, c.args...)
			if code == 0 || out != "" || !strings.Contains(errOut, c.want) {
				t.Errorf("exit code %d, said %q", code, out+errOut)
			}
		})
	}
	if left, err := os.ReadDir("."); err != nil || len(left) > 0 {
		t.Errorf("left are %v, %v", left, err)
	}
}

func TestMistypedCommands_AreNamed(t *testing.T) {
	for name, c := range map[string]struct {
		args []string
		code int
		want string
	}{
		"a command":            {[]string{"pubish", "account"}, 2, `there is no command "pubish"; did you mean publish?`},
		"a command with flags": {[]string{"pubish", "account", "--id", "x"}, 2, `there is no command "pubish"; did you mean publish?`},
		"nothing like it":      {[]string{"frobnicate"}, 2, `there is no command "frobnicate": there are `},
		"a flag":               {[]string{"topics", "--kafka-broker", "x"}, 2, "did you mean --kafka-brokers?"},
		"no such flag":         {[]string{"topics", "--colour"}, 2, "unknown flag: --colour; ledgerline topics --help lists"},
		"nobody there":         {[]string{"topics", "--kafka-brokers", "127.0.0.1:1"}, 1, "Nothing listens there"},
	} {
		t.Run(name, func(t *testing.T) {
			if code, _, errOut := run(t, c.args...); code != c.code || !strings.Contains(errOut, c.want) {
				t.Errorf("exit code %d, said %q; wanted %d and %q", code, errOut, c.code, c.want)
			}
		})
	}
}
