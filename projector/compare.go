package projector

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ledgerline-es/ledgerline/schemas"
)

// Difference is one way in which a stored row is not what the log gives.
type Difference struct {
	Kind      string // Missing, Extra, Doubled, Altered
	Key       string // what tells the row apart: "<aggregate id>/<sequence>", "<key of the fold>"
	Partition int32  // of the event behind the row, in a fold of the last one; -1 when there is none
	Offset    int64  // likewise
	Column    string // Altered: the column …
	Want      string // … what the log gives …
	Have      string // … and what is stored
}

// Kinds of differences.
const (
	Missing = "missing"
	Extra   = "extra"
	Doubled = "doubled"
	Altered = "altered"
)

// Log is where a projection's events come from, without their type.
type Log struct {
	Kind   string
	Ignore []string // full names of types to pass over

	open func(codec *schemas.Codec, topic string) func(context.Context, *kgo.Record) (any, error)
}

// LogOf is the log of a kind.
func LogOf[E schemas.Record](from schemas.EventSource[E]) Log {
	return Log{
		Kind: kindName(from),
		open: func(codec *schemas.Codec, topic string) func(context.Context, *kgo.Record) (any, error) {
			d := newDecoder(codec, topic, from, nil)
			return func(ctx context.Context, rec *kgo.Record) (any, error) {
				var e Event[E]
				_, err := d.event(ctx, rec, &e)
				return &e, err
			}
		},
	}
}

// Open gives the function that decodes the log's records, for the comparisons to take.
func (l Log) Open(codec *schemas.Codec, topic string) func(context.Context, *kgo.Record) (event any, err error) {
	return l.open(codec, topic)
}

// Keyed compares rows in any order by the columns that tell them apart. It holds the rows that the log gives, once.
type Keyed interface {
	Add(event any) error // an event of the log, in the order of its partition
	Target() []any       // what a stored row is scanned into …
	Row()                // … and compared, before the next is scanned
	Close()              // after the last row: what was not seen is missing
}

// Ordered compares the rows of one partition in the order of the log, without holding them.
type Ordered interface {
	Add(event any) error // an event of the partition, in order
	// Close takes the stored rows up to the offset below, which no event gives, for extra; those beyond are not judged.
	Close(below int64) error
}

// ReadRows scans stored rows into target in order of offset and ordinal, and calls visit after each, until it says false.
type ReadRows func(target []any, visit func(offset int64, ordinal int32) bool) error

func (a Append[R, E]) Log() Log { return logOf(a.From, a.Ignore) }
func (f Fold[R, E]) Log() Log   { return logOf(f.From, f.Ignore) }

func logOf[E schemas.Record](from schemas.EventSource[E], ignore []string) Log {
	l := LogOf(from)
	l.Ignore = ignore
	return l
}

func (a Append[R, E]) CompareByKey(identity []int, report func(Difference)) Keyed {
	b := newBook(a.Into.Columns, identity, report)
	return &keyedAppend[R, E]{book: b, ignore: a.Ignore, shape: appendShape[R, E]{columns: a.Into.Columns, apply: a.Apply}}
}

func (f Fold[R, E]) CompareByKey(identity []int, report func(Difference)) Keyed {
	return &keyedFold[R, E]{book: newBook(f.Into.Columns, identity, report), ignore: f.Ignore, shape: f.shape(nil)}
}

func (a Append[R, E]) CompareInOrder(partition int32, read ReadRows, report func(Difference)) Ordered {
	o := &orderedAppend[R, E]{partition: partition, ignore: a.Ignore, shape: appendShape[R, E]{columns: a.Into.Columns, apply: a.Apply}, report: report}
	o.pull, o.stop = iter.Pull(func(yield func(origin) bool) {
		o.err = read(targets(o.shape.columns, &o.row), func(offset int64, ordinal int32) bool { return yield(origin{offset, ordinal}) })
	})
	return o
}

func (f Fold[R, E]) CompareInOrder(int32, ReadRows, func(Difference)) Ordered {
	panic("projector: the rows of a fold have no order: the snapshot must name the columns that tell them apart")
}

// eventOf takes an event of a Log back to its type.
func eventOf[E schemas.Record](event any, ignore []string) (e *Event[E], skip bool, err error) {
	e, ok := event.(*Event[E])
	if !ok {
		return nil, false, fmt.Errorf("the projection reads %T, the log gives %T: two kinds have the same name", e, event)
	}
	name := e.Data.AvroName()
	return e, slices.Contains(ignore, name), nil
}

// book holds the rows that the log gives, by identity.
type book[R any] struct {
	columns  []Column[R]
	identity []int
	report   func(Difference)
	rows     []R
	from     []eventAt // of each row: the event behind it, in a fold the last one
	index    map[string]int
	seen     []bool
	scratch  R
	key      strings.Builder
}

// eventAt is where an event stands.
type eventAt struct {
	partition int32
	offset    int64
}

func newBook[R any](columns []Column[R], identity []int, report func(Difference)) *book[R] {
	return &book[R]{columns: columns, identity: identity, report: report, index: make(map[string]int)}
}

func (b *book[R]) keyOf(row *R) string {
	b.key.Reset()
	for i, c := range b.identity {
		if i > 0 {
			b.key.WriteByte('/')
		}
		b.key.WriteString(b.columns[c].text(row))
	}
	return b.key.String()
}

func (b *book[R]) Target() []any { return targets(b.columns, &b.scratch) }

