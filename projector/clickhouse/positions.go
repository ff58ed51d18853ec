package clickhouse

import (
	"context"

	"github.com/ledgerline-es/ledgerline/projector"
)

// Positions gives where a projection's partitions stand, for those who watch from outside. Of a range that is not there in
// full it gives the beginning: an owner begins no range before the one before it is stored. It waits for nothing. A
// projection that was never built has none.
func (s *Sink) Positions(ctx context.Context, plan projector.Plan) (map[int32]projector.SnapshotPosition, error) {
	c, err := s.client(plan)
	if err != nil {
		return nil, err
	}
	positions := make(map[int32]projector.SnapshotPosition)
	ledger, err := c.readLedger(ctx, plan, nil)
	if missing(err) {
		return positions, nil
	}
	if err != nil {
		return nil, err
	}
	if len(ledger) == 0 {
		return positions, nil
	}
	if c.rowColumn, err = s.tellsRowsApart(ctx, c, plan); err != nil {
		return nil, err
	}
	counts, err := c.countRanges(ctx, ledger)
	if err != nil {
		return nil, err
	}
	for id, e := range ledger {
		if e.last.next == 0 {
			continue // a claim alone: nothing was ever written
		}
		p := projector.SnapshotPosition{Topic: plan.Topic, TopicID: e.topicID, Next: int64(e.last.next)}
		if counts[id] < e.rows {
			p.Next = int64(e.last.first)
		}
		positions[id] = p
	}
	return positions, nil
}

// tellsRowsApart reports whether the projection's table has columnRow. A table never changes, so it is asked once.
func (s *Sink) tellsRowsApart(ctx context.Context, c *client, plan projector.Plan) (bool, error) {
	s.mu.Lock()
	row, known := s.rowTables[c.table]
	s.mu.Unlock()
	if known {
		return row, nil
	}
	if _, err := c.layout(ctx, plan, s.cfg.DatabasePrefix); err != nil {
		return false, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.rowTables == nil {
		s.rowTables = make(map[string]bool)
	}
	s.rowTables[c.table] = c.rowColumn
	return c.rowColumn, nil
}
