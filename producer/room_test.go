package producer

import (
	"testing"
	"time"
)

// Small transactions end with the commands that they were for, and at the latest after a while: a partition where nothing more comes
// must not keep the others at one command a transaction.
func TestP5_SmallTransactions_End(t *testing.T) {
	s := &session{cfg: Config{}.withDefaults(), books: map[int32]*book{0: {wary: 2, limit: 1}, 1: {}}, small: time.Now().Add(time.Hour)}
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
