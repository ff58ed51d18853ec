package producer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ledgerline-es/ledgerline/schemas"
)

// standby keeps copies of partitions that other members own as up to date as the log, so that taking one of them over restores nothing
// but what was written in the last moment. A copy is what a restore makes, and goes on with what the owner writes: his snapshots, his
// replies, his events. It never touches the group, and no transaction of anybody's.
//
// When the session is assigned a partition it takes the copy out, and the restore reads from where it stands to the end of the log.
type standby struct {
	cfg      Config
	restorer *restorer // its own: one that leaves open transactions alone
	members  func(context.Context) ([]groupMember, error)
	self     string // our transactional id
	log      *slog.Logger
	copies   share
	toHave   share
	lag      share
	offset   *prometheus.GaugeVec

	client *kgo.Client
	asked  time.Time     // when the group was asked for the last time
	looked time.Time     // when lag was measured for the last time
	news   chan struct{} // that what we own has changed
	retry  map[int32]time.Time

	mu      sync.Mutex
	wanted  map[int32]bool
	taken   map[int32]bool // the session has them
	parts   map[int32]*following
	loading *loading
}

// following is a copy, and how far behind the log it is.
type following struct {
	*restoring
	lag int64 // events
}

// loading is the partition of which a copy is being made.
type loading struct {
	partition int32
	cancel    context.CancelFunc
	done      chan struct{}
}

const (
	// askEvery is how often the group is asked for what is to be followed. Every change of its own brings a member's assignment, after
	// which it asks at once; that a member is replaced by another is all that could be missed.
	askEvery = 30 * time.Second
	// followAgain is when a copy that could not be made, or not be kept up to date, is tried again.
	followAgain = 30 * time.Second
	// measureEvery is how often it is measured how far behind the copies are.
	measureEvery = 2 * time.Second
)

// run follows until ctx ends.
func (s *standby) run(ctx context.Context) {
	defer s.toHave.set(0) // not while copies are only made anew: they are lacking
	defer s.stop()
	for ctx.Err() == nil {
		if err := s.follow(ctx); err != nil && ctx.Err() == nil {
			s.log.Warn("standbys can't be kept; they are made anew", "error", err, "retry_in", followAgain.String())
			s.stop()
			select {
			case <-ctx.Done():
			case <-time.After(followAgain):
			}
		}
	}
}

func (s *standby) follow(ctx context.Context) error {
	cl, err := kgo.NewClient(slices.Concat(s.restorer.options, []kgo.Opt{
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.KeepControlRecords(), // a partition may end in markers: without them it would seem to be ahead of the copy
		kgo.ConsumeResetOffset(kgo.NoResetOffset()),
		kgo.MetadataMinAge(100 * time.Millisecond),
		kgo.FetchMaxWait(500 * time.Millisecond),
	})...)
	if err != nil {
		return err
	}
	defer cl.CloseAllowingRebalance()
	s.mu.Lock()
	s.client = cl
	s.mu.Unlock()
	for ctx.Err() == nil {
		s.choose(ctx)
		s.loadNext(ctx)
		poll, cancel := context.WithTimeout(ctx, 250*time.Millisecond)
		fetches := cl.PollRecords(poll, s.cfg.MaxPollRecords)
		cancel()
		for _, e := range fetches.Errors() {
			if unrecoverable(e.Err) && !errors.Is(e.Err, kerr.OffsetOutOfRange) {
				return fmt.Errorf("follow %s partition %d: %w", e.Topic, e.Partition, e.Err)
			}
		}
		s.apply(ctx, fetches)
		s.measure(ctx)
	}
	return nil
}

