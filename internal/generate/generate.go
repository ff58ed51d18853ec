// Package generate makes Go code from a folder of Avro schemas: structs, sealed interfaces and the schemas' own text, so
// that records need neither reflection by hand nor files at run time.
//
// A folder with commands/*.avsc, events/*.avsc and state.avsc is an aggregate kind: its code has the sealed interfaces
// Command and Event, and the variable Kind. A folder with *.avsc at its top holds plain records: its code has one
// variable <Record>Type for each. In both, <folder>/<folder>.gen.go is the one file made.
package generate

import (
	"bytes"
	"fmt"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

//go:generate go run ./cmd/generate everything

// File is one generated file.
type File struct {
	Path    string // where it belongs
	Content []byte // gofmt'd Go
}

// Generate reads the .avsc files of dir and gives the code that belongs beside them. It writes nothing. The same folder
// always gives the same bytes. An error names the file, the field where there is one, and what to do.
func Generate(dir string) ([]File, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("generate %s: %w", dir, err)
	}
	pkg := filepath.Base(abs)
	if !token.IsIdentifier(pkg) || strings.ToLower(pkg) != pkg {
		return nil, fmt.Errorf("generate %s: the folder's name becomes the package's and the kind's, and %q is no lower-case Go identifier: rename the folder", dir, pkg)
	}
	f, err := read(dir)
	if err != nil {
		return nil, err
	}
	model, err := resolve(f)
	if err != nil {
		return nil, err
	}
	code, err := render(pkg, model)
	if err != nil {
		return nil, fmt.Errorf("generate %s: %w", dir, err)
	}
	return []File{{Path: filepath.Join(dir, pkg+".gen.go"), Content: code}}, nil
}

// Write generates the code of dir and puts it beside the schemas. A file that already holds the same bytes is left
// alone, so that builds stay cached. It gives the paths that changed.
func Write(dir string) ([]string, error) {
	files, err := Generate(dir)
	if err != nil {
		return nil, err
	}
	var changed []string
	for _, f := range files {
		if old, err := os.ReadFile(f.Path); err == nil && bytes.Equal(old, f.Content) {
			continue
		}
		if err := os.WriteFile(f.Path, f.Content, 0o644); err != nil {
			return changed, fmt.Errorf("write generated code: %w", err)
		}
		changed = append(changed, f.Path)
	}
	return changed, nil
}

// Check reports an error when the code beside dir's schemas is not what they give.
func Check(dir string) error {
	files, err := Generate(dir)
	if err != nil {
		return err
	}
	for _, f := range files {
		old, err := os.ReadFile(f.Path)
		switch {
		case os.IsNotExist(err):
			return fmt.Errorf("%s is missing: run go generate", f.Path)
		case err != nil:
			return fmt.Errorf("read generated code: %w", err)
		case !bytes.Equal(old, f.Content):
			return fmt.Errorf("%s is stale: its schemas changed, or it was edited by hand: run go generate (first difference in line %d)", f.Path, firstDifference(old, f.Content))
		}
	}
	return nil
}

// Folders are the folders of schemas in and below dir, in order of their names: those that Generate takes. What begins with a dot
// or an underscore and what is called testdata or vendor is passed over. An error says that there are none.
func Folders(dir string) ([]string, error) {
	found := map[string]bool{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() {
			if path != dir && (name == "testdata" || name == "vendor" || strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_")) {
				return filepath.SkipDir
			}
			return nil
		}
		if filepath.Ext(name) != ".avsc" {
			return nil
		}
		folder := filepath.Dir(path)
		if base := filepath.Base(folder); base == "commands" || base == "events" {
			folder = filepath.Dir(folder)
		}
		found[folder] = true
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("look for schemas: %w", err)
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("there are no .avsc files in or below %s", dir)
	}
	return slices.Sorted(maps.Keys(found)), nil
}

func firstDifference(a, b []byte) int {
	line := 1
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return line
		}
		if a[i] == '\n' {
			line++
		}
	}
	return line
}
