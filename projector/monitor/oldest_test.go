package monitor

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// What the history says is what a reading of the whole log would say, whichever runs it was given, in whatever order, and
// whatever it has forgotten since; where it does not know, it says from where to read.
func TestHistory_SaysWhatTheLogSays_OrWhereToRead(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const end = 60
		visible := rapid.SliceOfN(rapid.Bool(), end, end).Draw(t, "visible") // others are markers, aborted, or compacted away
		at := func(offset int64) time.Time { return time.UnixMilli(1000 + offset) }
		read := func(from, next int64, look int) *run {
			r := &run{from: from, next: next, used: look}
			for o := from; o < next; o++ {
				if visible[o] {
					r.offsets, r.times = append(r.offsets, o), append(r.times, at(o))
				}
			}
			return r
		}
		h := &history{}
		for look := 1; look < 40; look++ {
			position := rapid.Int64Range(0, end).Draw(t, "position")
			stable := rapid.Int64Range(position, end).Draw(t, "stable")
			want := int64(-1)
			for o := position; o < stable && want < 0; o++ {
				if visible[o] {
					want = o
				}
			}
			for {
				when, some, known, next := h.oldest(position, stable, look)
				if !known {
					if next < position || next >= stable {
						t.Fatalf("from %d to %d it wants to read at %d", position, stable, next)
					}
					h.add(read(next, rapid.Int64Range(next+1, end).Draw(t, "next"), look))
					continue
				}
				if some != (want >= 0) || some && !when.Equal(at(want)) {
					t.Fatalf("from %d to %d: %v, %v; want offset %d", position, stable, some, when, want)
				}
				break
			}
			h.forget(look)
			if len(h.runs) > runsKept {
				t.Fatalf("%d runs are kept", len(h.runs))
			}
		}
	})
}
