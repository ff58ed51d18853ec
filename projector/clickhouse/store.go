package clickhouse

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	ch "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"github.com/ledgerline-es/ledgerline/projector"
)

// store is one projection's place in the server, of one member.
type store struct {
	*client
	cfg     Config
	plan    projector.Plan
	columns []ch.ColumnNameAndType // to insert
	times   []timeColumn           // of the plan's columns, those that hold times
	owner   string                 // this member, in the ledger
	log     *slog.Logger
	metrics *metrics

	mu     sync.Mutex
	claims map[int32]*claim
}

// claim is a partition as this member owns it.
type claim struct {
	epoch uint64
	next  uint64 // all before it is stored
	doubt span   // a range that was begun and may be stored in part
	ours  span   // the range that this member recorded last
}

// span is a range of offsets [first, next).
type span struct{ first, next uint64 }

func (s *store) Pace() projector.Pace {
	return projector.Pace{Interval: s.cfg.Interval, MaxEvents: s.cfg.MaxRows}
}

func (s *store) Close() {}

// mostInDoubt is the longest range, in offsets, that is settled row by row: it is held in memory as a whole.
const mostInDoubt = 2_000_000

// Claim records a higher epoch for each partition, then reads what was begun last, and looks whether that is there in full.
func (s *store) Claim(ctx context.Context, begin map[int32]int64) (map[int32]projector.Position, error) {
	ids := keys(begin)
	before, err := s.readLedger(ctx, s.plan, ids)
	if err != nil {
		return nil, err
	}
	epoch := uint64(0)
	for _, e := range before {
		epoch = max(epoch, e.epoch)
	}
	epoch++
	entries := make([]entry, len(ids))
	for i, id := range ids {
		entries[i] = entry{partition: id, epoch: epoch, owner: s.owner}
	}
	if err := s.record(ctx, entries); err != nil {
		return nil, err
	}
	ledger, err := s.readLedger(ctx, s.plan, ids)
	if err != nil {
		return nil, err
	}
	if err := s.fenced(ledger, ids, func(int32) uint64 { return epoch }); err != nil {
		return nil, err
	}
	counts, err := s.countRanges(ctx, ledger)
	if err != nil {
		return nil, err
	}
	last, err := s.lastBeyond(ctx, ledger, begin)
	if err != nil {
		return nil, err
	}
	positions := make(map[int32]projector.Position, len(ids))
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range ids {
		c := &claim{epoch: epoch, next: uint64(begin[id])}
		if e := ledger[id]; e.last.next > 0 {
			if e.topicID != s.plan.TopicID {
				return nil, projector.Fatal(fmt.Errorf("the rows of partition %d are of topic id %s, topic %s has id %s now: it was deleted and made anew", id, e.topicID, s.plan.Topic, s.plan.TopicID),
					"rebuild the projection from the new topic, or restore the old one")
			}
			c.next = e.last.next
			if counts[id] < e.rows {
				c.next, c.doubt = e.last.first, e.last
			}
		}
		if beyond, some := last[id]; some {
			// The ledger is older than the table, or was lost. What is there counts.
			c.doubt = span{c.next, uint64(beyond) + 1}
		}
		if c.doubt != (span{}) {
			if c.doubt.next-c.doubt.first > mostInDoubt {
				return nil, projector.Fatal(fmt.Errorf("table %s holds rows of partition %d up to offset %d, the ledger knows of none behind %d", s.table, id, c.doubt.next-1, c.next),
					"table and ledger are not of one time: restore both, or rebuild the projection")
			}
			s.log.Warn("range in doubt: it is compared with what is stored", "topic", s.plan.Topic, "partition", id, "first", c.doubt.first, "next", c.doubt.next)
		}
		s.claims[id] = c
		positions[id] = projector.Position{Next: int64(c.next), Until: int64(c.doubt.next)}
	}
	return positions, nil
}

// fenced is ErrFenced if another member claimed one of the partitions after us.
func (s *store) fenced(ledger map[int32]ledgerState, ids []int32, epoch func(int32) uint64) error {
	for _, id := range ids {
		if e := ledger[id]; e.epoch != epoch(id) || e.owner != s.owner {
			return fmt.Errorf("%w: partition %d was claimed by %s with epoch %d, ours is %d", projector.ErrFenced, id, e.owner, e.epoch, epoch(id))
		}
	}
	return nil
}

