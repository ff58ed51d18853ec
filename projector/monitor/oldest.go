package monitor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	fetchRounds    = 8         // requests for one partition in a look; what is then still unknown goes on in the next
	sharedBytes    = 64 << 10  // of one partition in a fetch of many: what has a larger batch is asked for alone
	responseBytes  = 8 << 20   // of a fetch
	runsKept       = 16        // of one partition: as many positions can stand in different places without new fetches
	recordsOfARun  = 4096      // a longer run is cut: its end is read again when somebody gets there
	looksKept      = 20        // without being needed; who goes on leaves what it has passed behind
	unknownBrokers = int32(-1) // no leader now
)

// run is a stretch of a partition that was read: which records a read_committed consumer sees in it, and their age.
type run struct {
	from, next int64 // all of [from, next) is known
	offsets    []int64
	times      []time.Time
	used       int // the look that needed it last
}

// history remembers what was read of one partition, so that a position that stands still, or moves within a batch, costs
// nothing, and readers that follow each other read once.
type history struct{ runs []*run }

// oldest looks for the first visible record at or behind position and below stable. known is false when that has to be
// read first, from the offset next on.
func (h *history) oldest(position, stable int64, look int) (at time.Time, visible, known bool, next int64) {
	for position < stable {
		r := h.covering(position)
		if r == nil {
			return time.Time{}, false, false, position
		}
		r.used = look
		if i, _ := slices.BinarySearch(r.offsets, position); i < len(r.offsets) {
			if r.offsets[i] >= stable {
				break
			}
			return r.times[i], true, true, 0
		}
		position = r.next
	}
	return time.Time{}, false, true, 0
}

func (h *history) covering(position int64) *run {
	for _, r := range h.runs {
		if r.from <= position && position < r.next {
			return r
		}
	}
	return nil
}

// add keeps a run, in place of the one that was needed longest ago if there are too many.
func (h *history) add(r *run) {
	if len(r.offsets) > recordsOfARun {
		r.offsets, r.times = slices.Clone(r.offsets[:recordsOfARun]), slices.Clone(r.times[:recordsOfARun])
		r.next = r.offsets[recordsOfARun-1] + 1
	}
	for _, old := range h.runs {
		if old.next == r.from && len(old.offsets)+len(r.offsets) <= recordsOfARun {
			old.offsets, old.times = append(old.offsets, r.offsets...), append(old.times, r.times...)
			old.next, old.used = r.next, r.used
			return
		}
	}
	h.runs = append(h.runs, r)
	if len(h.runs) > runsKept {
		oldest := 0
		for i, r := range h.runs {
			if r.used < h.runs[oldest].used {
				oldest = i
			}
		}
		h.runs = slices.Delete(h.runs, oldest, oldest+1)
	}
}

// forget drops what nobody has needed for a while.
func (h *history) forget(look int) {
	h.runs = slices.DeleteFunc(h.runs, func(r *run) bool { return r.used < look-looksKept })
}

// place is a partition, and wanted an offset from which it has to be read.
type place struct {
	topic     string
	partition int32
}

type wanted struct {
	place
	id     kadm.TopicID
	leader int32
	from   int64
}

// fetcher reads stretches of partitions.
type fetcher struct {
	client *kgo.Client
	count  func(requests, bytes int)
}

// fetch reads at each offset wanted what comes in one answer. Those that it has nothing of, because their next batch is
// larger than a shared answer may hold, are read alone.
func (f *fetcher) fetch(ctx context.Context, all []wanted) (map[place]*run, error) {
	runs := make(map[place]*run, len(all))
	var errs []error
	byLeader := make(map[int32][]wanted)
	for _, w := range all {
		byLeader[w.leader] = append(byLeader[w.leader], w)
	}
	for leader, list := range byLeader {
		if leader == unknownBrokers {
			errs = append(errs, fmt.Errorf("read %s/%d: it has no leader now", list[0].topic, list[0].partition))
			continue
		}
		if err := f.request(ctx, leader, list, sharedBytes, runs); err != nil {
			errs = append(errs, err)
			continue
		}
		for _, w := range list {
			if runs[w.place] != nil {
				continue
			}
			// A broker gives the first partition of a request a whole batch, whatever its size (KIP-74).
			if err := f.request(ctx, leader, []wanted{w}, 1, runs); err != nil {
				errs = append(errs, err)
			}
		}
	}
	return runs, errors.Join(errs...)
}

func (f *fetcher) request(ctx context.Context, leader int32, list []wanted, partitionBytes int32, into map[place]*run) error {
	req := kmsg.NewPtrFetchRequest()
	req.MaxBytes = responseBytes
	req.IsolationLevel = 1 // read_committed: the answer names aborted transactions, and ends at the last stable offset
	topics := make(map[string]kadm.TopicID)
	for _, w := range list {
		i := slices.IndexFunc(req.Topics, func(t kmsg.FetchRequestTopic) bool { return t.Topic == w.topic })
		if i < 0 {
			t := kmsg.NewFetchRequestTopic()
			t.Topic, t.TopicID = w.topic, w.id
			req.Topics = append(req.Topics, t)
			i = len(req.Topics) - 1
			topics[w.topic] = w.id
		}
		p := kmsg.NewFetchRequestTopicPartition()
		p.Partition, p.FetchOffset, p.PartitionMaxBytes = w.partition, w.from, partitionBytes
		req.Topics[i].Partitions = append(req.Topics[i].Partitions, p)
	}
	answer, err := f.client.Broker(int(leader)).RetriableRequest(ctx, req)
	if err != nil {
		return fmt.Errorf("read records from broker %d: %w", leader, err)
	}
	resp, ok := answer.(*kmsg.FetchResponse)
	if !ok {
		return fmt.Errorf("read records from broker %d: it answered %T", leader, answer)
	}
	if err := kerr.ErrorForCode(resp.ErrorCode); err != nil {
		return fmt.Errorf("read records from broker %d: %w", leader, err)
	}
	bytes := 0
	var errs []error
	for t := range resp.Topics {
		topic := &resp.Topics[t]
		for p := range topic.Partitions {
			partition := &topic.Partitions[p]
			bytes += len(partition.RecordBatches)
			i := slices.IndexFunc(list, func(w wanted) bool {
				return w.partition == partition.Partition && (w.topic == topic.Topic || topic.Topic == "" && w.id == kadm.TopicID(topic.TopicID))
			})
			if i < 0 {
				continue
			}
			r, err := read(list[i], partition)
			if err != nil {
				errs = append(errs, fmt.Errorf("read %s/%d at offset %d: %w", list[i].topic, list[i].partition, list[i].from, err))
			} else if r != nil {
				into[list[i].place] = r
			}
		}
	}
	f.count(1, bytes)
	return errors.Join(errs...)
}

// read makes a run of an answer; nil when the answer holds nothing.
func read(w wanted, partition *kmsg.FetchResponseTopicPartition) (*run, error) {
	fetched, next := kgo.ProcessFetchPartition(kgo.ProcessFetchPartitionOpts{
		Offset: w.from, IsolationLevel: kgo.ReadCommitted(), Topic: w.topic, Partition: w.partition,
	}, partition, kgo.DefaultDecompressor(), nil)
	if fetched.Err != nil {
		return nil, fetched.Err
	}
	if next <= w.from {
		return nil, nil
	}
	r := &run{from: w.from, next: next}
	for _, rec := range fetched.Records {
		r.offsets = append(r.offsets, rec.Offset)
		r.times = append(r.times, rec.Timestamp)
	}
	return r, nil
}
