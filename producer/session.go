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
	waiting  *waiting
	unsent   unsent
	standby  *standby  // nil without standbys
	process  string    // this one, in trials
	small    time.Time // until when transactions may be small
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
	scheduled  share
	processed  processed
	stateBytes share
	astray     map[input]bool            // where what was polled is not what the log says comes next
	rooms      sync.Pool                 // *[]command, empty
	held       map[input]<-chan struct{} // partitions that wait for the registry, until the channel is closed
	leaderless leaderless
	ended      time.Time // the last transaction
	fenced     int       // transactions aborted one after another
	watchful   watchful
	observed   time.Time             // when the gauges were brought up to date
	unsure     bool                  // what is in memory may not be what is committed
	fatal      atomic.Pointer[error] // set by the watch of the pins
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
		if err := s.fetchErrors(ctx, fetches); err != nil {
			return err
		}
		if err := s.adopt(ctx); err != nil {
			return err
		}
		s.release()
		s.tick(ctx)
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
			if err := save(slices.Collect(maps.Values(s.books)), -1); err != nil {
				return err
			}
			if err := s.overlooked(ctx); err != nil {
				return err
			}
			continue // a transaction without polled offsets would not be fenced at all
		}
		s.watchful.polled = time.Now()
		if err := s.recall(ctx, batch); err != nil {
			return err
		}
		if err := s.alone(ctx, batch); err != nil {
			return err
		}
		if err := s.transact(ctx, batch); err != nil {
			return err
		}
		s.survived(batch)
		s.done(batch)
	}
}

const (
	minSnapshots = 64  // that a transaction may write in a partition, however few commands it has
	minSaved     = 256 // states that are put into the local store after a transaction
)