// work is one batch on its way.
type work struct {
	batch *projector.Batch
	claim *claim
	span  span
	rows  projector.Rows
	token string
	doubt bool // it was begun before: look at what is there
}

// Write records the ranges, makes sure of its ownership and inserts each range as one block.
func (s *store) Write(ctx context.Context, batches []*projector.Batch) error {
	all, err := s.begin(batches)
	if err != nil || len(all) == 0 {
		return err
	}
	var entries []entry
	for _, w := range all {
		if w.claim.ours != w.span {
			entries = append(entries, entry{partition: w.batch.Partition, epoch: w.claim.epoch, owner: s.owner, last: w.span, rows: uint64(w.rows.Len()), token: w.token})
		}
	}
	if len(entries) > 0 {
		if err := s.record(ctx, entries); err != nil {
			return err
		}
	}
	ids := make([]int32, len(all))
	epochs := make(map[int32]uint64, len(all))
	for i, w := range all {
		w.claim.ours = w.span
		ids[i], epochs[w.batch.Partition] = w.batch.Partition, w.claim.epoch
	}
	owners, err := s.readOwners(ctx, s.plan, ids)
	if err != nil {
		return err
	}
	if err := s.fenced(owners, ids, func(id int32) uint64 { return epochs[id] }); err != nil {
		return err
	}
	// Each on its own: one that fails does not take the others with it, and is in doubt from here on.
	var (
		inserts errgroup.Group
		mu      sync.Mutex
		failed  []error
	)
	inserts.SetLimit(s.cfg.Inserts)
	for _, w := range all {
		inserts.Go(func() error {
			w.claim.doubt = w.span
			if err := s.put(ctx, w); err != nil {
				mu.Lock()
				defer mu.Unlock()
				failed = append(failed, err)
				return nil
			}
			w.claim.next, w.claim.doubt = w.span.next, span{}
			return nil
		})
	}
	_ = inserts.Wait() // the errors are in failed
	return errors.Join(failed...)
}

// begin leaves out what an earlier attempt has stored, and makes the rows of the rest.
func (s *store) begin(batches []*projector.Batch) ([]*work, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []*work
	for _, b := range batches {
		c := s.claims[b.Partition]
		w := &work{batch: b, claim: c, span: span{uint64(b.First), uint64(b.Next)}}
		switch {
		case c == nil:
			return nil, fmt.Errorf("%w: partition %d was never claimed", projector.ErrFenced, b.Partition)
		case c.next == w.span.next && c.doubt == (span{}):
			continue
		case c.doubt == w.span:
			w.doubt = true
		case c.next != w.span.first || c.doubt != (span{}):
			return nil, fmt.Errorf("%w: partition %d stands at %d with %v in doubt, the batch is %v", projector.ErrFenced, b.Partition, c.next, c.doubt, w.span)
		}
		w.rows = projector.JoinRows(b)
		w.token = s.token(b.Partition, w.span)
		if err := s.checkOrdinals(w.rows); err != nil {
			return nil, err
		}
		if err := s.checkTimes(b.Partition, w.rows); err != nil {
			return nil, err
		}
		all = append(all, w)
	}
	return all, nil
}

// token names a range for good: whoever inserts it does so under the same token.
func (s *store) token(partition int32, r span) string {
	return fmt.Sprintf("%s/%d/%s/%d/%d-%d", s.plan.Projection, s.plan.Generation, s.plan.TopicID, partition, r.first, r.next-1)
}

func (s *store) checkOrdinals(rows projector.Rows) error {
	if s.rowColumn {
		return nil
	}
	for i := range rows.Len() {
		if rows.Ordinal(i) > 0 {
			return projector.Fatal(fmt.Errorf("the event at offset %d gives several rows, and table %s has no column to tell them apart", rows.Offset(i), s.table),
				"declare "+columnRow+" UInt32 in the CREATE text, then rebuild the projection")
		}
	}
	return nil
}

