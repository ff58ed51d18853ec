package api

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"pgregory.net/rapid"
)

// world is a log, a projection that follows it, and a cache between: what the property test plays with.
type world struct {
	cache   *Cache[int64]
	next    []int64          // by partition: the log's end
	events  map[string]int64 // by aggregate: its last version in the log
	ids     []string
	log     [][]string       // by partition: whose event stands at an offset
	seen    []int64          // by partition: how far the instance has looked
	told    map[string]int64 // by aggregate: the last version that the instance has seen
	rows    map[string]int64 // what the projection has stored
	stored  []int64          // by partition: how far
	flights []*pendingFlight // rows read, not landed yet
}

type pendingFlight struct {
	id    string
	part  int
	f     *flight[int64]
	entry Entry[int64]
	found bool
}

const worldParts = 2

func newWorld(keep func(version, floor int64) bool, maxFloors int) *world {
	w := &world{
		cache: newCache[int64](100, nil), next: make([]int64, worldParts), events: map[string]int64{}, ids: []string{"a", "b", "c", "d"},
		log: make([][]string, worldParts), seen: make([]int64, worldParts), told: map[string]int64{}, rows: map[string]int64{}, stored: make([]int64, worldParts),
	}
	if keep != nil {
		w.cache.keep = keep
	}
	w.cache.maxFloors = maxFloors
	return w
}

func (w *world) part(id string) int { return int(id[0]) % worldParts }

// happen is an event in the log.
func (w *world) happen(id string) {
	p := w.part(id)
	w.events[id]++
	w.log[p] = append(w.log[p], id)
	w.next[p]++
}

// look has the instance see the next event of a partition.
func (w *world) look(p int) {
	if w.seen[p] >= w.next[p] {
		return
	}
	id := w.log[p][w.seen[p]]
	version := int64(0)
	for _, other := range w.log[p][:w.seen[p]+1] {
		if other == id {
			version++
		}
	}
	w.cache.seen(int32(p), id, version, w.seen[p])
	w.seen[p]++
	w.told[id] = version
}

// restart has the instance begin anew at the log's end: it has seen nothing of what stands before.
func (w *world) restart() {
	w.cache.follow(append([]int64(nil), w.next...))
	w.seen = append([]int64(nil), w.next...)
	clear(w.told)
}

// project stores the next event of a partition.
func (w *world) project(p int) {
	if w.stored[p] < w.next[p] {
		w.rows[w.log[p][w.stored[p]]]++
		w.stored[p]++
	}
}

// takeOff reads a row, which lands later.
func (w *world) takeOff(id string) {
	p := w.part(id)
	f, first := (*w.cache.shards.Load())[p].board(id)
	if !first {
		return
	}
	w.flights = append(w.flights, &pendingFlight{
		id: id, part: p, f: f, found: w.rows[id] > 0,
		entry: Entry[int64]{Value: w.rows[id], Version: w.rows[id], place: Place{Log: "k", Partition: int32(p), Next: w.stored[p]}},
	})
}

func (w *world) land(i int, shards []*shard[int64]) {
	if len(w.flights) == 0 {
		return
	}
	i %= len(w.flights)
	f := w.flights[i]
	w.flights = append(w.flights[:i], w.flights[i+1:]...)
	w.cache.land(shards[f.part], f.id, f.f, f.entry, f.found, nil)
}

// check fails when a cached row is older than what was seen, or would stay old for ever: older than the log before the
// instance looks at it again.
func (w *world) check() error {
	for _, id := range w.ids {
		e, ok := w.cache.entries.GetIfPresent(id)
		if !ok {
			continue
		}
		if e.Version < w.told[id] {
			return fmt.Errorf("cached %s is of version %d, seen was %d", id, e.Version, w.told[id])
		}
		unseen := int64(0) // events of id that are still to be seen
		p := w.part(id)
		for _, other := range w.log[p][w.seen[p]:] {
			if other == id {
				unseen++
			}
		}
		if e.Version+unseen < w.events[id] {
			return fmt.Errorf("cached %s is of version %d and would stay, the log has %d, of which %d are to be seen", id, e.Version, w.events[id], unseen)
		}
	}
	return nil
}

// play does what is drawn, and gives the first thing that is wrong.
func play(t *rapid.T, w *world) error {
	w.restart()
	shards := *w.cache.shards.Load()
	for range rapid.IntRange(1, 120).Draw(t, "steps") {
		id := rapid.SampledFrom(w.ids).Draw(t, "id")
		switch rapid.SampledFrom([]string{"happen", "look", "look", "project", "project", "stand", "off", "off", "land", "land", "restart"}).Draw(t, "step") {
		case "happen":
			w.happen(id)
		case "look":
			w.look(w.part(id))
		case "project":
			w.project(w.part(id))
		case "stand":
			w.cache.stands(int32(w.part(id)), w.stored[w.part(id)])
		case "off":
			w.takeOff(id)
		case "land":
			w.land(rapid.IntRange(0, 10).Draw(t, "which"), shards)
		case "restart":
			if rapid.IntRange(0, 9).Draw(t, "really") == 0 {
				for len(w.flights) > 0 { // theirs are the old shards
					w.land(0, shards)
				}
				w.restart()
				shards = *w.cache.shards.Load()
			}
		}
		if err := w.check(); err != nil {
			return err
		}
	}
	return nil
}

