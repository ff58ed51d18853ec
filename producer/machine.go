package producer

import (
	"context"
	"fmt"
	"runtime/debug"

	"github.com/ledgerline-es/ledgerline/schemas"
)

// machine is one aggregate kind bound to its codecs, with the kind's types erased. It is the only place where a command
// or an event changes between bytes and Go.
type machine interface {
	// register makes the kind's schemas known to the registry. Needed before anything is encoded.
	register(ctx context.Context) error
	decodeCommand(ctx context.Context, data []byte) (schemas.Record, error)
	encodeCommand(rec schemas.Record) ([]byte, error)
	parseCommand(typeName string, doc []byte) (schemas.Record, error)
	showCommand(ctx context.Context, data []byte) (name string, doc []byte, err error)
	showEvent(ctx context.Context, data []byte) (name string, doc []byte, err error)
	checkEvent(ctx context.Context, data []byte) error
	newShelf() shelf
}

// shelf holds the states of one partition's aggregates and changes them. It is not safe for concurrent use.
type shelf interface {
	// head is the part of an aggregate that is the same for every kind; nil when nothing is known of the id.
	head(id string) *head
	// open is head, but makes the aggregate known.
	open(id string) *head
	// replay evolves an aggregate by one of its committed events.
	replay(ctx context.Context, id string, sequence int64, data []byte) error
	// decide asks the rules. The state that the events lead to is held back until keep.
	decide(id string, cmd schemas.Record, meta Meta) (verdict, error)
	// keep makes the last verdict's state the aggregate's state, until rollback.
	keep()
	// touch remembers an aggregate as it is now, so that rollback can restore it. Idempotent within a transaction.
	touch(id string)
	// commit forgets how it was before; rollback goes back to it.
	commit()
	rollback()
	// len is the number of aggregates known.
	len() int
}

// head is what an aggregate has beside its state.
type head struct {
	version int64        // sequence of its last event
	sources []sourceSeen // last numbers of the senders that number their commands; replaced, never written into
}

// verdict is an answer of the rules, encoded.
type verdict struct {
	rejected bool
	code     string
	message  string
	events   []encodedEvent
}

type encodedEvent struct {
	name string // full Avro name
	data []byte // Confluent wire format
}

// panicError is what a command's rules died of.
type panicError struct {
	value any
	stack []byte
}

func (e *panicError) Error() string { return fmt.Sprintf("panic: %v\n%s", e.value, e.stack) }

type typedMachine[S any, C, E schemas.Record] struct {
	aggregate Aggregate[S, C, E]
	commands  *schemas.Serde[C]
	events    *schemas.Serde[E]
}

func newTypedMachine[S any, C, E schemas.Record](a Aggregate[S, C, E], codec *schemas.Codec, topics schemas.Topics) *typedMachine[S, C, E] {
	return &typedMachine[S, C, E]{
		aggregate: a,
		commands:  schemas.NewSerde(codec, topics.Commands, schemas.BackwardTransitive, a.Kind.Commands...),
		events:    schemas.NewSerde(codec, topics.Events, schemas.FullTransitive, a.Kind.Events...),
	}
}

func (m *typedMachine[S, C, E]) register(ctx context.Context) error {
	if err := m.commands.Register(ctx); err != nil {
		return err
	}
	return m.events.Register(ctx)
}

func (m *typedMachine[S, C, E]) decodeCommand(ctx context.Context, data []byte) (schemas.Record, error) {
	return m.commands.Decode(ctx, data)
}

func (m *typedMachine[S, C, E]) encodeCommand(rec schemas.Record) ([]byte, error) {
	c, ok := rec.(C)
	if !ok {
		return nil, fmt.Errorf("%s is no command of %s: it takes %v", rec.AvroName(), m.aggregate.Kind.Name, m.aggregate.CommandNames())
	}
	return m.commands.Append(nil, c)
}

func (m *typedMachine[S, C, E]) parseCommand(typeName string, doc []byte) (schemas.Record, error) {
	return m.commands.FromJSON(typeName, doc)
}

func (m *typedMachine[S, C, E]) showCommand(ctx context.Context, data []byte) (name string, doc []byte, err error) {
	return show(ctx, m.commands, data)
}