// put stores the rows of a range that are not there yet. The range of a first attempt is new; of any other it looks at
// what is there, before and after.
func (s *store) put(ctx context.Context, w *work) error {
	if !w.doubt {
		return s.insertRows(ctx, w, w.rows, w.token)
	}
	s.metrics.doubts.WithLabelValues(s.plan.Projection).Inc()
	for attempt := 0; ; attempt++ {
		lacking, err := s.lacking(ctx, w)
		if err != nil {
			return err
		}
		s.log.Info("range compared with what is stored", "topic", s.plan.Topic, "partition", w.batch.Partition, "first", w.span.first, "next", w.span.next, "rows", w.rows.Len(), "lacking", lacking.Len())
		switch {
		case lacking.Len() == 0:
			return nil
		case attempt == 0 && lacking.Len() == w.rows.Len():
			err = s.insertRows(ctx, w, lacking, w.token) // as the first time: whichever of the two arrives later has no effect
		default:
			// The token is remembered for rows that are there, or that somebody took away: what is lacking goes under one
			// of its own.
			err = s.insertRows(ctx, w, lacking, fmt.Sprintf("%s/rest/%s", w.token, uuid.NewString()))
		}
		if err != nil {
			return err
		}
	}
}

// lacking are the rows of a range that are not stored.
func (s *store) lacking(ctx context.Context, w *work) (projector.Rows, error) {
	there, err := s.stored(ctx, w.batch.Partition, w.span)
	if err != nil {
		return nil, err
	}
	var lacking []int
	for i := range w.rows.Len() {
		if !there[place{w.rows.Offset(i), w.rows.Ordinal(i)}] {
			lacking = append(lacking, i)
		}
	}
	return w.rows.Pick(lacking), nil
}

func (s *store) insertRows(ctx context.Context, w *work, rows projector.Rows, token string) error {
	if rows.Len() == 0 {
		return nil
	}
	doing := fmt.Sprintf("insert %s %s/%d offsets %d-%d", s.table, s.plan.Topic, w.batch.Partition, w.span.first, w.span.next-1)
	if err := s.client.insert(ctx, doing, s.table, s.columns, s.block(rows, w.batch.Partition), insertSettings(token)); err != nil {
		return err
	}
	s.metrics.inserts.WithLabelValues(s.plan.Projection).Inc()
	s.metrics.rows.WithLabelValues(s.plan.Projection).Add(float64(rows.Len()))
	return nil
}

// block is the rows as columns: the projection's, then the sink's own.
func (s *store) block(rows projector.Rows, partition int32) []any {
	rows, alter := mutated(rows)
	values := make([]any, 0, len(s.columns))
	for i := range s.plan.Columns {
		values = append(values, rows.Column(i))
	}
	alter(values)
	n := rows.Len()
	partitions, offsets := make([]int32, n), make([]int64, n)
	for i := range n {
		partitions[i], offsets[i] = partition, rows.Offset(i)
	}
	values = append(values, partitions, offsets)
	if s.rowColumn {
		ordinals := make([]uint32, n)
		for i := range n {
			ordinals[i] = uint32(rows.Ordinal(i))
		}
		values = append(values, ordinals)
	}
	return values
}

// place is where in the log a row comes from.
type place struct {
	offset  int64
	ordinal int32
}

// stored are the rows of a range that are there.
func (s *store) stored(ctx context.Context, partition int32, r span) (map[place]bool, error) {
	ordinal := "toUInt32(0)"
	if s.rowColumn {
		ordinal = columnRow
	}
	there := make(map[place]bool)
	err := s.query(ctx, fmt.Sprintf("look at what is stored of partition %d offsets %d-%d", partition, r.first, r.next-1),
		fmt.Sprintf("SELECT %s, %s FROM %s WHERE %s = ? AND %s >= ? AND %s < ?", columnOffset, ordinal, s.table, columnPartition, columnOffset, columnOffset),
		[]any{partition, r.first, r.next}, func(scan func(...any) error) error {
			var (
				offset int64
				row    uint32
			)
			if err := scan(&offset, &row); err != nil {
				return err
			}
			there[place{offset, int32(row)}] = true
			return nil
		})
	return there, err
}
