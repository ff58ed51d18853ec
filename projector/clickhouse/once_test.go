package clickhouse_test

import (
	"errors"
	"os/exec"
	"strings"
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
	s.exec("INSERT INTO DB_bank.entries__g1 SELECT * FROM DB_bank.entries__g1 WHERE _offset >= 10 SETTINGS async_insert = 0, insert_deduplication_token = 'late'")
	s.right(b, 20)
	// So is the range itself, should its new owner not know the outcome: the same store writes it again.
	write(t, next, b.Batch(0, 20, 30))
	s.right(b, 30)
}

// A member inserts the ranges of its partitions as one block. It is late, and its partitions have gone to several others, each of whom
// settles its own; one of them is late as well with what it had to add.
func TestP7_LateBlock_ItsPartitionsGoneToSeveral(t *testing.T) {
	s, b := fresh(t), entries(t)
	gate := s.gate()
	zombie := gate.member(b, 0, 1)
	write(t, zombie, b.Batch(0, 0, 10), b.Batch(1, 0, 5))
	blocked := gate.hold("entries__g1")
	late := async(func() error {
		return zombie.Write(t.Context(), []*projector.Batch{b.Batch(0, 10, 20), b.Batch(1, 5, 9)})
	})
	<-blocked

	first, positions := s.memberOf(b, 0)
	if positions[0] != (projector.Position{Next: 10, Until: 20}) {
		t.Fatalf("positions %v", positions)
	}
	write(t, first, b.Batch(0, 10, 20)) // uses the token up, for rows of its own

	other := s.gate()
	second := other.member(b, 1)
	blocked = other.hold("entries__g1", 1) // after the one under the block's token
	added := async(func() error { return second.Write(t.Context(), []*projector.Batch{b.Batch(1, 5, 9)}) })
	<-blocked
	third, positions := s.memberOf(b, 1)
	if positions[1] != (projector.Position{Next: 5, Until: 9}) {
		t.Fatalf("positions %v", positions)
	}
	write(t, third, b.Batch(1, 5, 9))

	other.release()
	if err := <-added; err != nil && !errors.Is(err, projector.ErrFenced) {
		t.Error(err)
	}
	gate.release()
	if err := <-late; !errors.Is(err, projector.ErrFenced) {
		t.Errorf("the late block gives %v", err)
	}
	write(t, first, b.Batch(0, 20, 25))
	write(t, third, b.Batch(1, 9, 12))
	s.right(b, 37)
}

// One partition of a block is claimed by another, who uses up the block's token, after its owner has looked and before it inserts. The
// server drops the block without a word; the other partition's rows must not be believed to be there.
func TestP7_TokenUsedUpBetweenLookAndInsert_NothingLost(t *testing.T) {
	s, b := fresh(t), entries(t)
	gate := s.gate()
	owner := gate.member(b, 0, 1)
	blocked := gate.hold("entries__g1")
	done := async(func() error {
		return owner.Write(t.Context(), []*projector.Batch{b.Batch(0, 0, 10), b.Batch(1, 0, 10)})
	})
	<-blocked
	other, _ := s.memberOf(b, 1)
	write(t, other, b.Batch(1, 0, 10))
	gate.release()
	if err := <-done; !errors.Is(err, projector.ErrFenced) {
		t.Errorf("a block that was dropped gives %v", err)
	}
	positions, err := owner.Claim(t.Context(), map[int32]int64{0: 0})
	if err != nil || positions[0] != (projector.Position{Next: 0, Until: 10}) {
		t.Fatalf("positions %v, %v", positions, err)
	}
	write(t, owner, b.Batch(0, 0, 10))
	write(t, owner, b.Batch(0, 10, 15))
	s.right(b, 25)
}

// Each range that a member has at hand goes into one insert, and after a failure each into its own.
func TestP7_RangesOfAMember_AreOneInsert(t *testing.T) {
	s, b := fresh(t), entries(t)
	gate := s.gate()
	store := gate.member(b, 0, 1)
	write(t, store, b.Batch(0, 0, 10), b.Batch(1, 0, 10))
	if n := gate.seen("entries__g1"); n != 1 {
		t.Errorf("%d inserts for the ranges of two partitions", n)
	}
	gate.fail("entries__g1")
	batches := []*projector.Batch{b.Batch(0, 10, 20), b.Batch(1, 10, 20)}
	if err := store.Write(t.Context(), batches); err == nil {
		t.Fatal("a cut connection is no error")
	}
	write(t, store, batches...)
	write(t, store, b.Batch(0, 20, 21), b.Batch(1, 20, 21))
	s.right(b, 42)
}

// A block whose token may be used up is looked after, by test: a build without that loses rows.
func TestP7_MutantThatBelievesItsBlock_IsCaught(t *testing.T) {
	const by = "TestP7_TokenUsedUpBetweenLookAndInsert_NothingLost"
	out, err := exec.CommandContext(t.Context(), "go", "test", "-count=1", "-tags", "mutant_burnt", "-run", "^"+by+"$", ".").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "--- FAIL: "+by) {
		t.Errorf("not caught: %v\n%s", err, out)
	}
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
