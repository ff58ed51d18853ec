package producer

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ledgerline-es/ledgerline/schemas"
)

// restorer rebuilds books from the log.
type restorer struct {
	cfg      Config
	options  []kgo.Opt
	machine  machine
	writer   *writer
	limits   limits
	takeover *takeover
	log      *slog.Logger
	metrics  *metrics
}

// restore rebuilds the books of the partitions as of now: it reads events, snapshots and replies up to the high watermarks
// that stand when it begins. Whatever an earlier owner can still commit lies below them: it was flushed before the group
// moved on, and the group moved on before we were assigned. Reading to the last stable offset instead would believe an
// open transaction to be nothing. The pending times say when the first unprocessed command was appended: answers to
// commands within the window before it are remembered.
func (r *restorer) restore(ctx context.Context, partitions []int32, pending map[int32]time.Time) (map[int32]*book, error) {
	books := make(map[int32]*book, len(partitions))
	for _, p := range partitions {
		books[p] = newBook(p, r.writer, r.limits, r.machine.newShelf(), newWindow(r.cfg.Window))
	}
	cl, err := kgo.NewClient(slices.Concat(r.options, []kgo.Opt{
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.KeepControlRecords(), // a partition may end in markers: without them the end would never be seen
		kgo.ConsumeResetOffset(kgo.NoResetOffset()),
		kgo.MetadataMinAge(100 * time.Millisecond),
		kgo.FetchMaxWait(500 * time.Millisecond),
	})...)
	if err != nil {
		return nil, err
	}
	defer cl.CloseAllowingRebalance()

	span, err := r.span(ctx, kadm.NewClient(cl), partitions, pending)
	if err != nil {
		return nil, fmt.Errorf("restore: %w", err)
	}
	started, progress := time.Now(), time.Now()
	events := 0
	report := time.NewTicker(5 * time.Second)
	defer report.Stop()
	cl.AddConsumePartitions(span.offsets())
	for span.left() > 0 {
		poll, cancel := context.WithTimeout(ctx, time.Second)
		fetches := cl.PollFetches(poll)
		cancel()
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		for _, e := range fetches.Errors() {
			if unrecoverable(e.Err) {
				return nil, fmt.Errorf("restore %s partition %d: %w", e.Topic, e.Partition, e.Err)
			}
		}
		var failed error
		fetches.EachPartition(func(p kgo.FetchTopicPartition) {
			for _, rec := range p.Records {
				if failed != nil || !span.take(rec) {
					continue
				}
				progress = time.Now()
				if rec.Attrs.IsControl() {
					continue
				}
				if rec.Topic == r.writer.topics.Events {
					events++
				}
				if err := r.replay(ctx, books[rec.Partition], rec, span.rememberFrom[rec.Partition]); err != nil {
					failed = fmt.Errorf("restore %s partition %d offset %d: %w", rec.Topic, rec.Partition, rec.Offset, err)
				}
			}
		})
		if failed != nil {
			return nil, failed
		}
		r.takeover.standstill(ctx, partitions, progress)
		if time.Since(progress) > r.cfg.RestoreStall {
			return nil, fmt.Errorf("restore stood still for %v before %s: %s. A transaction ends at its timeout, or by `kafka-transactions.sh abort`",
				r.cfg.RestoreStall, span, r.takeover.blame(ctx, partitions))
		}
		select {
		case <-report.C:
			took := time.Since(started)
			read, total := span.progress()
			left := time.Duration(float64(took) / float64(max(read, 1)) * float64(total-read))
			r.log.Info("restoring", "partitions", len(partitions), "records", read, "of", total,
				"per_second", int(float64(read)/took.Seconds()), "left", left.Round(time.Second).String())
		default:
		}
	}
	for _, b := range books {
		slices.SortFunc(b.window.queue, func(a, b remembered) int { return int(a.at - b.at) })
	}
	took := time.Since(started)
	r.metrics.restoreSeconds.Observe(took.Seconds())
	r.metrics.restoredEvents.Add(float64(events))
	r.log.Info("restored", "partitions", len(partitions), "events", events, "took", took.Round(time.Millisecond).String())
	return books, nil
}

