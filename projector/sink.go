package projector

import (
	"context"
	"encoding/json"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ledgerline-es/ledgerline/schemas"
)

// Sink is a store that projections are written to: postgres.New, clickhouse.New. It is safe for concurrent use by many
// projections.
//
// Errors of a sink and of what it opens are retried for ever, but for three: [ErrFenced] makes the engine ask for its
// position again, a [FatalError] and a [RebuildRequiredError] stop the projection.
type Sink interface {
	// Open makes the projection's table, view and bookkeeping unless they are there, checks that they can be relied on,
	// and is safe to call from several processes at once.
	Open(ctx context.Context, plan Plan) (Store, error)
	// Snapshot opens one consistent view of the projection's rows together with the position they stand at. It makes
	// nothing: a projection that was never opened is [ErrNotBuilt].
	Snapshot(ctx context.Context, plan Plan) (Snapshot, error)
}

// Store is one projection's place in a sink, used by one member of its group. Calls do not overlap for the same
// partition; Claim may run beside a Write of other partitions.
type Store interface {
	// Claim makes this member the owner of the partitions, as far as the store knows owners, and says where each stands.
	// begin holds for each the offset to start from when the store has none.
	Claim(ctx context.Context, begin map[int32]int64) (map[int32]Position, error)
	// Write stores the batches, at most one of each partition, and moves the partitions' positions from Batch.First to
	// Batch.Next. After an error the same batches, or some of them, are given again unless it is ErrFenced; then another
	// writer has moved a position or owns it, and nothing more may be written before the next Claim.
	Write(ctx context.Context, batches []*Batch) error
	// Pace says how the store likes to be written to.
	Pace() Pace
	Close()
}

// Pace is how a store likes to be written to.
type Pace struct {
	Interval  time.Duration // least time between the beginnings of two writes; what comes after a pause is written at once
	MaxEvents int           // most events of one partition in a write
}

// Position is where a partition stands in a store.
type Position struct {
	Next int64 // the offset to go on from
	// Until is set above Next when [Next, Until) was begun and its outcome is in doubt: the next batch of this partition
	// must be exactly this range, and Write settles it.
	Until int64
}

// Batch is a range of one partition, decoded.
type Batch struct {
	Partition int32
	First     int64 // offset the store stands at
	Next      int64 // and will stand at: behind the last record of the range
	Events    int
	Oldest    time.Time // when the oldest event of the range was recorded; zero without events

	shape shape
	items []any // the shape's own, in order
}

// BatchOf decodes records of one partition into a batch, outside of an engine: for tests of sinks, and for whoever moves
// rows without a consumer group.
func BatchOf(ctx context.Context, p Projection, codec *schemas.Codec, topic string, partition int32, first, next int64, records []*kgo.Record) (*Batch, error) {
	b := &Batch{Partition: partition, First: first, Next: next, shape: p.bind(codec, topic)}
	items, events, err := b.shape.decode(ctx, records)
	if err != nil {
		return nil, err
	}
	b.items, b.Events = []any{items}, events
	if len(records) > 0 {
		b.Oldest = records[0].Timestamp
	}
	return b, nil
}

// JoinRows are the new rows that an append gives for the batches, in their order.
func JoinRows(batches ...*Batch) Rows {
	return batches[0].shape.rows(items(batches))
}

// Folding is the write of a fold: the rows of its keys are loaded, changed by the events, and put back.
type Folding interface {
	// Keys are the keys whose rows change, ascending and each once.
	Keys() []string
	// Scratch is a row to scan a stored row into, one target for each column of the plan. Keep takes it over; the
	// targets stay the same.
	Scratch() []any
	Keep() error
	// Apply applies the events in order and gives the rows as they are then, ascending by key.
	Apply() (Rows, error)
}

// FoldBatches begins the write of a fold's batches.
func FoldBatches(batches ...*Batch) Folding {
	return batches[0].shape.folding(items(batches))
}

func items(batches []*Batch) []any {
	var all []any
	for _, b := range batches {
		all = append(all, b.items...)
	}
	return all
}

// Snapshot is one consistent view of a projection's rows and position.
type Snapshot interface {
	// Positions say how far each partition's rows reach: all rows of events below Next are in the snapshot, but for those
	// of an unfinished range.
	Positions() map[int32]SnapshotPosition
	// Identity are the columns of the plan that tell rows apart. None: the store keeps each row's partition, offset and
	// ordinal, and these do.
	Identity() []int
	// Read reads rows into target, which has one scan target for each column of the plan, and calls visit after each,
	// until it says false.
	// Without Identity: the rows of one partition in order of offset and ordinal. Else all rows in any order, with
	// partition -1, and offset and ordinal say nothing.
	Read(ctx context.Context, partition int32, target []any, visit func(offset int64, ordinal int32) bool) error
	// Lookup gives stored rows as JSON objects of the plan's columns, at most 100: with Identity those whose identity is one
	// of identities (its values in the order of Identity), without it those of the events at the offsets.
	Lookup(ctx context.Context, partition int32, offsets []int64, identities [][]any) ([]json.RawMessage, error)
	// Strays are rows that belong to no partition of the log, or stand beyond what was ever recorded as written: at most
	// 1000 of them, as extra. Call it last: what is written meanwhile is recorded by then.
	Strays(ctx context.Context) ([]Difference, error)
	Close()
}

// SnapshotPosition is a partition's position in a snapshot.
type SnapshotPosition struct {
	Topic, TopicID string
	Next           int64
	Unfinished     *Unfinished // a range that was begun and is not there in full
	AsOf           time.Time   // when the store was asked what decided it; zero when it was not noted
}

// Unfinished is a range of a partition that was recorded as begun and is not there in full.
type Unfinished struct {
	First, Next  int64
	Rows, Stored int64 // rows recorded and rows found
	Since        time.Time
}

// shape is a projection bound to its codec: the part of it that knows types.
type shape interface {
	decode(ctx context.Context, records []*kgo.Record) (items any, events int, err error)
	rows(items []any) Rows
	folding(items []any) Folding
}
