package postgres

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/ledgerline-es/ledgerline/projector"
	"github.com/ledgerline-es/ledgerline/projector/internal/mutant"
)

// store is one projection's place in the server.
type store struct {
	sink   *Sink
	pool   *pgxpool.Pool
	plan   projector.Plan
	layout layout
	sql    statements
}

func (s *store) Pace() projector.Pace { return s.sink.pace() }

func (s *store) Close() {}

// notFrozen stands in every transaction that takes locks: a member that stands still inside would keep the others waiting
// for as long as its connection lasts.
const notFrozen = "SET LOCAL idle_in_transaction_session_timeout = '10s'"

// Claim reads the positions, and makes those that are missing. There is no owner to record: the guard of each
// transaction refuses whoever does not know the position.
func (s *store) Claim(ctx context.Context, begin map[int32]int64) (map[int32]projector.Position, error) {
	positions := make(map[int32]projector.Position, len(begin))
	ids := slices.Sorted(maps.Keys(begin))
	err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, notFrozen); err != nil {
			return err
		}
		if err := s.checkOffsets(ctx, tx); err != nil {
			return err
		}
		for _, id := range ids {
			if _, err := tx.Exec(ctx, "INSERT INTO ledgerline.offsets VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING",
				s.plan.Projection, s.plan.Generation, s.plan.Topic, s.plan.TopicID, id, begin[id]); err != nil {
				return err
			}
		}
		rows, err := tx.Query(ctx, "SELECT partition, next_offset, topic_id FROM ledgerline.offsets WHERE projection = $1 AND generation = $2 AND topic = $3 AND partition = ANY($4)",
			s.plan.Projection, s.plan.Generation, s.plan.Topic, ids)
		if err != nil {
			return err
		}
		var (
			id      int32
			next    int64
			topicID string
		)
		_, err = pgx.ForEachRow(rows, []any{&id, &next, &topicID}, func() error {
			if topicID != s.plan.TopicID {
				return projector.Fatal(fmt.Errorf("the rows of partition %d are of topic id %s, topic %s has id %s now: it was deleted and made anew", id, topicID, s.plan.Topic, s.plan.TopicID),
					"rebuild the projection from the new topic, or restore the old one")
			}
			positions[id] = projector.Position{Next: next}
			return nil
		})
		return err
	})
	return positions, classify("read offsets of "+s.plan.Projection, err)
}

// checkOffsets refuses a table with rows and no positions at all: to begin anew would fold every event a second time.
func (s *store) checkOffsets(ctx context.Context, tx pgx.Tx) error {
	var positions, rows bool
	err := tx.QueryRow(ctx, "SELECT EXISTS (SELECT FROM ledgerline.offsets WHERE projection = $1 AND generation = $2), EXISTS (SELECT FROM "+physicalName(s.plan)+")",
		s.plan.Projection, s.plan.Generation).Scan(&positions, &rows)
	if err == nil && rows && !positions {
		return projector.Fatal(fmt.Errorf("table %s holds rows, and ledgerline.offsets no position of projection %s", physicalName(s.plan), s.plan.Projection),
			"restore both as of one time, or rebuild the projection")
	}
	return err
}

// Write stores the batches and moves their positions in one transaction.
func (s *store) Write(ctx context.Context, batches []*projector.Batch) error {
	written := 0
	err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		if err := s.guard(ctx, tx, batches); err != nil {
			return err
		}
		var err error
		if s.plan.Shape == projector.ShapeFold {
			written, err = s.fold(ctx, tx, batches)
		} else {
			written, err = s.insert(ctx, tx, batches)
		}
		return err
	})
	if err == nil {
		s.sink.metrics.rows.WithLabelValues(s.plan.Projection).Add(float64(written))
	}
	return classify(s.doing(batches), err)
}

// guard moves the positions, in the order of the partitions so that two members cannot wait for each other. It comes
// first: from here on the rows of these partitions are ours until the transaction ends, and what it reads is what the
// last one wrote.
func (s *store) guard(ctx context.Context, tx pgx.Tx, batches []*projector.Batch) error {
	ordered := slices.SortedFunc(slices.Values(batches), func(a, b *projector.Batch) int { return int(a.Partition - b.Partition) })
	const update = `UPDATE ledgerline.offsets SET next_offset = $1
		WHERE projection = $2 AND generation = $3 AND topic = $4 AND partition = $5 AND next_offset = $6 AND topic_id = $7`
	var updates pgx.Batch
	for _, b := range ordered {
		updates.Queue(update, b.Next, s.plan.Projection, s.plan.Generation, s.plan.Topic, b.Partition, b.First, s.plan.TopicID)
	}
	updates.Queue(notFrozen)
	results := tx.SendBatch(ctx, &updates)
	var missed []string
	for _, b := range ordered {
		tag, err := results.Exec()
		if err != nil {
			results.Close()
			return err
		}
		if tag.RowsAffected() != 1 {
			missed = append(missed, fmt.Sprintf("partition %d does not stand at %d", b.Partition, b.First))
		}
	}
	if err := results.Close(); err != nil {
		return err
	}
	if len(missed) > 0 {
		return fmt.Errorf("%w: %s", projector.ErrFenced, strings.Join(missed, ", "))
	}
	return nil
}

// fold loads the rows that change, applies the events and puts the rows back, ascending by key: neighbours in the index
// are written one after the other.
func (s *store) fold(ctx context.Context, tx pgx.Tx, batches []*projector.Batch) (int, error) {
	f := projector.FoldBatches(batches...)
	if len(f.Keys()) == 0 {
		return 0, nil
	}
	stored, err := tx.Query(ctx, s.sql.load, f.Keys())
	if err != nil {
		return 0, err
	}
	if _, err := pgx.ForEachRow(stored, f.Scratch(), f.Keep); err != nil {
		return 0, err
	}
	changed, err := f.Apply()
	if err != nil {
		return 0, err
	}
	_, err = tx.Exec(ctx, s.sql.upsert, s.columns(changed)...)
	return changed.Len(), err
}

func (s *store) insert(ctx context.Context, tx pgx.Tx, batches []*projector.Batch) (int, error) {
	rows := projector.JoinRows(batches...)
	if rows.Len() == 0 {
		return 0, nil
	}
	rows.SortBy(s.layout.key...)
	_, err := tx.Exec(ctx, s.sql.insert, s.columns(rows)...)
	return rows.Len(), err
}

// columns are the rows as one array for each column.
func (s *store) columns(rows projector.Rows) []any {
	if mutant.Is(mutant.Drop) || mutant.Is(mutant.Alter) {
		return mutated(rows, len(s.plan.Columns))
	}
	values := make([]any, len(s.plan.Columns))
	for i := range values {
		values[i] = rows.Column(i)
	}
	return values
}

func (s *store) doing(batches []*projector.Batch) string {
	table := s.plan.Schema + "." + s.plan.Physical()
	if len(batches) == 1 {
		b := batches[0]
		return fmt.Sprintf("write %s %s/%d offsets %d-%d", table, s.plan.Topic, b.Partition, b.First, b.Next-1)
	}
	events := 0
	for _, b := range batches {
		events += b.Events
	}
	return fmt.Sprintf("write %s %s, %d events of %d partitions", table, s.plan.Topic, events, len(batches))
}
