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

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ledgerline-es/ledgerline/producer/internal/mutant"
	"github.com/ledgerline-es/ledgerline/schemas"
)

// session is one life of a group member: one client, one transactional id, one set of books. It ends at the first outcome
// that it can't be sure of; the next one starts from the log.
type session struct {
	cfg      Config
	claimed  bool // its transactional id
	gts      *kgo.GroupTransactSession
	machine  machine
	writer   *writer
	restorer *restorer
	takeover *takeover
	replies  *replyTopics
	log      *slog.Logger
	metrics  *metrics
	state    *status

	assignment *assignment
	generation int32            // the books are true as of this generation of the group
	since      time.Time        // what is owned has changed
	owns       map[int32]uint64 // the partitions as of the last adoption
	books      map[int32]*book
	partitions share
	aggregates share
	remembered share
	stateBytes share
	astray     map[input]bool            // where what was polled is not what the log says comes next
	held       map[input]<-chan struct{} // partitions that wait for the registry, until the channel is closed
	ended      time.Time                 // the last transaction
	fenced     int                       // transactions aborted one after another
	observed   time.Time                 // when the gauges were brought up to date
	unsure     bool                      // what is in memory may not be what is committed
	fatal      atomic.Pointer[error]     // set by the watch of the pins
}

// input is a partition of an input topic.
type input struct {
	topic     string
	partition int32
}

// pollWait bounds how long a poll waits while no command arrives; a change of the assignment ends it at once.
const pollWait = 250 * time.Millisecond

