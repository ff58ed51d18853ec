package producer

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ledgerline-es/ledgerline/producer/internal/mutant"
)

// span is what has to be read: from where to where in each partition, and how far it is.
type span struct {
	parts map[string]map[int32]*stretch
}

type stretch struct{ start, at, end int64 }

func newSpan() *span { return &span{parts: map[string]map[int32]*stretch{}} }

// add puts in what lies between two offsets, if anything does.
func (s *span) add(topic string, partition int32, start, end int64) {
	if start >= end {
		return
	}
	if s.parts[topic] == nil {
		s.parts[topic] = map[int32]*stretch{}
	}
	s.parts[topic][partition] = &stretch{start: start, at: start, end: end}
}

// bounds are the first offsets of some topics, and their high watermarks.
type bounds struct{ starts, ends kadm.ListedOffsets }

func (b bounds) start(topic string, p int32) int64 {
	o, _ := b.starts.Lookup(topic, p)
	return o.Offset
}
func (b bounds) end(topic string, p int32) int64 { o, _ := b.ends.Lookup(topic, p); return o.Offset }

// bounds asks the broker. Every partition has its bounds, or it is an error.
func (r *restorer) bounds(ctx context.Context, adm *kadm.Client, partitions []int32) (b bounds, err error) {
	topics := []string{r.writer.topics.Events, r.writer.topics.Snapshots, r.writer.topics.Replies}
	list := adm.ListEndOffsets // high watermarks: open transactions included
	if mutant.Is(mutant.Wait) {
		list = adm.ListCommittedOffsets
	}
	if b.ends, err = listed(ctx, list, partitions, topics...); err != nil {
		return b, fmt.Errorf("list end offsets: %w", err)
	}
	if b.starts, err = listed(ctx, adm.ListStartOffsets, partitions, topics...); err != nil {
		return b, fmt.Errorf("list start offsets: %w", err)
	}
	return b, nil
}

// listed asks for offsets of topics. Each of the partitions has one, or it is an error; what is with others does not matter.
func listed(ctx context.Context, list func(context.Context, ...string) (kadm.ListedOffsets, error), partitions []int32, topics ...string) (kadm.ListedOffsets, error) {
	offsets, failed := list(ctx, topics...)
	if partly := (*kadm.ShardErrors)(nil); failed != nil && !errors.As(failed, &partly) {
		return nil, failed
	}
	for _, topic := range topics {
		if whole, ok := offsets.Lookup(topic, -1); ok && whole.Err != nil {
			return nil, fmt.Errorf("%s: %w", topic, whole.Err)
		}
		for _, p := range partitions {
			o, ok := offsets.Lookup(topic, p)
			switch {
			case !ok && failed != nil:
				return nil, failed
			case !ok:
				return nil, fmt.Errorf("topic %s has no partition %d", topic, p)
			case o.Err != nil:
				return nil, fmt.Errorf("%s partition %d: %w", topic, p, o.Err)
			}
		}
	}
	return offsets, nil
}

// recent are the offsets from which replies must be read, so that each partition's answers since its time are found.
func (r *restorer) recent(ctx context.Context, adm *kadm.Client, since map[int32]time.Time) (kadm.ListedOffsets, error) {
	if len(since) == 0 {
		return kadm.ListedOffsets{}, nil // standbys have them all
	}
	oldest := time.Now()
	for _, t := range since {
		if t.Before(oldest) {
			oldest = t
		}
	}
	after := func(ctx context.Context, topics ...string) (kadm.ListedOffsets, error) {
		return adm.ListOffsetsAfterMilli(ctx, oldest.UnixMilli(), topics...)
	}
	offsets, err := listed(ctx, after, slices.Collect(maps.Keys(since)), r.writer.topics.Replies)
	if err != nil {
		return nil, fmt.Errorf("list offsets of recent replies: %w", err)
	}
	return offsets, nil
}

func (s *span) offsets() map[string]map[int32]kgo.Offset {
	out := map[string]map[int32]kgo.Offset{}
	for topic, parts := range s.parts {
		for p, st := range parts {
			if out[topic] == nil {
				out[topic] = map[int32]kgo.Offset{}
			}
			out[topic][p] = kgo.NewOffset().At(st.start)
		}
	}
	return out
}

