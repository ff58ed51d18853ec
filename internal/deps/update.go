package deps

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
)

// UpdateLock fetches every component of the lock file at path anew, or those named, for all platforms and past all caches, and
// writes the sha256 of what came into it. Names, platforms and coordinates stay as they stand there.
func UpdateLock(ctx context.Context, path string, w io.Writer, names ...Name) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	lock, err := parseLock(string(text))
	if err != nil {
		return err
	}
	root, err := cacheRoot()
	if err != nil {
		return err
	}
	for _, name := range names {
		if !slices.ContainsFunc(lock, func(c component) bool { return c.name == name }) {
			return fmt.Errorf("no component %q in %s: write its line first", name, path)
		}
	}
	f := fetcher{root: root, progress: w}
	for i := range lock {
		if len(names) > 0 && !slices.Contains(names, lock[i].name) {
			continue
		}
		if err := f.pin(ctx, &lock[i]); err != nil {
			return fmt.Errorf("pin %s for %s: %w", lock[i], lock[i].platform, err)
		}
	}
	return os.WriteFile(path, []byte(lock.format()), 0o644)
}

func (f fetcher) pin(ctx context.Context, c *component) error {
	if err := f.tools(*c); err != nil {
		return err
	}
	tmp, err := os.MkdirTemp(f.root, "pin.tmp-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	work, loaded := filepath.Join(tmp, "work"), filepath.Join(tmp, "loaded")
	for _, d := range []string{work, loaded} {
		if err := os.Mkdir(d, 0o700); err != nil {
			return err
		}
	}
	f.say(*c, "fetching for %s …", c.platform)
	if err := f.download(ctx, *c, work, loaded, true); err != nil {
		return err
	}
	c.files, err = sumFiles(loaded)
	if err == nil && len(c.files) == 0 {
		err = fmt.Errorf("nothing came")
	}
	return err
}
