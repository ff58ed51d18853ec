package producer

import (
	"fmt"
	"maps"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// Against a model that remembers everything: whatever is added, rolled back and forgotten, a repetition within the window is
// found, one beyond it is not, and memory holds no more than the window.
func TestWindow_AgainstAModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const span = 10
		w := newWindow(span * time.Millisecond)
		committed := map[string]answer{}
		open := map[string]answer{}
		now := int64(1000)
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			now += rapid.Int64Range(0, 3).Draw(t, "passes")
			id := fmt.Sprint("c", rapid.IntRange(0, 8).Draw(t, "command"))
			switch rapid.IntRange(0, 5).Draw(t, "step") {
			case 0:
				w.commit()
				maps.Copy(committed, open)
				clear(open)
			case 1:
				w.rollback()
				clear(open)
			default:
				known, ok := open[id]
				if !ok {
					known, ok = committed[id]
				}
				ok = ok && now-known.at <= span
				found := w.find("a", id, now)
				if (found != nil) != ok {
					t.Fatalf("%s at %d: found %v, the model says %v", id, now, found != nil, ok)
				}
				if found != nil && *found != known {
					t.Fatalf("%s: answer %+v, the model has %+v", id, *found, known)
				}
				if !ok {
					delete(committed, id) // too old to matter, rolled back or not
					a := answer{hash: uint64(now), at: now, version: now}
					w.add("a", id, a)
					open[id] = a
				}
			}
		}
		w.commit()
		maps.Copy(committed, open)
		for key, a := range w.answers {
			if w.newest-a.at > span {
				t.Fatalf("%q is %d ms old and still remembered", key, w.newest-a.at)
			}
		}
	})
}
