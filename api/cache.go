package api

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"
	"github.com/prometheus/client_golang/prometheus"
)

// Entry is one aggregate's row: of which version, and how far in the log what it was read from reached.
type Entry[V any] struct {
	Value   V
	Version int64
	place   Place
}

// Position is how far in its partition the row reaches: every event of the aggregate up to its version stands before.
func (e Entry[V]) Position() Position { return alone(e.place) }

// Cache holds one row for each aggregate of a kind, read from a projection when it is asked for, and kept as long as the
// log shows no later event of the aggregate. What it serves is never older than what this instance has seen in the log.
type Cache[V any] struct {
	projection *Projection
	name       string
	load       func(ctx context.Context, id string) (Entry[V], bool, error)
	entries    *otter.Cache[string, Entry[V]]
	keep       func(version, floor int64) bool // the rule: not below the floor
	maxFloors  int                             // of one partition

	shards atomic.Pointer[[]*shard[V]] // by partition; nil as long as the log is not followed

	hits, misses         prometheus.Counter
	belowFloor, unproven prometheus.Counter
	hitCount, missCount  atomic.Int64
}

// shard is what is known of one partition. Its lock makes one of: an event seen, a row kept.
type shard[V any] struct {
	mu      sync.Mutex
	barrier int64                   // rows of less than this may miss events that no floor tells of
	stored  int64                   // how far the projection was last known to be
	next    int64                   // behind the last event seen
	floors  map[string]floor        // by aggregate: what the projection may not have stored yet
	order   []raised                // the floors, oldest first
	flights map[string][]*flight[V] // by aggregate, oldest first
}

type floor struct{ version, offset int64 }

type raised struct {
	id     string
	offset int64
}

// flight is a row being read, for all who want it.
type flight[V any] struct {
	done      chan struct{}
	floor     int64 // the highest version seen before its end
	overtaken bool  // by an event seen since it took off
	entry     Entry[V]
	found     bool
	err       error
}

// NewCache makes a cache of a projection's rows, and has it follow the log. load reads an aggregate's row: value, version,
// and whether there is one. Call it in Routes. name is its label in metrics.
func NewCache[V any](p *Projection, name, sql string, row Row[V], version func(V) int64) *Cache[V] {
	c := newCache[V](p.api.cfg.CacheSize, func(ctx context.Context, id string) (Entry[V], bool, error) {
		rows, place, err := selectRows(ctx, p, id, sql, row, id)
		if err != nil || len(rows) == 0 {
			return Entry[V]{place: place}, false, err
		}
		return Entry[V]{Value: rows[0], Version: version(rows[0]), place: place}, true, nil
	})
	c.projection, c.name = p, name
	m := p.api.metrics
	c.hits, c.misses = m.hits.WithLabelValues(name), m.misses.WithLabelValues(name)
	c.belowFloor, c.unproven = m.refused.WithLabelValues(name, "floor"), m.refused.WithLabelValues(name, "unproven")
	f := p.api.followers[p.kind]
	f.watched = append(f.watched, c)
	p.api.stands.tell(p.name, c.stands)
	p.api.caches = append(p.api.caches, c)
	return c
}

func newCache[V any](size int, load func(ctx context.Context, id string) (Entry[V], bool, error)) *Cache[V] {
	counter := func() prometheus.Counter { return prometheus.NewCounter(prometheus.CounterOpts{Name: "unused"}) }
	return &Cache[V]{
		load: load, entries: otter.Must(&otter.Options[string, Entry[V]]{MaximumSize: size}),
		keep:      func(version, floor int64) bool { return version >= floor },
		maxFloors: max(size, 1000),
		hits:      counter(), misses: counter(), belowFloor: counter(), unproven: counter(),
	}
}

// Get gives the row of an aggregate as the answer: its position is the row's. found is false when there is none. Its error
// is the answer.
func (c *Cache[V]) Get(ctx context.Context, id string, in Read) (e Entry[V], found bool, err error) {
	if e, found, err = c.Find(ctx, id, in); err == nil {
		exchangeOf(ctx).position = alone(e.place)
	}
	return e, found, err
}

// Find gives the row of an aggregate, waiting for the position and version asked for.
func (c *Cache[V]) Find(ctx context.Context, id string, in Read) (e Entry[V], found bool, err error) {
	p := c.projection
	b, err := p.budget(in)
	if err != nil {
		return e, false, err
	}
	want := p.wanted(id, b.want)
	if e, found = c.cached(id, in.MinVersion, want); !found {
		if err := p.await(ctx, want, b); err != nil {
			return e, false, err
		}
		return c.read(ctx, id, in.MinVersion, want, b)
	}
	return e, found, nil
}

// cached gives the row from the cache, when it is of the version at least, and no older than the places wanted: read from
// there or later, or not contradicted by a log that was seen up to there.
func (c *Cache[V]) cached(id string, least int64, want Position) (e Entry[V], ok bool) {
	f := c.projection.api.followers[c.projection.kind]
	if partition, known := f.partition(id); !known || !f.fresh(partition) {
		return e, false
	}
	seen := int64(0)
	if len(want) > 0 { // before the row is looked up: afterwards an event could have been seen since
		seen = f.reachedIn(want[0].Partition)
	}
	e, ok = c.entries.GetIfPresent(id)
	if !ok || e.Version < least || len(want) > 1 || len(want) == 1 && max(seen, e.place.Next) < want[0].Next {
		return Entry[V]{}, false
	}
	c.hits.Inc()
	c.hitCount.Add(1)
	return e, true
}

