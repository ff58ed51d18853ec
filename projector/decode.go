package projector

import (
	"context"

	"github.com/twmb/franz-go/pkg/kadm"
)

// decode turns chunks into what the shape needs, until ctx ends. Several of these run; the order of a partition is that
// of its queue, whichever of its chunks is decoded first.
func (m *member) decode(ctx context.Context) error {
	for {
		c := m.nextUndone(ctx)
		if c == nil {
			return ctx.Err()
		}
		err := m.persist(ctx, "decode", m.metrics, func(ctx context.Context) error {
			items, events, err := m.shape.decode(ctx, c.records)
			if err != nil {
				return err
			}
			m.mu.Lock()
			defer m.mu.Unlock()
			c.items, c.events, c.records, c.decoded = items, events, nil, true
			return nil
		})
		if err != nil {
			return err
		}
		m.work.set()
	}
}

// nextUndone waits for a chunk to decode; nil when ctx ends.
func (m *member) nextUndone(ctx context.Context) *chunk {
	m.mu.Lock()
	defer m.mu.Unlock()
	for len(m.todo) == 0 && ctx.Err() == nil {
		m.undone.Wait()
	}
	if ctx.Err() != nil {
		return nil
	}
	c := m.todo[0]
	m.todo[0] = nil
	m.todo = m.todo[1:]
	return c
}

// kadmTopicID writes a topic's id as Kafka's tools do.
func kadmTopicID(id [16]byte) string { return kadm.TopicID(id).String() }
