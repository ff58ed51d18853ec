package scaffold

import (
	_ "embed"
	"errors"
	"fmt"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/mod/module"
	"golang.org/x/tools/txtar"

	"github.com/ledgerline-es/ledgerline/internal/generate"
)

//go:generate go run ./cmd/pack ../../examples/orders ../.. orders.txtar

//go:embed orders.txtar
var packed []byte

// The example's own names, which a new domain replaces.
const (
	exampleModule = Platform + "/examples/orders"
	exampleName   = "orders"
	exampleKind   = "order"
	// Platform is the module that every domain requires.
	Platform = "github.com/ledgerline-es/ledgerline"
)

// Options of a new domain. Only Name and Checkout have no default.
type Options struct {
	Name     string // of the program and its database schemas: small letters and digits
	Kind     string // of its aggregate; default "order"
	Module   string // path of the Go module; default Name
	Checkout string // folder of Ledgerline's source, which go.mod points to
}

func (o Options) withDefaults() Options {
	if o.Kind == "" {
		o.Kind = exampleKind
	}
	if o.Module == "" {
		o.Module = o.Name
	}
	return o
}

var nameRule = regexp.MustCompile(`^[a-z][a-z0-9]{0,29}$`)

// taken are names that mean something else in the code that is written: a kind is the name of a package there.
var taken = strings.Fields(`a accept all ann api app args articles at b c cache cancelled change clickhouse client code command commands context ctx currency
	customer d decide decision domain e embed emit err event events evolve first fmt format found fs http huma i id in int64 itemize l
	ledgerline line lines look m main math n ok operation out p paid pgx place placed postgres producer producertest progress
	projector quantity queries questions r receipt reject replies reply report routes row s sample schemas shipped state summarize
	summary t tea test testing time total v2 v5 verb want`)

// reserved are words that no schema or database can be called without quotes: of Postgres those that its manual calls reserved
// (Appendix C), but for those that Go reserves too, and the databases that ClickHouse has itself.
var reserved = strings.Fields(`all analyse analyze and any array as asc asymmetric authorization binary both cast check collate collation column
	concurrently constraint create cross deferrable desc distinct do end except fetch foreign freeze from full grant group having ilike in initially
	inner intersect into is isnull join lateral leading left like limit localtime localtimestamp natural not notnull null offset on only or order outer
	overlaps placing primary references returning right similar some symmetric table tablesample then to trailing union unique user using variadic
	verbose when where window with system public`)

// Validate says which option can't be used, and what to give.
func (o Options) Validate() error {
	o = o.withDefaults()
	var errs []error
	for _, n := range []struct{ what, value string }{{"name", o.Name}, {"kind", o.Kind}} {
		switch {
		case !nameRule.MatchString(n.value):
			errs = append(errs, fmt.Errorf("the %s %q: give a small letter and at most 29 small letters or digits after it", n.what, n.value))
		case token.IsKeyword(n.value), slices.Contains(taken, n.value), isPredeclared(n.value):
			errs = append(errs, fmt.Errorf("the %s %q means something else in the code: give another one", n.what, n.value))
		}
	}
	if slices.Contains(reserved, o.Name) {
		errs = append(errs, fmt.Errorf("the name %q is a word of SQL, and would be that of a schema: give another one, such as %[1]ss", o.Name))
	}
	if err := module.CheckImportPath(o.Module); err != nil {
		errs = append(errs, fmt.Errorf("the module path: %w", err))
	}
	return errors.Join(errs...)
}

func isPredeclared(name string) bool {
	return slices.Contains([]string{"any", "append", "bool", "byte", "cap", "clear", "close", "comparable", "complex", "copy", "delete", "error", "false", "imag",
		"init", "int", "iota", "len", "make", "max", "min", "new", "nil", "panic", "print", "println", "real", "recover", "rune", "string", "true", "uint"}, name)
}

// Write makes dir, which must not exist or be empty, and puts the new module into it. It gives the files written, relative to
// dir. When it fails, nothing of dir is left that was not there before.
func Write(dir string, o Options) (files []string, err error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	o = o.withDefaults()
	entries, readErr := os.ReadDir(dir)
	switch {
	case len(entries) > 0:
		return nil, fmt.Errorf("%s is not empty: give a folder that is, or does not exist yet", dir)
	case readErr != nil && !errors.Is(readErr, fs.ErrNotExist):
		return nil, readErr
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, cleanUp(dir, readErr != nil))
		}
	}()
	for _, f := range txtar.Parse(packed).Files {
		name := o.rename(f.Name)
		if err := write(dir, name, []byte(o.rename(string(f.Data)))); err != nil {
			return nil, err
		}
		files = append(files, name)
	}
	if err := o.writeModule(dir); err != nil {
		return nil, err
	}
	files = append(files, "go.mod", "go.sum")
	if _, err := generate.Write(filepath.Join(dir, "schemas", o.Kind)); err != nil {
		return nil, err
	}
	files = append(files, filepath.Join("schemas", o.Kind, o.Kind+".gen.go"))
	slices.Sort(files)
	return files, nil
}

// cleanUp removes what is in dir, and dir itself if it is ours.
func cleanUp(dir string, ours bool) error {
	if ours {
		return os.RemoveAll(dir)
	}
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		err = errors.Join(err, os.RemoveAll(filepath.Join(dir, e.Name())))
	}
	return err
}

func write(dir, name string, content []byte) error {
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, content, 0o644)
}

// rename puts the new names into a text: the module's path, the domain's name, and the kind as a word, as a part of a name such
// as order_summary, or as a part of a Go name such as PlaceOrder.
func (o Options) rename(text string) string {
	text = strings.ReplaceAll(text, exampleModule, o.Module)
	var b strings.Builder
	for i := 0; i < len(text); {
		rest := text[i:]
		before := byte(' ')
		if i > 0 {
			before = text[i-1]
		}
		switch {
		case strings.HasPrefix(rest, o.Module): // as it is, whatever words it holds
			b.WriteString(o.Module)
			i += len(o.Module)
		case strings.HasPrefix(rest, "/"+exampleName) && (before == '"' || strings.HasSuffix(text[:i], ":8080")): // of HTTP: named after the kind
			b.WriteString("/" + o.Kind + "s")
			i += len("/" + exampleName)
		case isWord(before, rest, exampleName):
			b.WriteString(o.Name)
			i += len(exampleName)
		case isWord(before, rest, exampleKind):
			b.WriteString(o.Kind)
			i += len(exampleKind)
		case strings.HasPrefix(rest, "Order") && !isSmall(rest[len("Order"):]):
			b.WriteString(strings.ToUpper(o.Kind[:1]) + o.Kind[1:])
			i += len("Order")
		default:
			b.WriteByte(text[i])
			i++
		}
	}
	return b.String()
}

// isWord reports whether rest begins with word, with no letter around it.
func isWord(before byte, rest, word string) bool {
	return strings.HasPrefix(rest, word) && !isSmall(rest[len(word):]) && !isLetter(before)
}

func isLetter(c byte) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' }

func isSmall(rest string) bool { return rest != "" && rest[0] >= 'a' && rest[0] <= 'z' }
