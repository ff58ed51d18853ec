package projector

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"
)

// idleAdvance is how long a position that only moves past control records may wait for an event to move with: a write of
// its own for each marker would double the writes of a quiet partition.
const idleAdvance = 500 * time.Millisecond

// flight is a batch with the chunks it is made of.
type flight struct {
	batch  *Batch
	part   *partition
	chunks int
}

// write takes what is decoded from the heads of the queues and stores it, until ctx ends. One write at a time: while the
// store works, the next one is consumed and decoded.
func (m *member) write(ctx context.Context) error {
	var begun time.Time
	for {
		flights, err := m.gather(ctx, begun.Add(m.pace.Interval))
		if err != nil {
			return err
		}
		begun = time.Now()
		if err := m.put(ctx, flights); err != nil {
			return err
		}
	}
}

// gather waits until there is something to write, and until the time is there unless a partition has all that a write
// may hold.
func (m *member) gather(ctx context.Context, notBefore time.Time) ([]flight, error) {
	for {
		flights, wait := m.due(time.Now(), notBefore)
		if len(flights) > 0 {
			return flights, nil
		}
		timer := time.NewTimer(wait)
		select {
		case <-m.work:
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
}

// due gives what is to be written now, or how long to wait unless something happens.
func (m *member) due(now, notBefore time.Time) ([]flight, time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var (
		flights []flight
		events  int
		full    bool
		wait    = time.Minute
	)
	for _, id := range slices.Sorted(maps.Keys(m.parts)) {
		part := m.parts[id]
		f, ok := m.head(part)
		if !ok {
			continue
		}
		full = full || f.batch.Events >= m.pace.MaxEvents/2
		events += f.batch.Events
		if age := now.Sub(part.queue[0].queued); f.batch.Events == 0 && part.until <= part.stored {
			if age < idleAdvance {
				wait = min(wait, idleAdvance-age)
			} else {
				events++ // it has waited long enough
			}
		}
		flights = append(flights, f)
	}
	switch {
	case events == 0 && !slices.ContainsFunc(flights, func(f flight) bool { return f.part.until > f.part.stored }):
		return nil, wait
	case now.Before(notBefore) && !full:
		return nil, notBefore.Sub(now)
	}
	for _, f := range flights {
		m.inFlight[f.part] = true
	}
	return flights, 0
}

// head is the batch that the front of a partition's queue makes. The caller holds mu.
func (m *member) head(part *partition) (flight, bool) {
	if part.stalled {
		return flight{}, false
	}
	f := flight{part: part, batch: &Batch{Partition: part.id, First: part.stored, Next: part.stored, shape: m.shape}}
	for _, c := range part.queue {
		inDoubt := part.until > part.stored
		if !c.decoded || inDoubt && c.next > part.until || !inDoubt && f.chunks > 0 && f.batch.Events+c.events > m.pace.MaxEvents {
			break
		}
		f.chunks++
		f.batch.Next = c.next
		f.batch.Events += c.events
		if f.batch.Oldest.IsZero() {
			f.batch.Oldest = c.oldest
		}
		if c.items != nil {
			f.batch.items = append(f.batch.items, c.items)
		}
	}
	if part.until > part.stored && f.batch.Next < part.until {
		return flight{}, false // a range in doubt goes as a whole
	}
	return f, f.chunks > 0
}

// put writes flights until they are stored, no longer ours, or refused.
func (m *member) put(ctx context.Context, flights []flight) error {
	defer m.land()
	for attempt := 0; ; attempt++ {
		begun := time.Now()
		err := m.attempt(ctx, flights)
		if err == nil {
			m.health.fine("write")
			m.stored(flights, time.Since(begun))
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		switch judge(err) {
		case fatal:
			return err
		case fenced:
			m.metrics.fenced.Inc()
			m.log.Warn("write refused: asking the store where it stands", "topic", m.plan.Topic, "partitions", partitionsOf(flights), "error", err)
			m.health.fine("write")
			m.land()
			parts := make([]*partition, len(flights))
			for i, f := range flights {
				parts[i] = f.part
			}
			return m.reclaim(ctx, parts)
		default:
			m.failed("write", attempt, err, m.metrics)
			if !m.wait(ctx, attempt) {
				return ctx.Err()
			}
			if flights = m.keep(flights); len(flights) == 0 {
				m.health.fine("write")
				return nil
			}
		}
	}
}

// attempt is one try. It may outlast ctx by StopTimeout: a write that has begun is better ended than repeated.
func (m *member) attempt(ctx context.Context, flights []flight) error {
	batches := make([]*Batch, len(flights))
	for i, f := range flights {
		batches[i] = f.batch
	}
	attempt, cancel := context.WithTimeout(context.WithoutCancel(ctx), m.cfg.WriteTimeout)
	defer cancel()
	defer context.AfterFunc(ctx, func() {
		timer := time.AfterFunc(m.cfg.StopTimeout, cancel)
		context.AfterFunc(attempt, func() { timer.Stop() })
	})()
	err := m.store.Write(attempt, batches)
	if err != nil && attempt.Err() != nil && ctx.Err() == nil && !errors.Is(err, ErrFenced) {
		return fmt.Errorf("write to %s took longer than %s: %w", m.plan.Store, m.cfg.WriteTimeout, err)
	}
	return err
}

// stored moves the positions and frees the chunks.
func (m *member) stored(flights []flight, took time.Duration) {
	now := time.Now()
	m.metrics.writes.Inc()
	m.metrics.seconds.Observe(took.Seconds())
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, f := range flights {
		if !f.batch.Oldest.IsZero() {
			m.metrics.visible.Observe(now.Sub(f.batch.Oldest).Seconds())
		}
		m.metrics.events.WithLabelValues(m.plan.Topic, strconv.Itoa(int(f.part.id))).Add(float64(f.batch.Events))
		if m.parts[f.part.id] != f.part {
			continue // taken away meanwhile; what it had queued is gone already
		}
		f.part.stored = f.batch.Next
		for _, c := range f.part.queue[:f.chunks] {
			m.buffered -= c.bytes
		}
		f.part.queue = slices.Delete(f.part.queue, 0, f.chunks)
	}
	m.room.set()
	m.commit.set()
}

// keep gives those flights whose partitions are still ours.
func (m *member) keep(flights []flight) []flight {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(flights), func(f flight) bool { return m.parts[f.part.id] != f.part })
}

// land says that nothing is being written.
func (m *member) land() {
	m.mu.Lock()
	defer m.mu.Unlock()
	clear(m.inFlight)
	close(m.landed)
	m.landed = make(chan struct{})
}

func partitionsOf(flights []flight) []int32 {
	ids := make([]int32, len(flights))
	for i, f := range flights {
		ids[i] = f.part.id
	}
	return ids
}
