package clickhouse_test

import (
	"fmt"
	"testing"

	ch "github.com/ClickHouse/clickhouse-go/v2"

	"github.com/ledgerline-es/ledgerline/internal/kit"
	"github.com/ledgerline-es/ledgerline/projector"
	"github.com/ledgerline-es/ledgerline/projector/clickhouse"
	"github.com/ledgerline-es/ledgerline/projector/internal/logtest"
)

func TestMain(m *testing.M) { kit.Main(m) }

func TestSmoke(t *testing.T) {
	log := logtest.New(t, kit.FakeKafka(t).Brokers(), kit.FakeRegistry(t), kit.Prefix(t), 6, 1)
	url := kit.ClickHouse(t).URL()
	sink := clickhouse.New(clickhouse.Config{URL: url, DatabasePrefix: "t1_"})
	t.Cleanup(sink.Close)
	log.Write(5000, 100)
	p := projector.New(log.Config(), logtest.Entries("entries", clickhouse.Table[logtest.Row], logtest.EntriesClickHouse), sink)
	logtest.Run(t, p)
	o, _ := ch.ParseDSN(url)
	conn, err := ch.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	logtest.Eventually(t, func() error {
		var n, u uint64
		if err := conn.QueryRow(t.Context(), "SELECT count(), uniqExact(_partition, _offset) FROM t1_bank.entries").Scan(&n, &u); err != nil {
			return fmt.Errorf("%v %v", err, p.Ready())
		}
		if n != 5000 || u != 5000 {
			return fmt.Errorf("%d entries, %d", n, u)
		}
		return nil
	})
}
