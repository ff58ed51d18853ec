package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ledgerline-es/ledgerline/internal/process"
)

// stand is a place where a demo can run again and again: a data folder and ports of its own.
type stand struct {
	*program
	data    string
	address map[string]string // by the name of its flag, without "-listen"
}

var listeners = []string{"kafka", "registry", "postgres", "clickhouse", "api", "admin"}

func newStand(t *testing.T) *stand {
	t.Helper()
	p := newProgram(t)
	s := &stand{program: p, data: filepath.Join(p.folder, "data"), address: map[string]string{}}
	for _, name := range listeners {
		port, err := process.FreePort()
		if err != nil {
			t.Fatal(err)
		}
		s.address[name] = fmt.Sprintf("127.0.0.1:%d", port)
	}
	t.Cleanup(func() {
		if t.Failed() {
			for _, name := range []string{"kafka", "postgres", "clickhouse"} {
				log, _ := os.ReadFile(filepath.Join(s.data, name+".log"))
				t.Logf("the end of %s.log:\n%s", name, log[max(0, len(log)-4000):])
			}
		}
	})
	return s
}

// flags are those of the demo.
func (s *stand) flags() []string {
	f := []string{"--data-dir", s.data}
	for _, name := range listeners {
		f = append(f, "--"+name+"-listen", s.address[name])
	}
	return f
}

// client are the flags of a command that publishes.
func (s *stand) client() []string {
	return []string{"--kafka-brokers", s.address["kafka"], "--registry-url", "http://" + s.address["registry"]}
}

// all are the flags of a command that looks into the stores, too.
func (s *stand) all() []string { return append(s.client(), s.stores()...) }

func (s *stand) stores() []string {
	return []string{"--postgres-url", s.postgresURL(), "--clickhouse-url", "http://" + s.address["clickhouse"]}
}

func (s *stand) postgresURL() string {
	return "postgres://ledgerline@" + s.address["postgres"] + "/ledgerline"
}

// publish publishes a command to an account.
func (s *stand) publish(wantCode int, command, id, doc string, more ...string) said {
	s.t.Helper()
	args := append([]string{"publish", "account", command, "--id", id, doc}, more...)
	return s.run(wantCode, append(args, s.client()...)...)
}

// verify checks everything and gives what it said.
func (s *stand) verify(wantCode int) said {
	s.t.Helper()
	return s.run(wantCode, append([]string{"verify"}, s.all()...)...)
}

// postgres runs SQL that changes one row.
func (s *stand) postgres(sql string, args ...any) {
	s.t.Helper()
	if rows := s.postgresRun(sql, args...); rows != 1 {
		s.t.Fatalf("%s: %d rows", sql, rows)
	}
}

// postgresRun runs SQL and gives the number of rows that it changed.
func (s *stand) postgresRun(sql string, args ...any) int64 {
	s.t.Helper()
	conn, err := pgx.Connect(s.t.Context(), s.postgresURL())
	if err != nil {
		s.t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(s.t.Context()))
	tag, err := conn.Exec(s.t.Context(), sql, args...)
	if err != nil {
		s.t.Fatalf("%s: %v", sql, err)
	}
	return tag.RowsAffected()
}

// clickhouse runs SQL.
func (s *stand) clickhouse(sql string) string {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), http.MethodPost, "http://"+s.address["clickhouse"], strings.NewReader(sql))
	if err != nil {
		s.t.Fatal(err)
	}
	code, body, err := do(req)
	if err != nil || code != http.StatusOK {
		s.t.Fatalf("%s: %d %s %v", sql, code, body, err)
	}
	return strings.TrimSpace(body)
}

// ask gets a page of an admin listener.
func (p *program) ask(address, path string) (int, string) {
	p.t.Helper()
	req, err := http.NewRequestWithContext(p.t.Context(), http.MethodGet, "http://"+address+path, nil)
	if err != nil {
		p.t.Fatal(err)
	}
	code, body, err := do(req)
	if err != nil {
		return 0, err.Error()
	}
	return code, body
}

func do(req *http.Request) (int, string, error) {
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	return res.StatusCode, string(body), err
}

// process is a run of the program that goes on: a demo or a role.
type background struct {
	t        *testing.T
	cmd      *exec.Cmd
	terminal output
	ended    chan struct{}
	took     time.Duration // from its start until it was ready
}

// start starts the demo and returns when it is ready.
func (s *stand) start(more ...string) *background {
	s.t.Helper()
	b := s.begin(append(append([]string{"demo"}, s.flags()...), more...)...)
	b.says("ready ")
	return b
}

// begin starts the program; it is killed at the end of the test if it still runs.
func (p *program) begin(args ...string) *background {
	p.t.Helper()
	b := &background{t: p.t, cmd: p.command(context.Background(), args...), ended: make(chan struct{}), terminal: output{changed: make(chan struct{}, 1)}}
	b.cmd.Stdout, b.cmd.Stderr = &b.terminal, &b.terminal
	b.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := b.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	go func() {
		_ = b.cmd.Wait() // how it ended is asked for by whoever wants it to
		close(b.ended)
	}()
	p.t.Cleanup(func() {
		_ = b.cmd.Process.Kill() // unless it has ended
		<-b.ended
		if p.t.Failed() {
			p.t.Logf("%s said:\n%s", strings.Join(args[:1], " "), b.terminal.text())
		}
	})
	return b
}

// says waits for a line that begins so.
func (b *background) says(begin string) {
	b.t.Helper()
	started := time.Now()
	deadline := time.After(patience)
	for !strings.Contains("\n"+b.terminal.text(), "\n"+begin) {
		select {
		case <-b.terminal.changed:
		case <-b.ended:
			if !strings.Contains("\n"+b.terminal.text(), "\n"+begin) {
				b.t.Fatalf("it ended (%v) before it said %q:\n%s", b.cmd.ProcessState, begin, b.terminal.text())
			}
		case <-deadline:
			b.t.Fatalf("after %v it has not said %q:\n%s", patience, begin, b.terminal.text())
		}
	}
	b.took = time.Since(started)
}

// signal sends a signal to the program alone, as kill does.
func (b *background) signal(s syscall.Signal) {
	b.t.Helper()
	if err := b.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		b.t.Fatal(err)
	}
}

// ends waits for its end with an exit code; -1 when a signal kills it.
func (b *background) ends(wantCode int) {
	b.t.Helper()
	select {
	case <-b.ended:
	case <-time.After(patience):
		b.t.Fatalf("it has not ended after %v:\n%s", patience, b.terminal.text())
	}
	if code := b.cmd.ProcessState.ExitCode(); code != wantCode {
		b.t.Fatalf("it ended with exit code %d (%v), wanted %d:\n%s", code, b.cmd.ProcessState, wantCode, b.terminal.text())
	}
}

// output is what a program prints, for a test that reads it meanwhile.
type output struct {
	mu      sync.Mutex
	bytes   bytes.Buffer
	changed chan struct{}
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	select {
	case o.changed <- struct{}{}:
	default:
	}
	return o.bytes.Write(b)
}

func (o *output) text() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.bytes.String()
}
