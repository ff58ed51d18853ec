package postgres_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/ledgerline-es/ledgerline/internal/kit"
	"github.com/ledgerline-es/ledgerline/projector"
	"github.com/ledgerline-es/ledgerline/projector/internal/logtest"
	"github.com/ledgerline-es/ledgerline/projector/postgres"
)

func TestMain(m *testing.M) { kit.Main(m) }

func TestSmoke(t *testing.T) {
	log := logtest.New(t, kit.FakeKafka(t).Brokers(), kit.FakeRegistry(t), kit.Prefix(t), 6, 1)
	url := kit.Postgres(t).URL()
	sink := postgres.New(postgres.Config{URL: url})
	t.Cleanup(sink.Close)
	log.Write(5000, 100)
	logtest.Run(t, projector.New(log.Config(), logtest.Balances("balances", postgres.Table[logtest.Row], logtest.BalancesTable), sink))
	logtest.Run(t, projector.New(log.Config(), logtest.Entries("entries", postgres.Table[logtest.Row], logtest.EntriesPostgres), sink))
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	logtest.Eventually(t, func() error {
		var n, v int64
		if err := conn.QueryRow(t.Context(), "SELECT (SELECT count(*) FROM bank.entries), (SELECT sum(version) FROM bank.balances)").Scan(&n, &v); err != nil {
			return err
		}
		if n != 5000 || v != 5000 {
			return fmt.Errorf("%d entries, versions add up to %d", n, v)
		}
		return nil
	})
}
