package clickhouse

import (
	"context"
	"time"

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
	open := s.unsettled(c.table, ledger)
	if len(open) > 0 {
		if c.rowColumn, err = s.tellsRowsApart(ctx, c, plan); err != nil {
			return nil, err
		}
	}
	asOf := time.Now() // the server looks at what is there when it begins with a query
	counts, err := c.countRanges(ctx, open)
	if err != nil {
		return nil, err
	}
	for id, e := range ledger {
		if e.last.next == 0 {
			continue // a claim alone: nothing was ever written
		}
		p := projector.SnapshotPosition{Topic: plan.Topic, TopicID: e.topicID, Next: int64(e.last.next), AsOf: asOf}
		if _, asked := open[id]; asked && counts[id] < e.rows {
			p.Next = int64(e.last.first)
		} else {
			s.settle(c.table, id, e)
		}
		positions[id] = p
	}
	return positions, nil
}

// settledRange is a partition's last range when it was seen to be there in full.
type settledRange struct {
	topicID string
	last    span
}

// unsettled are those whose last range was not yet seen to be there in full. At rest that is none, and nothing is counted.
func (s *Sink) unsettled(table string, ledger map[int32]ledgerState) map[int32]ledgerState {
	s.mu.Lock()
	defer s.mu.Unlock()
	open := make(map[int32]ledgerState)
	for id, e := range ledger {
		if e.last.next > 0 && s.settled[table][id] != (settledRange{e.topicID, e.last}) {
			open[id] = e
		}
	}
	return open
}

func (s *Sink) settle(table string, id int32, e ledgerState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.settled == nil {
		s.settled = make(map[string]map[int32]settledRange)
	}
	if s.settled[table] == nil {
		s.settled[table] = make(map[int32]settledRange)
	}
	s.settled[table][id] = settledRange{e.topicID, e.last}
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
