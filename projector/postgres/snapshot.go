package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/ledgerline-es/ledgerline/projector"
)

// snapshot is a transaction that sees rows and positions as of one moment.
type snapshot struct {
	conn      *pgxpool.Conn
	tx        pgx.Tx
	plan      projector.Plan
	layout    layout
	positions map[int32]projector.SnapshotPosition
}

// Snapshot reads positions and rows in one REPEATABLE READ transaction. It holds a connection until it is closed.
func (s *Sink) Snapshot(ctx context.Context, plan projector.Plan) (_ projector.Snapshot, err error) {
	pool, err := s.conns(ctx)
	if err != nil {
		return nil, err
	}
	conn, err := pool.Acquire(ctx)
	if err != nil {
		return nil, classify("connect", err)
	}
	snap := &snapshot{conn: conn, plan: plan, positions: make(map[int32]projector.SnapshotPosition)}
	defer func() {
		if err != nil {
			snap.Close()
		}
	}()
	if snap.tx, err = conn.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}); err != nil {
		return nil, classify("begin a snapshot", err)
	}
	var booked bool // asked first: a query that fails would stand in the server's log as an error
	if err := snap.tx.QueryRow(ctx, "SELECT to_regclass('ledgerline.generations') IS NOT NULL").Scan(&booked); err != nil {
		return nil, classify("look for the bookkeeping", err)
	}
	stored, err := "", pgx.ErrNoRows
	if booked {
		stored, err = fingerprintOf(ctx, snap.tx, plan)
	}
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return nil, fmt.Errorf("projection %s in Postgres: %w", plan.Projection, projector.ErrNotBuilt)
	case err != nil:
		return nil, classify("read the generation of "+plan.Projection, err)
	case stored != plan.Fingerprint:
		return nil, &projector.RebuildRequiredError{Projection: plan.Projection, Table: plan.Schema + "." + plan.Table, Stored: stored, Wanted: plan.Fingerprint}
	}
	if err := checkLog(ctx, snap.tx, plan); err != nil {
		return nil, err
	}
	if snap.layout, err = layoutOf(ctx, snap.tx, plan); err != nil {
		return nil, err
	}
	rows, err := snap.tx.Query(ctx, "SELECT partition, topic, topic_id, next_offset FROM ledgerline.offsets WHERE projection = $1 AND generation = $2 AND topic = $3",
		plan.Projection, plan.Generation, plan.Topic)
	if err != nil {
		return nil, classify("read offsets of "+plan.Projection, err)
	}
	var (
		id int32
		p  projector.SnapshotPosition
	)
	if _, err = pgx.ForEachRow(rows, []any{&id, &p.Topic, &p.TopicID, &p.Next}, func() error { snap.positions[id] = p; return nil }); err != nil {
		return nil, classify("read offsets of "+plan.Projection, err)
	}
	return snap, nil
}

func (s *snapshot) Positions() map[int32]projector.SnapshotPosition { return s.positions }

func (s *snapshot) Identity() []int { return s.layout.key }

func (s *snapshot) Read(ctx context.Context, _ int32, target []any, visit func(offset int64, ordinal int32) bool) error {
	columns := make([]string, len(s.plan.Columns))
	for i, name := range s.plan.Columns {
		columns[i] = quote(name)
	}
	rows, err := s.tx.Query(ctx, "SELECT "+strings.Join(columns, ", ")+" FROM "+physicalName(s.plan))
	if err != nil {
		return classify("read "+physicalName(s.plan), err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := rows.Scan(target...); err != nil {
			return classify("read "+physicalName(s.plan), err)
		}
		if !visit(-1, 0) {
			return nil
		}
	}
	return classify("read "+physicalName(s.plan), rows.Err())
}

// Lookup finds rows by their primary key.
func (s *snapshot) Lookup(ctx context.Context, _ int32, _ []int64, identities [][]any) (rows []json.RawMessage, err error) {
	columns := make([]string, len(s.plan.Columns))
	for i, name := range s.plan.Columns {
		columns[i] = quote(name)
	}
	var where []string
	for i, column := range s.layout.key {
		where = append(where, fmt.Sprintf("%s = $%d", columns[column], i+1))
	}
	query := fmt.Sprintf("SELECT row_to_json(r) FROM (SELECT %s FROM %s WHERE %s) r", strings.Join(columns, ", "), physicalName(s.plan), strings.Join(where, " AND "))
	for _, identity := range identities[:min(len(identities), 100)] {
		var row json.RawMessage
		switch err := s.tx.QueryRow(ctx, query, identity...).Scan(&row); {
		case errors.Is(err, pgx.ErrNoRows):
		case err != nil:
			return nil, classify("look up a row in "+physicalName(s.plan), err)
		default:
			rows = append(rows, row)
		}
	}
	return rows, nil
}

// Strays: a row that no event gives is found by its key.
func (s *snapshot) Strays(context.Context) ([]projector.Difference, error) { return nil, nil }

func (s *snapshot) Close() {
	ctx := context.Background()
	if s.tx != nil {
		_ = s.tx.Rollback(ctx) // it wrote nothing
	}
	s.conn.Release()
}
