package clickhouse

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	ch "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/ledgerline-es/ledgerline/internal/process"
)

const (
	patience = 2 * time.Minute // for what happens at some time: generous, since machines are shared
	analyst  = "analyst"       // may only read

	sharedQueries = 6 // places of the shared engine
)

func TestMain(m *testing.M) {
	process.Dispatch(Role(), process.Role{Name: "owner", Run: ownerRole})
	code := m.Run()
	if err := shared.stop(); err != nil {
		fmt.Fprintln(os.Stderr, "stop the shared engine:", err)
		code = 1
	}
	os.Exit(code)
}

// shared is one engine for all tests that only use it.
var shared sharedEngine

type sharedEngine struct {
	once   sync.Once
	folder *process.Folder
	server *Server
	err    error
}

func (s *sharedEngine) start() {
	if s.folder, s.err = process.TempFolder(context.Background(), "ledgerline-clickhouse-"); s.err != nil {
		return
	}
	s.server, s.err = Start(context.Background(), Config{
		Dir: s.folder.Path, Queries: sharedQueries, Inserts: 2, ReadOnlyUsers: []string{analyst}, Log: os.Stderr,
	})
}

func (s *sharedEngine) stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var errs []error
	if s.server != nil {
		errs = append(errs, s.server.Stop(ctx))
	}
	if s.folder != nil {
		errs = append(errs, s.folder.Remove(ctx))
	}
	return errors.Join(errs...)
}

func sharedServer(t *testing.T) *Server {
	t.Helper()
	shared.once.Do(shared.start)
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	return shared.server
}

func startServer(t *testing.T, cfg Config) *Server {
	t.Helper()
	s, err := Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stopServer(t, s) })
	return s
}

func stopServer(t *testing.T, s *Server) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := s.Stop(ctx); err != nil {
		t.Error(err)
	}
}

// database makes a database for one test.
func database(t *testing.T, s *Server) string {
	t.Helper()
	name := "t" + strings.ToLower(strings.NewReplacer("/", "_", "-", "_").Replace(t.Name()))
	post(t, s, "", "CREATE DATABASE `"+name+"`")
	t.Cleanup(func() {
		select {
		case <-s.Done():
		default:
			post(t, s, "", "DROP DATABASE `"+name+"` SYNC")
		}
	})
	return name
}

// connect opens clickhouse-go as a user would.
func connect(t *testing.T, s *Server, db string, change ...func(*ch.Options)) driver.Conn {
	t.Helper()
	o := &ch.Options{Protocol: ch.HTTP, Addr: []string{s.Addr()}, Auth: ch.Auth{Database: db}}
	for _, c := range change {
		c(o)
	}
	c, err := ch.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func exec(t *testing.T, c driver.Conn, sql string, args ...any) {
	t.Helper()
	if err := c.Exec(t.Context(), sql, args...); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

func scalar[T any](t *testing.T, c driver.Conn, sql string, args ...any) T {
	t.Helper()
	var v T
	if err := c.QueryRow(t.Context(), sql, args...).Scan(&v); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return v
}

// answer is what curl would see.
type answer struct {
	status int
	header http.Header
	body   string
}

func send(t *testing.T, r *http.Request) answer {
	t.Helper()
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, string(body)}
}

func newRequest(t *testing.T, s *Server, method, params, body string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(context.WithoutCancel(t.Context()), method, s.URL()+"/?"+params, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// ask sends a request and returns whatever comes back.
func ask(t *testing.T, s *Server, method, params, body string) answer {
	t.Helper()
	return send(t, newRequest(t, s, method, params, body))
}

// post is a request that must succeed.
func post(t *testing.T, s *Server, params, body string) string {
	t.Helper()
	a := ask(t, s, http.MethodPost, params, body)
	if a.status != http.StatusOK {
		t.Fatalf("%s %s: %d %s", params, body, a.status, a.body)
	}
	return a.body
}

func query(sql string) string { return url.Values{"query": {sql}}.Encode() }

func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("not within %s: %s", patience, what)
		}
	}
}
