package logtest

import (
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ledgerline-es/ledgerline/projector"
	"github.com/ledgerline-es/ledgerline/schemas"
	"github.com/ledgerline-es/ledgerline/schemas/account"
)

// Bench hands batches to a store directly, without Kafka: the events of offset n are always the same.
type Bench struct {
	t          testing.TB
	projection projector.Projection
	codec      *schemas.Codec
	log        *Log
	Plan       projector.Plan
}

// NewBench makes a bench for a projection, over topic id and partitions of its own.
func NewBench(t testing.TB, p projector.Projection, topicID string, partitions int32) *Bench {
	t.Helper()
	client, _ := Registry(t)
	b := &Bench{t: t, projection: p}
	plan, err := p.Plan("")
	must(t, err)
	plan.TopicID, plan.Partitions = topicID, partitions
	b.Plan = plan
	l := &Log{Topics: schemas.TopicsOf("", account.Kind.Name), Partitions: partitions, Registry: schemas.NewRegistry(client), t: t}
	b.codec = schemas.NewCodec(l.Registry)
	l.events = schemas.NewSerde(b.codec, l.Topics.Events, schemas.FullTransitive, account.Kind.Events...)
	must(t, l.events.Register(t.Context()))
	b.log = l
	return b
}

// Batch is the events of offsets [first, next) of a partition: deposits of 1, three accounts taking turns.
func (b *Bench) Batch(partition int32, first, next int64) *projector.Batch {
	b.t.Helper()
	batch, err := projector.BatchOf(b.t.Context(), b.projection, b.codec, b.Plan.Topic, partition, first, next, b.records(partition, first, next))
	must(b.t, err)
	return batch
}

func (b *Bench) records(partition int32, first, next int64) (records []*kgo.Record) {
	b.t.Helper()
	for at := first; at < next; at++ {
		id, sequence := fmt.Sprintf("p%d-%d", partition, at%3), at/3+1
		var e account.Event = &account.MoneyDeposited{AmountMinor: 1, BalanceMinor: sequence - 1, Currency: "EUR", Category: "žluť"}
		if sequence == 1 {
			e = &account.AccountOpened{Owner: "owner", Currency: "EUR"}
		}
		rec, err := b.log.Event(id, sequence, "c", time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(at)*time.Microsecond), e)
		must(b.t, err)
		rec.Partition, rec.Offset, rec.Timestamp = partition, at, time.UnixMilli(1_780_000_000_000+at)
		records = append(records, rec)
	}
	return records
}

// Wide is a row with a field of every type that both stores take.
type Wide struct {
	ID       string
	Seq      int64
	Bool     bool
	Small    int16
	Middle   int32
	Float    float64
	At       time.Time
	Text     *string
	Flag     *bool
	Number   *int64
	Fraction *float64
	When     *time.Time
}

// WideProjection is an append of such rows: of every other event all that may be absent is.
func WideProjection(table func(schema, name, create string, columns ...projector.Column[Wide]) projector.Table[Wide], create string) projector.Append[Wide, account.Event] {
	return projector.Append[Wide, account.Event]{
		Name: "wide", From: account.Kind,
		Into: table("bank", "wide", create,
			projector.Col("id", func(r *Wide) *string { return &r.ID }),
			projector.Col("seq", func(r *Wide) *int64 { return &r.Seq }),
			projector.Col("flag", func(r *Wide) *bool { return &r.Bool }),
			projector.Col("small", func(r *Wide) *int16 { return &r.Small }),
			projector.Col("middle", func(r *Wide) *int32 { return &r.Middle }),
			projector.Col("fraction", func(r *Wide) *float64 { return &r.Float }),
			projector.Col("at", func(r *Wide) *time.Time { return &r.At }),
			projector.Col("text_or_null", func(r *Wide) **string { return &r.Text }),
			projector.Col("flag_or_null", func(r *Wide) **bool { return &r.Flag }),
			projector.Col("number_or_null", func(r *Wide) **int64 { return &r.Number }),
			projector.Col("fraction_or_null", func(r *Wide) **float64 { return &r.Fraction }),
			projector.Col("when_or_null", func(r *Wide) **time.Time { return &r.When }),
		),
		Apply: func(e projector.Event[account.Event], emit func(Wide)) {
			n := int16(e.Sequence % 1000)
			r := Wide{ID: e.AggregateID, Seq: e.Sequence, Bool: e.Sequence%2 == 0, Small: -n, Middle: int32(n) * 100_000, Float: float64(n) / 3, At: e.Time}
			if e.Sequence%2 == 0 {
				text, flag, number, fraction, when := "“Ž” \\ ' \t\n"+e.AggregateID, true, -e.Sequence<<40, -0.1*float64(n), e.RecordedAt
				r.Text, r.Flag, r.Number, r.Fraction, r.When = &text, &flag, &number, &fraction, &when
			}
			emit(r)
		},
	}
}

// ReadBack compares what a store holds of a projection with what the bench's events below the store's positions give,
// and returns the differences.
func (b *Bench) ReadBack(sink projector.Sink) (rows int, differences []projector.Difference) {
	b.t.Helper()
	snap, err := sink.Snapshot(b.t.Context(), b.Plan)
	must(b.t, err)
	defer snap.Close()
	report := func(d projector.Difference) { differences = append(differences, d) }
	decode := b.projection.Log().Open(b.codec, b.Plan.Topic)
	feed := func(partition int32, below int64, add func(any) error) {
		for at := range below {
			for _, rec := range b.records(partition, at, at+1) {
				event, err := decode(b.t.Context(), rec)
				must(b.t, err)
				must(b.t, add(event))
			}
		}
	}
	if identity := snap.Identity(); identity != nil {
		keyed := b.projection.CompareByKey(identity, report)
		for id, pos := range snap.Positions() {
			feed(id, pos.Next, keyed.Add)
		}
		must(b.t, snap.Read(b.t.Context(), -1, keyed.Target(), func(int64, int32) bool { rows++; keyed.Row(); return true }))
		keyed.Close()
	} else {
		for id, pos := range snap.Positions() {
			ordered := b.projection.CompareInOrder(id, func(target []any, visit func(int64, int32) bool) error {
				return snap.Read(b.t.Context(), id, target, func(offset int64, ordinal int32) bool { rows++; return visit(offset, ordinal) })
			}, report)
			feed(id, pos.Next, ordered.Add)
			must(b.t, ordered.Close(pos.Next))
		}
	}
	strays, err := snap.Strays(b.t.Context())
	must(b.t, err)
	return rows, append(differences, strays...)
}
