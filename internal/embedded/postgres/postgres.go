package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ledgerline-es/ledgerline/internal/deps"
	"github.com/ledgerline-es/ledgerline/internal/process"
)

// What Start makes.
const (
	User     = "ledgerline" // superuser, without password
	Database = "ledgerline"
)

// Config says where and how the server runs.
type Config struct {
	Dir      string            // holds its data and nothing else; required; made if missing
	Listen   string            // loopback address and port; default 127.0.0.1:0, a free port
	Log      io.Writer         // the server's log; default none
	Progress io.Writer         // lines about fetching the server at the first start; default none
	Settings map[string]string // postgresql.conf, beyond or instead of ours
}

// Validate names the field, the value and the remedy.
func (c Config) Validate() error {
	if c.Dir == "" {
		return errors.New("postgres: Dir is empty: name a folder for the data")
	}
	host, _, err := net.SplitHostPort(c.Listen)
	if err != nil {
		return fmt.Errorf("postgres: Listen %q: %w: give 127.0.0.1:PORT", c.Listen, err)
	}
	if ip := net.ParseIP(host); ip == nil || !ip.IsLoopback() {
		return fmt.Errorf("postgres: Listen %q is not a loopback address: the server has no passwords; give 127.0.0.1:PORT", c.Listen)
	}
	return nil
}

func (c Config) withDefaults() (Config, error) {
	if c.Listen == "" {
		c.Listen = "127.0.0.1:0"
	}
	if err := c.Validate(); err != nil {
		return c, err
	}
	if host, port, _ := net.SplitHostPort(c.Listen); port == "0" {
		free, err := process.FreePort()
		if err != nil {
			return c, fmt.Errorf("postgres: %w", err)
		}
		c.Listen = net.JoinHostPort(host, fmt.Sprint(free))
	}
	var err error
	c.Dir, err = filepath.Abs(c.Dir)
	return c, err
}

// Server is a running server.
type Server struct {
	addr string
	proc *process.Process
}

// How long things may take on a machine that is busy with other things.
const (
	initTimeout = 2 * time.Minute
	stopTimeout = time.Minute
	askInterval = 50 * time.Millisecond
	askTimeout  = 5 * time.Second
)

// Start starts the server and returns when it answers and Database exists. The first start in a folder makes a cluster
// there. A server that a killed process left behind on the folder is waited for; ctx bounds it all.
func Start(ctx context.Context, cfg Config) (*Server, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	// Asked here since a taken port, seen by the server, would be one of many reasons that it may end for.
	if err := process.PortFree(cfg.Listen); err != nil {
		return nil, fmt.Errorf("postgres: %w", err)
	}
	home, err := deps.Fetch(ctx, deps.Postgres, cfg.Progress)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("postgres: %w", err)
	}
	lock, err := process.LockFile(ctx, filepath.Join(cfg.Dir, "lock"), nil)
	if err != nil {
		return nil, fmt.Errorf("postgres: another server runs on %s: %w", cfg.Dir, err)
	}
	data := filepath.Join(cfg.Dir, "data")
	if err := prepare(ctx, home, data); err != nil {
		return nil, errors.Join(fmt.Errorf("postgres: make a cluster in %s: %w", cfg.Dir, err), lock.Close())
	}
	s := &Server{addr: cfg.Listen}
	s.proc, err = process.Start(ctx, process.Spec{
		Name: "postgres", Path: filepath.Join(home, "bin", "postgres"), Args: arguments(cfg, data), Env: environment(),
		Log: cfg.Log, Hold: lock, UserNamespace: true,
		StopSignal: syscall.SIGINT, StopTimeout: stopTimeout, // fast shutdown: clients are disconnected, the data are in order
		OrphanSignal: syscall.SIGQUIT, // at once, and the backends with it; the next start recovers
	})
	if err != nil {
		return nil, err
	}
	if err := s.awaitReady(ctx); err != nil {
		return nil, errors.Join(err, s.proc.Kill())
	}
	return s, nil
}

// prepare makes a cluster where there is none, and clears what a killed server left.
func prepare(ctx context.Context, home, data string) error {
	// The lock is ours, so whoever wrote this file is gone, although its process id may live on in another.
	if err := os.Remove(filepath.Join(data, "postmaster.pid")); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if _, err := os.Stat(data); err == nil {
		return nil
	}
	half := data + ".half"
	if err := os.RemoveAll(half); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, initTimeout)
	defer cancel()
	err := process.Run(ctx, process.Spec{
		Name: "initdb", Path: filepath.Join(home, "bin", "initdb"), Env: environment(), UserNamespace: true,
		Args: []string{"--pgdata=" + half, "--username=" + User, "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-instructions"},
	})
	if err != nil {
		return err
	}
	return os.Rename(half, data)
}

// environment is free of what the user's own PostgreSQL is configured by.
func environment() []string {
	return slices.DeleteFunc(append(os.Environ(), "LC_ALL=C", "TZ=UTC"), func(v string) bool { return strings.HasPrefix(v, "PG") })
}

func arguments(cfg Config, data string) []string {
	host, port, _ := net.SplitHostPort(cfg.Listen) // Validate has read it
	settings := map[string]string{
		"listen_addresses":        host,
		"port":                    port,
		"unix_socket_directories": "",
		"max_connections":         "200",
		"timezone":                "UTC",
		"log_timezone":            "UTC",
		// POSIX shared memory would outlive a postmaster that was killed and is never started again.
		"dynamic_shared_memory_type": "mmap",
	}
	maps.Copy(settings, cfg.Settings)
	args := []string{"-D", data}
	for k, v := range settings {
		args = append(args, "-c", k+"="+v)
	}
	return args
}

// awaitReady waits until the server answers, and makes the database.
func (s *Server) awaitReady(ctx context.Context) error {
	tick := time.NewTicker(askInterval)
	defer tick.Stop()
	for {
		err := s.createDatabase(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-s.proc.Done():
			return s.proc.Err()
		case <-ctx.Done():
			return fmt.Errorf("postgres does not answer on %s: %w; last: %w; its log:\n%s", s.addr, ctx.Err(), err, s.proc.LogTail())
		}
	}
}

func (s *Server) createDatabase(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	conn, err := pgx.Connect(ctx, s.urlOf("postgres"))
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	var exists bool
	if err := conn.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)", Database).Scan(&exists); err != nil || exists {
		return err
	}
	_, err = conn.Exec(ctx, "CREATE DATABASE "+pgx.Identifier{Database}.Sanitize())
	return err
}

func (s *Server) urlOf(database string) string {
	return fmt.Sprintf("postgres://%s@%s/%s", User, s.addr, database)
}

// URL is the address of Database.
func (s *Server) URL() string { return s.urlOf(Database) }

// Addr is host and port.
func (s *Server) Addr() string { return s.addr }

// Pid is the postmaster's.
func (s *Server) Pid() int { return s.proc.Pid() }

// Stop shuts the server down in good order; clients are disconnected.
func (s *Server) Stop(ctx context.Context) error { return s.proc.Stop(ctx) }

// Kill ends the server as a crash would, and returns when its backends are gone too.
func (s *Server) Kill() error { return s.proc.Kill() }

// Done is closed when the server has ended; Err then says why, if nobody asked for it.
func (s *Server) Done() <-chan struct{} { return s.proc.Done() }

// Err is nil while the server runs and after Stop and Kill.
func (s *Server) Err() error { return s.proc.Err() }

// LogTail is the last lines of the server's log.
func (s *Server) LogTail() string { return s.proc.LogTail() }
