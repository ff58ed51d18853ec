package process

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Folder is a temporary folder that does not outlive us.
type Folder struct {
	Path   string
	keeper *Process
}

// TempFolder makes a temporary folder, named by the pattern with something random for its "*", and a keeper for it: a child
// that removes the folder when we are gone, also by kill -9. What still runs in it then is waited for, up to a minute.
func TempFolder(ctx context.Context, pattern string) (*Folder, error) {
	// The name first, then its keeper, then the folder: there is no moment in which we could be killed and leave it.
	before, after, _ := strings.Cut(pattern, "*")
	dir := filepath.Join(os.TempDir(), before+rand.Text()+after)
	keeper, err := Start(ctx, Spec{Name: "keeper of " + dir, Role: guardRole, RemoveOnExit: []string{dir}, StopTimeout: removePatience})
	if err != nil {
		return nil, err
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, errors.Join(fmt.Errorf("make a temporary folder: %w", err), keeper.Stop(ctx))
	}
	return &Folder{Path: dir, keeper: keeper}, nil
}

// Remove removes the folder and ends its keeper.
func (f *Folder) Remove(ctx context.Context) error { return f.keeper.Stop(ctx) }

const (
	removePatience = time.Minute
	removeInterval = 50 * time.Millisecond
)

// removeAll removes folders. A server on its way out may still write into one, which then is not empty when its turn comes:
// so it tries again until nothing is left.
func removeAll(folders []string) error {
	deadline := time.Now().Add(removePatience)
	var errs []error
	for _, dir := range folders {
		err := os.RemoveAll(dir)
		for err != nil && time.Now().Before(deadline) {
			time.Sleep(removeInterval) //nolint:forbidigo // nothing says when a folder can be removed
			err = os.RemoveAll(dir)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("remove %s: %w", dir, err))
		}
	}
	return errors.Join(errs...)
}
