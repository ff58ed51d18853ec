package deps

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
)

func TestLock_IsCompleteAndRoundTrips(t *testing.T) {
	lock, err := parseLock(lockText)
	if err != nil {
		t.Fatal(err)
	}
	if lock.format() != lockText {
		t.Error("deps.lock is not as the command writes it: run go run ./internal/deps/cmd/deps -update-lock")
	}
	for _, name := range append(Names(), KafkaStreams) {
		c, err := lock.find(name, "linux/amd64")
		if err != nil {
			t.Error(err)
		}
		if len(c.files) == 0 {
			t.Errorf("%s has no files in the lock", name)
		}
	}
}

func TestLock_SaysWhatItCannotRead(t *testing.T) {
	for _, text := range []string{"kafka any", "kafka any maven-tree nocolon", "  abc file", "kafka any ftp a:b:c", "x any npm chdb"} {
		if _, err := parseLock("# first\n" + text); err == nil || !strings.Contains(err.Error(), "line 2") {
			t.Errorf("parseLock(%q) = %v, want the line", text, err)
		}
	}
}

func TestOtherPlatform_SaysWhichAreSupported(t *testing.T) {
	lock, err := parseLock(lockText)
	if err != nil {
		t.Fatal(err)
	}
	_, err = lock.find(ClickHouse, "plan9/mips")
	for _, want := range []string{"plan9/mips", "linux/amd64", "LEDGERLINE_DEPS_CHDB"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("find = %v, want it to name %s", err, want)
		}
	}
}

func TestVerify_NamesFileWantedAndGot(t *testing.T) {
	dir := t.TempDir()
	put(t, filepath.Join(dir, "changed.jar"), "evil")
	put(t, filepath.Join(dir, "extra.jar"), "extra")
	c := component{files: []file{{"changed.jar", sum("good")}, {"missing.jar", sum("m")}}}
	err := c.verify(dir)
	for _, want := range []string{"changed.jar is not the pinned file: want sha256 " + sum("good") + ", got " + sum("evil"), "missing.jar is missing", "extra.jar came along"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("verify = %v\nwant it to hold %q", err, want)
		}
	}
}

func TestOverride_IsUsedAndChecked(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("LEDGERLINE_DEPS_KAFKA_TOOLS", dir)
	if _, err := Fetch(t.Context(), KafkaTools, nil); err == nil || !strings.Contains(err.Error(), "LEDGERLINE_DEPS_KAFKA_TOOLS") {
		t.Errorf("an empty folder was taken: %v", err)
	}
	put(t, filepath.Join(dir, "libs", "kafka-tools-9.jar"), "")
	if got, err := Fetch(t.Context(), KafkaTools, nil); err != nil || got != dir {
		t.Errorf("Fetch = %q, %v", got, err)
	}
}

func TestMissingTool_IsNamedWithItsRemedy(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	t.Setenv("PATH", t.TempDir())
	t.Setenv("JAVA_HOME", "")
	if _, err := Javac(); err == nil || !strings.Contains(err.Error(), "apt-get install openjdk-17-jdk-headless") {
		t.Errorf("Javac = %v, want the remedy", err)
	}
	for name, want := range map[Name]string{Kafka: "mvn is not installed: apt-get install maven", ClickHouse: "npm is not installed: apt-get install npm"} {
		if name == ClickHouse && runtime.GOOS+"/"+runtime.GOARCH != "linux/amd64" {
			continue // there is no package for it here, and that is said first
		}
		if _, err := Fetch(t.Context(), name, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Fetch(%s) = %v, want %q", name, err, want)
		}
	}
}

