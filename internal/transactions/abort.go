package transactions

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

// ErrRefused says that a transaction is not to be ended from outside.
var ErrRefused = errors.New("not aborted")

// grace is what a coordinator may need beyond a timeout: it looks for those that are over every 10 s, and then writes markers.
const grace = 30 * time.Second

// Judge says why a transaction is better left alone (an ErrRefused), or nil: nobody else ends it.
func Judge(o Open) error {
	switch {
	case o.Ending():
		return fmt.Errorf("%w: %s: its outcome is decided (%s), and its coordinator is writing it down: a marker from here could contradict that", ErrRefused, o.Name(), o.State)
	case o.Known() && o.Age() <= o.Timeout+grace:
		return fmt.Errorf("%w: %s: the coordinator of %s knows it as open since %s with a timeout of %v: it ends it by itself at %s, and its owner may still mean it",
			ErrRefused, o.Name(), o.ID, at(o.Begun), o.Timeout, at(o.Begun.Add(o.Timeout)))
	case !o.Shown:
		return fmt.Errorf("%w: %s: this login may not describe all transactional ids, so that a coordinator may know it and end it: use a login that may", ErrRefused, o.Name())
	case !o.Known() && o.Age() <= grace:
		return fmt.Errorf("%w: %s: it was written to %v ago: markers of its coordinator may be on their way; try again after %v", ErrRefused, o.Name(), o.Age().Round(time.Second), grace)
	}
	return nil
}

func at(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// Abort ends a transaction, and waits until the partition's readers are past it. One that a coordinator knows as open is ended by that,
// in all its partitions at once, and its owner is fenced: that needs the right to write with its transactional id. Any other is ended by a
// marker in this partition, which needs the right to alter the cluster. What Judge says is the caller's to ask before.
func Abort(ctx context.Context, cl *kgo.Client, o Open) error {
	adm := kadm.NewClient(cl)
	switch {
	case o.Ending(), !o.Shown:
		return Judge(o) // whatever is forced: a marker could tear it
	case o.Known():
		err := Fence(ctx, cl, o.ID, o.ProducerID, o.epoch, o.Timeout)
		if err != nil && !errors.Is(err, kerr.ProducerFenced) && !errors.Is(err, kerr.InvalidProducerEpoch) { // it has ended meanwhile
			return err
		}
		return awaitEnd(ctx, adm, o)
	}
	if err := confirm(ctx, adm, o); err != nil {
		return err
	}
	if err := mark(ctx, cl, o); err != nil {
		return err
	}
	return awaitEnd(ctx, adm, o)
}

// confirmAfter is longer than a transaction's coordinator takes to move to another broker, when neither counts it as its own.
const confirmAfter = 3 * time.Second

// confirm looks once more, a while later, whether no coordinator knows a transaction: what a marker tears can't be mended.
func confirm(ctx context.Context, adm *kadm.Client, o Open) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(confirmAfter):
	}
	now, err := Look(ctx, adm, where(o))
	if err != nil {
		return err
	}
	for _, other := range now {
		if !other.same(o) {
			continue
		}
		if other.Known() {
			return fmt.Errorf("%w: %s: the coordinator of %s knows it after all (%s): look again", ErrRefused, o.Name(), other.ID, other.State)
		}
		return nil
	}
	return fmt.Errorf("%w: %s: it has ended meanwhile", ErrRefused, o.Name())
}

func where(o Open) kadm.TopicsSet {
	var set kadm.TopicsSet
	set.Add(o.Topic, o.Partition)
	return set
}

// Fence makes the coordinator abort the open transaction of a transactional id: whoever holds the id is fenced from now on. Producer id and epoch
// go with the request, so that an id whose transaction has ended meanwhile stays as it is.
func Fence(ctx context.Context, cl *kgo.Client, id string, producerID int64, epoch int16, timeout time.Duration) error {
	req := kmsg.NewPtrInitProducerIDRequest()
	req.TransactionalID = &id
	req.TransactionTimeoutMillis = int32(timeout.Milliseconds())
	req.ProducerID, req.ProducerEpoch = producerID, epoch
	resp, err := req.RequestWith(ctx, cl)
	if err == nil {
		err = kerr.ErrorForCode(resp.ErrorCode)
	}
	if err != nil && !errors.Is(err, kerr.ConcurrentTransactions) { // which says that the abort has begun
		return fmt.Errorf("abort the transaction of %s: %w", id, err)
	}
	return nil
}

// mark writes what the coordinator would have written.
func mark(ctx context.Context, cl *kgo.Client, o Open) error {
	resp, err := kadm.NewClient(cl).WriteTxnMarkers(ctx, kadm.TxnMarkers{
		ProducerID: o.ProducerID, ProducerEpoch: o.ProducerEpoch, Commit: false,
		CoordinatorEpoch: max(0, o.CoordinatorEpoch), // -1: no coordinator has ended one of this producer's there yet
		Topics:           where(o),
	})
	if err == nil {
		err = resp[o.ProducerID].Topics[o.Topic].Partitions[o.Partition].Err
	}
	if err != nil {
		return fmt.Errorf("write an abort marker to %s/%d for producer id %d, epoch %d, coordinator epoch %d: %w", o.Topic, o.Partition, o.ProducerID, o.ProducerEpoch, o.CoordinatorEpoch, err)
	}
	return nil
}

// endTimeout is how long a marker may take.
const endTimeout = 30 * time.Second

// awaitEnd waits until the last stable offset has passed the transaction's first record, or another transaction stands before it.
func awaitEnd(ctx context.Context, adm *kadm.Client, o Open) error {
	ctx, cancel := context.WithTimeout(ctx, endTimeout)
	defer cancel()
	for {
		open, err := producers(ctx, adm, where(o))
		if err == nil && !slices.ContainsFunc(open, o.same) {
			stable, err := adm.ListCommittedOffsets(ctx, o.Topic)
			s, ok := stable.Lookup(o.Topic, o.Partition)
			if err == nil && ok && s.Err == nil && (s.Offset > o.Offset || o.Stable < o.Offset) {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s was told to end, and is still open %v later: look again", o.Name(), endTimeout)
		case <-time.After(50 * time.Millisecond):
		}
	}
}
