package kit

import (
	"bytes"
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ledgerline-es/ledgerline/internal/process"
)

// DemoRun is a demo that runs until the test ends.
type DemoRun struct {
	At   map[string]string // address by listener: kafka, registry, postgres, clickhouse, api, admin
	Said *Output
}

// Demo runs a program's demo on free ports, with its data in a folder below dir, and waits until it says that it is ready.
func Demo(t testing.TB, binary, dir string) DemoRun {
	t.Helper()
	d := DemoRun{At: map[string]string{}, Said: &Output{}}
	args := []string{"demo", "--data-dir", filepath.Join(dir, "data")}
	for _, name := range []string{"kafka", "registry", "postgres", "clickhouse", "api", "admin"} {
		port, err := process.FreePort()
		if err != nil {
			t.Fatal(err)
		}
		d.At[name] = fmt.Sprintf("127.0.0.1:%d", port)
		args = append(args, "--"+name+"-listen", d.At[name])
	}
	p, err := process.Start(t.Context(), process.Spec{Name: "demo", Path: binary, Args: args, Log: d.Said, StopTimeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Stop(context.Background()); err != nil {
			t.Errorf("stop the demo: %v", err)
		}
	})
	for deadline := time.After(10 * time.Minute); !strings.Contains(d.Said.String(), "\nready"); { // the first start fetches the servers
		select {
		case <-p.Done():
			t.Fatalf("the demo ended: %v\n%s", p.Err(), d.Said)
		case <-deadline:
			t.Fatalf("the demo does not become ready:\n%s", d.Said)
		case <-time.After(50 * time.Millisecond):
		}
	}
	return d
}

// Output collects what a process says, for a test that reads it meanwhile.
type Output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *Output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(b)
}

func (o *Output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// Last is the last n lines.
func (o *Output) Last(n int) string {
	lines := strings.Split(strings.TrimSpace(o.String()), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
