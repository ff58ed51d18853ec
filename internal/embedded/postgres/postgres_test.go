package postgres_test

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ledgerline-es/ledgerline/internal/embedded/postgres"
	"github.com/ledgerline-es/ledgerline/internal/process"
)

func TestMain(m *testing.M) {
	process.Dispatch()
	os.Exit(m.Run())
}

func start(t *testing.T, cfg postgres.Config) *postgres.Server {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	s, err := postgres.Start(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Kill() })
	return s
}

func query[T any](t *testing.T, s *postgres.Server, sql string) T {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), s.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(t.Context()))
	var v T
	if err := conn.QueryRow(t.Context(), sql).Scan(&v); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return v
}

func TestStopAndKill_TheDataStay(t *testing.T) {
	cfg := postgres.Config{Dir: filepath.Join(t.TempDir(), "pg")}
	s := start(t, cfg)
	if v := query[string](t, s, "SHOW server_version"); !strings.HasPrefix(v, "17.") {
		t.Errorf("server version %s", v)
	}
	exec(t, s, "CREATE TABLE kept (n bigint)")
	exec(t, s, "INSERT INTO kept VALUES (1)")
	if err := s.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	cfg.Listen = s.Addr()
	s = start(t, cfg)
	exec(t, s, "INSERT INTO kept VALUES (2)")
	if err := s.Kill(); err != nil {
		t.Fatal(err)
	}
	s = start(t, cfg)
	if n := query[int64](t, s, "SELECT sum(n)::bigint FROM kept"); n != 3 {
		t.Errorf("sum %d after a stop and a kill, want 3", n)
	}
}

func exec(t *testing.T, s *postgres.Server, sql string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), s.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(t.Context()))
	if _, err := conn.Exec(t.Context(), sql); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

func TestSecondServerOnTheFolder_WaitsAndThenSaysSo(t *testing.T) {
	dir := t.TempDir()
	start(t, postgres.Config{Dir: dir})
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := postgres.Start(ctx, postgres.Config{Dir: dir}); err == nil || !strings.Contains(err.Error(), "another server runs on "+dir) {
		t.Errorf("Start = %v", err)
	}
}

func TestTakenPort_IsNamed(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, err = postgres.Start(t.Context(), postgres.Config{Dir: t.TempDir(), Listen: l.Addr().String()})
	if err == nil || !strings.Contains(err.Error(), l.Addr().String()) || !strings.Contains(err.Error(), "in use") {
		t.Errorf("Start = %v", err)
	}
}

func TestConfig_SaysWhatIsWrong(t *testing.T) {
	for want, cfg := range map[string]postgres.Config{
		"Dir is empty":           {Listen: "127.0.0.1:1"},
		"not a loopback address": {Dir: "x", Listen: "0.0.0.0:5432"},
		"give 127.0.0.1:PORT":    {Dir: "x", Listen: "5432"},
	} {
		if err := cfg.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Validate(%+v) = %v, want %q", cfg, err, want)
		}
	}
}