// take notes that a record was read, and reports whether it belongs to what is to be restored.
func (s *span) take(rec *kgo.Record) bool {
	st := s.parts[rec.Topic][rec.Partition]
	if st == nil || rec.Offset >= st.end {
		if st != nil {
			st.at = st.end // nothing below the end is left
		}
		return false
	}
	st.at = rec.Offset + 1
	return true
}

// left is the number of partitions that are not read to their end.
func (s *span) left() int {
	n := 0
	for _, parts := range s.parts {
		for _, st := range parts {
			if st.at < st.end {
				n++
			}
		}
	}
	return n
}

func (s *span) progress() (read, total int64) {
	for _, parts := range s.parts {
		for _, st := range parts {
			read += st.at - st.start
			total += st.end - st.start
		}
	}
	return read, total
}

// String lists what is not read yet.
func (s *span) String() string {
	var open []string
	for topic, parts := range s.parts {
		for p, st := range parts {
			if st.at < st.end {
				open = append(open, fmt.Sprintf("%s/%d at offset %d of %d", topic, p, st.at, st.end))
			}
		}
	}
	slices.Sort(open)
	return strings.Join(open, ", ")
}

// inputs asks where the input topics begin and end.
func (w *writer) inputs(ctx context.Context, cl *kgo.Client, partitions []int32) (b bounds, err error) {
	adm, topics := kadm.NewClient(cl), []string{w.topics.Commands, w.topics.Internal}
	if b.starts, err = listed(ctx, adm.ListStartOffsets, partitions, topics...); err != nil {
		return b, fmt.Errorf("list start offsets of commands: %w", err)
	}
	if b.ends, err = listed(ctx, adm.ListEndOffsets, partitions, topics...); err != nil {
		return b, fmt.Errorf("list end offsets of commands: %w", err)
	}
	return b, nil
}

// pending says when the first unprocessed command of each partition was appended; a partition without one is left out. It
// decides how far back answers are remembered: a repetition may stand in the backlog beside its original.
func (r *restorer) pending(ctx context.Context, partitions []int32, committed map[string]map[int32]int64) (map[int32]time.Time, error) {
	cl, err := kgo.NewClient(slices.Concat(r.options, []kgo.Opt{
		kgo.KeepControlRecords(), // read uncommitted: the time of a record says enough
		kgo.ConsumeResetOffset(kgo.NoResetOffset()),
		kgo.FetchMaxPartitionBytes(64 << 10),
		kgo.FetchMaxWait(100 * time.Millisecond),
	})...)
	if err != nil {
		return nil, err
	}
	defer cl.CloseAllowingRebalance()
	inputs, err := r.writer.inputs(ctx, cl, partitions)
	if err != nil {
		return nil, err
	}
	left := newSpan()
	for _, topic := range []string{r.writer.topics.Commands, r.writer.topics.Internal} {
		for _, p := range partitions {
			left.add(topic, p, max(inputs.start(topic, p), committed[topic][p]), inputs.end(topic, p))
		}
	}
	cl.AddConsumePartitions(left.offsets())
	times := map[int32]time.Time{}
	deadline := time.Now().Add(r.cfg.RestoreStall)
	for left.left() > 0 {
		poll, cancel := context.WithDeadline(ctx, deadline)
		fetches := cl.PollFetches(poll)
		cancel()
		if err := fetches.Err(); err != nil {
			return nil, fmt.Errorf("read the first pending commands, %s: %w", left, err)
		}
		fetches.EachRecord(func(rec *kgo.Record) {
			if !left.take(rec) || rec.Attrs.IsControl() {
				return
			}
			if st := left.parts[rec.Topic][rec.Partition]; st.end > st.at {
				st.at = st.end // the first is all that counts
			}
			if t, ok := times[rec.Partition]; !ok || rec.Timestamp.Before(t) {
				times[rec.Partition] = rec.Timestamp
			}
		})
	}
	return times, nil
}
