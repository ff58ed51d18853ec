package projector

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ledgerline-es/ledgerline/projector/internal/mutant"
)

// chunkRecords is how many records are decoded as one: enough that handing over costs nothing, few enough that the
// decoders share a poll.
const chunkRecords = 2048

// consume polls Kafka and queues what comes, until ctx ends.
func (m *member) consume(ctx context.Context) error {
	for attempt := 0; ; {
		// All waiting is done here: between a poll and AllowRebalance the group stands still.
		if err := m.awaitRoom(ctx); err != nil {
			return err
		}
		pollCtx, cancel := context.WithCancel(ctx)
		m.mu.Lock()
		m.wakePoll = cancel
		if len(m.rewinds) > 0 {
			cancel()
		}
		m.mu.Unlock()
		fetches := m.client.PollRecords(pollCtx, m.cfg.MaxPoll)
		cancel()
		err := m.take(fetches)
		m.applyRewinds()
		m.client.AllowRebalance()

		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err == nil:
			m.health.fine("fetch")
			attempt = 0
		case judge(err) == fatal:
			return err
		default:
			m.failed("fetch", attempt, err, m.metrics)
			if !m.wait(ctx, attempt) {
				return ctx.Err()
			}
			attempt++
		}
	}
}

// awaitRoom waits while the queues are full.
func (m *member) awaitRoom(ctx context.Context) error {
	for {
		m.mu.Lock()
		room := m.buffered < m.cfg.MaxBuffered || len(m.rewinds) > 0
		for _, part := range m.parts {
			// A range in doubt is written as a whole, so it has to be read as a whole, however long it is.
			room = room || part.until > part.read
		}
		m.mu.Unlock()
		if room {
			return nil
		}
		select {
		case <-m.room:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// take queues what a poll gave. Its error is the first one of the fetch.
func (m *member) take(fetches kgo.Fetches) error {
	var errs error
	now := time.Now()
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range fetches {
		for t := range fetches[i].Topics {
			topic := &fetches[i].Topics[t]
			for p := range topic.Partitions {
				fetched := &topic.Partitions[p]
				if err := m.fetchError(topic, fetched); err != nil && (errs == nil || judge(err) == fatal) {
					errs = err
				}
				if part := m.parts[fetched.Partition]; part != nil && topic.Topic == m.plan.Topic && !part.stalled {
					part.stable = max(part.stable, fetched.LastStableOffset)
					m.enqueue(part, fetched.Records, now)
				}
			}
		}
	}
	if len(m.todo) > 0 {
		m.undone.Broadcast()
	}
	m.work.set() // control records alone are decoded already
	return errs
}

func (m *member) fetchError(topic *kgo.FetchTopic, fetched *kgo.FetchPartition) error {
	var (
		id   = kadmTopicID(topic.TopicID)
		lost *kgo.ErrDataLoss
		err  = fetched.Err
	)
	switch {
	case err == nil:
		if len(fetched.Records) > 0 && topic.TopicID != ([16]byte{}) && id != m.plan.TopicID {
			return m.recreated(id)
		}
		return nil
	case errors.Is(err, context.Canceled), errors.Is(err, kgo.ErrClientClosed):
		return nil // our own doing
	case errors.Is(err, kerr.OffsetOutOfRange), errors.As(err, &lost):
		return Fatal(fmt.Errorf("the log of %s/%d does not have the offset that the store stands at: %w", topic.Topic, fetched.Partition, err),
			"the log has lost events: restore it, or rebuild the projection")
	default:
		return fmt.Errorf("fetch %s/%d: %w", topic.Topic, fetched.Partition, err)
	}
}

// enqueue cuts records into chunks behind those queued already. The caller holds mu.
func (m *member) enqueue(part *partition, records []*kgo.Record, now time.Time) {
	for len(records) > 0 && records[0].Offset < part.read {
		records = records[1:] // never seen; a second fetch of the same records would be doubled rows
	}
	for len(records) > 0 {
		n := min(len(records), chunkRecords, m.pace.MaxEvents)
		if part.read < part.until {
			n = beforeOffset(records[:n], part.until)
			if n == 0 { // the rest of the range in doubt holds no record any more
				part.read = part.until
				m.push(&chunk{part: part, next: part.until, queued: now, decoded: true})
				continue
			}
		}
		c := &chunk{part: part, next: records[n-1].Offset + 1, queued: now}
		for _, rec := range records[:n] {
			if rec.Attrs.IsControl() || mutant.Is(mutant.SkipPartition) && part.id == mutant.SkippedPartition {
				continue
			}
			if c.oldest.IsZero() {
				c.oldest = rec.Timestamp
			}
			c.records = append(c.records, rec)
			c.bytes += recordBytes(rec)
		}
		c.decoded = len(c.records) == 0
		m.push(c)
		part.read = c.next
		records = records[n:]
	}
}

func (m *member) push(c *chunk) {
	c.part.queue = append(c.part.queue, c)
	m.buffered += c.bytes
	if !c.decoded {
		m.todo = append(m.todo, c)
	}
}

// beforeOffset counts the records in front of an offset.
func beforeOffset(records []*kgo.Record, offset int64) int {
	for i, rec := range records {
		if rec.Offset >= offset {
			return i
		}
	}
	return len(records)
}

// recordBytes is roughly what a record holds in memory.
func recordBytes(rec *kgo.Record) int64 {
	n := 200 + len(rec.Key) + len(rec.Value)
	for _, h := range rec.Headers {
		n += 40 + len(h.Key) + len(h.Value)
	}
	return int64(n)
}
