package clickhouse

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	ch "github.com/ClickHouse/clickhouse-go/v2"

	"github.com/ledgerline-es/ledgerline/projector"
)

// entry is a row of the ledger: a claim, or a range that was begun.
type entry struct {
	partition int32
	epoch     uint64
	owner     string
	last      span
	rows      uint64
	token     string
}

var ledgerColumns = []ch.ColumnNameAndType{
	{Name: "projection", Type: "LowCardinality(String)"},
	{Name: "generation", Type: "UInt32"},
	{Name: "topic", Type: "LowCardinality(String)"},
	{Name: "topic_id", Type: "LowCardinality(String)"},
	{Name: "partition", Type: "Int32"},
	{Name: "epoch", Type: "UInt64"},
	{Name: "owner", Type: "String"},
	{Name: "first_offset", Type: "UInt64"},
	{Name: "next_offset", Type: "UInt64"},
	{Name: "rows", Type: "UInt64"},
	{Name: "token", Type: "String"},
	{Name: "recorded_at", Type: "DateTime64(6, 'UTC')"},
}

// record writes entries. Of a member's entries about one range the last counts.
func (s *store) record(ctx context.Context, entries []entry) error {
	s.mu.Lock()
	now := time.Now().UTC().Truncate(time.Microsecond)
	if !now.After(s.recorded) {
		now = s.recorded.Add(time.Microsecond)
	}
	s.recorded = now
	s.mu.Unlock()
	n := len(entries)
	var (
		projections, topics, topicIDs = repeat(s.plan.Projection, n), repeat(s.plan.Topic, n), repeat(s.plan.TopicID, n)
		generations                   = repeat(uint32(s.plan.Generation), n)
		times                         = repeat(now, n)
		partitions                    = make([]int32, n)
		epochs, firsts, nexts, rows   = make([]uint64, n), make([]uint64, n), make([]uint64, n), make([]uint64, n)
		owners, tokens                = make([]string, n), make([]string, n)
	)
	for i, e := range entries {
		partitions[i], epochs[i], owners[i], tokens[i] = e.partition, e.epoch, e.owner, e.token
		firsts[i], nexts[i], rows[i] = e.last.first, e.last.next, e.rows
	}
	return s.client.insert(ctx, fmt.Sprintf("record %d ranges of %s in the ledger", n, s.plan.Projection), s.books+".ledger", ledgerColumns,
		[][]any{{projections, generations, topics, topicIDs, partitions, epochs, owners, firsts, nexts, rows, tokens, times}}, nil)
}

func repeat[T any](v T, n int) []T { return slices.Repeat([]T{v}, n) }

// ledgerState is what the ledger says of a partition.
type ledgerState struct {
	epoch uint64 // of the highest claim …
	owner string // … and whose it is

	topicID string
	last    span // the range that was begun last; next is 0 when there is none
	rows    uint64
	token   string // under which it is inserted
	since   time.Time
}

// lastRange are the columns of the range that was begun last in a group of the ledger's rows.
var lastRange = fmt.Sprintf(
	"argMaxIf(topic_id, %[1]s), argMaxIf(first_offset, %[1]s), argMaxIf(next_offset, %[1]s), argMaxIf(rows, %[1]s), argMaxIf(token, %[1]s), argMaxIf(recorded_at, %[1]s)",
	"(epoch, owner, next_offset, recorded_at), next_offset > 0")

// lastRangeOf are where lastRange is scanned into.
func lastRangeOf(s *ledgerState) []any {
	return []any{&s.topicID, &s.last.first, &s.last.next, &s.rows, &s.token, &s.since}
}

// readLedger reads the state of partitions; those that have none are not in the answer. No ids: all.
func (c *client) readLedger(ctx context.Context, plan projector.Plan, ids []int32) (map[int32]ledgerState, error) {
	return c.readStates(ctx, plan, ids, lastRange, lastRangeOf)
}

