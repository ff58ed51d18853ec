package projector

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ledgerline-es/ledgerline/schemas"
)

// Projection is an [Append] or a [Fold].
type Projection interface {
	ProjectionName() string // and its consumer group's, under the topic prefix
	StoreName() string      // which sink it needs: "postgres", "clickhouse"
	KindName() string       // whose events it reads
	// Plan checks the declaration. Topic carries the prefix; its id and partitions are left to who has asked Kafka.
	Plan(topicPrefix string) (Plan, error)
	// Log is where its events come from.
	Log() Log
	// CompareByKey and CompareInOrder begin a comparison of stored rows with those that the log gives; see the two types.
	CompareByKey(identity []int, report func(Difference)) Keyed
	CompareInOrder(partition int32, read ReadRows, report func(Difference)) Ordered

	bind(codec *schemas.Codec, topic string) shape
}

// Append is a projection in which an event gives any number of new rows: a list of what happened.
type Append[R any, E schemas.Record] struct {
	Name    string                 // of the projection and its consumer group
	From    schemas.EventSource[E] // the kind whose events it reads
	Into    Table[R]
	Version int      // of the mapping: raise it when Apply changes its meaning; the projection then asks to be rebuilt
	Ignore  []string // full names of event types to pass over, also such as the code does not know

	// Apply emits the rows of one event. It must give the same rows each time: no clock, no randomness.
	Apply func(e Event[E], emit func(R))
}

func (a Append[R, E]) ProjectionName() string { return a.Name }
func (a Append[R, E]) StoreName() string      { return a.Into.Store }
func (a Append[R, E]) KindName() string       { return kindName(a.From) }

func (a Append[R, E]) Plan(topicPrefix string) (Plan, error) {
	plan, err := a.Into.plan(a.Name, a.KindName(), ShapeAppend, a.Version)
	if err == nil && a.Apply == nil {
		err = fmt.Errorf("projection %q: Apply is missing: say which rows an event gives", a.Name)
	}
	plan.Topic = schemas.TopicsOf(topicPrefix, plan.kind).Events
	return plan, err
}

func (a Append[R, E]) bind(codec *schemas.Codec, topic string) shape {
	return &appendShape[R, E]{
		decoder: newDecoder(codec, topic, a.From, a.Ignore),
		columns: a.Into.Columns,
		apply:   a.Apply,
	}
}

func kindName[E schemas.Record](from schemas.EventSource[E]) string {
	if from == nil {
		return ""
	}
	return from.KindName()
}

type appendShape[R any, E schemas.Record] struct {
	decoder *decoder[E]
	columns []Column[R]
	apply   func(Event[E], func(R))
}

// appended are the rows of some records.
type appended[R any] struct {
	rows    []R
	origins []origin
}

func (s *appendShape[R, E]) decode(ctx context.Context, records []*kgo.Record) (any, int, error) {
	events, err := s.decoder.decode(ctx, records)
	if err != nil {
		return nil, 0, err
	}
	out := &appended[R]{rows: make([]R, 0, len(events)), origins: make([]origin, 0, len(events))}
	for i := range events {
		if err := s.event(&events[i], out); err != nil {
			return nil, 0, err
		}
	}
	return out, len(events), nil
}

// event adds the rows of one event. A panic of Apply is that event's error, not the end of the process.
func (s *appendShape[R, E]) event(e *Event[E], out *appended[R]) (err error) {
	defer recoverEvent(e, &err)
	ordinal := int32(0)
	s.apply(*e, func(row R) {
		out.rows = append(out.rows, row)
		out.origins = append(out.origins, origin{offset: e.Offset, ordinal: ordinal})
		ordinal++
	})
	return nil
}

func recoverEvent[E schemas.Record](e *Event[E], err *error) {
	if p := recover(); p != nil {
		*err = eventError(e, fmt.Errorf("the projection's Apply panicked on %s: %v", e.Type, p))
	}
}

func eventError[E schemas.Record](e *Event[E], err error) error {
	return &EventError{Topic: e.Topic, Partition: e.Partition, Offset: e.Offset, Key: schemas.EventKey(e.AggregateID, e.Sequence), Err: err}
}

func (s *appendShape[R, E]) rows(items []any) Rows {
	out := &rowSet[R]{columns: s.columns}
	n := 0
	for _, item := range items {
		n += len(item.(*appended[R]).rows)
	}
	out.rows, out.origins = make([]R, 0, n), make([]origin, 0, n)
	for _, item := range items {
		part := item.(*appended[R])
		out.rows = append(out.rows, part.rows...)
		out.origins = append(out.origins, part.origins...)
	}
	return out
}

func (s *appendShape[R, E]) folding([]any) Folding {
	panic("projector: an append has no keys to fold: the sink must ask for its plan's shape")
}
