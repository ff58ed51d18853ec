package scaffold

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/tools/txtar"
)

// Pack gives the text files of a folder as a txtar archive. Left out is what is made by other means: go.mod, go.sum, generated
// code, and what begins with a dot.
func Pack(dir string) ([]byte, error) {
	archive := &txtar.Archive{Comment: []byte("Packed from examples/orders by go generate; DO NOT EDIT.\n\n")}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if path != dir && strings.HasPrefix(name, ".") && name != ".gitignore" {
			if d.IsDir() {
				return filepath.SkipDir
			}
			return nil
		}
		if d.IsDir() || slices.Contains([]string{"go.mod", "go.sum", exampleName}, name) || strings.HasSuffix(name, ".gen.go") {
			return nil
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if !utf8.Valid(data) || len(data) == 0 || data[len(data)-1] != '\n' {
			return fmt.Errorf("%s is not text that ends with a new line: it can't be packed", path)
		}
		relative, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		archive.Files = append(archive.Files, txtar.File{Name: filepath.ToSlash(relative), Data: data})
		return nil
	})
	return txtar.Format(archive), err
}