// A stand-in for mvn counts its calls and delivers what the test wants.
func fakeMaven(t *testing.T, script string) (f fetcher, calls func() int, said *bytes.Buffer) {
	t.Helper()
	bin, root := t.TempDir(), t.TempDir()
	log := filepath.Join(bin, "calls")
	text := "#!/bin/sh\nfor a in \"$@\"; do case $a in -DoutputDirectory=*) out=${a#*=};; -Dmaven.repo.local=*) clean=1;; esac; done\necho >> " + log + "\n" + script
	if err := os.WriteFile(filepath.Join(bin, "mvn"), []byte(text), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+string(os.PathListSeparator)+os.Getenv("PATH"))
	said = new(bytes.Buffer)
	calls = func() int {
		b, err := os.ReadFile(log)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		return bytes.Count(b, []byte("\n"))
	}
	return fetcher{root: root, progress: &lockedWriter{w: said}}, calls, said
}

var treeOfOne = component{name: Kafka, platform: anyPlatform, source: mavenTree, coordinate: "g:a:1", files: []file{{"kafka_2.13-1.jar", sum("jar")}}}

func TestFetch_TriesOnceMorePastTheToolsCache(t *testing.T) {
	f, calls, said := fakeMaven(t, `if [ -n "$clean" ]; then printf jar > $out/kafka_2.13-1.jar; else printf torn > $out/kafka_2.13-1.jar; fi`)
	dir := filepath.Join(f.root, treeOfOne.folder())
	if err := f.fetch(t.Context(), treeOfOne, dir); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(filepath.Join(dir, "libs", "kafka_2.13-1.jar")); err != nil || string(b) != "jar" {
		t.Errorf("the file holds %q, %v", b, err)
	}
	if calls() != 2 || !strings.Contains(said.String(), "is not the pinned file") {
		t.Errorf("%d calls; said: %s", calls(), said)
	}
}

func TestFetch_LeavesNothingHalfMade(t *testing.T) {
	f, calls, _ := fakeMaven(t, "echo registry is away >&2; printf jar > $out/kafka_2.13-1.jar; exit 1")
	dir := filepath.Join(f.root, treeOfOne.folder())
	put(t, filepath.Join(dir+".tmp-123", "left"), "by a killed process")
	err := f.fetch(t.Context(), treeOfOne, dir)
	if err == nil || !strings.Contains(err.Error(), "registry is away") || calls() != attempts {
		t.Errorf("fetch = %v after %d calls", err, calls())
	}
	left, err := os.ReadDir(f.root)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range left {
		if entry.IsDir() {
			t.Errorf("left behind: %s", entry.Name())
		}
	}
}

func TestFetch_ManyAtOnceFetchOnce(t *testing.T) {
	f, calls, _ := fakeMaven(t, "printf jar > $out/kafka_2.13-1.jar")
	dir := filepath.Join(f.root, treeOfOne.folder())
	var group sync.WaitGroup
	errs := make(chan error, 8)
	for range cap(errs) {
		group.Go(func() { errs <- f.fetch(t.Context(), treeOfOne, dir) })
	}
	group.Wait()
	close(errs)
	for err := range errs {
		if err != nil {
			t.Error(err)
		}
	}
	if calls() != 1 {
		t.Errorf("%d calls, want 1", calls())
	}
}

func TestFetch_CanBeCancelled(t *testing.T) {
	f, _, _ := fakeMaven(t, "exec cat /dev/zero > /dev/null")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- f.fetch(ctx, treeOfOne, filepath.Join(f.root, "x")) }()
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("fetch = %v", err)
	}
}

func TestUnpack_StaysInItsFolder(t *testing.T) {
	loaded, ready := t.TempDir(), t.TempDir()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	if _, err := z.Create("../escaped"); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(loaded, "app.zip"), b.String())
	c := component{name: Apicurio, source: mavenFile, files: []file{{name: "app.zip"}}}
	if err := unpack(c, loaded, ready); err == nil {
		t.Error("an archive wrote beside its folder")
	}
}

type lockedWriter struct {
	mu sync.Mutex
	w  *bytes.Buffer
}

func (l *lockedWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

func sum(text string) string {
	s := sha256.Sum256([]byte(text))
	return hex.EncodeToString(s[:])
}

func put(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
