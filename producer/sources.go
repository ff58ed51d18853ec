package producer

import (
	"slices"

	"github.com/ledgerline-es/ledgerline/schemas/ledgerline"
)

// sourceSeen is what is known of one sender that numbers its commands to one aggregate: which numbers were processed, and what
// became of them. A number whose command changed nothing because of a conflict or an error is not processed: it may come again.
// Immutable: an older one may be needed for rollback.
type sourceSeen struct {
	source   string
	sequence int64  // the highest number processed
	outcome  string // of the command with that number
	code     string
	holes    []numbers // below it, not processed, ascending; the newest maxRanges
	rejected []numbers // below it, processed and rejected, ascending; the newest maxRanges
}

// numbers are those from first to last, both included.
type numbers struct{ first, last int64 }

// maxRanges bounds what a sender that leaves numbers out makes every member remember. An older hole counts as processed, and an
// older rejected number as accepted.
const maxRanges = 64

// processed reports whether a number had its answer, and which outcome that was.
func (s sourceSeen) processed(n int64) (outcome string, ok bool) {
	switch {
	case n > s.sequence || within(s.holes, n):
		return "", false
	case n == s.sequence:
		return s.outcome, true
	case within(s.rejected, n):
		return Rejected, true
	}
	return Accepted, true
}

// process notes that a number was processed.
func (s sourceSeen) process(n int64, outcome, code string) sourceSeen {
	if n < s.sequence {
		s.holes = without(s.holes, n)
		if outcome == Rejected {
			s.rejected = newest(union(s.rejected, numbers{n, n}))
		}
		return s
	}
	if n > s.sequence {
		if n > s.sequence+1 {
			s.holes = newest(append(slices.Clone(s.holes), numbers{s.sequence + 1, n - 1}))
		}
		if s.outcome == Rejected {
			s.rejected = newest(union(s.rejected, numbers{s.sequence, s.sequence}))
		}
	}
	s.sequence, s.outcome, s.code = n, outcome, code
	return s
}

// merge joins what two places of the log say of one sender: processed is what either of them knows to be processed.
func (s sourceSeen) merge(o sourceSeen) sourceSeen {
	if o.sequence > s.sequence || o.sequence == s.sequence && s.outcome == "" {
		s, o = o, s
	}
	// Numbers beyond o's highest are holes of o too, for all that o knows.
	var holes []numbers
	for _, a := range s.holes {
		for _, b := range append(slices.Clone(o.holes), numbers{o.sequence + 1, s.sequence}) {
			if first, last := max(a.first, b.first), min(a.last, b.last); first <= last {
				holes = append(holes, numbers{first, last})
			}
		}
	}
	rejected := s.rejected
	for _, r := range o.rejected {
		rejected = union(rejected, r)
	}
	if o.outcome == Rejected && o.sequence < s.sequence {
		rejected = union(rejected, numbers{o.sequence, o.sequence})
	}
	s.holes, s.rejected = newest(holes), newest(rejected)
	return s
}

func within(ranges []numbers, n int64) bool {
	return slices.ContainsFunc(ranges, func(r numbers) bool { return r.first <= n && n <= r.last })
}

// without gives the ranges with a number taken out.
func without(ranges []numbers, n int64) []numbers {
	out := make([]numbers, 0, len(ranges)+1)
	for _, r := range ranges {
		if n < r.first || n > r.last {
			out = append(out, r)
			continue
		}
		if r.first < n {
			out = append(out, numbers{r.first, n - 1})
		}
		if n < r.last {
			out = append(out, numbers{n + 1, r.last})
		}
	}
	return out
}

// union gives the ranges with another one put in; ranges that touch become one.
func union(ranges []numbers, add numbers) []numbers {
	out := make([]numbers, 0, len(ranges)+1)
	for _, r := range ranges {
		if r.last < add.first-1 || r.first-1 > add.last {
			out = append(out, r)
			continue
		}
		add = numbers{min(add.first, r.first), max(add.last, r.last)}
	}
	out = append(out, add)
	slices.SortFunc(out, func(a, b numbers) int { return int(max(-1, min(1, a.first-b.first))) })
	return out
}

func newest(ranges []numbers) []numbers { return ranges[max(0, len(ranges)-maxRanges):] }

// mark is how the snapshots topic keeps it.
func (s sourceSeen) mark() *ledgerline.SourceMark {
	m := &ledgerline.SourceMark{Sequence: s.sequence, Outcome: s.outcome, Code: s.code}
	for _, r := range s.holes {
		m.Holes = append(m.Holes, ledgerline.NumberRange{First: r.first, Last: r.last})
	}
	for _, r := range s.rejected {
		m.Rejected = append(m.Rejected, ledgerline.NumberRange{First: r.first, Last: r.last})
	}
	return m
}

func seenOf(source string, m *ledgerline.SourceMark) sourceSeen {
	s := sourceSeen{source: source, sequence: m.Sequence, outcome: m.Outcome, code: m.Code}
	for _, r := range m.Holes {
		s.holes = append(s.holes, numbers{r.First, r.Last})
	}
	for _, r := range m.Rejected {
		s.rejected = append(s.rejected, numbers{r.First, r.Last})
	}
	return s
}

func lastOf(sources []sourceSeen, source string) (sourceSeen, bool) {
	for _, s := range sources {
		if s.source == source {
			return s, true
		}
	}
	return sourceSeen{source: source}, false
}

// with gives the sources with one of them replaced or added, in a slice of its own.
func with(sources []sourceSeen, s sourceSeen) []sourceSeen {
	out := make([]sourceSeen, 0, len(sources)+1)
	for _, old := range sources {
		if old.source != s.source {
			out = append(out, old)
		}
	}
	return append(out, s)
}
