package producer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"

	"github.com/ledgerline-es/ledgerline/schemas"
)

// restorer rebuilds books from the log.
type restorer struct {
	cfg      Config
	options  []kgo.Opt
	machine  machine
	writer   *writer
	limits   limits
	log      *slog.Logger
	metrics  *metrics
	takeover *takeover
	standby  *standby                                 // which may have what is to be restored; nil without standbys
	onlooker bool                                     // it restores for a standby, and ends nobody's transaction
	watched  []watched[command]                       // by partition
	stuck    func(partition int32, event *kgo.Record) // told of one by which no state can be evolved in time; nil: the process ends
	tried    *tried
	group    string
	fs       vfs.FS
	cache    *pebble.Cache
	pinned   identity // but for the partition
}

// restoring is one partition on its way.
type restoring struct {
	*book
	since   time.Time        // answers given before are too old to matter
	held    int64            // offset below which the store's states hold all events
	local   bool             // the store had states of its own: that it has an event does not say that a snapshot has
	foreign bool             // it has a snapshot that these rules can't use
	queued  []due            // who needs a snapshot for events below held; nil: the events must be read to know
	waiting map[string]int64 // who needs one for others → offset of the first event that none holds
	events  int

	// Of a standby's copy: it was restored before, and has come to here.
	warm       bool
	eventsNext int64
}

// restore rebuilds the books of the partitions as of now, up to the high watermarks that stand when it begins. Whatever an
// earlier owner can still commit lies below them: it was flushed before the group moved on, and the group moved on before we
// were assigned. Reading to the last stable offset instead would believe an open transaction to be nothing.
//
// First come the snapshots that the local store lacks, and the replies of the window before the pending times, which say when
// the first unprocessed command was appended. Then the events from the checkpoint that the snapshots name.
func (r *restorer) restore(ctx context.Context, partitions []int32, pending map[int32]time.Time) (map[int32]*book, error) {
	started := time.Now()
	parts, err := r.bring(ctx, partitions, pending)
	if err != nil {
		return nil, err
	}
	books, replayed := make(map[int32]*book, len(parts)), 0
	for p, part := range parts {
		books[p] = part.book
		replayed += part.events
	}
	took := time.Since(started)
	r.metrics.restoreSeconds.Observe(took.Seconds())
	r.metrics.restoredEvents.Add(float64(replayed))
	r.log.Info("restored", "partitions", len(partitions), "events", replayed, "took", took.Round(time.Millisecond).String())
	return books, nil
}