// run polls and processes until ctx ends (nil) or the session can't go on (an error).
func (s *session) run(ctx context.Context) error {
	defer func() {
		for p := range s.books {
			s.drop(p)
		}
	}()
	for {
		fetches := s.poll(ctx)
		if ctx.Err() != nil {
			return nil
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
		s.release()
		batch, complete, err := s.read(ctx, fetches)
		if err != nil {
			return err
		}
		if !complete {
			if err := s.rewind(ctx); err != nil {
				return err
			}
			continue
		}
		if len(batch) == 0 {
			if err := s.save(s.books, -1); err != nil {
				return err
			}
			continue // a transaction without polled offsets would not be fenced at all
		}
		if err := s.recall(ctx, batch); err != nil {
			return err
		}
		if err := s.transact(ctx, batch); err != nil {
			return err
		}
	}
}

const (
	minSnapshots = 64  // that a transaction may write in a partition, however few commands it has
	minSaved     = 256 // states that are put into the local store after a transaction
)

// save puts what changed into the local store.
func (s *session) save(books map[int32]*book, n int) error {
	for _, b := range books {
		if err := b.save(n); err != nil {
			return err
		}
	}
	return nil
}

// drop lets go of a partition. What is unsure is in memory only and goes with it.
func (s *session) drop(p int32) {
	b := s.books[p]
	delete(s.books, p)
	end := b.close
	if s.unsure {
		end = b.store.close
	}
	if err := end(); err != nil {
		s.log.Warn("local state is not kept", "partition", p, "error", err)
	}
}

func (s *session) poll(ctx context.Context) kgo.Fetches {
	wait := pollWait
	if s.owned().partitions == nil {
		wait = pollWait / 10 // the coordinator is to be asked again
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	s.assignment.wake(cancel)
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

// owned is what this member owns in the generation that it is in now.
func (s *session) owned() ownership {
	_, generation := s.gts.Client().GroupMetadata()
	return s.assignment.owned(generation)
}

// adopt makes the books those of the partitions that this member owns now. The book of a partition that was owned without a break
// stays true, for nobody else can have written; any other is rebuilt.
func (s *session) adopt(ctx context.Context) error {
	if err := s.assignment.confirm(ctx, s.gts.Client(), s.cfg.group(s.writer.kind)); err != nil {
		if unrecoverable(err) {
			return err
		}
		s.log.Warn("the group's coordinator does not answer", "error", err)
	}
	now := s.owned()
	if now.partitions == nil {
		s.state.set(fmt.Errorf("waiting for the group to assign partitions of %s", s.writer.kind))
		return nil // a rebalance is under way: what it leaves us is seen afterwards
	}
	if now.generation != s.generation || !maps.Equal(now.partitions, s.owns) {
		for p := range s.books {
			if !s.unbroken(p, now) {
				s.drop(p)
			}
		}
		if err := s.claim(ctx); err != nil {
			return err
		}
		s.takeover.abandoned(ctx, slices.Collect(maps.Keys(now.partitions)))
		s.generation, s.owns, s.since = now.generation, now.partitions, time.Now()
		s.releaseAll()
	}
	clear(s.astray)
	var missing []int32
	for p := range now.partitions {
		if s.books[p] == nil {
			missing = append(missing, p)
		}
	}
	if len(missing) > 0 {
		slices.Sort(missing)
		s.state.set(fmt.Errorf("restoring partitions %v of %s", missing, s.writer.kind))
		offsets, known := s.assignment.offsets(missing)
		if !known { // the group keeps them back while a transaction that commits some is open
			s.takeover.standstill(ctx, missing, s.since)
			return nil
		}
		s.log.Info("assigned", "generation", now.generation, "partitions", len(now.partitions), "to_restore", len(missing))
		if err := s.restore(ctx, missing, offsets); err != nil {
			return err
		}
		astray, err := s.goOnFromTheLog(ctx, missing, offsets)
		if err != nil {
			return err
		}
		if astray { // there are more commands to come than it was restored for: a repetition may stand among them
			if err := s.restore(ctx, missing, offsets); err != nil {
				return err
			}
		}
	}
	s.observe()
	if len(s.held) == 0 {
		s.state.set(nil)
	}
	return nil
}

// unbroken reports whether a partition was owned from the last adoption up to now, so that its book is still true.
func (s *session) unbroken(p int32, now ownership) bool {
	if s.assignment.consumer {
		return now.has(p) && now.partitions[p] == s.owns[p]
	}
	// In the classic protocol a generation assigns everything, so nobody else owned it between one and the next.
	return now.has(p) && (now.generation == s.generation || now.generation == s.generation+1)
}

// claim makes a static member's transactional id ours, as the first thing after it was assigned something: whatever its former self has
// open is aborted, and nothing more can come of it. Not before, so that of two processes under one instance id the one that the group
// has thrown out is the one that finds itself fenced.
func (s *session) claim(ctx context.Context) error {
	if !s.takeover.static || s.claimed {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	if _, _, err := s.gts.Client().ProducerID(ctx); err != nil {
		return fmt.Errorf("claim the transactional id of our former self: %w", err)
	}
	s.claimed = true
	return nil
}

// observe brings this session's share of the gauges up to date; asking the stores for their size is not for every turn of the loop.
func (s *session) observe() {
	const every = 5 * time.Second
	s.partitions.set(float64(len(s.books)))
	if time.Since(s.observed) < every {
		return
	}
	s.observed = time.Now()
	aggregates, remembered, size := 0, 0, uint64(0)
	for _, b := range s.books {
		aggregates += b.shelf.len()
		remembered += b.window.len()
		size += b.store.bytes()
	}
	s.aggregates.set(float64(aggregates))
	s.remembered.set(float64(remembered))
	s.stateBytes.set(float64(size))
}

func (s *session) restore(ctx context.Context, partitions []int32, offsets map[string]map[int32]int64) error {
	pending, err := s.restorer.pending(ctx, partitions, offsets)
	if err != nil {
		return err
	}
	for _, p := range partitions {
		if s.books[p] != nil { // from before there was more to restore for
			s.drop(p)
		}
	}
	restored, err := s.restorer.restore(ctx, partitions, pending)
	if err != nil {
		return err
	}
	maps.Copy(s.books, restored)
	return nil
}

// goOnFromTheLog makes the client go on where the log says that processing stands, where the group's offsets say otherwise: they
// may have been set forward, past commands that nobody answered. It puts offsets right, and reports whether it had to.
func (s *session) goOnFromTheLog(ctx context.Context, partitions []int32, offsets map[string]map[int32]int64) (astray bool, err error) {
	inputs := []string{s.writer.topics.Commands, s.writer.topics.Internal}
	starts, err := kadm.NewClient(s.gts.Client()).ListStartOffsets(ctx, inputs...)
	if err == nil {
		err = starts.Error()
	}
	if err != nil {
		return false, fmt.Errorf("list start offsets of commands: %w", err)
	}
	set := map[string]map[int32]kgo.EpochOffset{}
	for _, topic := range inputs {
		for _, p := range partitions {
			start, _ := starts.Lookup(topic, p)
			next := max(s.books[p].next[topic], start.Offset) // what is below the start was purged
			group := offsets[topic][p]
			if group <= next {
				continue
			}
			s.log.Warn("the group's offset lies beyond what is processed: going on from the log's", "topic", topic, "partition", p, "group", group, "log", next)
			if set[topic] == nil {
				set[topic] = map[int32]kgo.EpochOffset{}
			}
			set[topic][p] = kgo.EpochOffset{Epoch: -1, Offset: next}
			s.astray[input{topic, p}] = true
			offsets[topic][p] = next
			astray = true
		}
	}
	s.gts.Client().SetOffsets(set)
	return astray, nil
}

// rewind makes the client poll again what was polled and not committed, of the partitions that are still assigned. Passing over it
// would lose commands: the next commit would carry the offsets behind them.
func (s *session) rewind(ctx context.Context) error {
	if _, err := s.gts.End(ctx, kgo.TryAbort); err != nil && ctx.Err() == nil {
		return fmt.Errorf("go back to what is committed: %w", err)
	}
	return nil
}

// read reads the polled records of owned partitions and decodes them, before a transaction begins: a registry that does not
// answer must not hold a transaction open. It is incomplete when records were polled of a partition that has no book: it was lost
// since, or what the group assigned to us is not known yet.
func (s *session) read(ctx context.Context, fetches kgo.Fetches) (batch []command, complete bool, err error) {
	batch = make([]command, 0, fetches.NumRecords())
	complete = true
	first := map[input]int64{}
	look, cancel := context.WithTimeout(ctx, registryPatience)
	defer cancel()
	var failed error
	fetches.EachRecord(func(rec *kgo.Record) {
		at := input{rec.Topic, rec.Partition}
		if _, ok := first[at]; !ok {
			first[at] = rec.Offset
		}
		if s.books[rec.Partition] == nil {
			complete = false
		}
		if failed != nil || !complete || s.astray[at] || s.held[at] != nil {
			return // it is polled again
		}
		c := readCommand(rec)
		if c.refused == nil || c.refused.elsewhere {
			if size := overhead(rec); len(rec.Value) > s.cfg.MaxCommandBytes || size > maxOverhead || len(rec.Headers) > maxHeaders {
				c.refused = refuse(CodeTooLarge, "the command has %d bytes, and %d in its key and %d headers: at most %d, and %d in the key and %d headers",
					len(rec.Value), size, len(rec.Headers), s.cfg.MaxCommandBytes, maxOverhead, maxHeaders)
			}
		}
		if c.refused == nil && (schemas.Partition(c.id, s.writer.partitions) == rec.Partition || mutant.Is(mutant.Forward)) {
			if err := s.decode(look, &c); err != nil {
				// A transaction commits all that was polled of a partition or nothing: none of it is taken now.
				s.hold(ctx, rec, first[at], err)
				batch = slices.DeleteFunc(batch, func(c command) bool { return input{c.rec.Topic, c.rec.Partition} == at })
				return
			}
		}
		if c.reply.topic != "" {
			to, why, err := s.replies.resolve(ctx, c.reply, c.id)
			if err != nil {
				failed = err
				return
			}
			c.replyCopy = to
			if c.refused == nil {
				c.refused = why
			}
		}
		batch = append(batch, c)
	})
	return batch, complete, failed
}

// registryPatience is how long look-ups in the registry may hold up a batch.
const registryPatience = 2 * time.Second

// decode decodes a command. An error means that the registry can't say yet what it is.
func (s *session) decode(look context.Context, c *command) error {
	var err error
	c.record, err = s.machine.decodeCommand(look, c.rec.Value)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, schemas.ErrRegistryUnavailable), look.Err() != nil:
		return err
	}
	c.refused = refuse(decodeCode(err), "%v", err)
	return nil
}

// hold stops fetching a partition until the registry can say what the schema of one of its records is; then it is polled again
// from an offset on. Other partitions go on meanwhile.
func (s *session) hold(ctx context.Context, rec *kgo.Record, from int64, err error) {
	known := make(chan struct{})
	s.held[input{rec.Topic, rec.Partition}] = known
	s.state.set(fmt.Errorf("waiting for the schema registry: %w", err))
	s.log.Warn("waiting for the schema registry", "error", err, "topic", rec.Topic, "partition", rec.Partition, "offset", rec.Offset)
	cl := s.gts.Client()
	cl.PauseFetchPartitions(map[string][]int32{rec.Topic: {rec.Partition}})
	cl.SetOffsets(map[string]map[int32]kgo.EpochOffset{rec.Topic: {rec.Partition: {Epoch: -1, Offset: from}}})
	go func() {
		defer close(known)
		for wait := 100 * time.Millisecond; ; wait = min(2*wait, 2*time.Second) {
			select {
			case <-ctx.Done():
				return
			case <-time.After(wait):
			}
			if _, err := s.machine.decodeCommand(ctx, rec.Value); !errors.Is(err, schemas.ErrRegistryUnavailable) {
				return
			}
		}
	}()
}

// release lets partitions go on whose wait is over.
func (s *session) release() {
	for at, known := range s.held {
		select {
		case <-known:
			s.resume(at)
		default:
		}
	}
}

// releaseAll forgets what waits: another generation polls everything anew.
func (s *session) releaseAll() {
	for at := range s.held {
		s.resume(at)
	}
}

func (s *session) resume(at input) {
	delete(s.held, at)
	s.gts.Client().ResumeFetchPartitions(map[string][]int32{at.topic: {at.partition}})
}

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
