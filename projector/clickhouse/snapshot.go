package clickhouse

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ledgerline-es/ledgerline/projector"
)

// snapshot is the rows of a projection below the position that the ledger gave: those are never written again.
type snapshot struct {
	*client
	plan      projector.Plan
	positions map[int32]projector.SnapshotPosition
}

// Snapshot reads the positions. A range that is being written is waited for, up to Config.SettleWait.
func (s *Sink) Snapshot(ctx context.Context, plan projector.Plan) (projector.Snapshot, error) {
	c, err := s.client(plan)
	if err != nil {
		return nil, err
	}
	stored, _, err := c.generation(ctx, plan)
	switch {
	case err != nil:
		return nil, err
	case stored != plan.Fingerprint:
		return nil, &projector.RebuildRequiredError{Projection: plan.Projection, Table: s.cfg.DatabasePrefix + plan.Schema + "." + plan.Table, Stored: stored, Wanted: plan.Fingerprint}
	}
	if err := c.checkLog(ctx, plan, s.cfg.DatabasePrefix); err != nil {
		return nil, err
	}
	if _, err := c.layout(ctx, plan, s.cfg.DatabasePrefix); err != nil {
		return nil, err
	}
	snap := &snapshot{client: c, plan: plan}
	if snap.positions, err = c.settledPositions(ctx, plan, s.cfg.SettleWait); err != nil {
		return nil, err
	}
	return snap, nil
}

// settledPositions reads where the partitions stand. Of a range that is not there in full it waits for the rest, or for
// its owner to go on to the next range, which it does only when this one is stored.
func (c *client) settledPositions(ctx context.Context, plan projector.Plan, wait time.Duration) (map[int32]projector.SnapshotPosition, error) {
	positions := make(map[int32]projector.SnapshotPosition)
	var open []int32 // partitions to look at; nil at first: all
	for deadline := time.Now().Add(wait); ; {
		ledger, err := c.readLedger(ctx, plan, open)
		if err != nil {
			return nil, err
		}
		counts, err := c.countRanges(ctx, ledger)
		if err != nil {
			return nil, err
		}
		open = nil
		for id, e := range ledger {
			was, seen := positions[id]
			p := projector.SnapshotPosition{Topic: plan.Topic, TopicID: e.topicID, Next: int64(e.last.next)}
			switch {
			case e.last.next == 0: // a claim alone: nothing was ever written
				p.TopicID = plan.TopicID
			case counts[id] >= e.rows:
			case seen && was.Unfinished != nil && was.Unfinished.First != int64(e.last.first):
				p.Next = int64(e.last.first) // the range before this one is complete
			default:
				p.Unfinished = &projector.Unfinished{First: int64(e.last.first), Next: int64(e.last.next), Rows: int64(e.rows), Stored: int64(counts[id]), Since: e.since}
				open = append(open, id)
			}
			positions[id] = p
		}
		if len(open) == 0 || !time.Now().Before(deadline) {
			return positions, nil
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (s *snapshot) Positions() map[int32]projector.SnapshotPosition { return s.positions }

// Identity: rows are told apart by where in the log they come from.
func (s *snapshot) Identity() []int { return nil }

func (s *snapshot) Read(ctx context.Context, partition int32, target []any, visit func(offset int64, ordinal int32) bool) error {
	columns := make([]string, len(s.plan.Columns))
	for i, name := range s.plan.Columns {
		columns[i] = quote(name)
	}
	ordinal := "toUInt32(0)"
	if s.rowColumn {
		ordinal = columnRow
	}
	doing := fmt.Sprintf("read %s partition %d", s.table, partition)
	rows, err := s.conn.Query(ctx, fmt.Sprintf("SELECT %s, %s, %s AS ordinal FROM %s WHERE %s = ? ORDER BY %s, ordinal",
		strings.Join(columns, ", "), columnOffset, ordinal, s.table, columnPartition, columnOffset), partition)
	if err != nil {
		return classify(doing, err)
	}
	defer rows.Close()
	var (
		offset int64
		row    uint32
	)
	target = append(slices.Clip(target), &offset, &row)
	for rows.Next() {
		if err := rows.Scan(target...); err != nil {
			return classify(doing, err)
		}
		if !visit(offset, int32(row)) {
			return nil
		}
	}
	return classify(doing, rows.Err())
}

// Lookup finds the rows of events by where those stand in the log.
func (s *snapshot) Lookup(ctx context.Context, partition int32, offsets []int64, _ [][]any) (rows []json.RawMessage, err error) {
	columns := make([]string, len(s.plan.Columns))
	for i, name := range s.plan.Columns {
		columns[i] = quote(name)
	}
	err = s.query(ctx, "look up rows in "+s.table,
		fmt.Sprintf("SELECT formatRowNoNewline('JSONEachRow', %s) FROM %s WHERE %s = ? AND has(?, %s) ORDER BY %s LIMIT 100",
			strings.Join(columns, ", "), s.table, columnPartition, columnOffset, columnOffset),
		[]any{partition, offsets}, func(scan func(...any) error) error {
			var row string
			if err := scan(&row); err != nil {
				return err
			}
			rows = append(rows, json.RawMessage(row))
			return nil
		})
	return rows, err
}

// Strays finds rows that no range ever recorded can have given.
func (s *snapshot) Strays(ctx context.Context) ([]projector.Difference, error) {
	ledger, err := s.readLedger(ctx, s.plan, nil)
	if err != nil {
		return nil, err
	}
	var cases []string
	for _, id := range keys(ledger) {
		cases = append(cases, fmt.Sprintf("%s = %d, %d", columnPartition, id, ledger[id].last.next))
	}
	end := "0"
	if len(cases) > 0 {
		end = "multiIf(" + strings.Join(cases, ", ") + ", 0)"
	}
	var key []string
	for _, name := range s.plan.Columns[:min(2, len(s.plan.Columns))] {
		key = append(key, "toString("+quote(name)+")")
	}
	var strays []projector.Difference
	err = s.query(ctx, "look for stray rows in "+s.table,
		fmt.Sprintf("SELECT %s, %s, concatWithSeparator('/', %s) FROM %s WHERE %s >= %s ORDER BY %s, %s LIMIT 1000",
			columnPartition, columnOffset, strings.Join(key, ", "), s.table, columnOffset, end, columnPartition, columnOffset),
		nil, func(scan func(...any) error) error {
			d := projector.Difference{Kind: projector.Extra}
			if err := scan(&d.Partition, &d.Offset, &d.Key); err != nil {
				return err
			}
			strays = append(strays, d)
			return nil
		})
	return strays, err
}

func (s *snapshot) Close() {}
