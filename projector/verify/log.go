package verify

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"

	"github.com/ledgerline-es/ledgerline/internal/logread"
	"github.com/ledgerline-es/ledgerline/projector"
	"github.com/ledgerline-es/ledgerline/schemas"
)

// logCheck checks the events of a kind while they are read for the projections.
type logCheck struct {
	*verification
	log    projector.Log
	ignore map[string]bool
	topic  logread.Topic
	placed int32 // partitions that aggregates are placed by
	causes *causes
	decode func(context.Context, *kgo.Record) (any, error)

	done   atomic.Int64
	mu     sync.Mutex
	report LogReport
}

func newLogCheck(v *verification, log projector.Log, t logread.Topic, placed int32, causes *causes) *logCheck {
	c := &logCheck{
		verification: v, log: log, topic: t, placed: placed, causes: causes, decode: log.Open(v.codec, t.Name), ignore: make(map[string]bool),
		report: LogReport{Kind: log.Kind, Topic: t.Name, TopicID: t.ID, Partitions: t.Partitions, Ends: t.Ends, Commands: causes.read},
	}
	for _, name := range log.Ignore {
		c.ignore[name] = true
	}
	if placed != t.Partitions {
		c.findings.add(partitionsAdded(t, placed), &c.report.Findings)
	}
	return c
}

// read reads all partitions and hands the events to the views.
func (c *logCheck) read(ctx context.Context, views []*view) error {
	begun := time.Now()
	total := c.topic.Total()
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(c.Parallel)
	for partition := range c.topic.Partitions {
		group.Go(func() error {
			p := &partitionCheck{logCheck: c, partition: partition, last: make(map[string]int64)}
			for _, view := range views {
				p.feeds = append(p.feeds, view.feed(ctx, partition))
			}
			p.progress = progress{every: 250 * time.Millisecond, tell: func(int64) { c.Progress(c.log.Kind, c.done.Load(), total) }}
			err := c.reader.Partition(ctx, c.topic, partition, func(rec *kgo.Record) error { return p.event(ctx, rec) })
			for _, feed := range p.feeds {
				feed.close(err == nil)
			}
			p.sum()
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	c.Progress(c.log.Kind, total, total)
	r := &c.report
	r.Seconds = time.Since(begun).Seconds()
	r.EventsPerSecond = float64(r.Events) / r.Seconds
	r.MBPerSecond = float64(r.Bytes) / 1e6 / r.Seconds
	return nil
}

// partitionCheck checks one partition.
type partitionCheck struct {
	*logCheck
	partition int32
	last      map[string]int64 // sequence of each aggregate's last event
	anchored  bool             // a cause was found: see causes.judges
	feeds     []*feed
	progress  progress

	events, bytes, judged, found int64
}

// event checks one record and hands it on.
func (p *partitionCheck) event(ctx context.Context, rec *kgo.Record) error {
	p.events++
	p.bytes += recordBytes(rec)
	p.progress.at(p.done.Add(1))

	if !rec.Attrs.IsTransactional() {
		p.find(rec, "it is not transactional: it was written past the producer")
	}
	id, sequence, err := projector.SplitKey(rec.Key)
	if err != nil {
		p.find(rec, err.Error())
	} else {
		p.place(rec, id, sequence)
	}
	p.cause(rec)

	event, err := p.decode(ctx, rec)
	switch {
	case err == nil:
	case errors.Is(err, schemas.ErrRegistryUnavailable), ctx.Err() != nil:
		return fmt.Errorf("decode %s/%d offset %d: %w", rec.Topic, rec.Partition, rec.Offset, err)
	case errors.Is(err, schemas.ErrUnknownType) && p.ignore[header(rec, schemas.HeaderType)]:
		return nil
	default:
		if id != "" { // else it was named above, and the key is what the decoder fails at
			p.find(rec, "it cannot be decoded: "+err.Error())
		}
		return nil
	}
	p.typeName(rec, event)
	for _, feed := range p.feeds {
		feed.add(rec, event)
	}
	return nil
}

// place checks what key, ce_id, ce_sequence, partition and the aggregate's other events say about each other.
func (p *partitionCheck) place(rec *kgo.Record, id string, sequence int64) {
	if want := fmt.Sprintf("%s/%s/%d", p.log.Kind, id, sequence); header(rec, schemas.HeaderID) != want {
		p.find(rec, fmt.Sprintf("its ce_id is %q, its key says %q", header(rec, schemas.HeaderID), want))
	}
	if have, want := header(rec, schemas.HeaderSequence), fmt.Sprintf("%020d", sequence); have != "" && have != want {
		p.find(rec, fmt.Sprintf("its ce_sequence is %q, its key says %q", have, want))
	}
	if want := schemas.Partition(id, p.placed); rec.Partition != want {
		p.find(rec, fmt.Sprintf("it is in the wrong partition: aggregate %s belongs to partition %d", id, want))
		return // its sequence is none of this partition's
	}
	last := p.last[id]
	switch {
	case sequence <= last:
		p.find(rec, fmt.Sprintf("sequence %d is repeated: %d came before it", sequence, last))
	case sequence == last+2:
		p.find(rec, fmt.Sprintf("sequence %d is missing before it", last+1))
	case sequence > last+2:
		p.find(rec, fmt.Sprintf("sequences %d to %d are missing before it", last+1, sequence-1))
	}
	p.last[id] = max(last, sequence)
}

// cause checks that the event names a command, and that the command is there while commands are kept.
func (p *partitionCheck) cause(rec *kgo.Record) {
	id := header(rec, schemas.HeaderCausationID)
	if id == "" {
		p.find(rec, "it names no command that caused it: ce_causationid is missing")
		return
	}
	found := p.causes.has(id)
	if p.causes.judges(rec, p.anchored) {
		p.judged++
		if !found {
			p.find(rec, fmt.Sprintf("it names command %q, which is not there", id))
		}
	}
	p.anchored = p.anchored || found
}

func (p *partitionCheck) typeName(rec *kgo.Record, event any) {
	named, ok := event.(interface{ FullType() string })
	if have := header(rec, schemas.HeaderType); ok && have != named.FullType() {
		p.find(rec, fmt.Sprintf("its ce_type is %q, its value is a %s", have, named.FullType()))
	}
}

func (p *partitionCheck) find(rec *kgo.Record, reason string) {
	p.findings.add(Finding{Topic: rec.Topic, Partition: rec.Partition, Offset: rec.Offset, Key: string(rec.Key), Reason: reason}, &p.found)
}

func (p *partitionCheck) sum() {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := &p.report
	r.Events += p.events
	r.Bytes += p.bytes
	r.Judged += p.judged
	r.Findings += p.found
	r.Aggregates += int64(len(p.last))
}

func header(rec *kgo.Record, key string) string {
	value, _ := schemas.Header(rec, key)
	return value
}

func recordBytes(rec *kgo.Record) int64 {
	n := len(rec.Key) + len(rec.Value)
	for _, h := range rec.Headers {
		n += len(h.Key) + len(h.Value)
	}
	return int64(n)
}