func (b *book[R]) Row() {
	key := b.keyOf(&b.scratch)
	i, known := b.index[key]
	switch {
	case !known:
		b.report(Difference{Kind: Extra, Key: key, Partition: -1, Offset: -1})
	case b.seen[i]:
		b.report(b.difference(Doubled, key, i))
	default:
		b.seen[i] = true
		compareRow(b.columns, &b.rows[i], &b.scratch, b.difference(Altered, key, i), b.report)
	}
	b.scratch = *new(R)
}

func (b *book[R]) Close() {
	for i := range b.rows {
		if !b.seen[i] {
			b.report(b.difference(Missing, b.keyOf(&b.rows[i]), i))
		}
	}
}

func (b *book[R]) difference(kind, key string, row int) Difference {
	return Difference{Kind: kind, Key: key, Partition: b.from[row].partition, Offset: b.from[row].offset}
}

// add makes place for a row that the log gives.
func (b *book[R]) add(key string, row R, at eventAt) int {
	i := len(b.rows)
	b.index[key] = i
	b.rows, b.from, b.seen = append(b.rows, row), append(b.from, at), append(b.seen, false)
	return i
}

// compareRow reports each column that differs.
func compareRow[R any](columns []Column[R], want, have *R, d Difference, report func(Difference)) {
	for _, c := range columns {
		if c.compare(want, have) != 0 {
			d.Column, d.Want, d.Have = c.Name, c.text(want), c.text(have)
			report(d)
		}
	}
}

type keyedAppend[R any, E schemas.Record] struct {
	*book[R]
	ignore []string
	shape  appendShape[R, E]
	out    appended[R]
}

func (k *keyedAppend[R, E]) Add(event any) error {
	e, skip, err := eventOf[E](event, k.ignore)
	if err != nil || skip {
		return err
	}
	k.out.rows, k.out.origins = k.out.rows[:0], k.out.origins[:0]
	if err := k.shape.event(e, &k.out); err != nil {
		return err
	}
	for i := range k.out.rows {
		key := k.keyOf(&k.out.rows[i])
		if _, twice := k.index[key]; twice {
			return eventError(e, fmt.Errorf("the log gives row %s a second time", key))
		}
		k.add(key, k.out.rows[i], eventAt{e.Partition, e.Offset})
	}
	return nil
}

type keyedFold[R any, E schemas.Record] struct {
	*book[R]
	ignore []string
	shape  *foldShape[R, E]
}

func (k *keyedFold[R, E]) Add(event any) error {
	e, skip, err := eventOf[E](event, k.ignore)
	if err != nil || skip {
		return err
	}
	key, err := k.shape.keyOf(e)
	if err != nil {
		return err
	}
	i, known := k.index[key]
	if !known {
		i = k.add(key, *new(R), eventAt{})
		*k.columns[0].key(&k.rows[i]) = key
	}
	k.from[i] = eventAt{e.Partition, e.Offset}
	return k.shape.applyTo(&k.rows[i], e)
}

type orderedAppend[R any, E schemas.Record] struct {
	partition int32
	ignore    []string
	shape     appendShape[R, E]
	report    func(Difference)
	out       appended[R]

	row   R // the stored row at hand
	at    origin
	have  bool // row is one
	pull  func() (origin, bool)
	stop  func()
	err   error // of the read
	begun bool
}

// advance takes the next stored row.
func (o *orderedAppend[R, E]) advance() {
	o.row = *new(R)
	o.at, o.have = o.pull()
	o.begun = true
}

func (o *orderedAppend[R, E]) Add(event any) error {
	e, skip, err := eventOf[E](event, o.ignore)
	if err != nil {
		return err
	}
	o.out.rows, o.out.origins = o.out.rows[:0], o.out.origins[:0]
	if !skip {
		if err := o.shape.event(e, &o.out); err != nil {
			return err
		}
	}
	if !o.begun {
		o.advance()
	}
	for i := range o.out.rows {
		o.expect(&o.out.rows[i], o.out.origins[i], schemas.EventKey(e.AggregateID, e.Sequence))
	}
	return o.err
}

// expect compares the stored rows up to the one that want should be.
func (o *orderedAppend[R, E]) expect(want *R, at origin, key string) {
	for o.have && before(o.at, at) {
		o.extra()
		o.advance()
	}
	d := Difference{Kind: Altered, Key: key, Partition: o.partition, Offset: at.offset}
	if !o.have || o.at != at {
		d.Kind = Missing
		o.report(d)
		return
	}
	compareRow(o.shape.columns, want, &o.row, d, o.report)
	for o.advance(); o.have && o.at == at; o.advance() {
		d.Kind = Doubled
		o.report(d)
	}
}

// extra reports a stored row that no event gives. Its key is what its first two columns say.
func (o *orderedAppend[R, E]) extra() {
	var key []string
	for _, c := range o.shape.columns[:min(2, len(o.shape.columns))] {
		key = append(key, c.text(&o.row))
	}
	o.report(Difference{Kind: Extra, Key: strings.Join(key, "/"), Partition: o.partition, Offset: o.at.offset})
}

func (o *orderedAppend[R, E]) Close(below int64) error {
	defer o.stop()
	if !o.begun {
		o.advance()
	}
	for ; o.have && o.at.offset < below; o.advance() {
		o.extra()
	}
	return o.err
}

func before(a, b origin) bool {
	return a.offset < b.offset || a.offset == b.offset && a.ordinal < b.ordinal
}
