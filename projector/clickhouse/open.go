package clickhouse

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	ch "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/google/uuid"

	"github.com/ledgerline-es/ledgerline/projector"
)

// States of a generation.
const (
	stateBuilding = "building" // being made: nothing is in it
	stateServing  = "serving"  // the view shows this one
)

// bookkeeping are the sink's own tables. BOOKS stands for their database.
var bookkeeping = []string{
	`CREATE TABLE IF NOT EXISTS BOOKS.generations_log (
		"projection" String, -- a keyword otherwise
		generation  UInt32,
		table_name  String,
		fingerprint String,
		state       LowCardinality(String),
		recorded_at DateTime64(6, 'UTC')
	) ENGINE = ReplacingMergeTree(recorded_at) ORDER BY ("projection", generation)`,

	`CREATE VIEW IF NOT EXISTS BOOKS.generations AS
		SELECT "projection", generation, argMax(table_name, recorded_at) AS table_name,
		       argMax(fingerprint, recorded_at) AS fingerprint, argMax(state, recorded_at) AS state
		FROM BOOKS.generations_log GROUP BY "projection", generation`,

	// Merges leave one row for each epoch and owner: the last range that it began.
	`CREATE TABLE IF NOT EXISTS BOOKS.ledger (
		"projection" LowCardinality(String),
		generation   UInt32,
		topic        LowCardinality(String),
		topic_id     LowCardinality(String),
		partition    Int32,
		epoch        UInt64,               -- of the claim; the highest owns the partition
		owner        String,
		first_offset UInt64,               -- the range [first_offset, next_offset) was begun; 0 and 0 is a claim alone
		next_offset  UInt64,
		rows         UInt64,               -- that the range gives
		token        String,               -- under which it is inserted
		recorded_at  DateTime64(6, 'UTC')
	) ENGINE = ReplacingMergeTree(next_offset)
	ORDER BY ("projection", generation, topic, topic_id, partition, epoch, owner)`,
}

// Open makes table, view and bookkeeping unless they are there, and refuses a server that cannot keep the promise.
func (s *Sink) Open(ctx context.Context, plan projector.Plan) (projector.Store, error) {
	c, err := s.client(plan)
	if err != nil {
		return nil, err
	}
	if err := s.build(ctx, c, plan); err != nil {
		return nil, err
	}
	if err := c.checkLog(ctx, plan, s.cfg.DatabasePrefix); err != nil {
		return nil, err
	}
	columns, err := c.layout(ctx, plan, s.cfg.DatabasePrefix)
	if err != nil {
		return nil, err
	}
	st := &store{client: c, cfg: s.cfg, plan: plan, columns: columns, owner: uuid.NewString(), claims: make(map[int32]*claim), metrics: s.metrics}
	s.metrics.of(plan.Projection)
	st.log = s.cfg.Logger.With("projector", plan.Projection, "owner", st.owner)
	for i, name := range plan.Columns {
		if limits, ok := limitsOf(columns[i].Type); ok {
			st.times = append(st.times, timeColumn{index: i, name: name, typ: columns[i].Type, timeLimits: limits})
		}
	}
	if err := st.preflight(ctx, s.cfg.DatabasePrefix+plan.Schema); err != nil {
		return nil, err
	}
	return st, nil
}

func (s *Sink) build(ctx context.Context, c *client, plan projector.Plan) error {
	for _, database := range []string{s.cfg.DatabasePrefix + "ledgerline", s.cfg.DatabasePrefix + plan.Schema} {
		if err := c.exec(ctx, "make database "+database, "CREATE DATABASE IF NOT EXISTS "+quote(database)); err != nil {
			return err
		}
	}
	for _, sql := range bookkeeping {
		if err := c.exec(ctx, "make the bookkeeping", strings.ReplaceAll(sql, "BOOKS", c.books)); err != nil {
			return err
		}
	}
	stored, state, err := c.generation(ctx, plan)
	switch {
	case err != nil && !errors.Is(err, projector.ErrNotBuilt):
		return err
	case err == nil && stored != plan.Fingerprint:
		return &projector.RebuildRequiredError{Projection: plan.Projection, Table: s.cfg.DatabasePrefix + plan.Schema + "." + plan.Table, Stored: stored, Wanted: plan.Fingerprint}
	case err == nil && state == stateServing:
		return nil
	}
	// Without transactions the record comes first: whoever finds the table without it could not know what it was made of.
	// Several who start at once do the same, and the same again does no harm.
	if err := c.record(ctx, s.cfg, plan, stateBuilding); err != nil {
		return err
	}
	if err := c.exec(ctx, "make table "+c.table, plan.CreateAs(c.table)); err != nil && !exists(err) {
		return err
	}
	if err := c.exec(ctx, "make view "+c.view, fmt.Sprintf("CREATE VIEW IF NOT EXISTS %s AS SELECT * FROM %s COMMENT '%s'", c.view, c.table, strings.ReplaceAll(plan.Note(), "'", "''"))); err != nil {
		return err
	}
	return c.record(ctx, s.cfg, plan, stateServing)
}

