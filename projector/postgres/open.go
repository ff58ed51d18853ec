package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/ledgerline-es/ledgerline/projector"
)

// lockKey is the advisory lock that all who make tables take: "ledgerln" in ASCII.
const lockKey = 0x6c65646765726c6e

// bookkeeping makes the sink's own tables.
const bookkeeping = `
CREATE SCHEMA IF NOT EXISTS ledgerline;
CREATE TABLE IF NOT EXISTS ledgerline.generations (
    projection  text    NOT NULL,
    generation  integer NOT NULL,
    table_name  text    NOT NULL, -- the physical table, with its schema
    fingerprint text    NOT NULL, -- of the CREATE text and the mapping version
    state       text    NOT NULL, -- serving: the view shows this one
    PRIMARY KEY (projection, generation)
);
CREATE TABLE IF NOT EXISTS ledgerline.offsets (
    projection  text    NOT NULL,
    generation  integer NOT NULL,
    topic       text    NOT NULL,
    topic_id    text    NOT NULL, -- another id under the same name is another log
    partition   integer NOT NULL,
    next_offset bigint  NOT NULL, -- all events before it are in the table
    PRIMARY KEY (projection, generation, topic, partition)
) WITH (fillfactor = 50); -- rewritten with every transaction: room for updates in place
`

// stateServing marks the generation that the view shows.
const stateServing = "serving"

// Open makes table, view and bookkeeping in one transaction, unless they are there.
func (s *Sink) Open(ctx context.Context, plan projector.Plan) (projector.Store, error) {
	pool, err := s.conns(ctx)
	if err != nil {
		return nil, err
	}
	if err := s.build(ctx, pool, plan); err != nil {
		return nil, err
	}
	layout, err := layoutOf(ctx, pool, plan)
	if err != nil {
		return nil, err
	}
	s.metrics.rows.WithLabelValues(plan.Projection) // a counter that is not there can't be 0
	return &store{sink: s, pool: pool, plan: plan, layout: layout, sql: statementsFor(plan, layout)}, nil
}

func (s *Sink) build(ctx context.Context, pool *pgxpool.Pool, plan projector.Plan) error {
	return pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, notFrozen); err != nil {
			return classify("begin", err)
		}
		// One at a time: CREATE … IF NOT EXISTS alone fails when two run at once.
		if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock($1)", int64(lockKey)); err != nil {
			return classify("wait for others who make tables", err)
		}
		if _, err := tx.Exec(ctx, bookkeeping); err != nil {
			return classify("make the bookkeeping in schema ledgerline", err)
		}
		stored, err := fingerprintOf(ctx, tx, plan)
		switch {
		case err == nil && stored != plan.Fingerprint:
			return &projector.RebuildRequiredError{Projection: plan.Projection, Table: plan.Schema + "." + plan.Table, Stored: stored, Wanted: plan.Fingerprint}
		case err == nil:
			return checkLog(ctx, tx, plan)
		case !errors.Is(err, pgx.ErrNoRows):
			return classify("read the generation of "+plan.Projection, err)
		}
		physical := physicalName(plan)
		for _, step := range []struct{ doing, sql string }{
			{"make schema " + plan.Schema, "CREATE SCHEMA IF NOT EXISTS " + quote(plan.Schema)},
			{"make table " + physical, plan.CreateAs(physical)},
			{"make view " + plan.Schema + "." + plan.Table, fmt.Sprintf("CREATE VIEW %s AS SELECT * FROM %s", quote(plan.Schema, plan.Table), physical)},
			{"note the topic of " + plan.Schema + "." + plan.Table, fmt.Sprintf("COMMENT ON VIEW %s IS '%s'", quote(plan.Schema, plan.Table), strings.ReplaceAll(plan.Note(), "'", "''"))},
		} {
			if _, err := tx.Exec(ctx, step.sql); err != nil {
				return classify(step.doing, err)
			}
		}
		_, err = tx.Exec(ctx, "INSERT INTO ledgerline.generations VALUES ($1, $2, $3, $4, $5)",
			plan.Projection, plan.Generation, plan.Schema+"."+plan.Physical(), plan.Fingerprint, stateServing)
		return classify("record the generation of "+plan.Projection, err)
	})
}

type querier interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

func fingerprintOf(ctx context.Context, q querier, plan projector.Plan) (stored string, err error) {
	err = q.QueryRow(ctx, "SELECT fingerprint FROM ledgerline.generations WHERE projection = $1 AND generation = $2", plan.Projection, plan.Generation).Scan(&stored)
	return stored, err
}

// checkLog refuses a table of another topic. Tables made before the view had a note are known by their positions.
func checkLog(ctx context.Context, q querier, plan projector.Plan) error {
	var note, topic string
	err := q.QueryRow(ctx, `SELECT coalesce(obj_description(to_regclass($1), 'pg_class'), ''),
		coalesce((SELECT min(topic) FROM ledgerline.offsets WHERE projection = $2 AND generation = $3 AND topic <> $4), '')`,
		quote(plan.Schema, plan.Table), plan.Projection, plan.Generation, plan.Topic).Scan(&note, &topic)
	if err != nil {
		return classify("look whose rows "+plan.Schema+"."+plan.Table+" holds", err)
	}
	return plan.CheckLog(note, topic, fmt.Sprintf("give each topic prefix a database of its own (--postgres-url); or drop the old projection: "+
		"DROP TABLE %s CASCADE; DELETE FROM ledgerline.generations WHERE projection = '%[2]s'; DELETE FROM ledgerline.offsets WHERE projection = '%[2]s'", physicalName(plan), plan.Projection))
}