// measure asks the brokers where the log ends. What was fetched can't tell: a copy that is sent nothing would seem to lack nothing.
func (s *standby) measure(ctx context.Context) {
	if time.Since(s.looked) < measureEvery {
		return
	}
	s.looked = time.Now()
	if len(s.warm()) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, measureEvery)
	defer cancel()
	topic := s.restorer.writer.topics.Events
	ends, err := kadm.NewClient(s.client).ListCommittedOffsets(ctx, topic)
	if err != nil {
		return // as it was: the next look tells
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for p, part := range s.parts {
		if end, ok := ends.Lookup(topic, p); ok && end.Err == nil {
			part.lag = max(0, end.Offset-part.eventsNext)
		}
	}
	s.observe()
}

// choose asks the group who has what, and with that what is to be followed here.
func (s *standby) choose(ctx context.Context) {
	select {
	case <-s.news:
	default:
		if time.Since(s.asked) < askEvery {
			return
		}
	}
	s.asked = time.Now()
	members, err := s.members(ctx)
	if err != nil {
		s.asked = time.Now().Add(time.Second - askEvery)
		s.log.Warn("what to keep standbys of can't be found out", "error", err)
		return
	}
	assigned, ours := 0, []int32(nil)
	for _, m := range members {
		assigned += len(m.partitions)
		if m.clientID == s.self {
			ours = m.partitions
		}
	}
	if assigned < int(s.cfg.Partitions) { // a rebalance is under way; what it leaves is seen afterwards
		s.asked = time.Now().Add(time.Second - askEvery)
		return
	}
	wanted := map[int32]bool{}
	for _, p := range placeStandbys(members, s.self, s.cfg.Partitions, s.cfg.Standbys) {
		wanted[p] = true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !maps.Equal(wanted, s.wanted) {
		s.log.Info("standbys", "partitions", slices.Sorted(maps.Keys(wanted)))
	}
	s.wanted = wanted
	defer s.observe()
	for p, part := range s.parts {
		if !wanted[p] && !s.taken[p] && !slices.Contains(ours, p) { // else the session is about to take it
			s.release(part)
		}
	}
	if l := s.loading; l != nil && !wanted[l.partition] {
		l.cancel()
	}
}

// loadNext begins with a copy that is lacking, one at a time.
func (s *standby) loadNext(ctx context.Context) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.loading != nil {
		return
	}
	for _, p := range slices.Sorted(maps.Keys(s.wanted)) {
		if s.parts[p] != nil || s.taken[p] || time.Since(s.retry[p]) < followAgain {
			continue
		}
		loadCtx, cancel := context.WithCancel(ctx)
		l := &loading{partition: p, cancel: cancel, done: make(chan struct{})}
		s.loading = l
		go s.load(loadCtx, l)
		return
	}
}

func (s *standby) load(ctx context.Context, l *loading) {
	defer l.cancel()
	parts, err := s.restorer.bring(ctx, []int32{l.partition}, nil)
	s.mu.Lock()
	defer s.mu.Unlock()
	defer close(l.done)
	s.loading = nil
	part := parts[l.partition]
	switch {
	case ctx.Err() != nil:
		if err == nil {
			s.closed(part)
		}
	case err != nil:
		s.log.Warn("a standby could not be made", "partition", l.partition, "error", err, "retry_in", followAgain.String())
		s.retry[l.partition] = time.Now()
	case part.foreign:
		s.log.Info("no standby: the partition's owner goes by another revision of the rules", "partition", l.partition)
		s.retry[l.partition] = time.Now().Add(time.Hour)
		s.closed(part)
	default:
		part.beginToFollow()
		s.parts[l.partition] = &following{restoring: part}
		at := map[string]map[int32]kgo.Offset{}
		for topic, next := range part.from(s.restorer.writer.topics) {
			at[topic] = map[int32]kgo.Offset{l.partition: kgo.NewOffset().At(next)}
		}
		s.client.AddConsumePartitions(at)
	}
	s.observe()
}

