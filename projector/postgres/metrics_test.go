package postgres_test

import (
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

func TestMetrics_SayWhatWasWritten(t *testing.T) {
	d, appends, folds := fresh(t), entries(t), balances(t)
	reg := prometheus.NewRegistry()
	reg.MustRegister(d.sink)
	if n := testutil.CollectAndCount(d.sink, "sink_connections"); n != 0 {
		t.Errorf("%d connections, and nobody has connected", n)
	}
	store := d.claimed(appends)
	if err := write(t, store, appends.Batch(0, 0, 10)); err != nil {
		t.Fatal(err)
	}
	if err := write(t, store, appends.Batch(0, 0, 10)); err == nil { // refused: nothing is written
		t.Error("a range was written twice")
	}
	if err := write(t, d.claimed(folds), folds.Batch(0, 0, 10)); err != nil { // of three accounts
		t.Fatal(err)
	}
	if err := testutil.GatherAndCompare(reg, strings.NewReader(`
# HELP sink_rows_total Rows written, and committed.
# TYPE sink_rows_total counter
sink_rows_total{projector="balances",store="postgres"} 3
sink_rows_total{projector="entries",store="postgres"} 10
`), "sink_rows_total"); err != nil {
		t.Error(err)
	}
	if n := testutil.CollectAndCount(d.sink, "sink_connections", "sink_connections_max", "sink_connection_wait_seconds_total"); n != 4 {
		t.Errorf("%d figures of connections, want used, idle, the most, and the wait", n)
	}
}
