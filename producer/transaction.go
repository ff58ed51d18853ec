package producer

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ledgerline-es/ledgerline/producer/internal/mutant"
	"github.com/ledgerline-es/ledgerline/schemas"
)

// transact processes a batch in one transaction. It returns an error only when the session must end; a transaction that was
// surely aborted is taken back and its commands are polled again.
func (s *session) transact(ctx context.Context, batch []command) error {
	if now := s.owned(); now.generation != s.generation || now.partitions == nil {
		return s.rewind(ctx) // the group moved on since adopt: what was polled is polled again by whoever owns it
	}
	s.letMarkersBeWritten(ctx)
	defer func() { s.ended = time.Now() }()
	started := time.Now()
	if err := s.gts.Begin(); err != nil {
		return fmt.Errorf("begin transaction: %w", err)
	}
	// Ending must not be cut short by a stop: half an end is an unknown outcome.
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.cfg.TransactionTimeout+5*time.Second)
	defer cancel()

	tx := &transaction{session: s, ledger: newLedger(s.generation), touched: map[int32]*book{}, outcomes: map[string]int{}}
	err := tx.process(end, batch)
	if err == nil {
		err = s.gts.Client().Flush(end)
	}
	if err == nil {
		err = tx.produced()
	}
	if err != nil {
		tx.rollback()
		s.metrics.transactions.WithLabelValues(resultFailed).Inc()
		if _, abortErr := s.gts.End(end, kgo.TryAbort); abortErr != nil {
			err = errors.Join(err, fmt.Errorf("abort: %w", abortErr))
		}
		return fmt.Errorf("transaction of %d commands: %w", len(batch), err)
	}
	committed, err := s.gts.End(kgo.PreTxnCommitFnContext(end, func(req *kmsg.TxnOffsetCommitRequest) error {
		return tx.ledger.permit(req, s.owned())
	}), kgo.TryCommit)
	switch {
	case committed && err == nil:
		if err := tx.commit(); err != nil {
			s.unsure = true
			return err
		}
		s.fenced = 0
		s.metrics.transactions.WithLabelValues(resultCommitted).Inc()
		s.metrics.transactionSeconds.Observe(time.Since(started).Seconds())
		s.metrics.batch.Observe(float64(len(batch)))
		return s.save(tx.touched, max(minSaved, len(batch)/4))
	case !tx.ledger.reached && (err == nil || errors.Is(err, ErrFenced)), err == nil && s.surelyAborted(end):
		// The offsets were never sent, or the coordinator says so: the transaction can't have been committed.
		tx.rollback()
		s.metrics.transactions.WithLabelValues(resultAborted).Inc()
		s.log.Info("transaction aborted", "commands", len(batch), "reason", errOr(err, "the group is rebalancing"))
		if s.fenced++; s.fenced > maxFenced {
			return fmt.Errorf("%d transactions were aborted one after another, the last: %w", s.fenced, errOr(err, "the group is rebalancing"))
		}
		return nil
	case mutant.Is(mutant.Unknown):
		tx.rollback()
		return nil
	default:
		s.unsure = true
		s.metrics.transactions.WithLabelValues(resultUnknown).Inc()
		return fmt.Errorf("%w: %d commands of generation %d: %w", ErrUnknownCommit, len(batch), s.generation, errOr(err, "not committed"))
	}
}

// markersTime is what a broker needs, mostly, to write the markers of a transaction after it has answered that it is ended. A record of
// the next transaction that comes earlier is refused inside the broker and tried again every 20 ms, or what
// add.partitions.to.txn.retry.backoff.ms says: so that a short wait makes small transactions faster. What follows a large one takes
// longer to be decoded than that.
const markersTime = 3 * time.Millisecond

func (s *session) letMarkersBeWritten(ctx context.Context) {
	wait := markersTime - time.Since(s.ended)
	if wait <= 0 {
		return
	}
	select {
	case <-ctx.Done():
	case <-time.After(wait):
	}
}

// maxFenced is how many transactions may be aborted one after another, as they are while a group is rebalancing, before the session
// counts as broken.
const maxFenced = 100

func errOr(err error, text string) error {
	if err != nil {
		return err
	}
	return errors.New(text)
}

// transaction is one transaction in the making.
type transaction struct {
	session   *session
	ledger    *ledger
	touched   map[int32]*book
	outcomes  map[string]int
	dead      int
	snapshots int

	mu     sync.Mutex
	failed error // the first record that could not be produced
}

func (tx *transaction) process(ctx context.Context, batch []command) error {
	for i := range batch {
		c := &batch[i]
		tx.ledger.process(c.rec)
		b := tx.session.books[c.rec.Partition]
		if b.seen(c.rec) {
			continue
		}
		tx.touched[b.partition] = b
		res, err := b.process(ctx, c)
		if err != nil {
			return fmt.Errorf("%s: %w", origin(c.rec), err)
		}
		tx.outcomes[res.outcome]++
		if res.dead {
			tx.dead++
			tx.session.log.Warn("dead letter", "topic", c.rec.Topic, "partition", c.rec.Partition, "offset", c.rec.Offset,
				"aggregate_id", clip(c.id, schemas.MaxIDLength), "command_id", c.meta.CommandID)
		}
		tx.produce(ctx, res.records)
	}
	for _, b := range tx.touched {
		records, err := b.bookmarks(max(minSnapshots, 2*len(batch)))
		if err != nil {
			return err
		}
		for _, rec := range records {
			if rec.Key[0] != '/' {
				tx.snapshots++
			}
		}
		tx.produce(ctx, records)
	}
	return nil
}

func (tx *transaction) produce(ctx context.Context, records []*kgo.Record) {
	for _, rec := range records {
		tx.ledger.write(rec, tx.session.writer.topics)
		tx.session.gts.Produce(ctx, rec, tx.promise)
	}
}

func (tx *transaction) promise(rec *kgo.Record, err error) {
	if err == nil {
		return
	}
	tx.mu.Lock()
	defer tx.mu.Unlock()
	if tx.failed == nil {
		tx.failed = fmt.Errorf("produce to %s partition %d: %w", rec.Topic, rec.Partition, err)
	}
}

func (tx *transaction) produced() error {
	tx.mu.Lock()
	defer tx.mu.Unlock()
	return tx.failed
}

func (tx *transaction) commit() error {
	for _, b := range tx.touched {
		if err := b.commit(); err != nil {
			return err
		}
	}
	for outcome, n := range tx.outcomes {
		tx.session.metrics.commands.WithLabelValues(outcome).Add(float64(n))
	}
	tx.session.metrics.deadLetters.Add(float64(tx.dead))
	tx.session.metrics.snapshots.Add(float64(tx.snapshots))
	return nil
}

func (tx *transaction) rollback() {
	if mutant.Is(mutant.Rollback) {
		_ = tx.commit() // a mutant need not be careful
		return
	}
	for _, b := range tx.touched {
		b.rollback()
	}
}
