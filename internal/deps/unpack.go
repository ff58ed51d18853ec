package deps

import (
	"archive/tar"
	"archive/zip"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ulikunitz/xz"
)

// unpack makes the component's folder of its verified files. All writing goes through an os.Root: no archive can write
// beside it.
func unpack(c component, loaded, ready string) error {
	root, err := os.OpenRoot(ready)
	if err != nil {
		return err
	}
	defer root.Close()
	if c.source == mavenTree {
		return os.Rename(loaded, filepath.Join(ready, "libs"))
	}
	for _, f := range c.files {
		name := filepath.Join(loaded, f.name)
		var err error
		switch {
		case c.name == Postgres:
			err = unpackPostgres(root, name)
		case c.source == npmFile:
			err = unpackTgz(root, name)
		default:
			err = unpackZip(root, name)
		}
		if err != nil {
			return fmt.Errorf("unpack %s: %w", f.name, err)
		}
	}
	return nil
}

func unpackZip(root *os.Root, name string) error {
	z, err := zip.OpenReader(name)
	if err != nil {
		return err
	}
	defer z.Close()
	for _, f := range z.File {
		if f.FileInfo().IsDir() {
			continue
		}
		in, err := f.Open()
		if err != nil {
			return err
		}
		err = errors.Join(write(root, f.Name, f.Mode(), in), in.Close())
		if err != nil {
			return err
		}
	}
	return nil
}

// unpackPostgres unpacks a jar that holds one .txz with the server.
func unpackPostgres(root *os.Root, name string) error {
	z, err := zip.OpenReader(name)
	if err != nil {
		return err
	}
	defer z.Close()
	i := slices.IndexFunc(z.File, func(f *zip.File) bool { return path.Ext(f.Name) == ".txz" })
	if i < 0 {
		return errors.New("no .txz in it")
	}
	in, err := z.File[i].Open()
	if err != nil {
		return err
	}
	defer in.Close()
	plain, err := xz.NewReader(in)
	if err != nil {
		return err
	}
	return unpackTar(root, plain, "", func(string) bool { return true })
}

// unpackTgz unpacks the libraries of an npm package; its bindings for JavaScript stay out.
func unpackTgz(root *os.Root, name string) error {
	in, err := os.Open(name)
	if err != nil {
		return err
	}
	defer in.Close()
	plain, err := gzip.NewReader(in)
	if err != nil {
		return err
	}
	return unpackTar(root, plain, "package/", func(name string) bool {
		return path.Ext(name) == ".so" || path.Ext(name) == ".dylib"
	})
}

func unpackTar(root *os.Root, in io.Reader, strip string, want func(string) bool) error {
	for t := tar.NewReader(in); ; {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		name := strings.TrimPrefix(path.Clean(h.Name), strip)
		if !want(name) {
			continue
		}
		switch h.Typeflag {
		case tar.TypeDir:
		case tar.TypeReg:
			err = write(root, name, h.FileInfo().Mode(), t)
		case tar.TypeSymlink:
			if err = root.MkdirAll(path.Dir(name), 0o755); err == nil {
				err = root.Symlink(h.Linkname, name)
			}
		default:
			err = fmt.Errorf("%s is of a type (%c) that is not expected", h.Name, h.Typeflag)
		}
		if err != nil {
			return err
		}
	}
}

// write writes one file, readable by all and executable as it was.
func write(root *os.Root, name string, mode os.FileMode, in io.Reader) error {
	if err := root.MkdirAll(path.Dir(name), 0o755); err != nil {
		return err
	}
	out, err := root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644|mode&0o111)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}