// beginToFollow is for a copy that is whole. From here on it is known which events no snapshot holds, also of those that the local state
// had in its queue: the owner's snapshots take them out.
func (part *restoring) beginToFollow() {
	part.warm, part.local = true, false
	for _, d := range part.queued {
		if from, waits := part.waiting[d.id]; !waits || d.from < from {
			part.waiting[d.id] = d.from
		}
	}
	part.queued = nil
}

// apply brings the copies up to what was fetched.
func (s *standby) apply(ctx context.Context, fetches kgo.Fetches) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fetched := map[int32][]kgo.FetchTopicPartition{}
	fetches.EachPartition(func(f kgo.FetchTopicPartition) { fetched[f.Partition] = append(fetched[f.Partition], f) })
	for p, list := range fetched {
		part := s.parts[p]
		if part == nil {
			continue
		}
		err := s.restorer.follow(ctx, part.restoring, list)
		if err == nil {
			err = part.save(minSaved)
		}
		for _, f := range list {
			if err == nil && errors.Is(f.Err, kerr.OffsetOutOfRange) {
				err = f.Err // deleted before it was read
			}
		}
		if err != nil && ctx.Err() == nil {
			s.log.Warn("a standby can't be kept up to date; it is made anew", "partition", p, "error", err, "retry_in", followAgain.String())
			s.retry[p] = time.Now()
			s.release(part)
		}
	}
	s.observe()
}

// changed says that what this member owns has changed.
func (s *standby) changed(owned map[int32]uint64) {
	if s == nil {
		return
	}
	s.mu.Lock()
	s.taken = map[int32]bool{}
	for p := range owned {
		s.taken[p] = true
	}
	s.mu.Unlock()
	select {
	case s.news <- struct{}{}:
	default:
	}
}

// warm are the partitions of which there is a copy.
func (s *standby) warm() []int32 {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Keys(s.parts))
}

// take hands over the copy of a partition; nil when there is none. Whoever takes it must close it.
func (s *standby) take(p int32) *restoring {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	if l := s.loading; l != nil && l.partition == p { // its store must be closed before another opens it
		l.cancel()
		s.mu.Unlock()
		<-l.done
		s.mu.Lock()
	}
	defer s.mu.Unlock()
	part := s.parts[p]
	if part == nil {
		return nil
	}
	s.leave(part)
	s.observe()
	return part.restoring
}

// leave stops following a copy. Called with the lock held.
func (s *standby) leave(part *following) {
	delete(s.parts, part.partition)
	s.offset.DeleteLabelValues(strconv.Itoa(int(part.partition)))
	t := s.restorer.writer.topics
	s.client.RemoveConsumePartitions(map[string][]int32{t.Events: {part.partition}, t.Snapshots: {part.partition}, t.Replies: {part.partition}})
}

// release gives a copy up, but for its local state. Called with the lock held.
func (s *standby) release(part *following) {
	s.leave(part)
	s.closed(part.restoring)
}

func (s *standby) closed(part *restoring) {
	if err := errors.Join(part.save(-1), part.store.close()); err != nil { // its queue is not that of an owner
		s.log.Warn("local state is not kept", "partition", part.partition, "error", err)
	}
}

func (s *standby) stop() {
	s.mu.Lock()
	if l := s.loading; l != nil {
		l.cancel()
		s.mu.Unlock()
		<-l.done
		s.mu.Lock()
	}
	defer s.mu.Unlock()
	for _, part := range s.parts {
		s.release(part)
	}
	s.observe()
}

// observe brings the gauges up to date. Called with the lock held.
func (s *standby) observe() {
	lag := int64(0)
	for p, part := range s.parts {
		lag = max(lag, part.lag)
		s.offset.WithLabelValues(strconv.Itoa(int(p))).Set(float64(part.eventsNext))
	}
	s.copies.set(float64(len(s.parts)))
	s.toHave.set(float64(len(s.wanted)))
	s.lag.set(float64(lag))
}

