package clickhouse_test

import (
	"errors"
	"testing"

	"github.com/ledgerline-es/ledgerline/projector"
	"github.com/ledgerline-es/ledgerline/projector/clickhouse"
)

func TestReach_SaysWhichEventsHaveTheirRows(t *testing.T) {
	s, b := fresh(t), entries(t)
	var earlier *clickhouse.Reach
	reach := func(stored, begun int64) {
		t.Helper()
		for _, known := range []*clickhouse.Reach{nil, earlier} {
			r, err := clickhouse.ReadReach(t.Context(), s.conn, s.prefix, "entries", known)
			if err != nil {
				t.Fatal(err)
			}
			if p := r.Partitions[0]; p.Stored != stored || p.Begun != begun {
				t.Errorf("partition 0 is stored to %d and begun to %d, want %d and %d", p.Stored, p.Begun, stored, begun)
			}
			if r.Table != s.prefix+"bank.entries__g1" || r.Generation != 1 || r.Topic != b.Plan.Topic {
				t.Errorf("it is of table %s, generation %d, topic %s", r.Table, r.Generation, r.Topic)
			}
			earlier = r
		}
	}
	if _, err := clickhouse.ReadReach(t.Context(), s.conn, s.prefix, "entries", nil); !errors.Is(err, projector.ErrNotBuilt) {
		t.Errorf("an empty server gives %v", err)
	}
	if _, err := s.sink().Open(t.Context(), b.Plan); err != nil {
		t.Fatal(err)
	}
	r, err := clickhouse.ReadReach(t.Context(), s.conn, s.prefix, "entries", nil)
	if err != nil || len(r.Partitions) != 0 || r.Table == "" {
		t.Errorf("before the first claim: %+v, %v", r, err)
	}
	store, _ := s.member(b)
	reach(0, 0)
	write(t, store, b.Batch(0, 0, 5))
	reach(5, 5)
	write(t, store, b.Batch(0, 5, 12))
	reach(12, 12)
	// A member that died between recording a range and inserting all of it.
	s.exec("DELETE FROM DB_bank.entries__g1 WHERE _offset = 9")
	earlier = nil // what was seen whole is not looked at again: nobody takes rows away
	reach(5, 12)
	next, _ := s.member(b)
	reach(5, 12)
	write(t, next, b.Batch(0, 5, 12))
	reach(12, 12)
	write(t, next, b.Batch(0, 12, 20))
	again, err := earlier.Again(t.Context(), s.conn)
	if p := again.Partitions[0]; err != nil || p.Stored != 12 || p.Begun != 20 || again.Same(earlier) || again.Same(again) {
		t.Errorf("without looking at rows it is %+v, %v", p, err)
	}
	reach(20, 20)
	if again, err := earlier.Again(t.Context(), s.conn); err != nil || !again.Same(earlier) {
		t.Errorf("nothing has changed, and it is %+v, %v", again, err)
	}
	if p, ok := earlier.Partitions[1]; !ok || p.Stored != 0 {
		t.Errorf("partition 1 is %+v", p)
	}
}

func TestConnect_NamesWhatCannotBeUsed(t *testing.T) {
	for _, url := range []string{"", "::"} {
		if _, err := clickhouse.Connect(url, 0); err == nil {
			t.Errorf("URL %q is taken", url)
		}
	}
}
