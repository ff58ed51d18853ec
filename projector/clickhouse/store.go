package clickhouse

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	ch "github.com/ClickHouse/clickhouse-go/v2"
	"golang.org/x/sync/errgroup"

	"github.com/ledgerline-es/ledgerline/projector"
	"github.com/ledgerline-es/ledgerline/projector/internal/mutant"
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

	mu       sync.Mutex
	claims   map[int32]*claim
	tokens   int       // given so far
	recorded time.Time // the last entry in the ledger
}

// claim is a partition as this member owns it.
type claim struct {
	epoch uint64
	next  uint64 // all before it is stored
	doubt span   // a range that was begun and may be stored in part …
	token string // … under this token; "" when nobody knows
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
				c.next, c.doubt, c.token = e.last.first, e.last, e.token
			}
		}
		if beyond, some := last[id]; some {
			// The ledger is older than the table, or was lost. What is there counts.
			c.doubt, c.token = span{c.next, uint64(beyond) + 1}, ""
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
	doubt bool // it was begun before: look at what is there
}

// Write records the ranges, makes sure of its ownership and inserts them: those that are new together, those in doubt one by one.
func (s *store) Write(ctx context.Context, batches []*projector.Batch) error {
	all, err := s.begin(batches)
	if err != nil || len(all) == 0 {
		return err
	}
	var fresh, doubtful []*work
	for _, w := range all {
		if w.doubt {
			doubtful = append(doubtful, w)
		} else {
			fresh = append(fresh, w)
		}
	}
	blocks := s.pack(fresh)
	for _, block := range blocks {
		token := s.token()
		for _, w := range block {
			w.claim.doubt, w.claim.token = w.span, token
		}
	}
	for _, w := range doubtful {
		if w.claim.token == "" {
			w.claim.token = s.token()
		}
	}
	if err := s.announce(ctx, all); err != nil {
		return err
	}
	// Each on its own: one that fails does not take the others with it, and is in doubt from here on.
	var (
		inserts errgroup.Group
		mu      sync.Mutex
		failed  []error
	)
	inserts.SetLimit(s.cfg.Inserts)
	run := func(put func() error) {
		inserts.Go(func() error {
			if err := put(); err != nil {
				mu.Lock()
				defer mu.Unlock()
				failed = append(failed, err)
			}
			return nil
		})
	}
	for _, block := range blocks {
		run(func() error { return s.put(ctx, block) })
	}
	for _, w := range doubtful {
		run(func() error { return s.settle(ctx, w) })
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

// enoughRows make a block of their own: with fewer in each, parts and their merging cost more than the rows.
const enoughRows = 25_000

// pack puts works together into blocks: one, unless there are so many rows that several blocks at a time are faster.
func (s *store) pack(works []*work) (blocks [][]*work) {
	rows := enoughRows
	for _, w := range works {
		if n := w.rows.Len(); rows >= enoughRows || rows+n > s.cfg.MaxRows {
			blocks, rows = append(blocks, nil), 0
		}
		blocks[len(blocks)-1] = append(blocks[len(blocks)-1], w)
		rows += w.rows.Len()
	}
	return blocks
}

// token is a new name for an insert.
func (s *store) token() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tokens++
	return fmt.Sprintf("%s/%d/%s/%s/%d", s.plan.Projection, s.plan.Generation, s.plan.TopicID, s.owner, s.tokens)
}

// announce records the ranges with the tokens under which they are about to be inserted, unless the ledger has them from us already,
// and then looks whether they are still ours.
func (s *store) announce(ctx context.Context, works []*work) error {
	var entries []entry
	for _, w := range works {
		if w.claim.ours != w.span {
			entries = append(entries, entry{partition: w.batch.Partition, epoch: w.claim.epoch, owner: s.owner, last: w.span, rows: uint64(w.rows.Len()), token: w.claim.token})
		}
	}
	if len(entries) > 0 {
		if err := s.record(ctx, entries); err != nil {
			return err
		}
	}
	for _, w := range works {
		w.claim.ours = w.span
	}
	return s.checkOwner(ctx, works)
}

// checkOwner is ErrFenced if another member has claimed one of the partitions.
func (s *store) checkOwner(ctx context.Context, works []*work) error {
	ids := make([]int32, len(works))
	epochs := make(map[int32]uint64, len(works))
	for i, w := range works {
		ids[i], epochs[w.batch.Partition] = w.batch.Partition, w.claim.epoch
	}
	owners, err := s.readOwners(ctx, s.plan, ids)
	if err != nil {
		return err
	}
	return s.fenced(owners, ids, func(id int32) uint64 { return epochs[id] })
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

// put inserts new ranges as one block.
//
// Who claims a partition of it settles that range alone, and begins with an insert under the same token: then ours, if it comes later,
// is dropped as a whole and without a word, that of the partitions which we still have included. So afterwards we look once more
// whether one was claimed: whoever did so before his insert. Was one, then all of the block is in doubt.
func (s *store) put(ctx context.Context, block []*work) error {
	if err := s.insertRows(ctx, block, block[0].claim.token); err != nil {
		return err
	}
	if len(block) > 1 && !mutant.Is(mutant.Burnt) {
		if err := s.checkOwner(ctx, block); err != nil {
			return err
		}
	}
	for _, w := range block {
		s.stand(w, w.rows.Len())
	}
	return nil
}

// stand moves a partition behind a range of which we have stored some rows.
func (s *store) stand(w *work, rows int) {
	w.claim.next, w.claim.doubt = w.span.next, span{}
	s.metrics.rows.WithLabelValues(s.plan.Projection).Add(float64(rows))
}

// settle stores the rows of a range in doubt that are not there yet.
//
// First it inserts under the token that the range was recorded with. Whether that stores the rows or the server has seen the token
// before, for other rows of its block perhaps: an insert of the former owner that arrives later has no effect. What is lacking then
// goes under a token of its own, which is recorded too, for the next who has to settle the range.
func (s *store) settle(ctx context.Context, w *work) error {
	s.metrics.doubts.WithLabelValues(s.plan.Projection).Inc()
	all, lacked := w.rows, 0 // at first
	for attempt := 0; ; attempt++ {
		lacking, err := s.lacking(ctx, w.batch.Partition, w.span, all)
		if err != nil {
			return err
		}
		if attempt == 0 {
			lacked = lacking.Len()
		}
		s.log.Info("range compared with what is stored", "topic", s.plan.Topic, "partition", w.batch.Partition, "first", w.span.first, "next", w.span.next, "rows", all.Len(), "lacking", lacking.Len())
		if lacking.Len() == 0 {
			s.stand(w, lacked)
			return nil
		}
		if attempt > 0 {
			w.claim.token, w.claim.ours = s.token(), span{}
			if err := s.announce(ctx, []*work{w}); err != nil {
				return err
			}
		}
		if err := s.insertRows(ctx, []*work{{batch: w.batch, claim: w.claim, span: w.span, rows: lacking}}, w.claim.token); err != nil {
			return err
		}
	}
}

// lacking are those of a range's rows that are not stored.
func (s *store) lacking(ctx context.Context, partition int32, of span, rows projector.Rows) (projector.Rows, error) {
	there, err := s.stored(ctx, partition, of)
	if err != nil {
		return nil, err
	}
	var lacking []int
	for i := range rows.Len() {
		if !there[place{rows.Offset(i), rows.Ordinal(i)}] {
			lacking = append(lacking, i)
		}
	}
	return rows.Pick(lacking), nil
}

// insertRows inserts the rows of ranges as one block.
func (s *store) insertRows(ctx context.Context, block []*work, token string) error {
	rows, doing := 0, make([]string, 0, len(block))
	values := make([][]any, 0, len(block))
	for _, w := range block {
		if w.rows.Len() == 0 {
			continue
		}
		rows += w.rows.Len()
		doing = append(doing, fmt.Sprintf("%d offsets %d-%d", w.batch.Partition, w.span.first, w.span.next-1))
		values = append(values, s.block(w.rows, w.batch.Partition))
	}
	if rows == 0 {
		return nil
	}
	if err := s.client.insert(ctx, fmt.Sprintf("insert %s %s/%s", s.table, s.plan.Topic, strings.Join(doing, ", ")), s.table, s.columns, values, insertSettings(token)); err != nil {
		return err
	}
	s.metrics.inserts.WithLabelValues(s.plan.Projection).Inc()
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