// checkLog refuses a table of another topic. Of several who make the view at once one succeeds, and its topic counts. Tables
// made before the view had a note are known by the ledger.
func (c *client) checkLog(ctx context.Context, plan projector.Plan, prefix string) error {
	var note, topic string
	err := c.query(ctx, "look whose rows "+c.view+" holds", "SELECT comment FROM system.tables WHERE database = ? AND name = ?", []any{prefix + plan.Schema, plan.Table},
		func(scan func(...any) error) error { return scan(&note) })
	if err != nil {
		return err
	}
	err = c.query(ctx, "look whose positions the ledger holds", "SELECT min(topic) FROM "+c.books+".ledger WHERE projection = ? AND generation = ? AND topic != ?",
		[]any{plan.Projection, plan.Generation, plan.Topic}, func(scan func(...any) error) error { return scan(&topic) })
	if err != nil {
		return err
	}
	return plan.CheckLog(note, topic, fmt.Sprintf("give each topic prefix a server of its own (--clickhouse-url); or drop the old projection: "+
		"DROP VIEW %s; DROP TABLE %s; DELETE FROM %s.generations_log WHERE projection = '%[4]s'; DELETE FROM %[3]s.ledger WHERE projection = '%[4]s'", c.view, c.table, c.books, plan.Projection))
}

// generation reads a generation's fingerprint and state, or ErrNotBuilt.
func (c *client) generation(ctx context.Context, plan projector.Plan) (fingerprint, state string, err error) {
	err = c.query(ctx, "read the generation of "+plan.Projection,
		"SELECT fingerprint, state FROM "+c.books+".generations WHERE projection = ? AND generation = ?", []any{plan.Projection, plan.Generation},
		func(scan func(...any) error) error { return scan(&fingerprint, &state) })
	if err == nil && fingerprint == "" || missing(err) {
		return "", "", fmt.Errorf("projection %s in ClickHouse: %w", plan.Projection, projector.ErrNotBuilt)
	}
	return fingerprint, state, err
}

func (c *client) record(ctx context.Context, cfg Config, plan projector.Plan, state string) error {
	columns := []ch.ColumnNameAndType{
		{Name: "projection", Type: "String"}, {Name: "generation", Type: "UInt32"}, {Name: "table_name", Type: "String"},
		{Name: "fingerprint", Type: "String"}, {Name: "state", Type: "LowCardinality(String)"}, {Name: "recorded_at", Type: "DateTime64(6, 'UTC')"},
	}
	values := [][]any{{
		[]string{plan.Projection}, []uint32{uint32(plan.Generation)}, []string{cfg.DatabasePrefix + plan.Schema + "." + plan.Physical()},
		[]string{plan.Fingerprint}, []string{state}, []time.Time{time.Now().UTC()},
	}}
	return c.insert(ctx, "record the generation of "+plan.Projection, c.books+".generations_log", columns, values, nil)
}

// layout asks for the types of the columns to insert: the plan's, then the sink's own.
func (c *client) layout(ctx context.Context, plan projector.Plan, prefix string) ([]ch.ColumnNameAndType, error) {
	types := make(map[string]string)
	err := c.query(ctx, "read the layout of "+c.table, "SELECT name, type FROM system.columns WHERE database = ? AND table = ? AND default_kind NOT IN ('ALIAS', 'MATERIALIZED')",
		[]any{prefix + plan.Schema, plan.Physical()}, func(scan func(...any) error) error {
			var name, typ string
			if err := scan(&name, &typ); err != nil {
				return err
			}
			types[name] = typ
			return nil
		})
	if err != nil {
		return nil, err
	}
	if len(types) == 0 {
		return nil, projector.Fatal(fmt.Errorf("table %s is gone", c.table), "it was dropped by hand: restore it, or rebuild the projection")
	}
	var columns []ch.ColumnNameAndType
	for _, name := range append(append([]string{}, plan.Columns...), columnPartition, columnOffset) {
		typ, ok := types[name]
		if !ok {
			return nil, projector.Fatal(fmt.Errorf("table %s has no column %s", c.table, name), "make the projection's columns and its CREATE text agree, then rebuild it")
		}
		columns = append(columns, ch.ColumnNameAndType{Name: name, Type: typ})
	}
	if typ, ok := types[columnRow]; ok {
		columns = append(columns, ch.ColumnNameAndType{Name: columnRow, Type: typ})
		c.rowColumn = true
	}
	for _, want := range []ch.ColumnNameAndType{{Name: columnPartition, Type: "Int32"}, {Name: columnOffset, Type: "Int64"}, {Name: columnRow, Type: "UInt32"}} {
		if have, ok := types[want.Name]; ok && have != want.Type {
			return nil, projector.Fatal(fmt.Errorf("table %s: column %s is %s and must be %s", c.table, want.Name, have, want.Type), "correct the CREATE text, then rebuild the projection")
		}
	}
	return columns, nil
}
