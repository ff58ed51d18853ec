package clickhouse

import (
	"context"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"

	ch "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/google/uuid"

	"github.com/ledgerline-es/ledgerline/projector"
)

// preflight refuses a server or a table on which a repeated insert could not be told from a new one, with the statement
// that mends it.
func (s *store) preflight(ctx context.Context, database string) error {
	tables, err := s.targets(ctx, database, s.plan.Physical())
	if err != nil {
		return err
	}
	for _, t := range tables {
		if err := s.checkWindow(ctx, t); err != nil {
			return err
		}
	}
	return s.probe(ctx)
}

// target is a table that an insert ends up in.
type target struct {
	name    string // quoted
	engine  string // with its settings
	through string // the materialised view that leads there; empty for the projection's own table
}

var viewTarget = regexp.MustCompile("(?s)^CREATE MATERIALIZED VIEW .*? TO (`[^`]+`|[\\w]+)\\.(`[^`]+`|[\\w]+)")

// targets are the table and those that materialised views on it fill.
func (s *store) targets(ctx context.Context, database, table string) ([]target, error) {
	const about = "SELECT name, engine, engine_full, create_table_query, toString(uuid), dependencies_database, dependencies_table FROM system.tables WHERE database = ? AND name = ?"
	var (
		found []target
		visit func(database, table, through string) error
	)
	visit = func(database, table, through string) error {
		var (
			name, engine, full, create, id string
			viewDatabases, views           []string
		)
		err := s.query(ctx, "look at table "+database+"."+table, about, []any{database, table}, func(scan func(...any) error) error {
			return scan(&name, &engine, &full, &create, &id, &viewDatabases, &views)
		})
		if err != nil || name == "" {
			return err
		}
		if engine == "MaterializedView" {
			if to := viewTarget.FindStringSubmatch(create); to != nil {
				return visit(strings.Trim(to[1], "`"), strings.Trim(to[2], "`"), quote(database)+"."+quote(table))
			}
			return visit(database, ".inner_id."+id, quote(database)+"."+quote(table))
		}
		found = append(found, target{name: quote(database) + "." + quote(table), engine: full, through: through})
		for i := range views {
			if err := visit(viewDatabases[i], views[i], through); err != nil {
				return err
			}
		}
		return nil
	}
	err := visit(database, table, "")
	return found, err
}

var settingPattern = regexp.MustCompile(`\b(non_)?replicated_deduplication_window\s*=\s*(\d+)`)

// checkWindow makes sure that a table remembers the inserts of as long a stall as is to be survived.
func (s *store) checkWindow(ctx context.Context, t target) error {
	engine, _, _ := strings.Cut(t.engine, "(")
	engine, _, _ = strings.Cut(engine, " ")
	if !strings.HasSuffix(engine, "MergeTree") {
		return projector.Fatal(fmt.Errorf("table %s has engine %s, which does not recognise a repeated insert", t.name, engine), "use an engine of the MergeTree family")
	}
	setting := "non_replicated_deduplication_window"
	if strings.HasPrefix(engine, "Replicated") || strings.HasPrefix(engine, "Shared") {
		setting = "replicated_deduplication_window"
	}
	window := int64(-1)
	for _, m := range settingPattern.FindAllStringSubmatch(t.engine, -1) {
		if (m[1] == "non_") == strings.HasPrefix(setting, "non_") {
			window, _ = strconv.ParseInt(m[2], 10, 64)
		}
	}
	if window < 0 {
		err := s.query(ctx, "read the default of "+setting, "SELECT toInt64OrZero(value) FROM system.merge_tree_settings WHERE name = ?", []any{setting},
			func(scan func(...any) error) error { return scan(&window) })
		if err != nil {
			return err
		}
	}
	need := int64(math.Ceil(float64(s.plan.Partitions) * s.cfg.Stall.Seconds() / s.cfg.Interval.Seconds()))
	if window >= need {
		return nil
	}
	via := ""
	if t.through != "" {
		via = " (filled by view " + t.through + ")"
	}
	return projector.Fatal(
		fmt.Errorf("table %s%s recognises a repeated insert among the last %d; %d partitions every %s for a stall of %s need %d: rows could be doubled", t.name, via, window, s.plan.Partitions, s.cfg.Interval, s.cfg.Stall, need),
		fmt.Sprintf("run: ALTER TABLE %s MODIFY SETTING %s = %d", t.name, setting, max(need, 10_000)))
}

// probe tries it: the same block under the same token, twice, must be there once. Whatever setting of server, profile or
// user breaks that is found, known or not.
func (s *store) probe(ctx context.Context) error {
	table := s.books + ".preflight"
	if err := s.exec(ctx, "make table "+table, "CREATE TABLE IF NOT EXISTS "+table+
		" (run UUID, at DateTime DEFAULT now()) ENGINE = MergeTree ORDER BY run TTL at + INTERVAL 1 DAY SETTINGS non_replicated_deduplication_window = 100"); err != nil && !exists(err) {
		return err
	}
	run := uuid.New()
	for range 2 {
		err := s.insert(ctx, "try "+table, table, []ch.ColumnNameAndType{{Name: "run", Type: "UUID"}}, [][]any{{[]uuid.UUID{run}}}, insertSettings(run.String()))
		if err != nil {
			return err
		}
	}
	var n uint64
	if err := s.query(ctx, "read "+table, "SELECT count() FROM "+table+" WHERE run = ?", []any{run}, func(scan func(...any) error) error { return scan(&n) }); err != nil {
		return err
	}
	if n != 1 {
		return projector.Fatal(fmt.Errorf("a row inserted twice under one token was there %d times: this server does not recognise a repeated insert", n),
			"let the user set async_insert = 0, insert_deduplicate = 1 and insert_deduplication_token, and run: ALTER USER … SETTINGS async_insert = 0, insert_deduplicate = 1")
	}
	return nil
}

// insertSettings are those of an insert that may be repeated.
func insertSettings(token string) ch.Settings {
	return ch.Settings{
		"insert_deduplicate":                                 1,
		"insert_deduplication_token":                         token,
		"deduplicate_blocks_in_dependent_materialized_views": 1,
	}
}
