package producer

import (
	"testing"
	"time"
)

// Small transactions end with the commands that they were for, and at the latest after a while: a partition where nothing more comes
// must not keep the others at one command a transaction.
func TestP5_SmallTransactions_End(t *testing.T) {
	s := &session{cfg: Config{}.withDefaults(), waiting: &waiting{}, books: map[int32]*book{0: {wary: 2, limit: 1}, 1: {}}, small: time.Now().Add(time.Hour)}
	if n := s.room(); n != 1 {
		t.Errorf("%d commands while a partition is wary", n)
	}
	s.books[0].wary = 0
	if n := s.room(); n != s.cfg.MaxPollRecords {
		t.Errorf("%d commands when it is no longer", n)
	}
	s.books[0].wary, s.small = 2, time.Now().Add(-time.Second)
	if n := s.room(); n != s.cfg.MaxPollRecords {
		t.Errorf("%d commands when the time is over", n)
	}
}

// What Kafka does not take before a transaction times out is tried in smaller ones, which grow again when they are quick.
func TestP13_TransactionsThatFail_GetSmaller(t *testing.T) {
	w := &waiting{cfg: Config{}.withDefaults()}
	most, quick := w.cfg.MaxPollRecords, w.cfg.TransactionTimeout/10
	is := func(want int) {
		t.Helper()
		if n := w.room(most); n != want {
			t.Errorf("room for %d commands, wanted %d", n, want)
		}
	}
	is(most)
	w.failed(100)
	is(50)
	w.committed(50, w.cfg.TransactionTimeout*2/3)
	is(25)
	w.failed(1)
	is(1)
	w.committed(1, w.cfg.TransactionTimeout/3)
	is(1)
	for n := 1; n < most; n *= 2 {
		is(n)
		w.committed(n-1, quick) // says nothing of larger ones
		w.committed(n, quick)
	}
	is(most)
}
