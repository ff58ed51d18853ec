package scaffold_test

import (
	"bytes"
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/ledgerline-es/ledgerline/internal/kit"
	"github.com/ledgerline-es/ledgerline/internal/scaffold"
)

func TestMain(m *testing.M) { kit.Main(m) } // the demo's children end with it, whatever becomes of us

const (
	example = "../../examples/orders"
	root    = "../.."
)

func TestGeneratedArchiveIsUpToDate(t *testing.T) {
	want, err := scaffold.Pack(example)
	if err != nil {
		t.Fatal(err)
	}
	have, err := os.ReadFile("orders.txtar")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(want, have) {
		t.Error("orders.txtar is stale: run go generate ./internal/scaffold")
	}
}

// Under its own names the new module is the example, to the byte.
func TestWrite_TheExampleAgain(t *testing.T) {
	checkout := t.TempDir() // as far from the new module as the true one is from the example
	for _, name := range []string{"go.mod", "go.sum"} {
		text, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(checkout, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	dir := filepath.Join(checkout, "examples", "again")
	files, err := scaffold.Write(dir, scaffold.Options{Name: "orders", Module: scaffold.Platform + "/examples/orders", Checkout: checkout})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		have, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		want, err := os.ReadFile(filepath.Join(example, name))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(have, want) {
			t.Errorf("%s differs from the example's: run go generate ./internal/scaffold", name)
		}
	}
}

// The example, and a domain of other names, as an outsider would run them.
func TestDomains_TestedBuiltAndRun(t *testing.T) {
	other := filepath.Join(t.TempDir(), "desk")
	if _, err := scaffold.Write(other, scaffold.Options{Name: "helpdesk", Kind: "ticket", Module: "example.com/order/helpdesk", Checkout: root}); err != nil {
		t.Fatal(err)
	}
	for _, d := range []struct{ name, dir, kind string }{{"orders", example, "order"}, {"helpdesk", other, "ticket"}} {
		t.Run(d.name, func(t *testing.T) {
			binary := filepath.Join(t.TempDir(), d.name)
			run(t, d.dir, "go", "vet", "./...")
			run(t, d.dir, "go", "test", "./...")
			run(t, d.dir, "go", "build", "-o", binary, ".")
			run(t, d.dir, binary, "generate", "--check")
			var report struct {
				Sample struct{ Accepted, Rejected int64 }
				Verify struct {
					Equal bool
					Logs  []struct{ Topic string }
				}
			}
			if err := json.Unmarshal(run(t, t.TempDir(), binary, "demo", "--once", "--json"), &report); err != nil {
				t.Fatal(err)
			}
			if !report.Verify.Equal || report.Sample.Accepted == 0 || report.Sample.Rejected == 0 || report.Verify.Logs[0].Topic != d.kind+".events" {
				t.Errorf("demo --once says %+v", report)
			}
		})
	}
}

// run runs a program in a folder and gives what it prints for programs.
func run(t *testing.T, dir, name string, args ...string) []byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOWORK=off", "CGO_ENABLED=0")
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s %s: %v\n%s%s", name, strings.Join(args, " "), err, &out, &errOut)
	}
	return out.Bytes()
}

// A kind becomes the name of a package: it must not be one that the code has given to something else.
func TestValidate_RefusesEveryNameThatTheCodeHas(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(example, "*.go"))
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	names := map[string]bool{}
	for _, name := range files {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range file.Imports {
			names[path.Base(strings.Trim(i.Path.Value, `"`))] = true
		}
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.SelectorExpr: // names of others
				if of, ok := n.X.(*ast.Ident); ok {
					names[of.Name] = true
				}
				return false
			case *ast.Ident:
				names[n.Name] = true
			}
			return true
		})
	}
	for name := range names {
		o := scaffold.Options{Name: "shop", Kind: name}
		if regexp.MustCompile(`^[a-z][a-z0-9]*$`).MatchString(name) && name != "order" && o.Validate() == nil {
			t.Errorf("the kind may be %q, which the code has for something else", name)
		}
	}
}

func TestWrite_Refused(t *testing.T) {
	full := t.TempDir()
	if err := os.WriteFile(filepath.Join(full, "mine"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	empty := t.TempDir()
	good := scaffold.Options{Name: "shop", Checkout: root}
	for name, c := range map[string]struct {
		dir    string
		change func(*scaffold.Options)
		want   string
	}{
		"capital letters": {empty, func(o *scaffold.Options) { o.Name = "Shop" }, `the name "Shop": give a small letter`},
		"a hyphen":        {empty, func(o *scaffold.Options) { o.Name = "my-shop" }, `the name "my-shop": give a small letter`},
		"a keyword":       {empty, func(o *scaffold.Options) { o.Kind = "func" }, `the kind "func" means something else`},
		"a builtin":       {empty, func(o *scaffold.Options) { o.Kind = "string" }, `the kind "string" means something else`},
		"a name in use":   {empty, func(o *scaffold.Options) { o.Kind = "line" }, `the kind "line" means something else`},
		"a word of SQL":   {empty, func(o *scaffold.Options) { o.Name = "order" }, `the name "order" is a word of SQL`},
		"a module path":   {empty, func(o *scaffold.Options) { o.Module = "a b" }, "the module path: "},
		"a full folder":   {full, func(*scaffold.Options) {}, "is not empty"},
		"no checkout":     {empty, func(o *scaffold.Options) { o.Checkout = empty }, "the folder of Ledgerline's source"},
		"another module":  {empty, func(o *scaffold.Options) { o.Checkout = example }, "is not the module"},
	} {
		t.Run(name, func(t *testing.T) {
			o := good
			c.change(&o)
			_, err := scaffold.Write(c.dir, o)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, wanted an error with %q", err, c.want)
			}
			left, err := os.ReadDir(c.dir)
			if err != nil {
				t.Fatal(err)
			}
			if c.dir == empty && len(left) > 0 {
				t.Errorf("%d files are left of what was refused", len(left))
			}
			if c.dir == full && (len(left) != 1 || !slices.ContainsFunc(left, func(e os.DirEntry) bool { return e.Name() == "mine" })) {
				t.Errorf("what was there before is %v now", left)
			}
		})
	}
}
