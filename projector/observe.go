package projector

import (
	"context"
	"strconv"
	"time"
)

// observe keeps the gauges, until ctx ends.
func (m *member) observe(ctx context.Context) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	defer m.metrics.up.Set(0)
	for {
		m.gauge(time.Now())
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (m *member) gauge(now time.Time) {
	up := 0.0
	if m.health.ready() == nil {
		up = 1
	}
	m.metrics.up.Set(up)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.metrics.buffered.Set(float64(m.buffered))
	for id, part := range m.parts {
		age := 0.0
		for _, c := range part.queue {
			if !c.oldest.IsZero() {
				age = max(0, now.Sub(c.oldest).Seconds())
				break
			}
		}
		label := strconv.Itoa(int(id))
		m.metrics.lagTime.WithLabelValues(m.plan.Topic, label).Set(age)
		m.metrics.lagEvents.WithLabelValues(m.plan.Topic, label).Set(float64(max(0, part.stable-part.stored)))
	}
}

// forgetGauges drops the gauges of a partition that is another member's now: two would tell two lags.
func (m *member) forgetGauges(id int32) {
	label := strconv.Itoa(int(id))
	m.metrics.lagTime.DeleteLabelValues(m.plan.Topic, label)
	m.metrics.lagEvents.DeleteLabelValues(m.plan.Topic, label)
}
