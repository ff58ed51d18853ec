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
	"github.com/ledgerline-es/ledgerline/schemas/ledgerline"
)

// transact processes a batch in one transaction. It returns an error only when the session must end; a transaction that was
// surely aborted is taken back and its commands are polled again.
func (s *session) transact(ctx context.Context, all batch) error {
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

	tx := s.newTransaction(all)
	err := tx.process(end)
	defer s.waiting.transaction()()
	if err == nil {
		err = s.gts.Client().Flush(end)
	}
	if err == nil {
		err = errors.Join(tx.produced(), tx.ledger.stray())
	}
	if err != nil {
		tx.rollback()
		s.waiting.failed(tx.all)
		s.metrics.transactions.WithLabelValues(resultFailed).Inc()
		if _, abortErr := s.gts.End(end, kgo.TryAbort); abortErr != nil {
			err = errors.Join(err, fmt.Errorf("abort: %w", abortErr))
		}
		s.unsent.note(tx)
		return fmt.Errorf("transaction of %d commands: %w", tx.all, err)
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
		s.waiting.committed(tx.all, time.Since(started))
		s.metrics.transactions.WithLabelValues(resultCommitted).Inc()
		s.metrics.transactionSeconds.Observe(time.Since(started).Seconds())
		s.metrics.batch.Observe(float64(tx.all))
		return save(tx.touched(), max(minSaved, tx.all/4))
	case !tx.ledger.reached && (err == nil || errors.Is(err, ErrFenced)), err == nil && s.surelyAborted(end):
		// The offsets were never sent, or the coordinator says so: the transaction can't have been committed.
		tx.rollback()
		s.metrics.transactions.WithLabelValues(resultAborted).Inc()
		s.log.Info("transaction aborted", "commands", tx.all, "reason", errOr(err, "the group is rebalancing"))
		if s.fenced++; s.fenced > maxFenced {
			return fmt.Errorf("%d transactions were aborted one after another, the last: %w", s.fenced, errOr(err, "the group is rebalancing"))
		}
		return nil
	case mutant.Is(mutant.Unknown):
		tx.rollback()
		return nil
	default:
		s.unsure = true
		s.waiting.failed(tx.all)
		s.metrics.transactions.WithLabelValues(resultUnknown).Inc()
		return fmt.Errorf("%w: %d commands of generation %d: %w", ErrUnknownCommit, tx.all, s.generation, errOr(err, "not committed"))
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
	session *session
	ledger  *ledger
	work    []*work
	all     int // commands

	mu     sync.Mutex
	failed error // the first record that could not be produced
}

// work is what a transaction does in one partition.
type work struct {
	*portion
	tx        *transaction
	promise   func(*kgo.Record, error) // of all records
	failed    map[input]bool           // where some of them could not be produced
	ledger    *ledger
	touched   bool // there was something to decide
	outcomes  map[string]int
	answers   map[string]int // from other aggregates, by outcome
	sent      int64          // to others, answers too
	dead      int
	now       time.Time
	snapshots int
	waited    []time.Duration // for how long after their times, those that had to wait for one
}

func (s *session) newTransaction(all batch) *transaction {
	tx := &transaction{session: s, ledger: newLedger(s.generation), all: all.size()}
	for _, p := range all {
		w := &work{portion: p, tx: tx, ledger: newLedger(s.generation), outcomes: map[string]int{}, answers: map[string]int{}}
		w.promise = w.keep
		tx.work = append(tx.work, w)
	}
	return tx
}

// process decides all commands. When it returns, with an error too, nothing of it goes on.
func (tx *transaction) process(ctx context.Context) error {
	err := sideBySide(tx.work, func(w *work) error { return w.process(ctx) })
	for _, w := range tx.work {
		tx.ledger.add(w.ledger)
	}
	return err
}

func (w *work) process(ctx context.Context) error {
	w.now = time.Now()
	for i := range w.commands {
		c := &w.commands[i]
		w.ledger.process(c.rec)
		if w.book.seen(c.rec) {
			continue
		}
		w.touched = true
		res, err := w.book.process(ctx, c)
		if err != nil {
			return fmt.Errorf("%s: %w", origin(c.rec), err)
		}
		if c.timer != "" {
			w.waited = append(w.waited, w.now.Sub(time.UnixMilli(c.deliverAt)))
		}
		w.outcomes[res.outcome]++
		if answer, ok := c.record.(*ledgerline.Reply); ok && res.outcome != outcomeDuplicate {
			w.answers[answer.Outcome]++
		}
		if res.dead {
			w.dead++
			w.tx.session.log.Warn("dead letter", "topic", c.rec.Topic, "partition", c.rec.Partition, "offset", c.rec.Offset,
				"aggregate_id", clip(c.id, schemas.MaxIDLength), "command_id", c.meta.CommandID)
		}
		w.produce(ctx, res.records)
	}
	if !w.touched {
		return nil
	}
	w.sent = w.book.mail.sent - w.book.mail.sentBefore
	records, err := w.book.bookmarks(max(minSnapshots, 2*w.tx.all))
	if err != nil {
		return err
	}
	for _, rec := range records {
		if rec.Key[0] != '/' {
			w.snapshots++
		}
	}
	w.produce(ctx, records)
	return nil
}

func (w *work) produce(ctx context.Context, records []*kgo.Record) {
	for _, rec := range records {
		rec.Timestamp = w.now // the client would ask the clock for each
		w.ledger.write(rec, w.tx.session.writer.topics)
		w.tx.session.gts.Produce(ctx, rec, w.promise)
	}
}

// keep keeps the first failure, and where there were some.
func (w *work) keep(rec *kgo.Record, err error) {
	if err == nil {
		return
	}
	tx := w.tx
	tx.mu.Lock()
	defer tx.mu.Unlock()
	if w.failed == nil {
		w.failed = map[input]bool{}
	}
	w.failed[input{rec.Topic, rec.Partition}] = true
	if tx.failed == nil {
		tx.failed = fmt.Errorf("produce to %s partition %d: %w", rec.Topic, rec.Partition, err)
	}
}

func (tx *transaction) produced() error {
	tx.mu.Lock()
	defer tx.mu.Unlock()
	return tx.failed
}

// touched are the books in which there was something to decide.
func (tx *transaction) touched() (books []*book) {
	for _, w := range tx.work {
		if w.touched {
			books = append(books, w.book)
		}
	}
	return books
}

func (tx *transaction) commit() error {
	err := sideBySide(tx.touched(), func(b *book) error {
		defer b.writer.slab.reset() // the client holds none of its records any more: they were flushed
		return b.commit()
	})
	if err != nil {
		return err
	}
	for _, w := range tx.work {
		for _, late := range w.waited {
			tx.session.metrics.scheduleDelay.Observe(late.Seconds())
		}
		delete(w.outcomes, "") // of ticks
		for outcome, n := range w.outcomes {
			tx.session.metrics.commands.WithLabelValues(outcome).Add(float64(n))
		}
		for outcome, n := range w.answers {
			tx.session.metrics.answers.WithLabelValues(outcome).Add(float64(n))
		}
		tx.session.metrics.sent.Add(float64(w.sent))
		tx.session.metrics.deadLetters.Add(float64(w.dead))
		tx.session.metrics.snapshots.Add(float64(w.snapshots))
	}
	return nil
}

func (tx *transaction) rollback() {
	if mutant.Is(mutant.Rollback) {
		_ = tx.commit() // a mutant need not be careful
		return
	}
	for _, b := range tx.touched() {
		b.rollback()
	}
}
