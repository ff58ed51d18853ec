package projector

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// assigned is called with the partitions that are new to this member, before adjust.
func (m *member) assigned(_ context.Context, _ *kgo.Client, added map[string][]int32) {
	<-m.made
	if len(added[m.plan.Topic]) == 0 {
		m.health.fine("group") // a member without partitions stands by: it is as ready as can be
	}
}

// adjust gives the offsets to consume from: what the store says, whatever the group says. While it waits the client goes
// on with its heartbeats; ctx ends when the partitions are taken away again.
func (m *member) adjust(ctx context.Context, offsets map[string]map[int32]kgo.Offset) (map[string]map[int32]kgo.Offset, error) {
	select {
	case <-m.made:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	ids := slices.Sorted(maps.Keys(offsets[m.plan.Topic]))
	m.drop(ids)
	if err := m.awaitLanding(ctx, ids); err != nil {
		return nil, err
	}
	positions, err := m.claim(ctx, ids)
	if err != nil {
		if ctx.Err() == nil {
			m.fail(err)
		}
		return nil, err
	}
	m.hold(positions)
	for id, pos := range positions {
		// Without an epoch: the store keeps none, and a stale one would have the client doubt the log.
		offsets[m.plan.Topic][id] = kgo.NewOffset().At(pos.Next).WithEpoch(-1)
	}
	return offsets, nil
}

// revoked drops what is queued of partitions that are no longer ours. Nothing is flushed: the store holds the positions,
// so the next owner reads it again, and a store that hangs cannot hold up the rebalance.
func (m *member) revoked(_ context.Context, _ *kgo.Client, lost map[string][]int32) {
	<-m.made
	ids := lost[m.plan.Topic]
	if len(ids) == 0 {
		return
	}
	m.drop(ids)
	m.mu.Lock()
	none := len(m.parts) == 0
	m.mu.Unlock()
	if none {
		m.health.failing("group", errors.New("waiting for a share of the partitions"))
	}
	m.log.Info("partitions taken away", "topic", m.plan.Topic, "partitions", ids)
}

func (m *member) drop(ids []int32) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, id := range ids {
		if part := m.parts[id]; part != nil {
			m.clear(part)
			delete(m.parts, id)
			m.forgetGauges(id)
		}
	}
	m.room.set()
	m.work.set()
}

// clear empties a partition's queue. The caller holds mu.
func (m *member) clear(part *partition) {
	for _, c := range part.queue {
		m.buffered -= c.bytes
	}
	part.queue = nil
	m.todo = slices.DeleteFunc(m.todo, func(c *chunk) bool { return c.part == part })
}

// awaitLanding waits until no write of an earlier share of these partitions is going on: it would move the position that
// is about to be read.
func (m *member) awaitLanding(ctx context.Context, ids []int32) error {
	for {
		m.mu.Lock()
		busy := false
		for part := range m.inFlight {
			busy = busy || slices.Contains(ids, part.id)
		}
		landed := m.landed
		m.mu.Unlock()
		if !busy {
			return nil
		}
		select {
		case <-landed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (m *member) hold(positions map[int32]Position) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for id, pos := range positions {
		m.parts[id] = &partition{id: id, stored: pos.Next, read: pos.Next, until: pos.Until, mirrored: -1}
	}
	m.health.fine("group")
	m.commit.set()
	m.work.set()
	m.log.Info("partitions given", "topic", m.plan.Topic, "positions", positions)
}

// stillHeld gives those of parts that are ours now.
func (m *member) stillHeld(parts []*partition) []*partition {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(parts), func(part *partition) bool { return m.parts[part.id] != part })
}

// claim asks the store where partitions stand and checks that the log is the one it knows, until it has an answer.
func (m *member) claim(ctx context.Context, ids []int32) (map[int32]Position, error) {
	var positions map[int32]Position
	beyond := 0
	err := m.persist(ctx, "claim", m.metrics, func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, m.cfg.WriteTimeout)
		defer cancel()
		begin, end, err := m.logBounds(ctx, ids)
		if err != nil {
			return err
		}
		if positions, err = m.store.Claim(ctx, begin); err != nil {
			if errors.Is(err, ErrFenced) {
				return fmt.Errorf("claim partitions %v: %s", ids, err.Error()) // not wrapped: who lost the race for it races again
			}
			return fmt.Errorf("claim partitions %v: %w", ids, err)
		}
		for _, id := range ids {
			pos, ok := positions[id]
			switch {
			case !ok:
				return fmt.Errorf("claim partitions %v: the store gave no position for %d", ids, id)
			case pos.Next < begin[id]:
				return Fatal(fmt.Errorf("the log of %s/%d begins at offset %d, the store goes on from %d: the events between are gone", m.plan.Topic, id, begin[id], pos.Next),
					"restore the log, or rebuild the projection from what is left of it")
			case pos.Next > end[id]:
				// A leader that has just been elected may not know its own end for a moment.
				if beyond++; beyond > 5 {
					return Fatal(fmt.Errorf("the log of %s/%d ends at offset %d, the store stands at %d: the log has lost events, or is another one", m.plan.Topic, id, end[id], pos.Next),
						"restore the log, or rebuild the projection")
				}
				return fmt.Errorf("the log of %s/%d ends at offset %d, the store stands at %d", m.plan.Topic, id, end[id], pos.Next)
			}
		}
		return nil
	})
	return positions, err
}

