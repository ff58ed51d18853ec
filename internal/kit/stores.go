package kit

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/ledgerline-es/ledgerline/internal/deps"
	"github.com/ledgerline-es/ledgerline/internal/embedded/clickhouse"
	"github.com/ledgerline-es/ledgerline/internal/embedded/postgres"
	"github.com/ledgerline-es/ledgerline/internal/process"
)

// PostgresServer is the PostgreSQL server of this test binary, as one test sees it.
type PostgresServer struct {
	t      testing.TB
	server *server
	store  *postgresServer
}

// Postgres starts the server if it does not run.
func Postgres(t testing.TB) *PostgresServer {
	t.Helper()
	s := shared.of(UsePostgres)
	s.use(t)
	return &PostgresServer{t: t, server: s, store: s.starter.(*postgresServer)}
}

// URL makes a fresh database and gives its address: call it once for each database that a test needs.
func (p *PostgresServer) URL() string {
	p.t.Helper()
	conn, err := pgx.Connect(p.t.Context(), p.store.url())
	if err != nil {
		p.t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(p.t.Context()))
	name := "t" + random(6)
	if _, err := conn.Exec(p.t.Context(), "CREATE DATABASE "+name); err != nil {
		p.t.Fatal(err)
	}
	return strings.TrimSuffix(p.store.url(), postgres.Database) + name
}

// Kill9 ends the server as a crash would, and returns when all of it is gone.
func (p *PostgresServer) Kill9() { p.t.Helper(); p.server.kill(p.t) }

// Restart starts it again, on the same port and data, and returns when it has recovered.
func (p *PostgresServer) Restart(t testing.TB) { t.Helper(); p.server.use(t) }

// postgresServer starts the server.
type postgresServer struct{ listen string }

func (p *postgresServer) name() string            { return "postgres" }
func (p *postgresServer) components() []deps.Name { return []deps.Name{deps.Postgres} }
func (p *postgresServer) url() string {
	return fmt.Sprintf("postgres://%s@%s/%s", postgres.User, p.listen, postgres.Database)
}

func (p *postgresServer) start(ctx context.Context, dir string, log io.Writer) (running, error) {
	if err := pickPort(&p.listen); err != nil {
		return nil, err
	}
	return postgres.Start(ctx, postgres.Config{Dir: dir, Listen: p.listen, Log: log})
}

// ClickHouseServer is the ClickHouse engine of this test binary, as one test sees it.
type ClickHouseServer struct {
	t      testing.TB
	server *server
	store  *clickhouseServer
}

// ClickHouse starts the engine if it does not run.
func ClickHouse(t testing.TB) *ClickHouseServer {
	t.Helper()
	s := shared.of(UseClickHouse)
	s.use(t)
	return &ClickHouseServer{t: t, server: s, store: s.starter.(*clickhouseServer)}
}

// URL is where it speaks ClickHouse's HTTP protocol: "http://127.0.0.1:PORT".
func (c *ClickHouseServer) URL() string { return "http://" + c.store.listen }

// Database makes a fresh database and gives its name. It is dropped with the test.
func (c *ClickHouseServer) Database(t testing.TB) string {
	t.Helper()
	name := "t" + random(6)
	if err := c.store.exec(t.Context(), "CREATE DATABASE "+name); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		select {
		case <-c.server.done(): // a test has killed it and left it so
		default:
			if err := c.store.exec(context.WithoutCancel(t.Context()), "DROP DATABASE IF EXISTS "+name); err != nil {
				t.Error(err)
			}
		}
	})
	return name
}

// Kill9 ends the engine as a crash would, and returns when it is gone.
func (c *ClickHouseServer) Kill9() { c.t.Helper(); c.server.kill(c.t) }

// Restart starts it again, on the same port and data, and returns when it answers.
func (c *ClickHouseServer) Restart(t testing.TB) { t.Helper(); c.server.use(t) }

// clickhouseServer starts the engine.
type clickhouseServer struct{ listen string }

func (c *clickhouseServer) name() string            { return "clickhouse" }
func (c *clickhouseServer) components() []deps.Name { return []deps.Name{deps.ClickHouse} }

func (c *clickhouseServer) start(ctx context.Context, dir string, log io.Writer) (running, error) {
	if err := pickPort(&c.listen); err != nil {
		return nil, err
	}
	return clickhouse.Start(ctx, clickhouse.Config{Dir: dir, Listen: c.listen, Log: log})
}

func (c *clickhouseServer) exec(ctx context.Context, sql string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+c.listen, strings.NewReader(sql))
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("%s: %w", sql, err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(res.Body)
		return fmt.Errorf("%s: %s: %s", sql, res.Status, body)
	}
	return nil
}

// pickPort chooses the address once: a restart is on the same one.
func pickPort(listen *string) error {
	if *listen != "" {
		return nil
	}
	port, err := process.FreePort()
	*listen = fmt.Sprintf("127.0.0.1:%d", port)
	return err
}
