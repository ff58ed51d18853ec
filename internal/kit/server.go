package kit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/ledgerline-es/ledgerline/internal/deps"
)

// starter knows how to start one kind of server.
type starter interface {
	name() string
	components() []deps.Name
	// start starts it on dir and returns when it answers. Called again, after a kill, it starts on the same ports and data.
	start(ctx context.Context, dir string, log io.Writer) (running, error)
}

// running is a server that runs.
type running interface {
	Stop(ctx context.Context) error
	Kill() error
	Done() <-chan struct{}
	Err() error
	Pid() int
}

// server is one server, started when first asked for.
type server struct {
	house   *servers
	starter starter

	mu    sync.Mutex
	dir   string
	log   *os.File
	run   running
	err   error // starting failed; no further test waits for that again
	watch map[testing.TB]bool
}

// use gives a test the running server, and shows its log should the test fail.
func (s *server) use(t testing.TB) {
	t.Helper()
	s.showOnFailure(t)
	if err := s.up(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// up starts the server if it does not run: for the first time, or after a test has killed it.
func (s *server) up(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return fmt.Errorf("%s did not start for an earlier test: %w", s.starter.name(), s.err)
	}
	if s.run != nil {
		select {
		case <-s.run.Done():
			if err := s.run.Err(); err != nil {
				return fmt.Errorf("%s is gone: %w", s.starter.name(), err)
			}
		default:
			return nil
		}
	}
	err := s.begin(ctx)
	if err != nil && ctx.Err() == nil {
		s.err = err
	}
	return err
}

func (s *server) begin(ctx context.Context) error {
	name := s.starter.name()
	fetching, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	for _, c := range s.starter.components() {
		if _, err := deps.Fetch(fetching, c, os.Stderr); err != nil {
			return err
		}
	}
	if s.dir == "" {
		dir, err := s.house.room(ctx, name)
		if err != nil {
			return err
		}
		logs := dir
		if keep := os.Getenv("LEDGERLINE_KIT_LOGS"); keep != "" {
			logs = keep
		}
		if err := os.MkdirAll(logs, 0o750); err != nil {
			return err
		}
		if s.log, err = os.Create(filepath.Join(logs, fmt.Sprintf("%s-%d.log", name, os.Getpid()))); err != nil {
			return err
		}
		s.dir = dir
	}
	starting, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	run, err := s.starter.start(starting, s.dir, s.log)
	if err != nil {
		return fmt.Errorf("start %s: %w; its log ends in:\n%s", name, err, s.tail())
	}
	s.run = run
	return nil
}

// kill ends the server as a crash would.
func (s *server) kill(t testing.TB) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.run == nil {
		return
	}
	if err := s.run.Kill(); err != nil {
		t.Fatal(err)
	}
}

// done is closed while the server does not run.
func (s *server) done() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.run.Done()
}

func (s *server) stop(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.run == nil {
		return nil
	}
	err := s.run.Stop(ctx)
	return errors.Join(err, s.log.Close())
}

func (s *server) showOnFailure(t testing.TB) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.watch[t] {
		return
	}
	if s.watch == nil {
		s.watch = map[testing.TB]bool{}
	}
	s.watch[t] = true
	t.Cleanup(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.watch, t)
		if t.Failed() {
			t.Logf("the log of %s ends in:\n%s", s.starter.name(), s.tail())
		}
	})
}

const (
	tailLines = 30
	tailBytes = 16 << 10
)

// tail is the end of the log.
func (s *server) tail() string {
	if s.log == nil {
		return "(it has not started)"
	}
	in, err := os.Open(s.log.Name())
	if err != nil {
		return err.Error()
	}
	defer in.Close()
	if size, err := in.Seek(0, io.SeekEnd); err == nil {
		_, _ = in.Seek(max(0, size-tailBytes), io.SeekStart)
	}
	text, err := io.ReadAll(in)
	if err != nil {
		return err.Error()
	}
	lines := bytes.Split(bytes.TrimSpace(text), []byte("\n"))
	return string(bytes.Join(lines[max(0, len(lines)-tailLines):], []byte("\n")))
}

const askInterval = 50 * time.Millisecond

// await asks until the server answers, it has ended, or ctx ends.
func await(ctx context.Context, run running, ask func(ctx context.Context) error) error {
	tick := time.NewTicker(askInterval)
	defer tick.Stop()
	for {
		err := ask(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-run.Done():
			if err := run.Err(); err != nil {
				return err
			}
			return errors.New("it ended while it started")
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("no answer in time (last: %w)", err), run.Kill())
		}
	}
}