func (m *typedMachine[S, C, E]) showEvent(ctx context.Context, data []byte) (name string, doc []byte, err error) {
	return show(ctx, m.events, data)
}

func (m *typedMachine[S, C, E]) checkEvent(ctx context.Context, data []byte) error {
	_, err := m.events.Decode(ctx, data)
	return err
}

func show[T schemas.Record](ctx context.Context, serde *schemas.Serde[T], data []byte) (name string, doc []byte, err error) {
	rec, err := serde.Decode(ctx, data)
	if err != nil {
		return "", nil, err
	}
	doc, err = serde.ToJSON(rec)
	return rec.AvroName(), doc, err
}

func (m *typedMachine[S, C, E]) newShelf() shelf {
	return &typedShelf[S, C, E]{machine: m, cells: map[string]*cell[S]{}}
}

// cell is one aggregate: compared with two maps, it costs one look-up a command.
type cell[S any] struct {
	head
	state   S
	touched bool // its earlier self stands in the undo list
}

type undo[S any] struct {
	id     string
	cell   *cell[S]
	before cell[S]
	fresh  bool // it was not known before
}

type typedShelf[S any, C, E schemas.Record] struct {
	machine *typedMachine[S, C, E]
	cells   map[string]*cell[S]
	undo    []undo[S]

	// What the last verdict leads to.
	pendingID      string
	pendingState   S
	pendingVersion int64
}

func (s *typedShelf[S, C, E]) len() int { return len(s.cells) }

func (s *typedShelf[S, C, E]) head(id string) *head {
	if c := s.cells[id]; c != nil {
		return &c.head
	}
	return nil
}

func (s *typedShelf[S, C, E]) open(id string) *head {
	c := s.cells[id]
	if c == nil {
		c = &cell[S]{}
		s.cells[id] = c
	}
	return &c.head
}

func (s *typedShelf[S, C, E]) replay(ctx context.Context, id string, sequence int64, data []byte) error {
	e, err := s.machine.events.Decode(ctx, data)
	if err != nil {
		return err
	}
	s.open(id)
	c := s.cells[id]
	if sequence != c.version+1 {
		return fmt.Errorf("event %d of %s follows event %d: the history has a gap or a fork; run verify", sequence, id, c.version)
	}
	state, err := s.evolve(c.state, e)
	if err != nil {
		return err
	}
	c.state, c.version = state, sequence
	return nil
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
	var state S
	if c := s.cells[id]; c != nil {
		state, meta.Version = c.state, c.version
	}
	d := s.machine.aggregate.Decide(state, cmd.(C), meta)
	if d.rejected {
		return verdict{rejected: true, code: d.code, message: d.message}, nil
	}
	v.events = make([]encodedEvent, len(d.events))
	for i, e := range d.events {
		data, err := s.machine.events.Append(nil, e)
		if err != nil {
			return verdict{}, fmt.Errorf("encode event %s: %w", e.AvroName(), err)
		}
		v.events[i] = encodedEvent{e.AvroName(), data}
		state = s.machine.aggregate.Evolve(state, e)
	}
	s.pendingID, s.pendingState, s.pendingVersion = id, state, meta.Version+int64(len(d.events))
	return v, nil
}

func (s *typedShelf[S, C, E]) keep() {
	s.touch(s.pendingID)
	c := s.cells[s.pendingID]
	c.state, c.version = s.pendingState, s.pendingVersion
}

func (s *typedShelf[S, C, E]) touch(id string) {
	c := s.cells[id]
	if c == nil {
		c = &cell[S]{}
		s.cells[id] = c
		s.undo = append(s.undo, undo[S]{id: id, cell: c, fresh: true})
		c.touched = true
		return
	}
	if !c.touched {
		s.undo = append(s.undo, undo[S]{id: id, cell: c, before: *c})
		c.touched = true
	}
}

func (s *typedShelf[S, C, E]) commit() {
	for _, u := range s.undo {
		u.cell.touched = false
	}
	s.undo = s.undo[:0]
}

func (s *typedShelf[S, C, E]) rollback() {
	for _, u := range s.undo {
		if u.fresh {
			delete(s.cells, u.id)
			continue
		}
		*u.cell = u.before
	}
	s.undo = s.undo[:0]
}