// bring makes copies of partitions, or takes those that a standby has, and brings them up to the end of the log.
func (r *restorer) bring(ctx context.Context, partitions []int32, pending map[int32]time.Time) (_ map[int32]*restoring, err error) {
	cl, err := kgo.NewClient(slices.Concat(r.options, []kgo.Opt{
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.KeepControlRecords(), // a partition may end in markers: without them the end would never be seen
		kgo.ConsumeResetOffset(kgo.NoResetOffset()),
		kgo.MetadataMinAge(100 * time.Millisecond),
		kgo.FetchMaxWait(500 * time.Millisecond),
		kgo.DisableFetchSessions(), // closing ends them while a last fetch may look at them: a race in the client
	})...)
	if err != nil {
		return nil, err
	}
	defer cl.CloseAllowingRebalance()
	adm := kadm.NewClient(cl)
	var bounds bounds
	err = r.patiently(ctx, func() error {
		bounds, err = r.bounds(ctx, adm, partitions)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("restore: %w", err)
	}
	parts, err := r.open(ctx, partitions, pending, bounds)
	defer func() {
		if err != nil {
			for _, p := range parts {
				err = errors.Join(err, p.store.close())
			}
		}
	}()
	if err != nil {
		return nil, err
	}

	topics, first := r.writer.topics, newSpan()
	since := map[int32]time.Time{}
	for p, part := range parts {
		first.add(topics.Snapshots, p, part.snapshotsEnd, bounds.end(topics.Snapshots, p))
		if part.window.end > 0 { // a copy of a standby, or what the local state has kept
			first.add(topics.Replies, p, max(part.window.end, bounds.start(topics.Replies, p)), bounds.end(topics.Replies, p))
			continue
		}
		since[p] = part.since
	}
	var recent kadm.ListedOffsets
	err = r.patiently(ctx, func() error {
		recent, err = r.recent(ctx, adm, since)
		return err
	})
	if err != nil {
		return nil, err
	}
	for p := range since {
		if at, ok := recent.Lookup(topics.Replies, p); ok && at.Offset >= 0 {
			first.add(topics.Replies, p, max(at.Offset, bounds.start(topics.Replies, p)), bounds.end(topics.Replies, p))
		}
	}
	if err := r.read(ctx, cl, "snapshots and replies", first, parts, r.replay); err != nil {
		return nil, err
	}
	events := newSpan()
	for p, part := range parts {
		from, err := r.settle(ctx, part, bounds)
		if err != nil {
			return nil, fmt.Errorf("restore partition %d: %w", p, err)
		}
		events.add(topics.Events, p, from, bounds.end(topics.Events, p))
	}
	if err := r.read(ctx, cl, "events", events, parts, r.replayEvents); err != nil {
		return nil, err
	}

	for p, part := range parts {
		part.eventsNext, part.window.end = bounds.end(topics.Events, p), bounds.end(topics.Replies, p)
		part.agenda.eventsEnd = part.eventsNext
		part.line()
	}
	return parts, nil
}

// patiently asks again for what brokers can't tell yet: while too few copies are in sync, a new leader does not know where the log ends.
func (r *restorer) patiently(ctx context.Context, ask func() error) error {
	for began := time.Now(); ; {
		err := ask()
		if err == nil || !kerr.IsRetriable(err) || time.Since(began) > r.cfg.RestoreStall {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(250 * time.Millisecond):
		}
	}
}

// line puts those who need a snapshot into the queue, in the order of their first events.
func (part *restoring) line() {
	queue := slices.Grow(part.queued, len(part.waiting))
	for id, from := range part.waiting {
		queue = append(queue, due{id, from})
	}
	slices.SortFunc(queue[len(part.queued):], func(a, b due) int { return cmp.Compare(a.from, b.from) })
	part.agenda.queue = queue
}

// settle takes over what the snapshots say, and gives the offset from which events must be read.
func (r *restorer) settle(ctx context.Context, part *restoring, bounds bounds) (int64, error) {
	topics := r.writer.topics
	part.snapshotsEnd = max(part.snapshotsEnd, bounds.end(topics.Snapshots, part.partition))
	to := part.store.has
	to.snapshots = part.snapshotsEnd
	if err := part.store.apply(to); err != nil {
		return 0, err
	}
	sent := int64(0)
	err := part.store.each(positionPrefix, func(key string, value []byte) error {
		position, err := r.writer.positions.Decode(ctx, value)
		if err != nil {
			return err
		}
		part.next[key[len(positionPrefix):]] = position.NextOffset
		sent = max(sent, position.Sent)
		return nil
	})
	if err != nil {
		return 0, err
	}
	if bounds.start(topics.Snapshots, part.partition) > 0 { // how far it had counted may be lost
		sent = max(sent, anewFrom(time.Now()))
	}
	if err := part.mail.load(ctx, r.writer, part.store, sent); err != nil {
		return 0, err
	}
	if part.trial, err = r.writer.trialOf(ctx, part.store); err != nil {
		return 0, err
	}
	if err := part.timers.load(ctx, r.writer, part.store); err != nil {
		return 0, err
	}
	start := bounds.start(topics.Events, part.partition)
	switch {
	case part.warm:
		return part.eventsNext, nil
	case part.foreign:
		// The checkpoint speaks of snapshots that are not here. Kept, it would be believed next time.
		if err := part.store.stage([]byte(checkpointKey), nil); err != nil {
			return 0, err
		}
		if err := part.store.apply(to); err != nil {
			return 0, err
		}
		r.log.Info("snapshots of another revision of the rules: states are evolved anew from events", "partition", part.partition)
		return start, nil
	case bounds.start(topics.Snapshots, part.partition) > 0:
		r.log.Warn("snapshots were deleted: states are evolved anew from events", "partition", part.partition, "topic", topics.Snapshots)
		return start, nil
	}
	from, err := r.writer.checkpointOf(ctx, part.store)
	if err != nil {
		return 0, err
	}
	if part.held > from { // else snapshots have all that the queue speaks of
		queue, ok, err := part.store.queue()
		if err != nil {
			return 0, err
		}
		if ok {
			for i := range queue {
				queue[i].from = max(queue[i].from, from) // others have written snapshots since: a checkpoint does not go back
			}
			part.queued, from = queue, part.held
		}
	}
	return max(from, start), nil
}

// read reads a span to its end and hands the records to apply, several partitions at a time.
func (r *restorer) read(ctx context.Context, cl *kgo.Client, what string, span *span, parts map[int32]*restoring,
	apply func(context.Context, *restoring, []*kgo.Record) error,
) error {
	started, progress := time.Now(), time.Now()
	report := time.NewTicker(5 * time.Second)
	defer report.Stop()
	offsets, partitions := span.offsets(), slices.Collect(maps.Keys(parts))
	cl.AddConsumePartitions(offsets)
	for span.left() > 0 {
		poll, cancel := context.WithTimeout(ctx, time.Second)
		fetches := cl.PollFetches(poll)
		cancel()
		if err := ctx.Err(); err != nil {
			return err
		}
		for _, e := range fetches.Errors() {
			if unrecoverable(e.Err) {
				return fmt.Errorf("restore %s partition %d: %w", e.Topic, e.Partition, e.Err)
			}
		}
		taken := map[int32][]*kgo.Record{}
		fetches.EachRecord(func(rec *kgo.Record) {
			if !span.take(rec) {
				return
			}
			progress = time.Now()
			if !rec.Attrs.IsControl() {
				taken[rec.Partition] = append(taken[rec.Partition], rec)
			}
		})
		g, applying := errgroup.WithContext(ctx)
		for p, recs := range taken {
			g.Go(func() error { return apply(applying, parts[p], recs) })
		}
		if err := g.Wait(); err != nil {
			return err
		}
		if !r.onlooker {
			r.takeover.standstill(ctx, partitions, progress)
		}
		if time.Since(progress) > r.cfg.RestoreStall {
			return fmt.Errorf("restore stood still for %v before %s: %s. A transaction ends at its timeout, or by `kafka-transactions.sh abort`",
				r.cfg.RestoreStall, span, r.takeover.blame(ctx, partitions))
		}
		select {
		case <-report.C:
			took := time.Since(started)
			read, total := span.progress()
			left := time.Duration(float64(took) / float64(max(read, 1)) * float64(total-read))
			r.log.Info("restoring", "what", what, "partitions", len(parts), "records", read, "of", total,
				"per_second", int(float64(read)/took.Seconds()), "left", left.Round(time.Second).String())
		default:
		}
	}
	for topic, at := range offsets {
		done := map[string][]int32{topic: nil}
		for p := range at {
			done[topic] = append(done[topic], p)
		}
		cl.RemoveConsumePartitions(done)
	}
	return nil
}

func at(rec *kgo.Record, err error) error {
	return fmt.Errorf("restore %s partition %d offset %d: %w", rec.Topic, rec.Partition, rec.Offset, err)
}

func (r *restorer) replay(ctx context.Context, part *restoring, recs []*kgo.Record) error {
	for _, rec := range recs {
		apply := r.replaySnapshot
		switch {
		case rec.Topic == r.writer.topics.Replies:
			apply = r.replayReply
		case part.warm:
			apply = r.followSnapshot
		}
		if err := apply(ctx, part, rec); err != nil {
			return at(rec, err)
		}
	}
	if !part.store.full() {
		return nil
	}
	return part.store.apply(part.store.has)
}

// replaySnapshot copies a record of the snapshots topic, unless it is a snapshot that can't be used.
func (r *restorer) replaySnapshot(ctx context.Context, part *restoring, rec *kgo.Record) error {
	if rec.Value != nil && len(rec.Key) > 0 && rec.Key[0] != '/' {
		s, err := r.writer.snapshots.Decode(ctx, rec.Value)
		if err != nil {
			return err
		}
		usable, err := r.machine.usable(ctx, s)
		if err != nil {
			return err
		}
		if !usable {
			part.foreign = true
			return nil
		}
	}
	return part.store.stage(rec.Key, rec.Value)
}

// replayEvents evolves states by committed events. None can be passed over, so rules that can't take one end the producer, and say which.
func (r *restorer) replayEvents(ctx context.Context, part *restoring, recs []*kgo.Record) error {
	watching, cancel := context.WithCancel(ctx)
	defer cancel()
	evolving := make([]watched[kgo.Record], 1)
	go watch(watching, evolving, r.cfg.DecideTimeout, func(rec *kgo.Record) { r.endless(part.partition, rec) })
	for _, rec := range recs {
		if err := r.replayEvent(ctx, part, rec, &evolving[0]); err != nil {
			return at(rec, err)
		}
	}
	return part.shelf.trim()
}

func (r *restorer) replayEvent(ctx context.Context, part *restoring, rec *kgo.Record, evolving *watched[kgo.Record]) error {
	id, number, ok := strings.Cut(string(rec.Key), "/")
	sequence, err := strconv.ParseInt(number, 10, 64)
	if !ok || err != nil {
		return fmt.Errorf("key %q is not <aggregate id>/<sequence>: the record was not written by a producer; run verify", rec.Key)
	}
	if rec.Value == nil {
		return nil // an erased aggregate
	}
	part.events++
	unkept := part.local
	if rec.Offset >= part.held {
		applied, err := part.shelf.replay(ctx, id, sequence, rec, evolving)
		if panicked := (*panicError)(nil); errors.As(err, &panicked) {
			return fmt.Errorf("event %d of %s: Evolve panics: %s: %w", sequence, id, mendEvolve, err)
		}
		if err != nil {
			return err
		}
		unkept = unkept || applied
	}
	if _, waits := part.waiting[id]; unkept && !waits {
		part.waiting[id] = rec.Offset
	}
	return nil
}

// mendEvolve is what remains to be done when rules can't take an event that they, or others before them, led to.
const mendEvolve = "it is committed, and events are never skipped: mend Evolve so that it takes the event, and start again"

// endless ends the process, for what runs can't be stopped otherwise.
func (r *restorer) endless(partition int32, rec *kgo.Record) {
	if r.stuck != nil {
		r.stuck(partition, rec)
		return
	}
	id, sequence, _ := strings.Cut(string(rec.Key), "/")
	r.log.Error("Evolve does not return: the process ends; "+mendEvolve,
		"aggregate_id", id, "sequence", sequence, "topic", rec.Topic, "partition", partition, "offset", rec.Offset, "limit", r.cfg.DecideTimeout.String())
	panic(fmt.Sprintf("ledgerline: Evolve of event %s of %s at %s takes longer than %v: %s", sequence, id, origin(rec), r.cfg.DecideTimeout, mendEvolve))
}

// replayReply remembers where first answers stand: those with the command's hash.
func (r *restorer) replayReply(ctx context.Context, part *restoring, rec *kgo.Record) error {
	if _, first := schemas.Header(rec, schemas.HeaderCommandHash); !first || rec.Timestamp.Before(part.since) {
		return nil
	}
	reply, err := r.writer.replies.Decode(ctx, rec.Value)
	if err != nil {
		return err
	}
	part.window.put(idOf(string(rec.Key), reply.CommandID).hash, rec.Offset, rec.Timestamp.UnixMilli())
	return nil
}
