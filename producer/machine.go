package producer

import (
	"context"
	"errors"
	"fmt"

	"github.com/ledgerline-es/ledgerline/schemas"
	"github.com/ledgerline-es/ledgerline/schemas/ledgerline"
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
	newFolder() folder
	newShelf(w *writer, s *store, memory int) shelf
	// receivers are the kinds that the rules may send commands to, their own among them.
	receivers() []schemas.Receiver
	// snapshot reports whether a snapshot can be used by these rules. An error says that the registry could not be asked.
	usable(ctx context.Context, s *ledgerline.Snapshot) (bool, error)
	// form is what states are made by: the revision of the rules, and the schema of the state.
	form() (revision int, schema string)
}

// verdict is an answer of the rules, encoded.
type verdict struct {
	rejected bool
	code     string
	message  string
	events   []encodedEvent // until the next verdict
	sent     []schemas.Message

	delayed   []Delayed
	cancelled []string
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
	states    *schemas.Serde[schemas.Record]
}

func newTypedMachine[S any, C, E schemas.Record](a Aggregate[S, C, E], codec *schemas.Codec, topics schemas.Topics) *typedMachine[S, C, E] {
	return &typedMachine[S, C, E]{
		aggregate: a,
		commands:  schemas.NewSerde(codec, topics.Commands, schemas.BackwardTransitive, a.Kind.Commands...),
		events:    schemas.NewSerde(codec, topics.Events, schemas.FullTransitive, a.Kind.Events...),
		// A state that can't be read is evolved anew from events: its schema may change in any way.
		states: schemas.NewSerde(codec, topics.Snapshots, schemas.None, schemas.Type[schemas.Record]{
			Name: a.Kind.State.Name, Schema: a.Kind.State.Schema, New: func() schemas.Record { return a.Kind.State.Record(new(S)) },
		}),
	}
}

func (m *typedMachine[S, C, E]) register(ctx context.Context) error {
	if err := m.commands.Register(ctx); err != nil {
		return err
	}
	if err := m.events.Register(ctx); err != nil {
		return err
	}
	return m.states.Register(ctx)
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

func (m *typedMachine[S, C, E]) receivers() []schemas.Receiver {
	return append([]schemas.Receiver{m.aggregate.Kind}, m.aggregate.SendsTo...)
}

func (m *typedMachine[S, C, E]) form() (revision int, schema string) {
	return m.aggregate.Revision, m.aggregate.Kind.State.Schema
}

func (m *typedMachine[S, C, E]) usable(ctx context.Context, s *ledgerline.Snapshot) (bool, error) {
	if int(s.Revision) != m.aggregate.Revision {
		return false, nil
	}
	_, err := m.states.TypeOf(ctx, s.State)
	if errors.Is(err, schemas.ErrRegistryUnavailable) {
		return false, err
	}
	return err == nil, nil
}
