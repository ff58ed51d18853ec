package transactions

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
)

// Open is a transaction that is open in a partition.
type Open struct {
	Topic            string
	Partition        int32
	Offset           int64 // of its first record there
	ProducerID       int64
	ProducerEpoch    int16
	CoordinatorEpoch int32
	LastWrite        time.Time // there; as the record says

	Stable, End int64 // the partition's last stable offset and high watermark

	// Of the coordinator that knows the producer id; ID is "" when none is seen to.
	ID      string
	State   string // such as Ongoing
	Timeout time.Duration
	Begun   time.Time // zero unless the coordinator counts the transaction as open
	Touches kadm.TopicsSet
	epoch   int16 // that the coordinator gave to the id

	Shown bool // all transactional ids are told to who looked: that none knows it is then certain
}

// Name is TOPIC/PARTITION/PRODUCER-ID.
func (o Open) Name() string { return fmt.Sprintf("%s/%d/%d", o.Topic, o.Partition, o.ProducerID) }

// Since is when it began, as far as that is known: its last write is later.
func (o Open) Since() time.Time {
	if !o.Begun.IsZero() {
		return o.Begun
	}
	return o.LastWrite
}

// Age is for how long it has been open, at least.
func (o Open) Age() time.Duration { return max(0, time.Since(o.Since())) }

// Behind is how many offsets nobody can read who reads what is committed.
func (o Open) Behind() int64 { return max(0, o.End-o.Stable) }

// States of a transaction in which its coordinator is about to end it.
const (
	ongoing        = "Ongoing"
	prepareCommit  = "PrepareCommit"
	prepareAbort   = "PrepareAbort"
	prepareFencing = "PrepareEpochFence"
)

// Known reports whether a coordinator counts the transaction as open, or as ending: it will end it by itself.
func (o Open) Known() bool {
	switch o.State {
	case ongoing, prepareCommit, prepareAbort, prepareFencing:
		return o.Touches.Lookup(o.Topic, o.Partition)
	}
	return false
}

// Ending reports whether its outcome is decided, and only the markers are not written yet.
func (o Open) Ending() bool { return o.Known() && o.State != ongoing }

// Hangs reports whether it is certain that no coordinator will ever end it.
func (o Open) Hangs() bool { return o.Shown && !o.Known() }

// same reports whether two looks saw one transaction.
func (o Open) same(other Open) bool {
	return o.Name() == other.Name() && o.Offset == other.Offset && o.ProducerEpoch == other.ProducerEpoch
}

// Look gives the transactions that are open in partitions, the oldest first. It needs the right to read the topics, and to describe
// transactional ids to name those.
func Look(ctx context.Context, adm *kadm.Client, partitions kadm.TopicsSet) ([]Open, error) {
	if len(partitions) == 0 {
		return nil, nil
	}
	found, err := producers(ctx, adm, partitions)
	if err != nil || len(found) == 0 {
		return nil, err
	}
	if err := coordinators(ctx, adm, found); err != nil {
		return nil, err
	}
	// One that ended between the two answers looks as if no coordinator knew it. It is not there any more.
	still, err := producers(ctx, adm, partitions)
	if err != nil {
		return nil, err
	}
	found = slices.DeleteFunc(found, func(o Open) bool { return !slices.ContainsFunc(still, o.same) })
	if err := offsets(ctx, adm, found); err != nil {
		return nil, err
	}
	slices.SortFunc(found, func(a, b Open) int {
		return cmp.Or(a.Since().Compare(b.Since()), cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition), cmp.Compare(a.ProducerID, b.ProducerID))
	})
	return found, nil
}

