package clickhouse_test

import (
	"errors"
	"sync"
	"testing"

	"github.com/ledgerline-es/ledgerline/projector"
)

func TestP7_EachRangeOnce_PositionsFollow(t *testing.T) {
	s, b := fresh(t), entries(t)
	store, positions := s.member(b)
	if positions[0] != (projector.Position{}) || positions[1] != (projector.Position{}) {
		t.Errorf("a new projection stands at %v", positions)
	}
	write(t, store, b.Batch(0, 0, 10), b.Batch(1, 0, 7))
	write(t, store, b.Batch(1, 7, 20))
	write(t, store, b.Batch(0, 10, 11), b.Batch(1, 20, 20))
	write(t, store, b.Batch(0, 11, 50))
	s.right(b, 70)
	if positions := s.claim(store); positions[0].Next != 50 || positions[1].Next != 20 || positions[0].Until != 0 {
		t.Errorf("positions %v", positions)
	}
	// A range of records that give no rows moves the position too.
	write(t, store, b.Batch(0, 50, 50), b.Batch(1, 20, 21))
	if err := store.Write(t.Context(), []*projector.Batch{b.Batch(0, 60, 70)}); !errors.Is(err, projector.ErrFenced) {
		t.Errorf("a batch beyond the position gives %v", err)
	}
	write(t, store, b.Batch(0, 50, 55), b.Batch(1, 20, 21)) // the second was written before
	s.right(b, 76)
}

func TestP7_ClaimedByAnother_InsertsNothingMore(t *testing.T) {
	s, b := fresh(t), entries(t)
	old, _ := s.member(b)
	write(t, old, b.Batch(0, 0, 10), b.Batch(1, 0, 10))
	owner, positions := s.member(b)
	if positions[0].Next != 10 || positions[1].Next != 10 {
		t.Errorf("it goes on from %v", positions)
	}
	if err := old.Write(t.Context(), []*projector.Batch{b.Batch(0, 10, 40)}); !errors.Is(err, projector.ErrFenced) {
		t.Errorf("the former owner's write gives %v", err)
	}
	// What the former owner recorded is behind what its successor does, though it reaches further.
	write(t, owner, b.Batch(0, 10, 20), b.Batch(1, 10, 12))
	third, positions := s.member(b)
	if positions[0] != (projector.Position{Next: 20}) || positions[1] != (projector.Position{Next: 12}) {
		t.Errorf("a third member goes on from %v", positions)
	}
	write(t, third, b.Batch(0, 20, 60))
	s.right(b, 72)
}

// The member dies between recording a range and inserting it, in the midst of an insert, or behind it.
func TestP7_RangeInDoubt_IsSettledByWhatIsStored(t *testing.T) {
	for name, c := range map[string]struct {
		stored     string // which of the rows are there
		remembered bool   // the server has seen the token, and would drop the rows without a word
		doubt      bool
	}{
		"nothing is there":         {"0", false, true},
		"nothing but the token is": {"0", true, true},
		"a part is there":          {"_offset % 3 = 1", false, true},
		"a part and the token is":  {"_offset % 3 = 1", true, true},
		"all but one is there":     {"_offset != 15", true, true},
		"all is there":             {"1", true, false},
	} {
		t.Run(name, func(t *testing.T) {
			s, b := fresh(t), entries(t)
			dead, _ := s.member(b)
			write(t, dead, b.Batch(0, 0, 10), b.Batch(1, 0, 5))
			write(t, dead, b.Batch(0, 10, 20))
			s.exec("DELETE FROM DB_bank.entries__g1 WHERE _partition = 0 AND _offset >= 10 AND NOT (" + c.stored + ")")
			if !c.remembered {
				s.exec("ALTER TABLE DB_bank.entries__g1 MODIFY SETTING non_replicated_deduplication_window = 0")
				s.exec("ALTER TABLE DB_bank.entries__g1 MODIFY SETTING non_replicated_deduplication_window = 10000")
			}
			next, positions := s.member(b)
			want := projector.Position{Next: 20}
			if c.doubt {
				want = projector.Position{Next: 10, Until: 20}
			}
			if positions[0] != want || positions[1] != (projector.Position{Next: 5}) {
				t.Fatalf("positions %v, want %v for the first", positions, want)
			}
			if c.doubt {
				if err := next.Write(t.Context(), []*projector.Batch{b.Batch(0, 10, 15)}); !errors.Is(err, projector.ErrFenced) {
					t.Errorf("another range than the one in doubt gives %v", err)
				}
				write(t, next, b.Batch(0, 10, 20))
			}
			write(t, next, b.Batch(0, 20, 25))
			s.right(b, 30)
		})
	}
}

