package clickhouse_test

import (
	"strings"
	"testing"

	"github.com/ledgerline-es/ledgerline/projector"
	"github.com/ledgerline-es/ledgerline/projector/clickhouse"
	"github.com/ledgerline-es/ledgerline/projector/internal/logtest"
)

// Who watches from outside sees what is stored in full, and nothing of a range that is not.
func TestPositions_OfWhatIsStoredInFull(t *testing.T) {
	twice := logtest.Entries("entries", clickhouse.Table[logtest.Row], strings.Replace(logtest.EntriesClickHouse, "_offset Int64", "_offset Int64, _row UInt32", 1))
	apply := twice.Apply
	twice.Apply = func(e projector.Event[logtest.AccountEvent], emit func(logtest.Row)) { apply(e, emit); apply(e, emit) }
	for name, b := range map[string]*logtest.Bench{"a row an event": entries(t), "two rows an event": logtest.NewBench(t, twice, "one", 2)} {
		t.Run(name, func(t *testing.T) {
			s := fresh(t)
			watcher := s.sink()
			stands := func(want map[int32]int64) {
				t.Helper()
				positions, err := watcher.Positions(t.Context(), b.Plan)
				if err != nil {
					t.Fatal(err)
				}
				for id, next := range want {
					if p := positions[id]; p.Next != next || p.TopicID != "one" {
						t.Errorf("partition %d stands at %+v, want %d", id, p, next)
					}
				}
				if len(positions) != len(want) {
					t.Errorf("positions %v, want %v", positions, want)
				}
			}
			stands(nil) // not even bookkeeping
			store, _ := s.member(b)
			stands(nil) // claimed alone
			write(t, store, b.Batch(0, 0, 10))
			write(t, store, b.Batch(0, 10, 20), b.Batch(1, 0, 3))
			stands(map[int32]int64{0: 20, 1: 3})
			write(t, store, b.Batch(0, 20, 30))
			s.exec("DELETE FROM DB_bank.entries__g1 WHERE _partition = 0 AND _offset = 25")
			stands(map[int32]int64{0: 20, 1: 3})
		})
	}
}
