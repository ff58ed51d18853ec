package producer

import (
	"testing"

	"pgregory.net/rapid"
)

type numberedAnswer struct {
	n       int64
	outcome string
}

func drawAnswers(t *rapid.T) (answers []numberedAnswer) {
	given := map[int64]bool{}
	for range rapid.IntRange(1, 30).Draw(t, "answers") {
		n := rapid.Int64Range(1, 40).Draw(t, "number")
		if !given[n] {
			given[n] = true
			answers = append(answers, numberedAnswer{n, rapid.SampledFrom([]string{Accepted, Rejected}).Draw(t, "outcome")})
		}
	}
	return answers
}

// Whatever the order in which a sender's numbers are processed, each is known as what it became, and no other is.
func TestSource_KnowsEachNumber(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var s sourceSeen
		became := map[int64]string{}
		for _, a := range drawAnswers(t) {
			s = s.process(a.n, a.outcome, "")
			became[a.n] = a.outcome
		}
		for n := int64(1); n <= 45; n++ {
			if outcome, ok := s.processed(n); ok != (became[n] != "") || outcome != became[n] {
				t.Fatalf("number %d is %q, %v; it was %q: %+v", n, outcome, ok, became[n], s)
			}
		}
		if back := seenOf(s.source, s.mark()); back.sequence != s.sequence || len(back.holes) != len(s.holes) || len(back.rejected) != len(s.rejected) {
			t.Fatalf("written and read, %+v is %+v", s, back)
		}
	})
}

// A restore meets marks and events in any order: what either says was processed is processed.
func TestSource_MergeOfMarksAndEvents(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		answers := drawAnswers(t)
		cut := rapid.IntRange(0, len(answers)).Draw(t, "mark after")
		var mark, events sourceSeen
		became := map[int64]string{}
		for i, a := range answers {
			if i < cut {
				mark = mark.process(a.n, a.outcome, "")
				became[a.n] = a.outcome
			}
			if a.outcome == Accepted {
				events = events.process(a.n, Accepted, "")
				became[a.n] = Accepted
			}
		}
		for name, s := range map[string]sourceSeen{"mark first": mark.merge(events), "events first": events.merge(mark)} {
			for n := int64(1); n <= 45; n++ {
				if outcome, ok := s.processed(n); ok != (became[n] != "") || outcome != became[n] {
					t.Fatalf("%s: number %d is %q, %v; it was %q: %+v", name, n, outcome, ok, became[n], s)
				}
			}
		}
	})
}

func TestSource_RangesAreBounded(t *testing.T) {
	var s sourceSeen
	for n := int64(1); n < 1000; n += 3 {
		s = s.process(n, Rejected, "rule")
	}
	if len(s.holes) != maxRanges || len(s.rejected) != maxRanges {
		t.Fatalf("%d holes and %d ranges of rejected numbers are kept, wanted %d", len(s.holes), len(s.rejected), maxRanges)
	}
	if _, ok := s.processed(996); ok {
		t.Error("the newest hole counts as processed")
	}
	if _, ok := s.processed(2); !ok {
		t.Error("the oldest hole is still open")
	}
	if o := s.merge(s); len(o.holes) != maxRanges || o.sequence != s.sequence {
		t.Errorf("merged with itself it is %+v", o)
	}
}