// A former owner's insert arrives after its successor has written the range again.
func TestP7_LateInsertOfTheFormerOwner_HasNoEffect(t *testing.T) {
	s, b := fresh(t), entries(t)
	zombie, _ := s.member(b)
	write(t, zombie, b.Batch(0, 0, 10))
	// It recorded 10-19 and stopped before its insert.
	s.exec(`INSERT INTO DB_ledgerline.ledger SELECT "projection", generation, topic, topic_id, partition, epoch, owner, 10, 20, 10, 'late', now64(6) FROM DB_ledgerline.ledger WHERE next_offset = 10`)
	next, positions := s.member(b)
	if positions[0] != (projector.Position{Next: 10, Until: 20}) {
		t.Fatalf("positions %v", positions)
	}
	write(t, next, b.Batch(0, 10, 20))
	token := b.Plan.Projection + "/1/" + b.Plan.TopicID + "/0/10-19"
	s.exec("INSERT INTO DB_bank.entries__g1 SELECT * FROM DB_bank.entries__g1 WHERE _offset >= 10 SETTINGS async_insert = 0, insert_deduplication_token = '" + token + "'")
	s.right(b, 20)
	// So is the range itself, should its new owner not know the outcome: the same store writes it again.
	write(t, next, b.Batch(0, 20, 30))
	s.right(b, 30)
}

// The bookkeeping is older than the table, or gone: what is there counts.
func TestP7_LedgerLost_NothingDoubled(t *testing.T) {
	for name, lose := range map[string]string{"gone": "TRUNCATE TABLE DB_ledgerline.ledger", "older": "DELETE FROM DB_ledgerline.ledger WHERE next_offset > 20"} {
		t.Run(name, func(t *testing.T) {
			s, b := fresh(t), entries(t)
			s.exec("SYSTEM STOP MERGES") // or there is nothing older left to go back to
			defer s.exec("SYSTEM START MERGES")
			store, _ := s.member(b)
			for at := int64(0); at < 60; at += 10 {
				write(t, store, b.Batch(0, at, at+10), b.Batch(1, at, at+10))
			}
			s.exec(lose)
			next, positions := s.member(b)
			for id, p := range positions {
				if p.Until != 60 {
					t.Fatalf("partition %d: %v, all up to 60 is in doubt", id, p)
				}
				write(t, next, b.Batch(id, p.Next, p.Until))
				write(t, next, b.Batch(id, 60, 65))
			}
			s.right(b, 130)
		})
	}
}

func TestP7_ManyMembersClaimAndWrite_EachRangeOnce(t *testing.T) {
	s, b := fresh(t), entries(t)
	if _, err := s.sink().Open(t.Context(), b.Plan); err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	for range 3 {
		store, err := s.sink().Open(t.Context(), b.Plan)
		if err != nil {
			t.Fatal(err)
		}
		group.Go(func() {
			for done := 0; done < 6; {
				positions, err := store.Claim(t.Context(), map[int32]int64{0: 0})
				if errors.Is(err, projector.ErrFenced) {
					continue
				}
				if err != nil {
					t.Error(err)
					return
				}
				at, until := positions[0].Next, positions[0].Until
				for range 3 {
					if until == 0 {
						until = at + 5
					}
					if err = store.Write(t.Context(), []*projector.Batch{b.Batch(0, at, until)}); err != nil {
						break
					}
					done++
					at, until = until, 0
				}
				if err != nil && !errors.Is(err, projector.ErrFenced) {
					t.Error(err)
					return
				}
			}
		})
	}
	group.Wait()
	last, positions := s.member(b)
	if p := positions[0]; p.Until > 0 {
		write(t, last, b.Batch(0, p.Next, p.Until))
	}
	n, differences := b.ReadBack(s.sink())
	if len(differences) > 0 || n < 6*5 { // a range that several wrote counts for each of them
		t.Errorf("%d rows; differences: %+v", n, differences)
	}
}
