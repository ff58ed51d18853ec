package deps

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// Name names a component.
type Name string

// The components, and what their folders hold.
const (
	Kafka      Name = "kafka"       // libs/*.jar with the broker
	KafkaTools Name = "kafka-tools" // libs/*.jar with the command-line tools
	Apicurio   Name = "apicurio"    // apicurio-registry-app-<version>-runner.jar and lib/
	Postgres   Name = "postgres"    // bin/postgres, bin/initdb, lib/, share/
	ClickHouse Name = "chdb"        // libchdb.so

	// KafkaStreams is no server: only the benchmark of the write side needs it, which fetches it.
	KafkaStreams Name = "kafka-streams" // libs/*.jar to compile and run programs with
)

// Names are the servers.
func Names() []Name { return []Name{Kafka, KafkaTools, Apicurio, Postgres, ClickHouse} }

// contents is a file (glob) that tells that a folder holds the component.
var contents = map[Name]string{
	Kafka:      "libs/kafka_2.13-*.jar",
	KafkaTools: "libs/kafka-tools-*.jar",
	Apicurio:   "apicurio-registry-app-*-runner.jar",
	Postgres:   "bin/postgres",
	ClickHouse: "libchdb.*",

	KafkaStreams: "libs/kafka-streams-*.jar",
}

//go:embed deps.lock
var lockText string

// Override is the environment variable that names a folder to use instead of the pinned component.
func Override(name Name) string {
	return "LEDGERLINE_DEPS_" + strings.ToUpper(strings.ReplaceAll(string(name), "-", "_"))
}

// Fetch gives the folder of a component, fetching it into the user's cache if it is not there yet; w receives lines of
// progress (nil for none). The folder is shared: write nothing into it. It may be called from several processes at once.
//
// Errors name the tool that is missing and how to get it, the file whose content is not the pinned one, or the platforms
// there is a package for.
func Fetch(ctx context.Context, name Name, w io.Writer) (dir string, err error) {
	if dir = os.Getenv(Override(name)); dir != "" {
		if err := holds(name, dir); err != nil {
			return "", fmt.Errorf("%s: %w", Override(name), err)
		}
		return filepath.Abs(dir)
	}
	lock, err := parseLock(lockText)
	if err != nil {
		return "", err
	}
	c, err := lock.find(name, runtime.GOOS+"/"+runtime.GOARCH)
	if err != nil {
		return "", err
	}
	root, err := cacheRoot()
	if err != nil {
		return "", err
	}
	dir = filepath.Join(root, c.folder())
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	if w == nil {
		w = io.Discard
	}
	f := fetcher{root: root, progress: w}
	if err := f.fetch(ctx, c, dir); err != nil {
		return "", fmt.Errorf("fetch %s: %w", c, err)
	}
	return dir, nil
}

// holds checks that a folder that somebody named holds the component.
func holds(name Name, dir string) error {
	found, err := filepath.Glob(filepath.Join(dir, contents[name]))
	if err != nil {
		return err
	}
	if len(found) == 0 {
		return fmt.Errorf("%s holds no %s: name a folder with %s, or unset the variable", dir, contents[name], name)
	}
	return nil
}

// cacheRoot is $XDG_CACHE_HOME/ledgerline, or where this system keeps users' caches.
func cacheRoot() (string, error) {
	base := os.Getenv("XDG_CACHE_HOME")
	if !filepath.IsAbs(base) {
		var err error
		if base, err = os.UserCacheDir(); err != nil {
			return "", fmt.Errorf("no folder for the cache: %w: set XDG_CACHE_HOME or HOME", err)
		}
	}
	root := filepath.Join(base, "ledgerline")
	if err := os.MkdirAll(root, 0o755); err != nil {
		return "", fmt.Errorf("make the cache: %w", err)
	}
	return root, nil
}

// fetcher fills the cache.
type fetcher struct {
	root     string
	progress io.Writer
}

// attempts: the second one keeps clear of whatever the tools have cached, since that may be what is broken.
const attempts = 2

func (f fetcher) fetch(ctx context.Context, c component, dir string) error {
	if err := f.tools(c); err != nil {
		return err
	}
	unlock, err := f.lock(ctx, filepath.Base(dir)+".lock", c.String())
	if err != nil {
		return err
	}
	defer unlock()
	if _, err := os.Stat(dir); err == nil {
		return nil // somebody was faster
	}
	var errs []error
	for attempt := range attempts {
		err := f.attempt(ctx, c, dir, attempt > 0)
		if err == nil {
			return nil
		}
		errs = append(errs, fmt.Errorf("attempt %d: %w", attempt+1, err))
		if ctx.Err() != nil {
			break
		}
		f.say(c, "%v", err)
	}
	return errors.Join(errs...)
}

func (f fetcher) attempt(ctx context.Context, c component, dir string, clean bool) error {
	// What a killed process left behind is nobody's: we hold the lock.
	stale, err := filepath.Glob(dir + ".tmp-*")
	if err != nil {
		return err
	}
	for _, s := range stale {
		if err := os.RemoveAll(s); err != nil {
			return err
		}
	}
	tmp, err := os.MkdirTemp(f.root, filepath.Base(dir)+".tmp-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)

	start := time.Now()
	f.say(c, "fetching by %s …", c.tool())
	work, loaded, ready := filepath.Join(tmp, "work"), filepath.Join(tmp, "loaded"), filepath.Join(tmp, "ready")
	for _, d := range []string{work, loaded, ready} {
		if err := os.Mkdir(d, 0o755); err != nil {
			return err
		}
	}
	if err := f.download(ctx, c, work, loaded, clean); err != nil {
		return err
	}
	if err := c.verify(loaded); err != nil {
		return err
	}
	if err := unpack(c, loaded, ready); err != nil {
		return err
	}
	if err := holds(c.name, ready); err != nil {
		return err
	}
	if err := os.Rename(ready, dir); err != nil {
		return err
	}
	f.say(c, "%d files verified, ready in %.1f s: %s", len(c.files), time.Since(start).Seconds(), dir)
	return nil
}

func (f fetcher) say(c component, format string, args ...any) {
	fmt.Fprintf(f.progress, "deps: %s: %s\n", c, fmt.Sprintf(format, args...))
}