// logBounds are the first and the end offset of each partition, of the log that the plan was made for.
func (m *member) logBounds(ctx context.Context, ids []int32) (begin, end map[int32]int64, err error) {
	id, _, err := topicOf(ctx, m.admin, m.plan.Topic)
	if err != nil {
		return nil, nil, err
	}
	if id != m.plan.TopicID {
		return nil, nil, m.recreated(id)
	}
	begin, end = make(map[int32]int64, len(ids)), make(map[int32]int64, len(ids))
	starts, err := m.admin.ListStartOffsets(ctx, m.plan.Topic)
	if err == nil {
		err = starts.Error()
	}
	if err != nil {
		return nil, nil, fmt.Errorf("list start offsets of %s: %w", m.plan.Topic, err)
	}
	ends, err := m.admin.ListEndOffsets(ctx, m.plan.Topic)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		return nil, nil, fmt.Errorf("list end offsets of %s: %w", m.plan.Topic, err)
	}
	for _, p := range ids {
		s, has := starts.Lookup(m.plan.Topic, p)
		e, ends := ends.Lookup(m.plan.Topic, p)
		if !has || !ends {
			return nil, nil, fmt.Errorf("list offsets of %s: no answer for partition %d", m.plan.Topic, p)
		}
		begin[p], end[p] = s.Offset, e.Offset
	}
	return begin, end, nil
}

func (m *member) recreated(id string) error {
	return Fatal(fmt.Errorf("topic %s was deleted and made anew: its id is %s, the rows are of %s", m.plan.Topic, id, m.plan.TopicID),
		"rebuild the projection from the new topic, or restore the old one")
}

// reclaim finds out where partitions stand after a write was refused, and has consume go back there. First it makes sure
// of its membership: a zombie that claims would only drive out the rightful owner.
func (m *member) reclaim(ctx context.Context, parts []*partition) error {
	m.mu.Lock()
	for _, part := range parts {
		part.stalled = true
		if m.parts[part.id] == part {
			m.clear(part)
		}
	}
	m.mu.Unlock()
	m.room.set()
	for attempt := 0; ; attempt++ {
		if parts = m.stillHeld(parts); len(parts) == 0 {
			return nil
		}
		err := m.heartbeat(ctx)
		if err == nil {
			m.health.fine("membership")
			break
		}
		m.failed("membership", attempt, err, m.metrics)
		if !m.wait(ctx, attempt) {
			return ctx.Err()
		}
	}
	m.health.fine("membership")
	ids := make([]int32, len(parts))
	for i, part := range parts {
		ids[i] = part.id
	}
	positions, err := m.claim(ctx, ids)
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, part := range parts {
		m.rewinds = append(m.rewinds, rewind{part: part, to: positions[part.id]})
	}
	if m.wakePoll != nil {
		m.wakePoll()
	}
	m.room.set()
	return nil
}

// heartbeat asks the group whether this member still belongs to it.
func (m *member) heartbeat(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	id, generation := m.client.GroupMetadata()
	req := kmsg.NewPtrHeartbeatRequest()
	req.Group, req.MemberID, req.Generation = m.group(), id, generation
	if m.cfg.InstanceID != "" {
		req.InstanceID = &m.cfg.InstanceID
	}
	resp, err := req.RequestWith(ctx, m.client)
	if err == nil {
		err = kerr.ErrorForCode(resp.ErrorCode)
	}
	if err != nil {
		return fmt.Errorf("ask group %s whether this member still belongs to it: %w", m.group(), err)
	}
	return nil
}

// applyRewinds sends consumption back to where the store stands. It runs while the poll holds rebalances back.
func (m *member) applyRewinds() {
	to := make(map[int32]kgo.EpochOffset)
	m.mu.Lock()
	for _, r := range m.rewinds {
		if m.parts[r.part.id] != r.part {
			continue // taken away meanwhile
		}
		r.part.stored, r.part.read, r.part.until = r.to.Next, r.to.Next, r.to.Until
		r.part.mirrored, r.part.stalled = -1, false
		to[r.part.id] = kgo.EpochOffset{Epoch: -1, Offset: r.to.Next}
		m.log.Info("partition goes on from the store's position", "topic", m.plan.Topic, "partition", r.part.id, "offset", r.to.Next)
	}
	m.rewinds = nil
	m.mu.Unlock()
	if len(to) > 0 {
		m.client.SetOffsets(map[string]map[int32]kgo.EpochOffset{m.plan.Topic: to})
		m.commit.set()
	}
}

// release frees the gauges of what was held.
func (m *member) release() {
	m.mu.Lock()
	ids := slices.Collect(maps.Keys(m.parts))
	m.mu.Unlock()
	m.drop(ids)
}
