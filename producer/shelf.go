package producer

import (
	"context"
	"fmt"
	"runtime/debug"
	"slices"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ledgerline-es/ledgerline/schemas"
	"github.com/ledgerline-es/ledgerline/schemas/ledgerline"
)

// shelf holds the states of one partition's aggregates and changes them: those in use as Go values, all others in the store. It
// is not safe for concurrent use.
type shelf interface {
	// head is the part of an aggregate that is the same for every kind; its version is 0 when nothing is known of the id. Good
	// until the transaction ends.
	head(ctx context.Context, id string) (*head, error)
	// known is head, but of what is in memory only; nil when it is not.
	known(id string) *head
	// replay evolves an aggregate by one of its committed events, unless the state holds it already. evolving is told when Evolve is at work.
	replay(ctx context.Context, id string, sequence int64, event *kgo.Record, evolving *watched[kgo.Record]) (applied bool, err error)
	// adopt takes over a snapshot that another owner wrote, unless the state here is newer. covered reports whether it holds all events
	// that are known here.
	adopt(ctx context.Context, id string, snapshot *ledgerline.Snapshot, encoded []byte) (covered bool, err error)
	// decide asks the rules. The state that the events lead to is held back until keep. head was called before.
	decide(id string, cmd schemas.Record, meta Meta) (verdict, error)
	// keep makes the last verdict's state the aggregate's state, until rollback.
	keep()
	// touch remembers an aggregate as it is now, so that rollback can restore it. Idempotent within a transaction. head was
	// called before.
	touch(id string)
	// commit forgets how it was before; rollback goes back to it.
	commit() error
	rollback()
	// snapshot is the record of an aggregate's present state.
	snapshot(id string) ([]byte, error)
	// changed gives the ids of states that the store does not have, and forgets them; save stages one of them. A state that
	// can't be encoded is an error.
	changed() []string
	save(id string) error
	// trim makes room when there is more in memory than there should be. Not within a transaction.
	trim() error
	// len is the number of aggregates in memory.
	len() int
}

// head is what an aggregate has beside its state.
type head struct {
	version int64        // sequence of its last event
	sources []sourceSeen // last numbers of the senders that number their commands; replaced, never written into
	queued  bool         // it waits for its next snapshot
}

// cell is one aggregate.
type cell[S any] struct {
	head
	state   S
	touched bool // its earlier self stands in the undo list
	stored  bool // the store has this state
}

type undo[S any] struct {
	cell   *cell[S]
	before cell[S]
}

type typedShelf[S any, C, E schemas.Record] struct {
	machine *typedMachine[S, C, E]
	writer  *writer
	store   *store

	// Two generations: what is used moves to young; when that is half full, what is left in old goes.
	young, old map[string]*cell[S]
	half       int

	undo    []undo[S]
	unsaved []string // whose cells were stored until they changed
	buffer  []byte
	events  []encodedEvent // of the last verdict

	// The cell asked for last: one command asks several times.
	lastID string
	last   *cell[S]

	// What the last verdict leads to.
	pendingID      string
	pendingState   S
	pendingVersion int64
}

func (m *typedMachine[S, C, E]) newShelf(w *writer, s *store, memory int) shelf {
	return &typedShelf[S, C, E]{machine: m, writer: w, store: s, half: max(1, memory/2), young: map[string]*cell[S]{}, old: map[string]*cell[S]{}}
}

func (s *typedShelf[S, C, E]) len() int { return len(s.young) + len(s.old) }

// inMemory finds a cell, nil when it is not in memory.
func (s *typedShelf[S, C, E]) inMemory(id string) *cell[S] {
	if s.last != nil && s.lastID == id {
		return s.last
	}
	c := s.young[id]
	if c == nil {
		if c = s.old[id]; c == nil {
			return nil
		}
		delete(s.old, id)
		s.young[id] = c
	}
	s.lastID, s.last = id, c
	return c
}

func (s *typedShelf[S, C, E]) known(id string) *head {
	if c := s.inMemory(id); c != nil {
		return &c.head
	}
	return nil
}

