package producer

import (
	"fmt"
	"log/slog"
	"maps"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/twmb/franz-go/pkg/kgo"
	"pgregory.net/rapid"
)

// Against a model that remembers everything: whatever is added, rolled back and forgotten, and whichever ids have one hash, a
// repetition within the window is found, one beyond it is not, and memory holds no more than the window and a minute.
func TestWindow_AgainstAModel(t *testing.T) {
	type reply struct {
		id commandID
		answer
	}
	cache := pebble.NewCache(1 << 20)
	defer cache.Unref()
	rapid.Check(t, func(t *rapid.T) {
		const span = 10 * time.Minute
		w := newWindow(span)
		committed, open := map[string]answer{}, map[string]answer{}
		var log []reply // the replies topic
		var written []*kgo.Record
		now := int64(1_000_000_000)
		must := func(err error) {
			if err != nil {
				t.Fatal(err)
			}
		}
		disk, err := openStore(vfs.NewMem(), "state", identity{}, cache, slog.New(slog.DiscardHandler))
		must(err)
		defer func() { must(disk.close()) }()
		must(w.load(disk, time.UnixMilli(now).Add(-span)))
		settle := func() {
			for i, rec := range written {
				rec.Offset = int64(len(log))
				log = append(log, reply{w.given[i].id, w.given[i].answer})
			}
			written = written[:0]
		}
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			now += rapid.Int64Range(0, 3*time.Minute.Milliseconds()).Draw(t, "passes")
			command := fmt.Sprint("c", rapid.IntRange(0, 8).Draw(t, "command"))
			id := idOf("a", command)
			id.hash %= 4 // several ids have one
			switch rapid.IntRange(0, 8).Draw(t, "step") {
			case 0, 1:
				settle()
				w.commit()
				maps.Copy(committed, open)
				clear(open)
			case 2:
				written = written[:0]
				w.rollback()
				clear(open)
			case 3: // another owner, who has the log
				settle()
				w.commit()
				maps.Copy(committed, open)
				clear(open)
				w = newWindow(span)
				late := rapid.Int64Range(0, 3*span.Milliseconds()).Draw(t, "backlog")
				for offset, r := range log {
					if r.at >= now-span.Milliseconds() { // those before can't be asked for
						w.put(r.id.hash, int64(offset), r.at+late)
					}
				}
			case 4: // what the local state lacks is put there
				to := disk.has
				must(w.keep(disk, &to))
				must(disk.apply(to))
			case 5: // an owner who has the local state, which may be behind, and the log
				settle()
				w.commit()
				maps.Copy(committed, open)
				clear(open)
				w = newWindow(span)
				must(w.load(disk, time.UnixMilli(now).Add(-span)))
				for offset := w.end; offset < int64(len(log)); offset++ {
					if r := log[offset]; r.at >= now-span.Milliseconds() {
						w.put(r.id.hash, offset, r.at)
					}
				}
			default:
				known, ok := open[command]
				if !ok {
					known, ok = committed[command]
				}
				ok = ok && now-known.at <= span.Milliseconds()
				offsets, maybe := w.toRecall(id)
				for _, offset := range offsets {
					if r := log[offset]; r.id.command == command {
						w.recall(r.id, r.answer)
					}
				}
				found := w.find(id, now)
				if !maybe && found != w.findNew(id, now) {
					t.Fatalf("%s at %d: found %v, though nothing committed could be", command, now, found)
				}
				if (found != nil) != ok {
					t.Fatalf("%s at %d: found %v, the model says %v", command, now, found != nil, ok)
				}
				if found != nil && *found != known {
					t.Fatalf("%s: answer %+v, the model has %+v", command, *found, known)
				}
				if !ok {
					delete(committed, command) // too old to matter, rolled back or not
					a := answer{hash: uint64(now), at: now, version: now}
					rec := &kgo.Record{}
					w.add(id, a, rec)
					written = append(written, rec)
					open[command] = a
				}
			}
		}
		settle()
		w.commit()
		total := 0
		for _, m := range w.minute {
			if age := w.newest - (m.minute+1)*time.Minute.Milliseconds(); age > (span + time.Minute).Milliseconds() {
				t.Fatalf("answers of %v before the newest are remembered", time.Duration(age)*time.Millisecond)
			}
			total += len(m.answers)
		}
		places := len(w.places)
		for _, others := range w.more {
			places += len(others)
		}
		if places != total {
			t.Fatalf("%d answers are found, %d are to be forgotten some day", places, total)
		}
	})
}