// follow brings a copy on by records that were read behind it. Snapshots first, and into the store at once: an event that is read in the
// same turn may find its aggregate there.
func (r *restorer) follow(ctx context.Context, part *restoring, fetched []kgo.FetchTopicPartition) error {
	topics := r.writer.topics
	var newest time.Time
	for _, f := range fetched {
		for _, rec := range f.Records {
			var err error
			switch control := rec.Attrs.IsControl(); rec.Topic {
			case topics.Snapshots:
				if part.snapshotsEnd = rec.Offset + 1; !control {
					err = r.followSnapshot(ctx, part, rec)
				}
			case topics.Replies:
				if part.window.end = rec.Offset + 1; !control {
					newest, err = rec.Timestamp, r.replayReply(ctx, part, rec)
				}
			}
			if err != nil {
				return at(rec, err)
			}
		}
	}
	to := part.store.has
	to.snapshots = part.snapshotsEnd
	if to != part.store.has {
		if err := part.store.apply(to); err != nil {
			return err
		}
	}
	for _, f := range fetched {
		if f.Topic != topics.Events || len(f.Records) == 0 {
			continue
		}
		part.eventsNext = f.Records[len(f.Records)-1].Offset + 1
		events := slices.DeleteFunc(f.Records, func(rec *kgo.Record) bool { return rec.Attrs.IsControl() })
		if err := r.replayEvents(ctx, part, events); err != nil {
			return err
		}
		part.agenda.eventsEnd = part.eventsNext
	}
	// What is asked for at a take-over lies within one window of the first command that waits. A backlog may make that a while ago.
	if since := newest.Add(-2 * r.cfg.Window); !newest.IsZero() && since.After(part.since) {
		part.window.forgetBefore(since.UnixMilli())
		part.since = since
	}
	return nil
}

// errNotFollowed means that a copy can't go on from what it is.
var errNotFollowed = errors.New("the owner wrote what a standby can't follow")

// followSnapshot takes over what the owner wrote into the snapshots topic, unless the copy is further.
func (r *restorer) followSnapshot(ctx context.Context, part *restoring, rec *kgo.Record) error {
	if len(rec.Key) == 0 || rec.Key[0] == '/' {
		if err := part.store.stage(rec.Key, rec.Value); err != nil {
			return err
		}
		return r.followMark(ctx, part, rec)
	}
	id := string(rec.Key)
	if rec.Value == nil {
		return fmt.Errorf("%w: %s was erased", errNotFollowed, id)
	}
	s, err := r.writer.snapshots.Decode(ctx, rec.Value)
	if err != nil {
		return err
	}
	usable, err := r.machine.usable(ctx, s)
	if err != nil {
		return err
	}
	if !usable {
		return fmt.Errorf("%w: a snapshot of another revision of the rules", errNotFollowed)
	}
	if part.shelf.known(id) == nil { // it is looked up in the store, where all that is known of it must be
		if err := part.store.apply(part.store.has); err != nil {
			return err
		}
	}
	covered, err := part.shelf.adopt(ctx, id, s, rec.Value)
	if covered { // no event of it is known that the snapshot does not hold
		delete(part.waiting, id)
	}
	return err
}

// followMark tells an aggregate that is in memory what number its sender has come to.
func (r *restorer) followMark(ctx context.Context, part *restoring, rec *kgo.Record) error {
	id, source, ok := sourceMarkOf(string(rec.Key))
	if !ok || rec.Value == nil {
		return nil
	}
	h := part.shelf.known(id)
	if h == nil {
		return nil
	}
	mark, err := r.writer.marks.Decode(ctx, rec.Value)
	if err != nil {
		return err
	}
	h.sources = with(h.sources, seenOf(source, mark))
	return nil
}

// from are the offsets from which a copy is to be followed.
func (part *restoring) from(topics schemas.Topics) map[string]int64 {
	return map[string]int64{topics.Events: part.eventsNext, topics.Snapshots: part.snapshotsEnd, topics.Replies: part.window.end}
}
