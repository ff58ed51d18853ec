package producer

import (
	"context"
	"encoding/binary"
	"errors"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ledgerline-es/ledgerline/schemas/ledgerline"
)

// Checkpoints are fuzzy: with each transaction some aggregates get a snapshot, those first whose last one is the oldest. What is
// not in a snapshot yet waits in a queue, in the order of its first event since; so the head of the queue says up to which
// offset snapshots hold everything, and that is what a checkpoint says. It may name offsets of earlier transactions only: this
// one's are not known before it is written, and a snapshot in it holds all that this transaction does to its aggregate.

// maxSnapshot bounds a snapshot, in bytes: it must fit a Kafka batch.
const maxSnapshot = 900 << 10

// errUnkept means that a state can't be encoded, or is too large for a record. The aggregate lives on: its events are what
// it is restored from, and the checkpoint stays behind them.
var errUnkept = errors.New("state can't be kept as a snapshot")

// due is an aggregate that waits for its snapshot.
type due struct {
	id   string
	from int64 // offset of its first event that no snapshot holds
}

// agenda is what one partition has to put into snapshots and into the store.
type agenda struct {
	queue      []due
	taken      int              // of the queue's front, by the open transaction
	unkept     map[string]int64 // offset of the first event, of states that can't be kept
	mended     []string         // of these, what the open transaction does keep
	changed    []changed        // by the open transaction
	last       *kgo.Record      // the last event of the open transaction
	kept       []*kgo.Record    // records that the open transaction writes to the snapshots topic
	eventsEnd  int64            // offset behind the last event that is known to be committed
	saving     []string         // states on their way into the store
	savingTo   int64            // when they are there, it has all events below …
	incomplete bool             // … unless one of them could not be saved
}

// changed is an aggregate with an event in the open transaction, and none since its last snapshot before.
type changed struct {
	id    string
	event *kgo.Record // its first; its offset is known when it is committed
}

// snapshots are those that the open transaction writes, with the checkpoint that they lead to. room is how many it may be.
func (b *book) snapshots(room int) ([]*kgo.Record, error) {
	a := &b.agenda
	var out []*kgo.Record
	for a.taken < len(a.queue) && len(out) < room && a.queue[a.taken].from < a.eventsEnd-b.limits.tail {
		next := a.queue[a.taken]
		a.taken++
		value, err := b.shelf.snapshot(next.id)
		if errors.Is(err, errUnkept) {
			if _, known := a.unkept[next.id]; !known {
				b.log.Warn("an aggregate gets no snapshot, so that every restore reads its events", "aggregate_id", next.id, "error", err)
				a.unkept[next.id] = next.from
			}
			continue
		}
		if err != nil {
			return nil, err
		}
		if _, was := a.unkept[next.id]; was {
			a.mended = append(a.mended, next.id)
		}
		out = append(out, b.writer.snapshot(b.partition, next.id, value))
	}
	if len(out) == 0 {
		return nil, nil
	}
	rec, err := b.writer.checkpoint(b.partition, a.offset())
	if err != nil {
		return nil, err
	}
	return append(out, rec), nil
}

// offset is up to where snapshots hold everything, those of the open transaction included.
func (a *agenda) offset() int64 {
	offset := a.eventsEnd
	if a.taken < len(a.queue) {
		offset = min(offset, a.queue[a.taken].from)
	}
	for _, from := range a.unkept {
		offset = min(offset, from)
	}
	return offset
}

// commit makes the transaction's snapshots the store's too, and lets those wait that it changed.
func (a *agenda) commit(b *book) error {
	for _, d := range a.queue[:a.taken] {
		if h := b.shelf.known(d.id); h != nil {
			h.queued = false
		}
	}
	if a.queue = a.queue[a.taken:]; len(a.queue) == 0 {
		a.queue = nil
	}
	a.taken = 0
	for _, id := range a.mended {
		delete(a.unkept, id)
	}
	for _, c := range a.changed {
		a.queue = append(a.queue, due{c.id, c.event.Offset})
	}
	if a.last != nil {
		a.eventsEnd = a.last.Offset + 1
	}
	for _, rec := range a.kept {
		b.snapshotsEnd = max(b.snapshotsEnd, rec.Offset+1)
		if isTimer(rec.Key) { // they have their own way there
			continue
		}
		if err := b.store.stage(rec.Key, rec.Value); err != nil {
			return err
		}
	}
	a.forget()
	return nil
}

func (a *agenda) rollback() {
	a.taken = 0
	a.forget()
}

