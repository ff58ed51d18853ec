package producer

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
)

// Commands are kept for as long as the settings say after they were appended, and those that are not processed for ever: a retention
// time of the topic would drop a backlog. So who owns a partition deletes what is both old and, as the log says, processed.

// processed is how far a session's partitions are processed, for who looks from beside it.
type processed struct {
	mu   sync.Mutex
	next map[string]map[int32]int64
}

func (p *processed) set(books map[int32]*book) {
	next := map[string]map[int32]int64{}
	for partition, b := range books {
		for topic, offset := range b.next {
			if next[topic] == nil {
				next[topic] = map[int32]int64{}
			}
			next[topic][partition] = offset
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.next = next
}

func (p *processed) get() map[string]map[int32]int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.next
}

// purge deletes old commands every so often, until ctx ends.
func (s *session) purge(ctx context.Context) {
	const most = 10 * time.Minute
	ticker := time.NewTicker(min(most, s.cfg.CommandRetention/10))
	defer ticker.Stop()
	adm, said := kadm.NewClient(s.takeover.cl), ""
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		err := s.purgeOnce(ctx, adm)
		switch {
		case ctx.Err() != nil:
		case err == nil:
			said = ""
		case err.Error() != said:
			said = err.Error()
			s.log.Warn("old commands can't be deleted; that is tried again, and costs nothing but room", "error", err)
		}
	}
}

func (s *session) purgeOnce(ctx context.Context, adm *kadm.Client) error {
	done := s.processed.get()
	if len(done) == 0 {
		return nil
	}
	topics := slices.Sorted(maps.Keys(done))
	starts, err := adm.ListStartOffsets(ctx, topics...)
	if err != nil {
		return fmt.Errorf("list start offsets of %v: %w", topics, err)
	}
	young, err := adm.ListOffsetsAfterMilli(ctx, time.Now().Add(-s.cfg.CommandRetention).UnixMilli(), topics...)
	if err != nil {
		return fmt.Errorf("list offsets of the commands to keep in %v: %w", topics, err)
	}
	below, n := kadm.Offsets{}, int64(0)
	for topic, partitions := range done {
		for p, next := range partitions {
			start, known := starts.Lookup(topic, p)
			keep, ok := young.Lookup(topic, p)
			if !known || !ok || start.Err != nil || keep.Err != nil { // one without a leader
				continue
			}
			if to := min(next, keep.Offset); to > start.Offset {
				below.AddOffset(topic, p, to, -1)
				n += to - start.Offset
			}
		}
	}
	if len(below) == 0 {
		return nil
	}
	deleted, err := adm.DeleteRecords(ctx, below)
	if err == nil {
		err = deleted.Error()
	}
	if errors.Is(err, kerr.OffsetOutOfRange) { // somebody else has deleted more
		return nil
	}
	if err != nil {
		return fmt.Errorf("delete records of %v: %w", topics, err)
	}
	s.metrics.purged.Add(float64(n))
	return nil
}