// save puts what changed into the local stores, of each up to n states; n < 0: all.
func save(books []*book, n int) error {
	return sideBySide(books, func(b *book) error { return b.save(n) })
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
	for _, b := range s.books {
		if b.timers.ticked.IsZero() {
			wait = max(min(wait, b.timers.due()), time.Millisecond)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	s.assignment.wake(cancel)
	room := s.room()
	fetches := s.gts.PollRecords(ctx, room)
	n := fetches.NumRecords()
	if n == 0 || n >= room || time.Since(s.ended) > gatherAfter {
		return fetches
	}
	// Under load, what is polled first was fetched while the last transaction was open, and is the beginning of what has come since. The
	// fetch that brings the rest is on its way.
	more, cancel := context.WithTimeout(ctx, gatherTime)
	defer cancel()
	return append(fetches, s.gts.PollRecords(more, room-n)...)
}

const (
	gatherTime  = 3 * time.Millisecond  // that a poll with records waits for more …
	gatherAfter = 20 * time.Millisecond // … when the last transaction ended this short a time ago
)

// fetchErrors passes over what heals by itself, which the client retries.
func (s *session) fetchErrors(ctx context.Context, fetches kgo.Fetches) error {
	var astray []input
	for _, e := range fetches.Errors() {
		var lost *kgo.ErrDataLoss
		switch {
		case errors.As(e.Err, &lost), errors.Is(e.Err, kerr.OffsetOutOfRange): // the client may be mistaken in what it takes for lost
			if s.books[e.Partition] != nil { // else it is looked at when it is adopted
				astray = append(astray, input{e.Topic, e.Partition})
			}
		case unrecoverable(e.Err):
			return fmt.Errorf("fetch %s partition %d: %w", e.Topic, e.Partition, e.Err)
		case !errors.Is(e.Err, context.DeadlineExceeded) && !errors.Is(e.Err, context.Canceled):
			s.log.Warn("fetching commands", "topic", e.Topic, "partition", e.Partition, "error", e.Err)
		}
	}
	if len(astray) == 0 {
		return nil
	}
	return s.backIntoRange(ctx, astray)
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
		s.standby.changed(now.partitions)
		s.releaseAll()
	}
	clear(s.astray)
	var missing []int32
	for p := range now.partitions {
		if s.books[p] == nil {
			missing = append(missing, p)
		}
	}
	missing, err := s.withLeaders(ctx, missing)
	if err != nil {
		return err
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
		if err := s.begin(ctx, missing); err != nil {
			return err
		}
	}
	s.observe()
	if why := s.leaderless.why; why != nil {
		s.state.set(why)
	} else if len(s.held) == 0 {
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
	every := min(5*time.Second, s.cfg.CommandRetention/10)
	s.partitions.set(float64(len(s.books)))
	if time.Since(s.observed) < every {
		return
	}
	s.observed = time.Now()
	s.processed.set(s.books)
	aggregates, remembered, scheduled, size := 0, 0, 0, uint64(0)
	for _, b := range s.books {
		scheduled += b.timers.count
		aggregates += b.shelf.len()
		remembered += b.window.len()
		size += b.store.bytes()
	}
	s.aggregates.set(float64(aggregates))
	s.remembered.set(float64(remembered))
	s.stateBytes.set(float64(size))
	s.scheduled.set(float64(scheduled))
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
	for p, b := range restored {
		_, b.waiting = pending[p]
	}
	maps.Copy(s.books, restored)
	return nil
}

// goOnFromTheLog makes the client go on where the log says that processing stands, where the group's offsets say otherwise: they
// may have been set forward, past commands that nobody answered, or back, to where processed commands were purged. It puts offsets
// right, and reports whether it had to go back: then there is more to restore for.
func (s *session) goOnFromTheLog(ctx context.Context, partitions []int32, offsets map[string]map[int32]int64) (back bool, err error) {
	ranges, err := s.writer.inputs(ctx, s.gts.Client(), partitions)
	if err != nil {
		return false, err
	}
	set := map[string]map[int32]kgo.EpochOffset{s.writer.topics.Commands: {}, s.writer.topics.Internal: {}}
	for topic := range set {
		for _, p := range partitions {
			start, group := ranges.start(topic, p), offsets[topic][p]
			next, known := s.books[p].next[topic]
			if !known && group > 0 && group < start { // nothing says how far it is processed but the group
				next, known = group, true
			}
			if known && next < start {
				if group < start {
					return false, s.missing(topic, p, next, start)
				}
				s.log.Warn("commands were deleted before they were processed, and the group's offset was set behind them: going on without them",
					"topic", topic, "partition", p, "first", next, "next", start)
			}
			if next = max(next, start); group <= next && (group >= start || group < 0) {
				continue
			}
			s.log.Warn("the group's offset is not where processing stands: going on from the log's", "topic", topic, "partition", p, "group", group, "log", next)
			set[topic][p] = kgo.EpochOffset{Epoch: -1, Offset: next}
			s.astray[input{topic, p}] = true
			offsets[topic][p] = next
			back = back || group > next
		}
	}
	s.gts.Client().SetOffsets(set)
	return back, nil
}

// backIntoRange has the client go on from the log's position in partitions whose records it was about to fetch and that are not there: the
// answer may be older than the last position that it was given, or what was processed was deleted under it; or it takes records for lost
// that were markers of transactions, which it does not count when it compares what it has read with the epochs of leaders.
func (s *session) backIntoRange(ctx context.Context, astray []input) error {
	partitions := make([]int32, 0, len(astray))
	for _, at := range astray {
		partitions = append(partitions, at.partition)
	}
	ranges, err := s.writer.inputs(ctx, s.gts.Client(), partitions)
	if err != nil {
		return err
	}
	set := map[string]map[int32]kgo.EpochOffset{}
	for _, at := range astray {
		start, end := ranges.start(at.topic, at.partition), ranges.end(at.topic, at.partition)
		next, known := s.books[at.partition].next[at.topic]
		switch {
		case known && next < start:
			return s.missing(at.topic, at.partition, next, start)
		case next > end:
			return fmt.Errorf("%s partition %d ends at offset %d, and is processed up to %d: the brokers have lost commands; run doctor, and verify", at.topic, at.partition, end, next)
		}
		if set[at.topic] == nil {
			set[at.topic] = map[int32]kgo.EpochOffset{}
		}
		set[at.topic][at.partition] = kgo.EpochOffset{Epoch: -1, Offset: max(next, start)}
	}
	s.gts.Client().SetOffsets(set)
	return nil
}

// missing names commands that were deleted and not processed.
func (s *session) missing(topic string, p int32, first, next int64) error {
	return fmt.Errorf("%s partition %d: %d commands, offsets %d to %d, markers of transactions among them, were deleted before they were processed: "+
		"have their senders publish them again; to go on without them stop all producers of %s, and say `kafka-consumer-groups.sh --group %s --topic %s:%d --reset-offsets --to-earliest --execute`",
		topic, p, next-first, first, next-1, s.writer.kind, s.cfg.group(s.writer.kind), topic, p)
}
