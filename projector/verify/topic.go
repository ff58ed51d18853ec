package verify

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// errNoTopic says that a topic does not exist.
var errNoTopic = errors.New("no such topic")

// bounds are a topic's partitions as of one moment.
type bounds struct {
	topic      string
	id         string
	starts     map[int32]int64
	ends       map[int32]int64 // last stable offsets: what is behind them is not committed yet
	partitions int32
}

func (v *verification) bounds(ctx context.Context, topic string) (bounds, error) {
	b := bounds{topic: topic, starts: make(map[int32]int64), ends: make(map[int32]int64)}
	details, err := v.admin.ListTopics(ctx, topic)
	if err == nil {
		err = details[topic].Err
	}
	if errors.Is(err, kerr.UnknownTopicOrPartition) {
		return b, fmt.Errorf("topic %s: %w", topic, errNoTopic)
	}
	if err != nil {
		return b, fmt.Errorf("look up topic %s: %w", topic, err)
	}
	b.id, b.partitions = details[topic].ID.String(), int32(len(details[topic].Partitions))
	for into, list := range map[*map[int32]int64]func(context.Context, ...string) (kadm.ListedOffsets, error){
		&b.starts: v.admin.ListStartOffsets,
		&b.ends:   v.admin.ListCommittedOffsets,
	} {
		offsets, err := list(ctx, topic)
		if err == nil {
			err = offsets.Error()
		}
		if err != nil {
			return b, fmt.Errorf("list offsets of %s: %w", topic, err)
		}
		offsets.Each(func(o kadm.ListedOffset) { (*into)[o.Partition] = o.Offset })
	}
	if len(b.starts) != int(b.partitions) || len(b.ends) != int(b.partitions) {
		return b, fmt.Errorf("list offsets of %s: %d partitions, answers for %d and %d", topic, b.partitions, len(b.starts), len(b.ends))
	}
	return b, nil
}

// total is how many offsets there are to read.
func (b bounds) total() int64 {
	var n int64
	for p, end := range b.ends {
		n += end - b.starts[p]
	}
	return n
}

// readPartition reads a partition's committed records up to the end that b names, control records left out.
func (v *verification) readPartition(ctx context.Context, b bounds, partition int32, visit func(*kgo.Record) error) error {
	start, end := b.starts[partition], b.ends[partition]
	if start >= end {
		return nil
	}
	client, err := kgo.NewClient(append(append([]kgo.Opt{}, v.Client...),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{b.topic: {partition: kgo.NewOffset().At(start)}}),
		kgo.ConsumeResetOffset(kgo.NoResetOffset()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.KeepControlRecords(), // else an aborted tail would never be arrived at
	)...)
	if err != nil {
		return fmt.Errorf("kafka client: %w", err)
	}
	defer client.Close()
	doing := func(err error) error { return fmt.Errorf("read %s/%d: %w", b.topic, partition, err) }
	for position := start; position < end; {
		poll, cancel := context.WithTimeout(ctx, v.StallTimeout)
		fetches := client.PollFetches(poll)
		stalled := poll.Err() != nil
		cancel()
		if ctx.Err() != nil {
			return doing(ctx.Err())
		}
		var failed error
		fetches.EachError(func(_ string, _ int32, err error) {
			if !errors.Is(err, context.DeadlineExceeded) && failed == nil {
				failed = err
			}
		})
		if failed != nil && !kerr.IsRetriable(failed) {
			return doing(failed)
		}
		before := position
		for it := fetches.RecordIter(); !it.Done(); {
			rec := it.Next()
			if rec.Offset >= end {
				return nil
			}
			position = rec.Offset + 1
			if rec.Attrs.IsControl() {
				continue
			}
			if err := visit(rec); err != nil {
				return err
			}
		}
		if stalled && position == before {
			return doing(fmt.Errorf("it stood still for %s at offset %d of %d", v.StallTimeout, position, end))
		}
	}
	return nil
}

// progress tells about reading, a few times a second.
type progress struct {
	tell  func(done int64)
	next  time.Time
	every time.Duration
}

func (p *progress) at(done int64) {
	if now := time.Now(); now.After(p.next) {
		p.next = now.Add(p.every)
		p.tell(done)
	}
}