// producers gives what the partitions' leaders know.
func producers(ctx context.Context, adm *kadm.Client, partitions kadm.TopicsSet) ([]Open, error) {
	answers, err := adm.DescribeProducers(ctx, partitions)
	if err != nil {
		return nil, fmt.Errorf("describe producers of %v: %w", partitions.Topics(), err)
	}
	var found []Open
	var failed []error
	answers.EachPartition(func(p kadm.DescribedProducersPartition) {
		if p.Err != nil {
			failed = append(failed, fmt.Errorf("describe producers of %s/%d: %w", p.Topic, p.Partition, p.Err))
		}
		for _, d := range p.ActiveProducers {
			if d.CurrentTxnStartOffset >= 0 {
				found = append(found, Open{
					Topic: d.Topic, Partition: d.Partition, Offset: d.CurrentTxnStartOffset, ProducerID: d.ProducerID, ProducerEpoch: d.ProducerEpoch,
					CoordinatorEpoch: d.CoordinatorEpoch, LastWrite: time.UnixMilli(d.LastTimestamp),
				})
			}
		}
	})
	return found, errors.Join(failed...)
}

// coordinators completes what is found with what coordinators know.
func coordinators(ctx context.Context, adm *kadm.Client, found []Open) error {
	var producerIDs []int64
	for _, o := range found {
		producerIDs = append(producerIDs, o.ProducerID)
	}
	slices.Sort(producerIDs)
	listed, err := adm.ListTransactions(ctx, slices.Compact(producerIDs), nil)
	if err != nil {
		return fmt.Errorf("list transactions: %w", err)
	}
	shown, err := allShown(ctx, adm)
	if err != nil {
		return err
	}
	described := kadm.DescribedTransactions{}
	if ids := listed.TransactionalIDs(); len(ids) > 0 {
		if described, err = adm.DescribeTransactions(ctx, ids...); err != nil {
			return fmt.Errorf("describe transactions of %v: %w", ids, err)
		}
	}
	for i := range found {
		o := &found[i]
		o.Shown = shown
		for _, tx := range listed {
			if tx.ProducerID != o.ProducerID {
				continue
			}
			d := described[tx.TxnID]
			if d.Err != nil {
				return fmt.Errorf("describe transaction of %s: %w", tx.TxnID, d.Err)
			}
			o.ID, o.State, o.epoch, o.Timeout, o.Touches, o.Shown = tx.TxnID, d.State, d.ProducerEpoch, time.Duration(d.TimeoutMillis)*time.Millisecond, d.Topics, true
			if o.State == ongoing && d.StartTimestamp > 0 && o.Known() {
				o.Begun = time.UnixMilli(d.StartTimestamp)
			}
		}
	}
	return nil
}

// allShown asks for a transactional id that nobody can have been permitted by name.
func allShown(ctx context.Context, adm *kadm.Client) (bool, error) {
	id := uuid.NewString()
	answers := adm.FindTxnCoordinators(ctx, id)
	switch err := answers[id].Err; {
	case err == nil:
		return true, nil
	case errors.Is(err, kerr.TransactionalIDAuthorizationFailed):
		return false, nil
	default:
		return false, fmt.Errorf("find a transaction coordinator: %w", err)
	}
}

// offsets completes what is found with what waits in its partitions.
func offsets(ctx context.Context, adm *kadm.Client, found []Open) error {
	var topics []string
	for _, o := range found {
		topics = append(topics, o.Topic)
	}
	slices.Sort(topics)
	topics = slices.Compact(topics)
	stable, err := adm.ListCommittedOffsets(ctx, topics...)
	if err != nil {
		return fmt.Errorf("list stable offsets of %v: %w", topics, err)
	}
	ends, err := adm.ListEndOffsets(ctx, topics...)
	if err != nil {
		return fmt.Errorf("list end offsets of %v: %w", topics, err)
	}
	for i := range found {
		o := &found[i]
		s, _ := stable.Lookup(o.Topic, o.Partition)
		e, _ := ends.Lookup(o.Topic, o.Partition)
		if err := errors.Join(s.Err, e.Err); err != nil {
			return fmt.Errorf("list offsets of %s/%d: %w", o.Topic, o.Partition, err)
		}
		o.Stable, o.End = s.Offset, e.Offset
	}
	return nil
}
