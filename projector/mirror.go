package projector

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// mirror keeps the group's offsets equal to the store's positions, until ctx ends: at once after an assignment and when
// there is nothing left to do, else every MirrorInterval. Nothing ever reads them back; they are for Kafka's tools.
func (m *member) mirror(ctx context.Context) error {
	for attempt := 0; ; {
		wait := m.mirrorDue(time.Now())
		if wait > 0 {
			timer := time.NewTimer(wait)
			select {
			case <-m.commit:
			case <-timer.C:
			case <-ctx.Done():
			}
			timer.Stop()
			if ctx.Err() != nil {
				return ctx.Err()
			}
			continue
		}
		if err := m.tellGroup(ctx); err != nil {
			// Not a reason to be unready: rows and positions are right, only what tools show is late.
			m.log.Debug("could not commit offsets to the group", "group", m.group(), "error", err)
			if !m.wait(ctx, attempt) {
				return ctx.Err()
			}
			attempt++
			continue
		}
		attempt = 0
	}
}

// mirrorDue is how long the next commit has to wait; 0 when it is due.
func (m *member) mirrorDue(now time.Time) time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	idle, moved := true, false
	for _, part := range m.parts {
		if part.stalled {
			continue
		}
		if part.mirrored < 0 {
			return 0
		}
		idle = idle && len(part.queue) == 0
		moved = moved || part.mirrored != part.stored
	}
	next := m.lastCommit.Add(m.cfg.MirrorInterval).Sub(now)
	switch {
	case !moved:
		return time.Minute
	case idle:
		return 0
	default:
		return max(next, 0)
	}
}

// tellGroup commits the positions that the group does not know yet.
func (m *member) tellGroup(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	offsets := make(map[int32]kgo.EpochOffset)
	told := make(map[*partition]int64)
	m.mu.Lock()
	for id, part := range m.parts {
		if part.mirrored != part.stored && !part.stalled {
			offsets[id] = kgo.EpochOffset{Epoch: -1, Offset: part.stored}
			told[part] = part.stored
		}
	}
	m.lastCommit = time.Now()
	m.mu.Unlock()
	if len(offsets) == 0 {
		return nil
	}
	var failed error
	m.client.CommitOffsetsSync(ctx, map[string]map[int32]kgo.EpochOffset{m.plan.Topic: offsets},
		func(_ *kgo.Client, _ *kmsg.OffsetCommitRequest, resp *kmsg.OffsetCommitResponse, err error) {
			if failed = err; err != nil {
				return
			}
			for _, topic := range resp.Topics {
				for _, p := range topic.Partitions {
					if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
						failed = errors.Join(failed, fmt.Errorf("partition %d: %w", p.Partition, err))
					}
				}
			}
		})
	if failed != nil {
		return failed
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for part, offset := range told {
		part.mirrored = offset
	}
	return nil
}