// Whatever comes in between, nothing is cached that is older than what the instance has seen in the log.
func TestP11_CachedIsNeverOlderThanSeen(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(nil, rapid.SampledFrom([]int{2, 3, 1000}).Draw(t, "floors"))
		defer w.cache.close()
		if err := play(t, w); err != nil {
			t.Fatal(err)
		}
	})
}

// The same test finds the cache out when the rule of the floor is taken out of it.
func TestP11_WithoutTheFloorTheTestFails(t *testing.T) {
	var wrong atomic.Bool
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(func(int64, int64) bool { return true }, 1000)
		defer w.cache.close()
		if play(t, w) != nil {
			wrong.Store(true)
		}
	})
	if !wrong.Load() {
		t.Error("a cache that keeps whatever is read goes unnoticed")
	}
}

// Flights that were begun before a restart must not land in the new life.
func TestCache_RowsReadBeforeARestartAreNotKept(t *testing.T) {
	w := newWorld(nil, 10)
	defer w.cache.close()
	w.restart()
	w.happen("a")
	w.project(0)
	w.project(1)
	old := *w.cache.shards.Load()
	w.takeOff("a")
	w.restart()
	w.land(0, old)
	if _, kept := w.cache.entries.GetIfPresent("a"); kept {
		t.Error("it was kept")
	}
}

// Who asks at the same time is answered by one read, and one who asks after an event was seen by another.
func TestCache_SingleFlight(t *testing.T) {
	c := newCache[int64](10, nil)
	defer c.close()
	c.follow([]int64{0})
	s := (*c.shards.Load())[0]
	first, begins := s.board("a")
	second, again := s.board("a")
	if !begins || again || first != second {
		t.Fatal("two who ask at the same time do not share")
	}
	c.seen(0, "a", 1, 0)
	third, begins := s.board("a")
	if !begins || third == first {
		t.Fatal("who asks after an event was seen gets what was read before it")
	}
	c.land(s, "a", first, Entry[int64]{}, false, errors.New("cut off"))
	c.land(s, "a", third, Entry[int64]{Version: 1, place: Place{Log: "k", Partition: 0, Next: 1}}, true, nil)
	if <-second.done; second.err == nil {
		t.Error("the error of a shared read is lost")
	}
	if len(s.flights) != 0 {
		t.Errorf("flights are left: %v", s.flights)
	}
	if e, ok := c.entries.GetIfPresent("a"); !ok || e.Version != 1 {
		t.Errorf("cached is %+v, %v", e, ok)
	}
}

// Real goroutines at full speed, for the race detector and for what an interleaving by steps does not reach.
func TestCache_UnderLoadNeverOlderThanSeen(t *testing.T) {
	const ids, rounds = 4, 3000
	var rows, stored, seen [ids]atomic.Int64 // by aggregate: each has a partition of its own
	c := newCache[int64](ids, func(_ context.Context, id string) (Entry[int64], bool, error) {
		i := int(id[0] - 'a')
		place := stored[i].Load() // first: what is read after it has all of it
		v := rows[i].Load()
		return Entry[int64]{Value: v, Version: v, place: Place{Log: "k", Partition: int32(i), Next: place}}, v > 0, nil
	})
	defer c.close()
	c.follow(make([]int64, ids))
	shards := *c.shards.Load()
	stop := make(chan struct{})
	var readers, writers sync.WaitGroup
	for i := range ids {
		id := string(rune('a' + i))
		writers.Go(func() { // event, seen by the instance, stored by the projection
			for v := int64(1); v <= rounds; v++ {
				c.seen(int32(i), id, v, v-1)
				seen[i].Store(v)
				rows[i].Store(v)
				stored[i].Store(v)
				if v%3 == 0 {
					c.stands(int32(i), v)
				}
			}
		})
		for range 2 {
			readers.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
					}
					before := seen[i].Load()
					if e, ok := c.entries.GetIfPresent(id); ok && e.Version < before {
						t.Errorf("cached %s is of version %d, seen was %d", id, e.Version, before)
						return
					}
					if f, first := shards[i].board(id); first {
						e, found, err := c.load(t.Context(), id)
						c.land(shards[i], id, f, e, found, err)
					}
				}
			})
		}
	}
	writers.Wait()
	close(stop)
	readers.Wait()
}

// However many are asked for, it holds no more rows than it may.
func TestCache_HoldsNoMoreThanItMay(t *testing.T) {
	c := newCache[int64](100, nil)
	defer c.close()
	c.follow([]int64{0})
	s := (*c.shards.Load())[0]
	for i := range 5000 {
		id := fmt.Sprint(i)
		f, _ := s.board(id)
		c.land(s, id, f, Entry[int64]{Value: 1, Version: 1, place: Place{Log: "account", Next: 1}}, true, nil)
	}
	c.entries.CleanUp()
	if n := c.size(); n == 0 || n > 100 {
		t.Errorf("it holds %d rows, wanted 100 at most", n)
	}
}
