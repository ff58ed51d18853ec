package clickhouse

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/ledgerline-es/ledgerline/internal/deps"
	"github.com/ledgerline-es/ledgerline/internal/process"
)

// Server is a running engine: a child of ours.
type Server struct {
	process *process.Process
	addr    string
}

// Start starts the engine on Config.Dir and returns once it answers. Its errors say what the child printed last.
func Start(ctx context.Context, cfg Config) (*Server, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	ctx, cancel := context.WithTimeout(ctx, cfg.StartTimeout)
	defer cancel()
	s, err := start(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("start the ClickHouse engine on %s: %w", cfg.Dir, err)
	}
	return s, nil
}

func start(ctx context.Context, cfg Config) (*Server, error) {
	dir, err := filepath.Abs(cfg.Dir)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	library, err := cfg.library(ctx)
	if err != nil {
		return nil, err
	}
	hold, err := lock(ctx, dir, cfg.StopTimeout)
	if err != nil {
		return nil, err
	}
	options, err := json.Marshal(roleOptions{Dir: dir, Listen: cfg.Listen, Library: library,
		Queries: cfg.Queries, Inserts: cfg.Inserts, ReadOnlyUsers: cfg.ReadOnlyUsers, StopTimeout: cfg.StopTimeout})
	if err != nil {
		return nil, errors.Join(err, hold.Close())
	}
	p, err := process.Start(ctx, process.Spec{
		Name: "clickhouse", Role: RoleName, Args: []string{string(options)},
		Dir:         dir,
		Env:         append(os.Environ(), "TZ=UTC"), // times without a zone are UTC, on every machine
		StopTimeout: cfg.StopTimeout, Log: cfg.Log, Hold: hold,
	})
	if err != nil {
		return nil, err
	}
	s := &Server{process: p}
	if s.addr, err = s.awaitEndpoint(ctx, endpointFile(dir)); err != nil {
		_ = p.Kill()
		<-p.Done()
		return nil, err
	}
	return s, nil
}

// library is the file to load, fetched if none was named.
func (c Config) library(ctx context.Context) (string, error) {
	if c.Library != "" {
		return filepath.Abs(c.Library)
	}
	dir, err := deps.Fetch(ctx, deps.ClickHouse, c.Log)
	if err != nil {
		return "", err
	}
	files, err := filepath.Glob(filepath.Join(dir, "libchdb.*"))
	if err != nil || len(files) == 0 {
		return "", fmt.Errorf("%s holds no libchdb: remove that folder, and it is fetched again", dir)
	}
	return files[0], nil
}

// lock takes the folder. A predecessor that is on its way out, since its parent was killed, is waited for.
func lock(ctx context.Context, dir string, patience time.Duration) (*os.File, error) {
	waiting, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	file, err := process.LockFile(waiting, lockFile(dir), nil)
	if err != nil && waiting.Err() != nil && ctx.Err() == nil {
		return nil, fmt.Errorf("another process has used this folder for the last %s: stop that one, or name another folder (%w)", patience, err)
	}
	return file, err
}

const endpointPoll = 5 * time.Millisecond

func (s *Server) awaitEndpoint(ctx context.Context, file string) (string, error) {
	poll := time.NewTicker(endpointPoll)
	defer poll.Stop()
	for {
		if addr, ok := readEndpoint(file, s.process.Pid()); ok {
			return addr, nil
		}
		select {
		case <-poll.C:
		case <-s.process.Done():
			if err := s.process.Err(); err != nil {
				return "", err
			}
			return "", errors.New("it ended at once")
		case <-ctx.Done():
			return "", fmt.Errorf("it does not answer: %w; its last lines:\n%s", context.Cause(ctx), s.process.LogTail())
		}
	}
}

// Addr is the address it listens on, host:port.
func (s *Server) Addr() string { return s.addr }

// URL is what drivers are given: http://host:port.
func (s *Server) URL() string { return "http://" + s.addr }

// Pid is the child's.
func (s *Server) Pid() int { return s.process.Pid() }

// Stop lets running statements end, closes the engine and waits for it.
func (s *Server) Stop(ctx context.Context) error { return s.process.Stop(ctx) }

// Kill ends it without warning, as a crash would.
func (s *Server) Kill() error { return s.process.Kill() }

// Done is closed when it has ended, however.
func (s *Server) Done() <-chan struct{} { return s.process.Done() }

// Err is why it ended; nil while it runs, and after Stop or Kill.
func (s *Server) Err() error { return s.process.Err() }