func (a *agenda) forget() {
	clear(a.changed)
	clear(a.kept)
	a.last = nil
	a.changed, a.kept, a.mended = a.changed[:0], a.kept[:0], a.mended[:0]
}

// maxUnkept is how many places of the window are kept in memory alone: where commands are rejected, no event has them saved.
const maxUnkept = 4096

// saveTail is the part of Config.SnapshotEvents after which the store is brought up to date. The later, the fewer states are put there
// twice; what it lacks after a crash is replayed.
const saveTail = 4

// flushEvery is how often the store is put on disk.
const flushEvery = 5 * time.Second

// save puts up to n changed states into the store, when it is far enough behind; n < 0: all of them, and whatever else it lacks.
func (b *book) save(n int) error {
	a := &b.agenda
	if len(a.saving) == 0 && (n < 0 || a.eventsEnd-b.store.has.events >= b.limits.tail/saveTail) {
		a.saving, a.savingTo, a.incomplete = b.shelf.changed(), a.eventsEnd, false
	}
	for len(a.saving) > 0 && n != 0 {
		switch err := b.shelf.save(a.saving[0]); {
		case errors.Is(err, errUnkept):
			a.incomplete = true
		case err != nil:
			return err
		}
		a.saving = a.saving[1:]
		n--
	}
	to := b.store.has
	to.snapshots = b.snapshotsEnd
	if len(a.saving) == 0 && !a.incomplete {
		to.events = max(to.events, a.savingTo)
	}
	behind := len(b.window.unkept)
	if to.events != b.store.has.events || b.store.full() || behind >= maxUnkept || n < 0 && (to != b.store.has || behind > 0) {
		if err := b.timers.put(b.store); err != nil {
			return err
		}
		if err := b.window.keep(b.store, &to); err != nil {
			return err
		}
		if err := b.store.apply(to); err != nil {
			return err
		}
	}
	return b.store.flush(flushEvery)
}

// keepQueue keeps who waits for a snapshot with the local state that is about to be closed. Without it the next owner reads all events
// from the checkpoint on to know.
func (b *book) keepQueue() error {
	a := &b.agenda
	if b.store.lock == nil || len(a.unkept) > 0 || b.store.has.events != a.eventsEnd {
		return nil
	}
	value := binary.BigEndian.AppendUint64(nil, uint64(a.eventsEnd))
	for _, d := range a.queue {
		value = binary.AppendUvarint(value, uint64(d.from))
		value = append(binary.AppendUvarint(value, uint64(len(d.id))), d.id...)
	}
	if err := b.store.stage(queueKey, value); err != nil {
		return err
	}
	return b.store.apply(b.store.has)
}

// queue is what keepQueue kept; false when there is nothing, or the store has gone on since.
func (s *store) queue() (queue []due, ok bool, err error) {
	value, _, err := s.get(queueKey)
	if err != nil || len(value) < 8 || int64(binary.BigEndian.Uint64(value)) != s.has.events {
		return nil, false, err
	}
	value = value[8:]
	ids := string(value) // one allocation for all
	for len(value) > 0 {
		from, n := binary.Uvarint(value)
		size, m := binary.Uvarint(value[max(n, 0):])
		if n <= 0 || m <= 0 || uint64(len(value)-n-m) < size {
			return nil, false, nil
		}
		at := len(ids) - len(value) + n + m
		queue = append(queue, due{ids[at : at+int(size)], int64(from)})
		value = value[n+m+int(size):]
	}
	return queue, true, nil
}

func (w *writer) snapshot(partition int32, id string, value []byte) *kgo.Record {
	return &kgo.Record{Topic: w.topics.Snapshots, Partition: partition, Key: []byte(id), Value: value}
}

func (w *writer) checkpoint(partition int32, offset int64) (*kgo.Record, error) {
	value, err := w.checkpoints.Append(nil, &ledgerline.Checkpoint{EventsOffset: offset})
	if err != nil {
		return nil, err
	}
	return &kgo.Record{Topic: w.topics.Snapshots, Partition: partition, Key: []byte(checkpointKey), Value: value}, nil
}

// checkpointOf is the checkpoint that a store has; 0 when it has none.
func (w *writer) checkpointOf(ctx context.Context, s *store) (int64, error) {
	value, ok, err := s.get([]byte(checkpointKey))
	if err != nil || !ok {
		return 0, err
	}
	c, err := w.checkpoints.Decode(ctx, value)
	if err != nil {
		return 0, err
	}
	return c.EventsOffset, nil
}
