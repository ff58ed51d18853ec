package logread

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Reader reads partitions of topics.
type Reader struct {
	Client       []kgo.Opt     // seed brokers, TLS, SASL
	StallTimeout time.Duration // how long reading may stand still before it is an error
}

// Partition gives a partition's committed records, control records left out, up to the end that t names.
func (r Reader) Partition(ctx context.Context, t Topic, partition int32, visit func(*kgo.Record) error) error {
	start, end := t.Starts[partition], t.Ends[partition]
	if start >= end {
		return nil
	}
	client, err := kgo.NewClient(slices.Concat(r.Client, []kgo.Opt{
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{t.Name: {partition: kgo.NewOffset().At(start)}}),
		kgo.ConsumeResetOffset(kgo.NoResetOffset()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.KeepControlRecords(),   // else an aborted tail would never be arrived at
		kgo.DisableFetchSessions(), // closing ends them while a last fetch may look at them: a race in the client
	})...)
	if err != nil {
		return fmt.Errorf("kafka client: %w", err)
	}
	defer client.Close()
	doing := func(err error) error { return fmt.Errorf("read %s/%d: %w", t.Name, partition, err) }
	for position := start; position < end; {
		poll, cancel := context.WithTimeout(ctx, r.StallTimeout)
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
			return doing(fmt.Errorf("it stood still for %s at offset %d of %d", r.StallTimeout, position, end))
		}
	}
	return nil
}

// Follow gives what is committed to the topic's partitions from the ends that t names on, until ctx ends or visit gives an error.
func (r Reader) Follow(ctx context.Context, t Topic, visit func(*kgo.Record) error) error {
	from := make(map[int32]kgo.Offset)
	for p, end := range t.Ends {
		if t.only == nil || p == *t.only {
			from[p] = kgo.NewOffset().At(end)
		}
	}
	client, err := kgo.NewClient(slices.Concat(r.Client, []kgo.Opt{
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{t.Name: from}),
		kgo.ConsumeResetOffset(kgo.NoResetOffset()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.FetchMaxWait(500 * time.Millisecond),
		kgo.KeepControlRecords(), // else the client takes markers for lost records when the leader changes behind them
	})...)
	if err != nil {
		return fmt.Errorf("kafka client: %w", err)
	}
	defer client.Close()
	for {
		fetches := client.PollFetches(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		for _, e := range fetches.Errors() {
			if !kerr.IsRetriable(e.Err) {
				return fmt.Errorf("read %s/%d: %w", e.Topic, e.Partition, e.Err)
			}
		}
		for it := fetches.RecordIter(); !it.Done(); {
			rec := it.Next()
			if rec.Attrs.IsControl() {
				continue
			}
			if err := visit(rec); err != nil {
				return err
			}
		}
	}
}
