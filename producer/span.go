package producer

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// span is what a restore has to read: from where to where in each partition, and how far it is.
type span struct {
	parts        map[string]map[int32]*stretch
	rememberFrom map[int32]time.Time // answers given before are too old to matter
}

type stretch struct{ start, at, end int64 }

// span asks the broker for the ends of what is to be read.
func (r *restorer) span(ctx context.Context, adm *kadm.Client, partitions []int32, pending map[int32]time.Time) (*span, error) {
	topics := r.writer.topics
	read := []string{topics.Events, topics.Snapshots, topics.Replies}
	ends, err := adm.ListEndOffsets(ctx, read...) // high watermarks: open transactions included
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		return nil, fmt.Errorf("list end offsets: %w", err)
	}
	starts, err := adm.ListStartOffsets(ctx, read...)
	if err == nil {
		err = starts.Error()
	}
	if err != nil {
		return nil, fmt.Errorf("list start offsets: %w", err)
	}
	s := &span{parts: map[string]map[int32]*stretch{}, rememberFrom: map[int32]time.Time{}}
	oldest := time.Now()
	for _, p := range partitions {
		from := time.Now()
		if t, ok := pending[p]; ok && t.Before(from) {
			from = t
		}
		s.rememberFrom[p] = from.Add(-r.cfg.Window)
		if s.rememberFrom[p].Before(oldest) {
			oldest = s.rememberFrom[p]
		}
	}
	replies, err := adm.ListOffsetsAfterMilli(ctx, oldest.UnixMilli(), topics.Replies)
	if err == nil {
		err = replies.Error()
	}
	if err != nil {
		return nil, fmt.Errorf("list offsets of recent replies: %w", err)
	}
	for _, topic := range read {
		s.parts[topic] = map[int32]*stretch{}
		for _, p := range partitions {
			start, ok := starts.Lookup(topic, p)
			end, found := ends.Lookup(topic, p)
			if !ok || !found {
				return nil, fmt.Errorf("topic %s has no partition %d", topic, p)
			}
			st := &stretch{start: start.Offset, end: end.Offset}
			if topic == topics.Replies {
				if recent, ok := replies.Lookup(topic, p); ok && recent.Offset >= 0 {
					st.start = max(st.start, recent.Offset)
				}
			}
			st.at = st.start
			if st.at < st.end {
				s.parts[topic][p] = st
			}
		}
	}
	return s, nil
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
	inputs := []string{r.writer.topics.Commands, r.writer.topics.Internal}
	adm := kadm.NewClient(cl)
	starts, err := adm.ListStartOffsets(ctx, inputs...)
	if err == nil {
		err = starts.Error()
	}
	if err != nil {
		return nil, fmt.Errorf("list start offsets of commands: %w", err)
	}
	ends, err := adm.ListEndOffsets(ctx, inputs...)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		return nil, fmt.Errorf("list end offsets of commands: %w", err)
	}
	left := &span{parts: map[string]map[int32]*stretch{}}
	for _, topic := range inputs {
		left.parts[topic] = map[int32]*stretch{}
		for _, p := range partitions {
			start, _ := starts.Lookup(topic, p)
			end, _ := ends.Lookup(topic, p)
			at := max(start.Offset, committed[topic][p])
			if at < end.Offset {
				left.parts[topic][p] = &stretch{start: at, at: at, end: end.Offset}
			}
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
