package producer

import (
	"container/heap"
	"encoding/binary"
)

// Most timers are set to see that something comes in time, and are taken away when it has come. So the store gets a timer only when it has
// waited for a while: what is set and taken away before costs it nothing.

const (
	// maxRecent and maxRecentBytes bound what is kept from the store, of one partition. A timer has some 300 bytes.
	maxRecent      = 10_000
	maxRecentBytes = 2 << 20
	// maxKnown is up to how many timers of one partition are known without the store.
	maxKnown = 10_000
)

// mark is what must be known of a timer to take it away, and to find it by its time. A nil one is none.
type mark struct {
	due   int64
	fired bool
}

func (m *mark) waits() bool { return m != nil && !m.fired }

// recent is a timer that the store does not have as it is now.
type recent struct {
	stored, now *mark
	value       []byte // of its record, as it is now
}

// recents are those of a partition, by key.
type recents struct {
	of    map[string]recent
	byDue dues
	bytes int
}

// set takes in what a transaction did to a timer.
func (r *recents) set(key string, c change) {
	one, known := r.of[key]
	if !known {
		one.stored = c.before
	}
	r.bytes += len(c.value) - len(one.value)
	one.now, one.value = c.after, c.value
	if one.stored == nil && one.now == nil {
		delete(r.of, key)
		return
	}
	r.of[key] = one
	if one.now.waits() {
		heap.Push(&r.byDue, dueTimer{one.now.due, key})
	}
}

func (r *recents) full() bool {
	return len(r.of) > maxRecent || r.bytes > maxRecentBytes || len(r.byDue) > 2*maxRecent
}

// first is when the first of them is due.
func (r *recents) first() int64 {
	for len(r.byDue) > 0 {
		first := r.byDue[0]
		if now := r.of[first.key].now; now.waits() && now.due == first.at {
			return first.at
		}
		heap.Pop(&r.byDue) // it was taken away, or set anew
	}
	return noTimer
}

// dues are timers by their times, also some that are no more.
type dues []dueTimer

type dueTimer struct {
	at  int64
	key string
}

// Len implements [heap.Interface].
func (d *dues) Len() int { return len(*d) }

// Less implements [heap.Interface].
func (d *dues) Less(i, j int) bool { return (*d)[i].at < (*d)[j].at }

// Swap implements [heap.Interface].
func (d *dues) Swap(i, j int) { (*d)[i], (*d)[j] = (*d)[j], (*d)[i] }

// Push implements [heap.Interface].
func (d *dues) Push(one any) { *d = append(*d, one.(dueTimer)) }

// Pop implements [heap.Interface].
func (d *dues) Pop() any {
	last := len(*d) - 1
	one := (*d)[last]
	*d = (*d)[:last]
	return one
}

// put has the store take what it lacks, and finds when its first timer is due.
func (t *timers) put(s *store) error {
	if len(t.recent.of) == 0 {
		return nil
	}
	for key, r := range t.recent.of {
		if r.stored.waits() {
			if err := s.staged.Delete(dueAt(r.stored.due, key), nil); err != nil {
				return err
			}
		}
		if r.now == nil {
			if err := s.staged.Delete([]byte(key), nil); err != nil {
				return err
			}
			delete(t.known, key)
			continue
		}
		if err := s.staged.Set([]byte(key), r.value, nil); err != nil {
			return err
		}
		if r.now.waits() {
			t.stored = min(t.stored, r.now.due)
			if err := s.staged.Set(dueAt(r.now.due, key), nil, nil); err != nil {
				return err
			}
		}
		t.know(key, *r.now)
	}
	t.recent = recents{of: map[string]recent{}}
	return t.ordered(s)
}

// know notes what the store has, unless that is too much.
func (t *timers) know(key string, m mark) {
	if t.known == nil {
		return
	}
	if t.known[key] = m; len(t.known) > maxKnown {
		t.known = nil
	}
}

// ordered says that the store has the timers in order.
func (t *timers) ordered(s *store) error {
	if err := s.staged.Set(timersKey, binary.BigEndian.AppendUint64(nil, uint64(t.count)), nil); err != nil {
		return err
	}
	if err := s.apply(s.has); err != nil { // they are looked up there
		return err
	}
	return t.look(s)
}

// look finds when the first timer of the store is due. What it has taken out before that lies before.
func (t *timers) look(s *store) error {
	from := t.stored
	t.stored = noTimer
	err := s.due(from, func(due int64, _ string) error {
		t.stored = due
		return errStop
	})
	t.next = min(t.stored, t.recent.first())
	return err
}
