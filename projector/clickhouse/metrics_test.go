package clickhouse_test

import (
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

func TestMetrics_SayWhatWasWritten(t *testing.T) {
	s, b := fresh(t), entries(t)
	dead, _ := s.member(b)
	write(t, dead, b.Batch(0, 0, 10))
	s.exec("DELETE FROM DB_bank.entries__g1 WHERE _offset = 3")

	sink, reg := s.sink(), prometheus.NewRegistry()
	reg.MustRegister(sink)
	if n := testutil.CollectAndCount(sink, "sink_connections"); n != 0 {
		t.Errorf("%d connections, and nobody has connected", n)
	}
	store, err := sink.Open(t.Context(), b.Plan)
	if err != nil {
		t.Fatal(err)
	}
	s.claim(store)
	write(t, store, b.Batch(0, 0, 10)) // of which one row is lacking
	write(t, store, b.Batch(0, 10, 20), b.Batch(1, 0, 5))
	if err := testutil.GatherAndCompare(reg, strings.NewReader(`
# HELP sink_doubts_total Ranges of unknown outcome that were compared with what is stored.
# TYPE sink_doubts_total counter
sink_doubts_total{projector="entries",store="clickhouse"} 1
# HELP sink_inserts_total Blocks inserted: each makes a part, which is merged later.
# TYPE sink_inserts_total counter
sink_inserts_total{projector="entries",store="clickhouse"} 3
# HELP sink_rows_total Rows written, and committed.
# TYPE sink_rows_total counter
sink_rows_total{projector="entries",store="clickhouse"} 16
`), "sink_rows_total", "sink_inserts_total", "sink_doubts_total"); err != nil {
		t.Error(err)
	}
	if n := testutil.CollectAndCount(sink, "sink_connections", "sink_connections_max"); n != 3 {
		t.Errorf("%d figures of connections, want used, idle and the most", n)
	}
}
