package producer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ledgerline-es/ledgerline/schemas"
)

// session is one life of a group member: one client, one transactional id, one set of books. It ends at the first outcome
// that it can't be sure of; the next one starts from the log.
type session struct {
	cfg      Config
	gts      *kgo.GroupTransactSession
	machine  machine
	writer   *writer
	restorer *restorer
	replies  *replyTopics
	log      *slog.Logger
	metrics  *metrics
	state    *status

	assignment *assignment
	generation int32 // the books are true as of this generation of the group
	books      map[int32]*book
	fatal      atomic.Pointer[error] // set by the watch of the pins
}

// pollWait bounds how long a change of the assignment goes unnoticed while no command arrives.
const pollWait = 250 * time.Millisecond

// run polls and processes until ctx ends (nil) or the session can't go on (an error).
func (s *session) run(ctx context.Context) error {
	for {
		fetches := s.poll(ctx)
		if ctx.Err() != nil {
			return nil //nolint:nilerr // being told to stop is no failure
		}
		if err := s.fatal.Load(); err != nil {
			return *err
		}
		if err := s.fetchErrors(fetches); err != nil {
			return err
		}
		if err := s.adopt(ctx); err != nil {
			return err
		}
		batch, err := s.read(ctx, fetches)
		if err != nil {
			return err
		}
		if len(batch) == 0 {
			continue // a transaction without polled offsets would not be fenced at all
		}
		if err := s.transact(ctx, batch); err != nil {
			return err
		}
	}
}

func (s *session) poll(ctx context.Context) kgo.Fetches {
	ctx, cancel := context.WithTimeout(ctx, pollWait)
	defer cancel()
	return s.gts.PollRecords(ctx, s.cfg.MaxPollRecords)
}

// fetchErrors passes over what heals by itself, which the client retries.
func (s *session) fetchErrors(fetches kgo.Fetches) error {
	for _, e := range fetches.Errors() {
		var lost *kgo.ErrDataLoss
		switch {
		case errors.As(e.Err, &lost), errors.Is(e.Err, kerr.OffsetOutOfRange):
			return fmt.Errorf("%s partition %d: the offset to go on from is gone: commands were deleted before they were processed: %w", e.Topic, e.Partition, e.Err)
		case unrecoverable(e.Err):
			return fmt.Errorf("fetch %s partition %d: %w", e.Topic, e.Partition, e.Err)
		case !errors.Is(e.Err, context.DeadlineExceeded) && !errors.Is(e.Err, context.Canceled):
			s.log.Warn("fetching commands", "topic", e.Topic, "partition", e.Partition, "error", e.Err)
		}
	}
	return nil
}

// adopt makes the books those of the partitions that this member owns now. The book of a partition that was owned in the
// generation just before stays true, for nobody else can have written; any other is rebuilt.
func (s *session) adopt(ctx context.Context) error {
	now := s.owned()
	if now.generation != s.generation {
		keep := now.generation == s.generation+1
		for p := range s.books {
			if !keep || !now.partitions[p] {
				delete(s.books, p)
			}
		}
		s.generation = now.generation
	}
	var missing []int32
	for p := range now.partitions {
		if s.books[p] == nil {
			missing = append(missing, p)
		}
	}
	if len(missing) > 0 {
		slices.Sort(missing)
		s.state.set(fmt.Errorf("restoring partitions %v of %s", missing, s.writer.kind))
		s.log.Info("assigned", "generation", now.generation, "partitions", len(now.partitions), "to_restore", len(missing))
		pending, err := s.restorer.pending(ctx, missing, s.assignment.offsets())
		if err != nil {
			return err
		}
		restored, err := s.restorer.restore(ctx, missing, pending)
		if err != nil {
			return err
		}
		maps.Copy(s.books, restored)
	}
	s.metrics.partitions.Set(float64(len(s.books)))
	aggregates := 0
	for _, b := range s.books {
		aggregates += b.shelf.len()
	}
	s.metrics.aggregates.Set(float64(aggregates))
	if now.partitions != nil {
		s.state.set(nil)
	}
	return nil
}

