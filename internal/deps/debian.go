package deps

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"sync"
)

// installing lets one installation of this process run at a time: apt's own lock makes the second one fail.
var installing sync.Mutex

// Debian gives the path of a command that Debian packages, such as "kcat" of the package kcat. When it is missing and we are root it is
// installed; else the error says how to get it.
func Debian(ctx context.Context, command, pkg string) (string, error) {
	installing.Lock()
	defer installing.Unlock()
	if path, err := exec.LookPath(command); err == nil {
		return path, nil
	}
	missing := fmt.Errorf("%s is missing: apt-get install %s", command, pkg)
	if os.Geteuid() != 0 {
		return "", missing
	}
	apt, err := exec.LookPath("apt-get")
	if err != nil {
		return "", fmt.Errorf("%w (on this system: by its own package manager)", missing)
	}
	lists := func() error { return aptGet(ctx, apt, "-q", "update") }
	install := func() error {
		return aptGet(ctx, apt, "-q", "-o", "DPkg::Lock::Timeout=300", "install", "-y", "--no-install-recommends", pkg)
	}
	if err := install(); err != nil { // the lists may be old, or not there yet
		if err := lists(); err != nil {
			return "", fmt.Errorf("%w: %w", missing, err)
		}
		if err := install(); err != nil {
			return "", fmt.Errorf("%w: %w", missing, err)
		}
	}
	return exec.LookPath(command)
}

func aptGet(ctx context.Context, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s %v: %w\n%s", name, args, err, out)
	}
	return nil
}