// layout is what the catalog says of a projection's table.
type layout struct {
	types []string // of the plan's columns, such as "bigint"
	key   []int    // the plan's columns that are the primary key, in its order
}

// layoutOf asks the catalog and checks that the table fits the plan.
func layoutOf(ctx context.Context, q querier, plan projector.Plan) (layout, error) {
	rows, err := q.Query(ctx, `
		SELECT a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull AND NOT a.atthasdef AND a.attidentity = '',
		       coalesce(array_position(i.indkey::int2[], a.attnum), -1)
		FROM pg_attribute a
		JOIN pg_class c ON c.oid = a.attrelid
		JOIN pg_namespace n ON n.oid = c.relnamespace
		LEFT JOIN pg_index i ON i.indrelid = c.oid AND i.indisprimary
		WHERE n.nspname = $1 AND c.relname = $2 AND a.attnum > 0 AND NOT a.attisdropped`, plan.Schema, plan.Physical())
	if err != nil {
		return layout{}, classify("read the layout of "+physicalName(plan), err)
	}
	type column struct {
		typ    string
		needed bool
		keyPos int
	}
	found := make(map[string]column)
	var (
		name string
		c    column
	)
	if _, err := pgx.ForEachRow(rows, []any{&name, &c.typ, &c.needed, &c.keyPos}, func() error { found[name] = c; return nil }); err != nil {
		return layout{}, classify("read the layout of "+physicalName(plan), err)
	}
	misfit := func(format string, args ...any) (layout, error) {
		return layout{}, projector.Fatal(fmt.Errorf("table %s: %s", physicalName(plan), fmt.Sprintf(format, args...)), "make the projection's columns and its CREATE text agree, then rebuild it")
	}
	if len(found) == 0 {
		return layout{}, projector.Fatal(fmt.Errorf("table %s is gone", physicalName(plan)), "it was dropped by hand: restore it with its offsets, or rebuild the projection")
	}
	l := layout{types: make([]string, len(plan.Columns))}
	keys := map[int]int{}
	for i, name := range plan.Columns {
		c, ok := found[name]
		if !ok {
			return misfit("it has no column %s", name)
		}
		l.types[i] = c.typ
		if c.keyPos >= 0 {
			keys[c.keyPos] = i
		}
		delete(found, name)
	}
	for name, c := range found {
		if c.keyPos >= 0 || c.needed {
			return misfit("column %s has no default and the projection does not fill it", name)
		}
	}
	for pos := 0; len(l.key) < len(keys); pos++ { // int2vector counts from 0
		if i, ok := keys[pos]; ok {
			l.key = append(l.key, i)
		}
	}
	switch {
	case len(l.key) == 0:
		return misfit("it has no primary key: rows could not be told apart")
	case plan.Shape == projector.ShapeFold && !slices.Equal(l.key, []int{0}):
		return misfit("the primary key of a fold must be its first column, %s, alone", plan.Columns[0])
	}
	return l, nil
}

// physicalName is the table's quoted name with its schema.
func physicalName(plan projector.Plan) string { return quote(plan.Schema, plan.Physical()) }

func quote(parts ...string) string { return pgx.Identifier(parts).Sanitize() }

// statements are a projection's SQL.
type statements struct {
	load, upsert, insert string
}

func statementsFor(plan projector.Plan, l layout) statements {
	columns := make([]string, len(plan.Columns))
	arrays := make([]string, len(plan.Columns))
	var sets []string
	for i, name := range plan.Columns {
		columns[i] = quote(name)
		arrays[i] = fmt.Sprintf("$%d::%s[]", i+1, l.types[i])
		if !slices.Contains(l.key, i) {
			sets = append(sets, fmt.Sprintf("%s = EXCLUDED.%s", columns[i], columns[i]))
		}
	}
	list, table := strings.Join(columns, ", "), physicalName(plan)
	s := statements{
		load:   fmt.Sprintf("SELECT %s FROM %s WHERE %s = ANY($1)", list, table, columns[l.key[0]]),
		insert: fmt.Sprintf("INSERT INTO %s (%s) SELECT * FROM unnest(%s)", table, list, strings.Join(arrays, ", ")),
	}
	s.upsert = s.insert + fmt.Sprintf(" ON CONFLICT (%s) DO ", columns[l.key[0]])
	if len(sets) == 0 {
		s.upsert += "NOTHING"
	} else {
		s.upsert += "UPDATE SET " + strings.Join(sets, ", ")
	}
	return s
}

// pace: a transaction costs about a millisecond, so a few milliseconds between two of them make batches without being seen.
func (s *Sink) pace() projector.Pace {
	return projector.Pace{Interval: 5 * time.Millisecond, MaxEvents: s.cfg.MaxEvents}
}