// read reads the polled records of owned partitions and decodes them, before a transaction begins: a registry that does not
// answer must not hold a transaction open.
func (s *session) read(ctx context.Context, fetches kgo.Fetches) ([]command, error) {
	batch := make([]command, 0, fetches.NumRecords())
	var failed error
	fetches.EachRecord(func(rec *kgo.Record) {
		if failed != nil || s.books[rec.Partition] == nil {
			return // lost since it was polled: the new owner processes it
		}
		c := readCommand(rec)
		if c.refused == nil && len(rec.Value) > s.cfg.MaxCommandBytes {
			c.refused = refuse(CodeTooLarge, "the command has %d bytes: at most %d", len(rec.Value), s.cfg.MaxCommandBytes)
		}
		if c.refused == nil && schemas.Partition(c.id, s.writer.partitions) == rec.Partition {
			failed = s.decode(ctx, &c)
		}
		if c.refused == nil && c.reply.topic != "" {
			c.reply.partition, c.refused = s.replies.resolve(ctx, c.reply, c.id)
		}
		batch = append(batch, c)
	})
	return batch, failed
}

// decode decodes a command; it waits for the registry for as long as that does not answer.
func (s *session) decode(ctx context.Context, c *command) error {
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
		var err error
		c.record, err = s.machine.decodeCommand(ctx, c.rec.Value)
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case !errors.Is(err, schemas.ErrRegistryUnavailable):
			c.refused = refuse(decodeCode(err), "%v", err)
			return nil
		}
		s.state.set(fmt.Errorf("waiting for the schema registry: %w", err))
		s.log.Warn("waiting for the schema registry", "error", err, "topic", c.rec.Topic, "partition", c.rec.Partition, "offset", c.rec.Offset)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
		}
	}
}

// transact processes a batch in one transaction. It returns an error only when the session must end; a transaction that was
// surely aborted is taken back and its commands are polled again.
func (s *session) transact(ctx context.Context, batch []command) error {
	if s.owned().generation != s.generation {
		return nil // the group moved on since adopt: what was polled is polled again by whoever owns it
	}
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
		tx.commit()
		s.metrics.transactions.WithLabelValues(resultCommitted).Inc()
		s.metrics.transactionSeconds.Observe(time.Since(started).Seconds())
		s.metrics.batch.Observe(float64(len(batch)))
		return nil
	case !tx.ledger.reached && (err == nil || errors.Is(err, ErrFenced)):
		// The offsets were never sent, so the transaction can't have been committed.
		tx.rollback()
		s.metrics.transactions.WithLabelValues(resultAborted).Inc()
		s.log.Info("transaction aborted by a rebalance", "commands", len(batch), "error", err)
		return nil
	default:
		s.metrics.transactions.WithLabelValues(resultUnknown).Inc()
		return fmt.Errorf("%w: %d commands of generation %d: %w", ErrUnknownCommit, len(batch), s.generation, errOr(err, "not committed"))
	}
}

func errOr(err error, text string) error {
	if err != nil {
		return err
	}
	return errors.New(text)
}

// transaction is one transaction in the making.
type transaction struct {
	session  *session
	ledger   *ledger
	touched  map[int32]*book
	outcomes map[string]int
	dead     int

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
		res, err := b.process(c)
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
		records, err := b.bookmarks()
		if err != nil {
			return err
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

func (tx *transaction) commit() {
	for _, b := range tx.touched {
		b.commit()
	}
	for outcome, n := range tx.outcomes {
		tx.session.metrics.commands.WithLabelValues(outcome).Add(float64(n))
	}
	tx.session.metrics.deadLetters.Add(float64(tx.dead))
}

func (tx *transaction) rollback() {
	for _, b := range tx.touched {
		b.rollback()
	}
}