// replay applies one restored record to a book.
func (r *restorer) replay(ctx context.Context, b *book, rec *kgo.Record, rememberFrom time.Time) error {
	switch rec.Topic {
	case r.writer.topics.Events:
		return r.replayEvent(ctx, b, rec, rememberFrom)
	case r.writer.topics.Snapshots:
		return r.replayNote(ctx, b, rec)
	default:
		return r.replayReply(ctx, b, rec)
	}
}

func (r *restorer) replayEvent(ctx context.Context, b *book, rec *kgo.Record, rememberFrom time.Time) error {
	id, number, ok := strings.Cut(string(rec.Key), "/")
	sequence, err := strconv.ParseInt(number, 10, 64)
	if !ok || err != nil {
		return fmt.Errorf("key %q is not <aggregate id>/<sequence>: the record was not written by a producer; run verify", rec.Key)
	}
	if rec.Value == nil {
		return nil // an erased aggregate
	}
	if err := b.shelf.replay(ctx, id, sequence, rec.Value); err != nil {
		return err
	}
	if source, ok := schemas.Header(rec, schemas.HeaderStreamSource); ok {
		number, _ := schemas.Header(rec, schemas.HeaderStreamSequence)
		if n, err := strconv.ParseInt(number, 10, 64); err == nil {
			h := b.shelf.head(id)
			last, _ := lastOf(h.sources, source)
			if _, known := last.processed(n); !known {
				h.sources = with(h.sources, last.process(n, Accepted, ""))
			}
		}
	}
	if rec.Timestamp.Before(rememberFrom) {
		return nil
	}
	commandID, ok := schemas.Header(rec, schemas.HeaderCausationID)
	if !ok {
		return nil
	}
	key := windowKey(id, commandID)
	text, first := schemas.Header(rec, schemas.HeaderCommandHash)
	if !first {
		b.window.extend(key, sequence)
		return nil
	}
	if hash, ok := parseHash(text); ok {
		b.window.put(key, answer{
			hash: hash, outcome: Accepted, first: sequence, last: sequence, version: sequence, at: rec.Timestamp.UnixMilli(),
		})
	}
	return nil
}

// replayNote reads the platform's own records in the snapshots topic.
func (r *restorer) replayNote(ctx context.Context, b *book, rec *kgo.Record) error {
	key := string(rec.Key)
	if topic, ok := strings.CutPrefix(key, positionPrefix); ok {
		position, err := r.writer.positions.Decode(ctx, rec.Value)
		if err != nil {
			return err
		}
		b.next[topic] = position.NextOffset
		return nil
	}
	if rest, ok := strings.CutPrefix(key, sourceMarkPrefix); ok {
		id, source, _ := strings.Cut(rest, "/")
		mark, err := r.writer.marks.Decode(ctx, rec.Value)
		if err != nil {
			return err
		}
		h := b.shelf.open(id)
		seen := seenOf(source, mark)
		if last, known := lastOf(h.sources, source); known {
			seen = last.merge(seen)
		}
		h.sources = with(h.sources, seen)
	}
	return nil
}

// replayReply remembers first answers: those with the command's hash.
func (r *restorer) replayReply(ctx context.Context, b *book, rec *kgo.Record) error {
	text, ok := schemas.Header(rec, schemas.HeaderCommandHash)
	if !ok {
		return nil
	}
	hash, ok := parseHash(text)
	if !ok {
		return nil
	}
	reply, err := r.writer.replies.Decode(ctx, rec.Value)
	if err != nil {
		return err
	}
	b.window.put(windowKey(string(rec.Key), reply.CommandID), answer{
		hash: hash, outcome: reply.Outcome, code: reply.Code, message: reply.Message,
		first: reply.FirstSequence, last: reply.LastSequence, version: reply.Version, at: rec.Timestamp.UnixMilli(),
	})
	return nil
}
