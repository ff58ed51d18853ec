package projector

import (
	"context"
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ledgerline-es/ledgerline/projector/internal/mutant"
	"github.com/ledgerline-es/ledgerline/schemas"
)

// Fold is a projection in which the events of one key give one row: a summary. The table's first column is the key, and
// its primary key.
type Fold[R any, E schemas.Record] struct {
	Name    string                 // of the projection and its consumer group
	From    schemas.EventSource[E] // the kind whose events it reads
	Into    Table[R]
	Version int      // of the mapping: raise it when Apply or Key changes its meaning; the projection then asks to be rebuilt
	Ignore  []string // full names of event types to pass over, also such as the code does not know

	// Key is the row's key; by default the aggregate's id. All events of a key must be in one partition, so it may split
	// an aggregate into several rows, but not put several aggregates into one.
	Key func(Event[E]) string
	// Apply changes the row by one event; its key is set already, all else is zero when the row is new. Events come in
	// their order. It must give the same row each time: no clock, no randomness.
	Apply func(row *R, e Event[E])
}

func (f Fold[R, E]) ProjectionName() string { return f.Name }
func (f Fold[R, E]) StoreName() string      { return f.Into.Store }
func (f Fold[R, E]) KindName() string       { return kindName(f.From) }

func (f Fold[R, E]) Plan(topicPrefix string) (Plan, error) {
	plan, err := f.Into.plan(f.Name, f.KindName(), ShapeFold, f.Version)
	switch {
	case err != nil:
	case f.Apply == nil:
		err = fmt.Errorf("projection %q: Apply is missing: say how an event changes a row", f.Name)
	case f.Into.Columns[0].key == nil:
		err = fmt.Errorf("projection %q: the first column of table %s, %s, is the key of the fold and must be a string", f.Name, f.Into.Name, f.Into.Columns[0].Name)
	}
	plan.Topic = schemas.TopicsOf(topicPrefix, plan.kind).Events
	return plan, err
}

func (f Fold[R, E]) bind(codec *schemas.Codec, topic string) shape {
	return f.shape(newDecoder(codec, topic, f.From, f.Ignore))
}

func (f Fold[R, E]) shape(d *decoder[E]) *foldShape[R, E] {
	key := f.Key
	if key == nil {
		key = func(e Event[E]) string { return e.AggregateID }
	}
	return &foldShape[R, E]{
		decoder: d,
		columns: f.Into.Columns,
		key:     key,
		apply:   f.Apply,
	}
}

type foldShape[R any, E schemas.Record] struct {
	decoder *decoder[E]
	columns []Column[R]
	key     func(Event[E]) string
	apply   func(*R, Event[E])
}

// keyed are the events of some records, each with its key.
type keyed[E schemas.Record] struct {
	events []Event[E]
	keys   []string
}

func (s *foldShape[R, E]) decode(ctx context.Context, records []*kgo.Record) (any, int, error) {
	events, err := s.decoder.decode(ctx, records)
	if err != nil {
		return nil, 0, err
	}
	out := &keyed[E]{events: events, keys: make([]string, len(events))}
	for i := range events {
		if out.keys[i], err = s.keyOf(&events[i]); err != nil {
			return nil, 0, err
		}
	}
	return out, len(events), nil
}

func (s *foldShape[R, E]) keyOf(e *Event[E]) (key string, err error) {
	defer recoverEvent(e, &err)
	if key = s.key(*e); key == "" {
		return "", eventError(e, fmt.Errorf("the projection's Key gave no key for %s", e.Type))
	}
	return key, nil
}

// applyTo applies one event to its row. A panic of Apply is that event's error, not the end of the process.
func (s *foldShape[R, E]) applyTo(row *R, e *Event[E]) (err error) {
	defer recoverEvent(e, &err)
	s.apply(row, *e)
	if mutant.Is(mutant.Double) && mutant.Hit() {
		s.apply(row, *e)
	}
	return nil
}

func (s *foldShape[R, E]) rows([]any) Rows {
	panic("projector: the rows of a fold depend on the stored ones: the sink must ask for its plan's shape")
}

func (s *foldShape[R, E]) folding(items []any) Folding {
	f := &folding[R, E]{shape: s, rows: make(map[string]*R)}
	for _, item := range items {
		part := item.(*keyed[E])
		f.parts = append(f.parts, part)
		for _, key := range part.keys {
			if _, seen := f.rows[key]; !seen {
				f.rows[key] = nil
				f.keys = append(f.keys, key)
			}
		}
	}
	slices.Sort(f.keys)
	return f
}

// folding is one write of a fold.
type folding[R any, E schemas.Record] struct {
	shape   *foldShape[R, E]
	parts   []*keyed[E]
	keys    []string
	rows    map[string]*R // nil until loaded or made
	scratch R
}

func (f *folding[R, E]) Keys() []string { return f.keys }

func (f *folding[R, E]) Scratch() []any { return targets(f.shape.columns, &f.scratch) }

func (f *folding[R, E]) Keep() error {
	row := f.scratch
	key := *f.shape.columns[0].key(&row)
	if old, asked := f.rows[key]; !asked || old != nil {
		return fmt.Errorf("the store gave a row for key %q that was not asked for, or gave it twice", key)
	}
	f.rows[key] = &row
	f.scratch = *new(R) // a driver may fill a pointer in place
	return nil
}

func (f *folding[R, E]) Apply() (Rows, error) {
	for _, part := range f.parts {
		for i := range part.events {
			key := part.keys[i]
			row := f.rows[key]
			if row == nil {
				row = new(R)
				*f.shape.columns[0].key(row) = key
				f.rows[key] = row
			}
			if err := f.shape.applyTo(row, &part.events[i]); err != nil {
				return nil, err
			}
			if now := *f.shape.columns[0].key(row); now != key {
				return nil, eventError(&part.events[i], fmt.Errorf("the projection's Apply changed the row's key from %q to %q", key, now))
			}
		}
	}
	out := &rowSet[R]{columns: f.shape.columns, rows: make([]R, len(f.keys))}
	for i, key := range f.keys {
		out.rows[i] = *f.rows[key]
	}
	return out, nil
}

func targets[R any](columns []Column[R], row *R) []any {
	out := make([]any, len(columns))
	for i, c := range columns {
		out[i] = c.target(row)
	}
	return out
}