func (s *typedShelf[S, C, E]) head(ctx context.Context, id string) (*head, error) {
	c, err := s.cell(ctx, id)
	if err != nil {
		return nil, err
	}
	return &c.head, nil
}

func (s *typedShelf[S, C, E]) cell(ctx context.Context, id string) (*cell[S], error) {
	if c := s.inMemory(id); c != nil {
		return c, nil
	}
	c := &cell[S]{stored: true}
	if err := s.load(ctx, id, c); err != nil {
		return nil, fmt.Errorf("state of %s: %w", id, err)
	}
	s.young[id] = c
	return c, nil
}

func (s *typedShelf[S, C, E]) load(ctx context.Context, id string, c *cell[S]) error {
	s.store.loads.Inc()
	value, ok, err := s.store.get([]byte(id))
	if err != nil {
		return err
	}
	if ok {
		snapshot, err := s.writer.snapshots.Decode(ctx, value)
		if err != nil {
			return err
		}
		state, err := s.machine.states.Decode(ctx, snapshot.State)
		if err != nil {
			return err
		}
		c.state, c.version = *any(state).(*S), snapshot.Sequence
	}
	if !s.store.hasMark {
		return nil
	}
	prefix := sourceMarkPrefix + id + "/"
	return s.store.each(prefix, func(key string, value []byte) error {
		mark, err := s.writer.marks.Decode(ctx, value)
		if err != nil {
			return err
		}
		c.sources = with(c.sources, seenOf(key[len(prefix):], mark))
		return nil
	})
}

func (s *typedShelf[S, C, E]) replay(ctx context.Context, id string, sequence int64, event *kgo.Record, evolving *watched[kgo.Record]) (applied bool, err error) {
	c, err := s.cell(ctx, id)
	if err != nil {
		return false, err
	}
	if sequence <= c.version {
		return false, nil
	}
	if sequence != c.version+1 {
		return false, fmt.Errorf("event %d of %s follows event %d: the history has a gap or a fork; run verify", sequence, id, c.version)
	}
	e, err := s.machine.events.Decode(ctx, event.Value)
	if err != nil {
		return false, err
	}
	evolving.begin(event)
	state, err := s.evolve(c.state, e)
	evolving.end()
	if err != nil {
		return false, err
	}
	s.change(id, c, state, sequence)
	return true, nil
}

func (s *typedShelf[S, C, E]) adopt(ctx context.Context, id string, snapshot *ledgerline.Snapshot, encoded []byte) (covered bool, err error) {
	c, err := s.cell(ctx, id)
	if err != nil || snapshot.Sequence < c.version {
		return false, err
	}
	if snapshot.Sequence > c.version {
		state, err := s.machine.states.Decode(ctx, snapshot.State)
		if err != nil {
			return false, err
		}
		c.state, c.version, c.stored = *any(state).(*S), snapshot.Sequence, true
	}
	return true, s.store.stage([]byte(id), encoded)
}

func (s *typedShelf[S, C, E]) change(id string, c *cell[S], state S, version int64) {
	c.state, c.version = state, version
	if c.stored {
		c.stored = false
		s.unsaved = append(s.unsaved, id)
	}
}

func (s *typedShelf[S, C, E]) evolve(state S, e E) (next S, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = &panicError{r, debug.Stack()}
		}
	}()
	return s.machine.aggregate.Evolve(state, e), nil
}

