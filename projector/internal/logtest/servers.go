package logtest

import (
	"context"
	"strings"
	"testing"

	ch "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/jackc/pgx/v5"
	"github.com/twmb/franz-go/pkg/sr"

	"github.com/ledgerline-es/ledgerline/internal/embedded/registry"
	"github.com/ledgerline-es/ledgerline/internal/kit"
)

// Registry starts a registry in process that ends with the test; a child process reaches it by its URL.
func Registry(t testing.TB) (client *sr.Client, url string) {
	t.Helper()
	s, err := registry.Start(t.Context(), registry.Config{})
	must(t, err)
	t.Cleanup(func() {
		if err := s.Stop(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	client, err = sr.NewClient(sr.URLs(s.URL()))
	must(t, err)
	return client, s.URL()
}

// World is a log on Apache Kafka, and the stores for its projections.
type World struct {
	*Log
	Setup
	t testing.TB
}

// NewWorld makes a log with empty stores beside it.
func NewWorld(t testing.TB, partitions int32, seed uint64) *World {
	t.Helper()
	kit.Start(t, kit.UseKafka, kit.UsePostgres, kit.UseClickHouse)
	client, url := Registry(t)
	prefix := kit.Prefix(t)
	w := &World{t: t, Log: New(t, kit.Kafka(t).Brokers(), client, prefix, partitions, seed)}
	w.Setup = Setup{
		Brokers: w.Log.Brokers, RegistryURL: url, Prefix: prefix, PostgresURL: kit.Postgres(t).URL(), ClickHouseURL: kit.ClickHouse(t).URL(),
		DatabasePrefix: strings.TrimSuffix(prefix, ".") + "_",
	}
	return w
}

// SQL runs statements in Postgres and gives the last row's first value.
func (w *World) SQL(statement string, args ...any) (value any) {
	w.t.Helper()
	ctx := context.WithoutCancel(w.t.Context())
	conn, err := pgx.Connect(ctx, w.PostgresURL)
	must(w.t, err)
	defer conn.Close(ctx)
	if len(args) == 0 && strings.Contains(statement, ";") {
		_, err := conn.PgConn().Exec(ctx, statement).ReadAll()
		must(w.t, err)
		return nil
	}
	rows, err := conn.Query(ctx, statement, args...)
	must(w.t, err)
	for rows.Next() {
		values, err := rows.Values()
		must(w.t, err)
		value = values[0]
	}
	must(w.t, rows.Err())
	return value
}

// ClickHouse gives a connection that closes with the test. DB stands in its statements for the database's prefix.
func (w *World) ClickHouse() ch.Conn {
	w.t.Helper()
	o, err := ch.ParseDSN(w.ClickHouseURL)
	must(w.t, err)
	conn, err := ch.Open(o)
	must(w.t, err)
	w.t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// CH runs a statement in ClickHouse, with DB_ in front of databases for their prefix.
func (w *World) CH(statement string) {
	w.t.Helper()
	must(w.t, w.ClickHouse().Exec(context.WithoutCancel(w.t.Context()), strings.ReplaceAll(statement, "DB_", w.DatabasePrefix)))
}

// Count gives the one number that a query of ClickHouse answers.
func (w *World) Count(query string) (n uint64) {
	w.t.Helper()
	must(w.t, w.ClickHouse().QueryRow(context.WithoutCancel(w.t.Context()), strings.ReplaceAll(query, "DB_", w.DatabasePrefix)).Scan(&n))
	return n
}
