package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ledgerline-es/ledgerline/projector"
)

// Positions gives where a projection's partitions stand, for those who watch from outside: one query, and none of the
// table's rows. A projection that was never built has none.
func (s *Sink) Positions(ctx context.Context, plan projector.Plan) (map[int32]projector.SnapshotPosition, error) {
	pool, err := s.conns(ctx)
	if err != nil {
		return nil, err
	}
	positions := make(map[int32]projector.SnapshotPosition)
	var booked bool // asked first: a query that fails would stand in the server's log as an error
	if err := pool.QueryRow(ctx, "SELECT to_regclass('ledgerline.offsets') IS NOT NULL").Scan(&booked); err != nil || !booked {
		return positions, classify("look for the bookkeeping", err)
	}
	asOf := time.Now()
	rows, err := pool.Query(ctx, "SELECT partition, topic_id, next_offset FROM ledgerline.offsets WHERE projection = $1 AND generation = $2 AND topic = $3",
		plan.Projection, plan.Generation, plan.Topic)
	if err != nil {
		return nil, classify("read offsets of "+plan.Projection, err)
	}
	var (
		id int32
		p  = projector.SnapshotPosition{Topic: plan.Topic, AsOf: asOf}
	)
	_, err = pgx.ForEachRow(rows, []any{&id, &p.TopicID, &p.Next}, func() error { positions[id] = p; return nil })
	return positions, classify("read offsets of "+plan.Projection, err)
}