func (s *typedShelf[S, C, E]) decide(id string, cmd schemas.Record, meta Meta) (v verdict, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = &panicError{r, debug.Stack()}
		}
	}()
	c := s.inMemory(id)
	state := c.state
	meta.Version = c.version
	var d Decision[E]
	switch cmd := cmd.(type) {
	case *ledgerline.Reply:
		if s.machine.aggregate.Replied == nil {
			return verdict{}, fmt.Errorf("a reply to %s, and the rules of %s have no Replied", cmd.CommandID, s.machine.aggregate.Kind.Name)
		}
		d = s.machine.aggregate.Replied(state, cmd, meta)
	case C:
		d = s.machine.aggregate.Decide(state, cmd, meta)
	}
	if len(d.sent) > 0 && s.machine.aggregate.Replied == nil {
		panic("producer: the rules of " + s.machine.aggregate.Kind.Name + " send commands, and have no Replied for the answers")
	}
	if d.rejected {
		return verdict{rejected: true, code: d.code, message: d.message}, nil
	}
	s.events = slices.Grow(s.events[:0], len(d.events))[:len(d.events)]
	v.events = s.events
	for i, e := range d.events {
		data, err := s.machine.events.Append(s.writer.slab.room(256), e)
		if err != nil {
			return verdict{}, fmt.Errorf("encode event %s: %w", e.AvroName(), err)
		}
		v.events[i] = encodedEvent{e.AvroName(), s.writer.slab.keep(data)}
		state = s.machine.aggregate.Evolve(state, e)
	}
	v.sent, v.delayed, v.cancelled = d.sent, d.delayed, d.cancelled
	s.pendingID, s.pendingState, s.pendingVersion = id, state, meta.Version+int64(len(d.events))
	return v, nil
}

func (s *typedShelf[S, C, E]) keep() {
	s.touch(s.pendingID)
	c := s.inMemory(s.pendingID)
	if s.pendingVersion != c.version {
		s.change(s.pendingID, c, s.pendingState, s.pendingVersion)
	}
}

func (s *typedShelf[S, C, E]) touch(id string) {
	if c := s.inMemory(id); !c.touched {
		s.undo = append(s.undo, undo[S]{cell: c, before: *c})
		c.touched = true
	}
}

func (s *typedShelf[S, C, E]) commit() error {
	for i := range s.undo {
		s.undo[i].cell.touched = false
	}
	clear(s.undo) // states must not be held by what is forgotten
	s.undo = s.undo[:0]
	return s.trim()
}

func (s *typedShelf[S, C, E]) rollback() {
	for i := range s.undo {
		*s.undo[i].cell = s.undo[i].before
	}
	clear(s.undo)
	s.undo = s.undo[:0]
}

func (s *typedShelf[S, C, E]) snapshot(id string) ([]byte, error) {
	if c := s.inMemory(id); c != nil { // even if it is stored: that may only be staged
		return s.encode(c)
	}
	value, ok, err := s.store.get([]byte(id))
	if err == nil && !ok {
		err = fmt.Errorf("local state has lost %s", id)
	}
	return value, err
}

func (s *typedShelf[S, C, E]) encode(c *cell[S]) (_ []byte, err error) {
	if s.buffer, err = s.machine.states.Append(s.buffer[:0], s.machine.aggregate.Kind.State.Record(&c.state)); err != nil {
		return nil, fmt.Errorf("%w: %w", errUnkept, err)
	}
	value, err := s.writer.snapshots.Append(nil, &ledgerline.Snapshot{
		Sequence: c.version, Revision: int32(s.machine.aggregate.Revision), State: s.buffer,
	})
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: %w", errUnkept, err)
	case len(value) > maxSnapshot:
		return nil, fmt.Errorf("%w: it has %d bytes, at most %d fit a record", errUnkept, len(value), maxSnapshot)
	}
	return value, nil
}

func (s *typedShelf[S, C, E]) changed() []string {
	ids := s.unsaved
	s.unsaved = nil
	return ids
}

func (s *typedShelf[S, C, E]) save(id string) error {
	c := s.young[id]
	if c == nil {
		c = s.old[id]
	}
	if c == nil || c.stored {
		return nil
	}
	value, err := s.encode(c)
	if err != nil {
		s.unsaved = append(s.unsaved, id)
		return err
	}
	c.stored = true
	return s.store.stage([]byte(id), value)
}

func (s *typedShelf[S, C, E]) trim() error {
	if len(s.young) <= s.half {
		return nil
	}
	stay := map[string]*cell[S]{}
	for id, c := range s.old {
		if err := s.save(id); err != nil {
			stay[id] = c // it can only be kept here
		}
	}
	// Gone from memory, so it must be found in the store.
	if err := s.store.apply(s.store.has); err != nil {
		return err
	}
	s.young, s.old, s.last = stay, s.young, nil
	return nil
}
