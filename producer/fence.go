package producer

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ledgerline-es/ledgerline/schemas"
)

// Kafka fences members of a group (KIP-447), not partitions, and only where a transaction commits offsets. What follows is
// the rest: a transaction may commit only if it commits exactly the offsets that were processed, as a member of the
// generation that it began in, and writes only to partitions that this member owns.

// ownership is what the group gave this member.
type ownership struct {
	generation int32
	partitions map[int32]bool // in which both input topics are assigned
}

// assignment keeps what the group's callbacks say. With an eager balancer every generation assigns everything anew, so that
// what was said in an earlier generation says nothing about this one.
type assignment struct {
	topics schemas.Topics

	mu        sync.Mutex
	last      ownership
	committed map[string]map[int32]int64 // offsets as the group had them
}

// assigned is the callback kgo.OnPartitionsAssigned.
func (a *assignment) assigned(_ context.Context, cl *kgo.Client, parts map[string][]int32) {
	_, generation := cl.GroupMetadata()
	o := ownership{generation: generation, partitions: map[int32]bool{}}
	for _, p := range parts[a.topics.Commands] {
		if slices.Contains(parts[a.topics.Internal], p) {
			o.partitions[p] = true
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.last, a.committed = o, nil
}

// partitions are those that the group gave this member last.
func (a *assignment) partitions() []int32 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Collect(maps.Keys(a.last.partitions))
}

// fetched is the callback kgo.AdjustFetchOffsetsFn; it adjusts nothing.
func (a *assignment) fetched(_ context.Context, offsets map[string]map[int32]kgo.Offset) (map[string]map[int32]kgo.Offset, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.committed = map[string]map[int32]int64{}
	for topic, parts := range offsets {
		a.committed[topic] = map[int32]int64{}
		for p, o := range parts {
			a.committed[topic][p] = o.EpochOffset().Offset
		}
	}
	return offsets, nil
}

// offsets are those that the group had when it assigned the partitions, as a copy; not known until the group has told.
func (a *assignment) offsets() (offsets map[string]map[int32]int64, known bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	offsets = map[string]map[int32]int64{}
	for topic, parts := range a.committed {
		offsets[topic] = maps.Clone(parts)
	}
	return offsets, a.committed != nil
}

// owned is what this member owns in the generation that it is in now; nothing while that is not known.
func (s *session) owned() ownership {
	_, generation := s.gts.Client().GroupMetadata()
	s.assignment.mu.Lock()
	defer s.assignment.mu.Unlock()
	if s.assignment.last.generation != generation {
		return ownership{generation: generation}
	}
	return s.assignment.last
}

// ledger is what a transaction did, for its commit to be held against.
type ledger struct {
	generation int32
	processed  map[string]map[int32]int64 // input topic → partition → next offset
	written    map[int32]bool             // partitions written that only their owner may write
	reached    bool                       // the offsets were sent: from here on an outcome can be unknown
}

func newLedger(generation int32) *ledger {
	return &ledger{generation: generation, processed: map[string]map[int32]int64{}, written: map[int32]bool{}}
}

func (l *ledger) process(rec *kgo.Record) {
	parts := l.processed[rec.Topic]
	if parts == nil {
		parts = map[int32]int64{}
		l.processed[rec.Topic] = parts
	}
	parts[rec.Partition] = rec.Offset + 1
}

func (l *ledger) write(rec *kgo.Record, topics schemas.Topics) {
	switch rec.Topic {
	case topics.Events, topics.Snapshots, topics.Replies:
		l.written[rec.Partition] = true
	}
}

// permit is called with the request that would commit the offsets; an error makes the transaction abort.
func (l *ledger) permit(req *kmsg.TxnOffsetCommitRequest, now ownership) error {
	if req.Generation != l.generation {
		return fmt.Errorf("%w: generation %d began the transaction, now it is %d", ErrFenced, l.generation, req.Generation)
	}
	for p := range l.written {
		if !now.partitions[p] {
			return fmt.Errorf("%w: partition %d was written and is not assigned", ErrFenced, p)
		}
	}
	carried := 0
	for _, topic := range req.Topics {
		for _, p := range topic.Partitions {
			want, ok := l.processed[topic.Topic][p.Partition]
			if !ok || want != p.Offset {
				return fmt.Errorf("%w: %s partition %d would be committed at offset %d, processed up to %d", ErrFenced, topic.Topic, p.Partition, p.Offset, want)
			}
			carried++
		}
	}
	processed := 0
	for _, parts := range l.processed {
		processed += len(parts)
	}
	if carried != processed {
		return fmt.Errorf("%w: records of %d partitions were processed, the commit carries the offsets of %d", ErrFenced, processed, carried)
	}
	l.reached = true
	return nil
}
