package deps

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// lockFile is what deps.lock says: components, each with the sha256 of all of its files.
type lockFile []component

// component is one entry: a name on a platform.
type component struct {
	name       Name
	platform   string // "linux/amd64", or "any"
	source     source
	coordinate string // for Maven group:artifact:version[:packaging[:classifier]], for npm package@version
	files      []file
}

type file struct{ name, sum string }

// source says how a component comes.
type source string

const (
	mavenTree source = "maven-tree" // a jar and all it depends on at run time, or several joined by "+"
	mavenFile source = "maven-file" // one file alone
	npmFile   source = "npm"        // one package
)

const anyPlatform = "any"

func (c component) String() string {
	return fmt.Sprintf("%s %s", c.name, c.version())
}

func (c component) version() string {
	if c.source == npmFile {
		return c.coordinate[strings.LastIndex(c.coordinate, "@")+1:]
	}
	first, _, _ := strings.Cut(c.coordinate, "+")
	return strings.Split(first, ":")[2]
}

func (c component) tool() string {
	if c.source == npmFile {
		return "npm"
	}
	return "mvn"
}

// folder is the component's place in the cache. Its name holds a digest of the pins: other pins, another folder.
func (c component) folder() string {
	var b bytes.Buffer
	c.write(&b)
	sum := sha256.Sum256(b.Bytes())
	return fmt.Sprintf("%s-%s-%s", c.name, c.version(), hex.EncodeToString(sum[:4]))
}

func (c component) write(w io.Writer) {
	fmt.Fprintf(w, "%s %s %s %s\n", c.name, c.platform, c.source, c.coordinate)
	for _, f := range c.files {
		fmt.Fprintf(w, "  %s %s\n", f.sum, f.name)
	}
}

// verify compares the files of a folder with the pinned ones: none missing, none other, none more.
func (c component) verify(dir string) error {
	got, err := sumFiles(dir)
	if err != nil {
		return err
	}
	var errs []error
	for _, want := range c.files {
		i := slices.IndexFunc(got, func(f file) bool { return f.name == want.name })
		switch {
		case i < 0:
			errs = append(errs, fmt.Errorf("%s is missing, want sha256 %s", want.name, want.sum))
		case got[i].sum != want.sum:
			errs = append(errs, fmt.Errorf("%s is not the pinned file: want sha256 %s, got %s", want.name, want.sum, got[i].sum))
		}
	}
	for _, f := range got {
		if !slices.ContainsFunc(c.files, func(want file) bool { return f.name == want.name }) {
			errs = append(errs, fmt.Errorf("%s came along, and is not in the lock (sha256 %s)", f.name, f.sum))
		}
	}
	return errors.Join(errs...)
}

func sumFiles(dir string) ([]file, error) {
	var files []file
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		in, err := os.Open(path)
		if err != nil {
			return err
		}
		defer in.Close()
		h := sha256.New()
		if _, err := io.Copy(h, in); err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		files = append(files, file{filepath.ToSlash(name), hex.EncodeToString(h.Sum(nil))})
		return err
	})
	return files, err
}

func (l lockFile) find(name Name, platform string) (component, error) {
	var others []string
	for _, c := range l {
		if c.name != name {
			continue
		}
		if c.platform == anyPlatform || c.platform == platform {
			return c, nil
		}
		others = append(others, c.platform)
	}
	if others == nil {
		return component{}, fmt.Errorf("no component %q in deps.lock", name)
	}
	return component{}, fmt.Errorf("%s: no package for %s, only for %s: set %s to a folder that holds %s",
		name, platform, strings.Join(others, ", "), Override(name), contents[name])
}

// parseLock reads deps.lock: a line "name platform source coordinate", then its files, "  sha256 name", one a line.
func parseLock(text string) (lockFile, error) {
	var l lockFile
	for i, line := range strings.Split(text, "\n") {
		fields := strings.Fields(line)
		switch {
		case len(fields) == 0 || strings.HasPrefix(line, "#"):
		case strings.HasPrefix(line, " ") && len(fields) == 2 && len(fields[0]) == 2*sha256.Size && len(l) > 0:
			c := &l[len(l)-1]
			c.files = append(c.files, file{sum: fields[0], name: fields[1]})
		case !strings.HasPrefix(line, " ") && len(fields) == 4 && wellFormed(source(fields[2]), fields[3]):
			l = append(l, component{name: Name(fields[0]), platform: fields[1], source: source(fields[2]), coordinate: fields[3]})
		default:
			return nil, fmt.Errorf("deps.lock line %d: %q is neither \"name platform source coordinate\" nor \"  sha256 file\"", i+1, line)
		}
	}
	return l, nil
}

func wellFormed(s source, coordinate string) bool {
	switch s {
	case npmFile:
		return strings.LastIndex(coordinate, "@") > 0
	case mavenTree, mavenFile:
		for one := range strings.SplitSeq(coordinate, "+") {
			if strings.Count(one, ":") < 2 {
				return false
			}
		}
		return s == mavenTree || !strings.Contains(coordinate, "+")
	}
	return false
}

const lockHeader = `# What the demo and the tests run on, pinned by content: every file's sha256 is checked when it is fetched.
# To change a version, edit its line and run: go run ./internal/deps/cmd/deps -update-lock
`

func (l lockFile) format() string {
	var b bytes.Buffer
	b.WriteString(lockHeader)
	for _, c := range l {
		b.WriteByte('\n')
		c.write(&b)
	}
	return b.String()
}
