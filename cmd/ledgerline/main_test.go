package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ledgerline-es/ledgerline/internal/kit"
	"github.com/ledgerline-es/ledgerline/internal/process"
)

// The tests of this package run the real program, built with the race detector.

func TestMain(m *testing.M) { kit.Main(m) }

// patience is how long a test waits for what must come: machines are slow and busy.
const patience = 3 * time.Minute

// raceExit is the exit code of a program in which the race detector found something.
const raceExit = 66

// binary builds the program once a test binary. Its folder goes with the test binary.
var binary = sync.OnceValues(func() (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	folder, err := process.TempFolder(ctx, "ledgerline-system-*")
	if err != nil {
		return "", err
	}
	path := filepath.Join(folder.Path, "ledgerline")
	out, err := exec.CommandContext(ctx, "go", "build", "-race", "-o", path, ".").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("go build -race: %w\n%s", err, out)
	}
	return path, nil
})

// program is how one test runs the binary. Whatever it starts, and what that starts, carries a token in its environment.
type program struct {
	t      *testing.T
	path   string
	folder string // it runs there, and its temporary files lie there
	token  string
}

func newProgram(t *testing.T) *program {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	p := &program{t: t, path: path, folder: t.TempDir(), token: "SYSTEM_TEST_TOKEN=" + kit.Prefix(t)}
	t.Cleanup(func() {
		p.gone("at the end of the test")
		p.noTemporaryFiles()
	})
	return p
}

func (p *program) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, p.path, args...)
	cmd.Dir = p.folder
	if err := os.MkdirAll(p.temporary(), 0o755); err != nil {
		p.t.Fatal(err)
	}
	// Settings in the environment of whoever runs the tests are not ours.
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool {
		return strings.HasPrefix(v, "LEDGERLINE_") && !strings.HasPrefix(v, "LEDGERLINE_DEPS_")
	})
	cmd.Env = append(cmd.Env, p.token, "TMPDIR="+p.temporary(), fmt.Sprintf("GORACE=exitcode=%d halt_on_error=1", raceExit))
	return cmd
}

func (p *program) temporary() string { return filepath.Join(p.folder, "tmp") }

// said is what a run of the program printed.
type said struct{ out, err string }

func (s said) String() string { return s.out + s.err }

// run runs the program to its end and fails the test unless it ends with the exit code.
func (p *program) run(wantCode int, args ...string) said {
	p.t.Helper()
	s, err := p.try(wantCode, args...)
	if err != nil {
		p.t.Fatal(err)
	}
	return s
}

// try is run for what may have to be tried again.
func (p *program) try(wantCode int, args ...string) (said, error) {
	ctx, cancel := context.WithTimeout(p.t.Context(), patience)
	defer cancel()
	cmd := p.command(ctx, args...)
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	err := cmd.Run()
	s := said{out.String(), errOut.String()}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return s, err
	}
	if code := cmd.ProcessState.ExitCode(); code != wantCode {
		return s, fmt.Errorf("ledgerline %s: exit code %d, wanted %d\n%s", strings.Join(args, " "), code, wantCode, s)
	}
	return s, nil
}

// runJSON is run for what prints one JSON document.
func (p *program) runJSON(doc any, wantCode int, args ...string) {
	p.t.Helper()
	s := p.run(wantCode, append(args, "--json")...)
	if err := json.Unmarshal([]byte(s.out), doc); err != nil {
		p.t.Fatalf("ledgerline %s --json printed %q: %v", strings.Join(args, " "), s.out, err)
	}
}

// running is a process that the program started, or the program itself.
type running struct {
	pid  int
	args string
}

func (r running) String() string { return fmt.Sprintf("%d: %.120s", r.pid, r.args) }

// processes are those that carry the token.
func (p *program) processes() (found []running) {
	p.t.Helper()
	all, err := filepath.Glob("/proc/[0-9]*/environ")
	if err != nil {
		p.t.Fatal(err)
	}
	for _, file := range all {
		environ, err := os.ReadFile(file)
		if err != nil || !slices.Contains(strings.Split(string(environ), "\x00"), p.token) {
			continue // it is another's, or has ended
		}
		args, _ := os.ReadFile(filepath.Join(filepath.Dir(file), "cmdline"))
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		found = append(found, running{pid, strings.ReplaceAll(string(args), "\x00", " ")})
	}
	return found
}

// gone waits until no process is left.
func (p *program) gone(when string) {
	p.t.Helper()
	p.await(func() error {
		if left := p.processes(); len(left) > 0 {
			return fmt.Errorf("%s there are still %v", when, left)
		}
		return nil
	})
}

// await waits until check gives nil.
func (p *program) await(check func() error) {
	p.t.Helper()
	deadline := time.Now().Add(patience)
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			p.t.Fatalf("after %v: %v", patience, err)
		}
		<-time.After(10 * time.Millisecond)
	}
}

func (p *program) noTemporaryFiles() {
	files, err := filepath.Glob(filepath.Join(p.temporary(), "*"))
	if err != nil || len(files) > 0 {
		p.t.Errorf("temporary files are left: %v (%v)", files, err)
	}
}

// write writes a file into the folder that the program runs in.
func (p *program) write(name, text string) {
	p.t.Helper()
	if err := os.WriteFile(filepath.Join(p.folder, name), []byte(text), 0o600); err != nil {
		p.t.Fatal(err)
	}
}