// read gives the row from the store. A flight that others began may have looked before the projection was where we want it;
// then the next one will do.
func (c *Cache[V]) read(ctx context.Context, id string, least int64, want Position, b budget) (e Entry[V], found bool, err error) {
	c.misses.Inc()
	c.missCount.Add(1)
	for flights := 1; ; flights++ {
		if e, found, err = c.fly(ctx, id); err != nil {
			return e, false, err
		}
		switch {
		case len(want) == 1 && isKnown(e.place) && e.place.Next < want[0].Next:
			if flights > 2 && time.Now().After(b.until) { // the database itself has gone back
				return e, false, c.projection.behind(b, fmt.Sprintf("position %s", want))
			}
			continue
		case least == 0 || found && e.Version >= least:
			return e, found, nil
		}
		waiting, cancel := context.WithDeadline(ctx, b.until)
		err = c.projection.api.stands.moved(waiting, c.projection.name, e.place)
		cancel()
		switch {
		case errors.Is(err, context.Canceled):
			return e, false, gone(ctx)
		case err != nil:
			return e, false, c.projection.behind(b, fmt.Sprintf("version %d of %s, which is at %d", least, id, e.Version))
		}
	}
}

// fly reads the row from the store, together with all who want it now.
func (c *Cache[V]) fly(ctx context.Context, id string) (Entry[V], bool, error) {
	partition, known := c.projection.api.followers[c.projection.kind].partition(id)
	shards := c.shards.Load()
	if !known || shards == nil || int(partition) >= len(*shards) {
		return c.load(ctx, id) // nobody would say when it gets old
	}
	s := (*shards)[partition]
	f, first := s.board(id)
	if first {
		go func() {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), loadTimeout)
			defer cancel()
			e, found, err := c.load(ctx, id)
			c.land(s, id, f, e, found, err)
		}()
	}
	select {
	case <-f.done:
		return f.entry, f.found, f.err
	case <-ctx.Done():
		return Entry[V]{}, false, gone(ctx)
	}
}

// loadTimeout bounds the reading of a row for all who wait for it.
const loadTimeout = 10 * time.Second

// board joins the flight for a row, or begins one. A flight that began before the last event of its aggregate was seen
// takes no one on any more.
func (s *shard[V]) board(id string) (f *flight[V], first bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	flights := s.flights[id]
	if n := len(flights); n > 0 && !flights[n-1].overtaken {
		return flights[n-1], false
	}
	f = &flight[V]{done: make(chan struct{}), floor: s.floors[id].version}
	s.flights[id] = append(flights, f)
	return f, true
}

// land keeps what a flight has brought, if nothing later was seen, and hands it to who waits.
func (c *Cache[V]) land(s *shard[V], id string, f *flight[V], e Entry[V], found bool, err error) {
	f.entry, f.found, f.err = e, found, err
	s.mu.Lock()
	if rest := slices.DeleteFunc(s.flights[id], func(o *flight[V]) bool { return o == f }); len(rest) > 0 {
		s.flights[id] = rest
	} else {
		delete(s.flights, id)
	}
	if err == nil && found {
		switch {
		case !c.keep(e.Version, f.floor):
			c.belowFloor.Inc()
		case e.place.Next < s.barrier:
			c.unproven.Inc()
		default:
			c.entries.Set(id, e)
		}
	}
	s.mu.Unlock()
	close(f.done)
}

// follow begins anew with the partitions' ends: what stands before them was not seen.
func (c *Cache[V]) follow(from []int64) {
	shards := make([]*shard[V], len(from))
	for i, next := range from {
		shards[i] = &shard[V]{barrier: next, next: next, floors: map[string]floor{}, flights: map[string][]*flight[V]{}}
	}
	if old := c.shards.Swap(&shards); old != nil {
		for _, s := range *old { // rows still in flight are not kept
			s.mu.Lock()
			s.barrier = math.MaxInt64
			s.mu.Unlock()
		}
	}
	c.entries.InvalidateAll()
}

// seen raises the floor of an aggregate.
func (c *Cache[V]) seen(partition int32, id string, version, offset int64) {
	s := (*c.shards.Load())[partition]
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next = offset + 1
	for _, f := range s.flights[id] {
		f.floor, f.overtaken = max(f.floor, version), true
	}
	if e, ok := c.entries.GetEntryQuietly(id); ok && !c.keep(e.Value.Version, version) {
		c.entries.Invalidate(id)
	}
	if offset < s.stored {
		return // the projection has been faster
	}
	if len(s.order) >= c.maxFloors { // too many to remember: their place is taken by one that holds for all
		clear(s.floors)
		s.order = nil
		s.barrier = s.next
		return
	}
	s.floors[id] = floor{version, offset}
	s.order = append(s.order, raised{id, offset})
}

// stands forgets the floors of events that the projection has stored: whatever is read from now on has them.
func (c *Cache[V]) stands(partition int32, next int64) {
	shards := c.shards.Load()
	if shards == nil || int(partition) >= len(*shards) {
		return
	}
	s := (*shards)[partition]
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stored = next
	n := 0
	for n < len(s.order) && s.order[n].offset < next {
		r := s.order[n]
		if s.floors[r.id].offset == r.offset {
			delete(s.floors, r.id)
		}
		n++
	}
	if s.order = s.order[n:]; len(s.order) == 0 {
		s.order = nil
	}
}

// size is how many rows it holds.
func (c *Cache[V]) size() int { return c.entries.EstimatedSize() }

// counts are for /stats.
func (c *Cache[V]) counts() (name string, hits, misses int64) {
	return c.name, c.hitCount.Load(), c.missCount.Load()
}

func (c *Cache[V]) close() { c.entries.StopAllGoroutines() }
