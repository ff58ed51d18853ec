package producer

import (
	"fmt"
	"maps"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ledgerline-es/ledgerline/producer/internal/mutant"
	"github.com/ledgerline-es/ledgerline/schemas"
)

// Kafka fences members of a group (KIP-447), not partitions, and only where a transaction commits offsets. What follows is
// the rest: a transaction may commit only if it commits exactly the offsets that were processed, as a member of the
// generation that it began in, and writes only to partitions that this member owns. A partition is given to another member only in a
// later generation than that in which it was ours, in either protocol (under KIP-848 after we gave it back, which moves our epoch), and
// the coordinator takes offsets only from the generation in which it counts us: so a commit that passes here and there is the owner's.

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

// add takes in what was done in partitions that have a ledger of their own.
func (l *ledger) add(other *ledger) {
	for topic, parts := range other.processed {
		if l.processed[topic] == nil {
			l.processed[topic] = map[int32]int64{}
		}
		maps.Copy(l.processed[topic], parts)
	}
	maps.Copy(l.written, other.written)
}

// stray reports a write to a partition of which no command was polled. Whatever wrote it, a timer for one, has no offset that the group
// would refuse: of a transaction without any nothing is asked, neither the coordinator nor permit.
func (l *ledger) stray() error {
	for p := range l.written {
		if !l.polled(p) && !mutant.Is(mutant.Timer) {
			return fmt.Errorf("partition %d was written, and no command of it was polled: nothing may be written that no command caused", p)
		}
	}
	return nil
}

func (l *ledger) polled(partition int32) bool {
	for _, parts := range l.processed {
		if _, ok := parts[partition]; ok {
			return true
		}
	}
	return false
}

// permit is called with the request that would commit the offsets; an error makes the transaction abort.
func (l *ledger) permit(req *kmsg.TxnOffsetCommitRequest, now ownership) error {
	if req.Generation != l.generation && !mutant.Is(mutant.Generation) {
		return fmt.Errorf("%w: generation %d began the transaction, now it is %d", ErrFenced, l.generation, req.Generation)
	}
	for p := range l.written {
		if !now.has(p) && !mutant.Is(mutant.Written) {
			return fmt.Errorf("%w: partition %d was written and is not assigned", ErrFenced, p)
		}
	}
	carried := 0
	for _, topic := range req.Topics {
		for _, p := range topic.Partitions {
			want, ok := l.processed[topic.Topic][p.Partition]
			if (!ok || want != p.Offset) && !mutant.Is(mutant.Polled) {
				return fmt.Errorf("%w: %s partition %d would be committed at offset %d, processed up to %d", ErrFenced, topic.Topic, p.Partition, p.Offset, want)
			}
			carried++
		}
	}
	processed := 0
	for _, parts := range l.processed {
		processed += len(parts)
	}
	if carried != processed && !mutant.Is(mutant.Polled) {
		return fmt.Errorf("%w: records of %d partitions were processed, the commit carries the offsets of %d", ErrFenced, processed, carried)
	}
	l.reached = true
	return nil
}