// readOwners reads who claimed partitions last, and nothing else.
func (c *client) readOwners(ctx context.Context, plan projector.Plan, ids []int32) (map[int32]ledgerState, error) {
	return c.readStates(ctx, plan, ids, "1", func(*ledgerState) []any { return []any{new(uint8)} })
}

func (c *client) readStates(ctx context.Context, plan projector.Plan, ids []int32, more string, targets func(*ledgerState) []any) (map[int32]ledgerState, error) {
	where := ""
	if len(ids) > 0 {
		where = " AND partition IN (" + strings.Trim(strings.ReplaceAll(fmt.Sprint(ids), " ", ", "), "[]") + ")"
	}
	states := make(map[int32]ledgerState)
	err := c.query(ctx, "read the ledger of "+plan.Projection,
		"SELECT partition, max(epoch), argMax(owner, (epoch, owner)), "+more+" FROM "+c.books+".ledger WHERE projection = ? AND generation = ? AND topic = ?"+where+" GROUP BY partition SETTINGS max_threads = 1",
		[]any{plan.Projection, plan.Generation, plan.Topic}, func(scan func(...any) error) error {
			var (
				partition int32
				s         ledgerState
			)
			if err := scan(append([]any{&partition, &s.epoch, &s.owner}, targets(&s)...)...); err != nil {
				return err
			}
			states[partition] = s
			return nil
		})
	return states, err
}

// countRanges counts, for each partition, the different rows that are stored of the range that was begun last.
func (c *client) countRanges(ctx context.Context, ledger map[int32]ledgerState) (map[int32]uint64, error) {
	var ranges []string
	for _, id := range slices.Sorted(maps.Keys(ledger)) {
		if e := ledger[id]; e.last.next > 0 && e.rows > 0 {
			ranges = append(ranges, fmt.Sprintf("(%s = %d AND %s >= %d AND %s < %d)", columnPartition, id, columnOffset, e.last.first, columnOffset, e.last.next))
		}
	}
	counts := make(map[int32]uint64)
	if len(ranges) == 0 {
		return counts, nil
	}
	row := "0"
	if c.rowColumn {
		row = columnRow
	}
	err := c.query(ctx, "count the rows of the last ranges of "+c.table,
		fmt.Sprintf("SELECT %s, uniqExact(%s, %s) FROM %s WHERE %s GROUP BY %s", columnPartition, columnOffset, row, c.table, strings.Join(ranges, " OR "), columnPartition),
		nil, func(scan func(...any) error) error {
			var (
				partition int32
				n         uint64
			)
			if err := scan(&partition, &n); err != nil {
				return err
			}
			counts[partition] = n
			return nil
		})
	return counts, err
}

// lastBeyond finds, for each partition, the last row behind what the ledger knows of, if there is one.
func (c *client) lastBeyond(ctx context.Context, ledger map[int32]ledgerState, begin map[int32]int64) (map[int32]int64, error) {
	var beyond []string
	for _, id := range keys(begin) {
		next := uint64(begin[id])
		if e := ledger[id]; e.last.next > 0 {
			next = e.last.next
		}
		beyond = append(beyond, fmt.Sprintf("(%s = %d AND %s >= %d)", columnPartition, id, columnOffset, next))
	}
	last := make(map[int32]int64)
	err := c.query(ctx, "look for rows behind the ranges recorded of "+c.table,
		fmt.Sprintf("SELECT %s, max(%s) FROM %s WHERE %s GROUP BY %s", columnPartition, columnOffset, c.table, strings.Join(beyond, " OR "), columnPartition),
		nil, func(scan func(...any) error) error {
			var (
				partition int32
				offset    int64
			)
			if err := scan(&partition, &offset); err != nil {
				return err
			}
			last[partition] = offset
			return nil
		})
	return last, err
}

func keys[V any](m map[int32]V) []int32 { return slices.Sorted(maps.Keys(m)) }
