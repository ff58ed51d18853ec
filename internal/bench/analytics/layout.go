package main

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"time"

	ch "github.com/ClickHouse/clickhouse-go/v2"

	"github.com/ledgerline-es/ledgerline/analytics"
	"github.com/ledgerline-es/ledgerline/bank"
)

// layout is one way to keep the rows and the sums that questions need.
type layout struct {
	Name         string            `json:"name"`
	Questions    map[string]timing `json:"questions"`
	BigInserts   float64           `json:"big_inserts_rows_per_second"`
	SmallInserts timing            `json:"small_inserts"`
	BytesPerRow  float64           `json:"bytes_per_row"`

	database   string
	statements []string                      // that make its tables; DB stands for the database
	open       func(context.Context) error   // or what makes them
	rewrite    func(name, sql string) string // a question as it is asked of this layout
}

var projections = regexp.MustCompile(`(?s),\s*PROJECTION .*?\n    \)(,|\n\))`)

// layouts are without sums, with materialized views, and as shipped; the last in database bank, where the questions look, made by
// claim, as a projector makes it.
func layouts(claim func(context.Context) error) []*layout {
	plan, err := bank.Analytics.Plan("")
	if err != nil {
		panic(err) // the bank's own tests would have failed
	}
	shipped := plan.CreateAs("DB.account_events__g1")
	plain := shipped
	for projections.MatchString(plain) {
		plain = projections.ReplaceAllString(plain, "$1")
	}
	byDay := regexp.MustCompile(`(?s),\s*PROJECTION by_account .*?\n    \)`).ReplaceAllString(shipped, "")
	view := "CREATE VIEW DB.account_events AS SELECT * FROM DB.account_events__g1"
	in := func(database string) func(string, string) string {
		return func(_, sql string) string { return strings.ReplaceAll(sql, "bank.", database+".") }
	}
	summed := strings.NewReplacer(
		"bank.account_events", "summed.BY", "toDate32(business_time)", "day", "business_time", "day",
		"sum(abs(amount_minor))", "sum(volume)", "sum(amount_minor)", "sum(net)", "countIf(amount_minor != 0)", "sum(moves)", "countIf(type = 'AccountClosed')", "sum(closed)")
	return []*layout{
		{Name: "plain table", database: "plain", statements: []string{plain, view}, rewrite: in("plain")},
		{
			Name: "materialized views", database: "summed",
			statements: []string{
				plain, view,
				`CREATE TABLE DB.by_day (day Date32, currency LowCardinality(String), type LowCardinality(String), category LowCardinality(String), n UInt64, net Int64, volume UInt64)
					ENGINE = SummingMergeTree ORDER BY (day, currency, type, category) SETTINGS non_replicated_deduplication_window = 10000`,
				`CREATE TABLE DB.by_account (aggregate_id String, currency SimpleAggregateFunction(max, String), net SimpleAggregateFunction(sum, Int64), volume SimpleAggregateFunction(sum, UInt64),
					moves SimpleAggregateFunction(sum, UInt64), closed SimpleAggregateFunction(sum, UInt64))
					ENGINE = AggregatingMergeTree ORDER BY aggregate_id SETTINGS non_replicated_deduplication_window = 10000`,
				`CREATE MATERIALIZED VIEW DB.to_by_day TO DB.by_day AS SELECT toDate32(business_time) AS day, currency, type, category, count() AS n, sum(amount_minor) AS net, sum(abs(amount_minor)) AS volume
					FROM DB.account_events__g1 GROUP BY day, currency, type, category`,
				`CREATE MATERIALIZED VIEW DB.to_by_account TO DB.by_account AS SELECT aggregate_id, max(currency) AS currency, sum(amount_minor) AS net, sum(abs(amount_minor)) AS volume,
					countIf(amount_minor != 0) AS moves, countIf(type = 'AccountClosed') AS closed FROM DB.account_events__g1 GROUP BY aggregate_id`,
			},
			rewrite: func(name, sql string) string {
				switch name {
				case "daily-volume", "bank-balance", "categories":
					return strings.NewReplacer("summed.BY", "summed.by_day", "count()", "sum(n)").Replace(summed.Replace(sql))
				case "top-accounts", "balance-distribution":
					return strings.ReplaceAll(summed.Replace(sql), "summed.BY", "summed.by_account")
				}
				return in("summed")(name, sql) // medians cannot be summed
			},
		},
		{Name: "projection by day", database: "days", statements: []string{byDay, view}, rewrite: in("days")},
		{Name: "projections (shipped)", database: "bank", open: claim, rewrite: in("bank")},
	}
}

// rowsFrom are invented events: a hundred an account, in three currencies, over three years, in the order of the log.
const rowsFrom = `INSERT INTO DB.account_events__g1
WITH number %% 100000 AS account, intDiv(number, 100000) AS s, cityHash64(number) AS h,
	toInt64(exp(6 + 3 * ((h %% 1000 + intDiv(h, 1000) %% 1000 + intDiv(h, 1000000) %% 1000) / 3000) + (account %% 7) / 3)) AS amount,
	multiIf(s = 0, 'AccountOpened', h %% 100 < 1, 'AccountFrozen', h %% 100 < 45, 'MoneyDeposited', 'MoneyWithdrawn') AS t,
	startsWith(t, 'Money') AS moves,
	toDateTime64('2023-01-01 00:00:00', 6, 'UTC') + toIntervalSecond(toInt64(number * (94608000 / %[1]d))) + toIntervalSecond(h %% 86400) AS time
SELECT concat('account-', leftPad(toString(account), 6, '0')), s + 1, t,
	multiIf(t = 'MoneyDeposited', amount, t = 'MoneyWithdrawn', -amount, 0), if(moves, 1000000 + amount, 0),
	if(t = 'AccountFrozen', '', ['EUR', 'CZK', 'USD'][account %% 3 + 1]),
	if(moves, ['cash_deposit', 'cash_withdrawal', 'card_withdrawal', 'transfer_in', 'transfer_out'][intDiv(h, 7) %% 5 + 1], ''),
	if(moves, ['', 'wages', 'household', 'interest', 'statement_fee', 'shopping', 'savings', 'insurance'][intDiv(h, 11) %% 8 + 1], ''),
	if(moves, concat('AB/', toString(10000000 + intDiv(h, 13) %% 5000)), ''),
	time, time + INTERVAL 1 SECOND, account %% 12, s * 8400 + intDiv(account, 12)
FROM numbers(%[2]d, %[3]d)`

// fill makes the tables and inserts all rows but the last in blocks of a rebuild's size.
func (l *layout) fill(ctx context.Context, conn ch.Conn, rows int) error {
	if l.open != nil {
		if err := l.open(ctx); err != nil {
			return err
		}
	}
	for _, sql := range append([]string{"CREATE DATABASE IF NOT EXISTS DB"}, l.statements...) {
		if err := conn.Exec(ctx, strings.ReplaceAll(sql, "DB", l.database)); err != nil {
			return err
		}
	}
	first := smallBlocks * smallRows // of the log's end, inserted later
	started := time.Now()
	err := l.insert(ctx, conn, rows, 0, rows-first, blockRows)
	l.BigInserts = float64(rows-first) / time.Since(started).Seconds()
	return err
}

// insert inserts n rows of a log of all rows, in blocks.
func (l *layout) insert(ctx context.Context, conn ch.Conn, all, first, n, block int) error {
	ctx = ch.Context(ctx, ch.WithSettings(ch.Settings{
		"max_insert_block_size": block, "min_insert_block_size_rows": block, "min_insert_block_size_bytes": 0, "max_block_size": block, "max_threads": 1,
		"insert_deduplicate": 1, "deduplicate_blocks_in_dependent_materialized_views": 1,
	}))
	return conn.Exec(ctx, fmt.Sprintf(strings.ReplaceAll(rowsFrom, "DB", l.database), all, first, n))
}

// weigh finds out what the layout takes on disk.
func (l *layout) weigh(ctx context.Context, conn ch.Conn, rows int) error {
	var bytes uint64
	err := conn.QueryRow(ctx, "SELECT sum(bytes_on_disk) FROM system.parts WHERE active AND database = '"+l.database+"'").Scan(&bytes)
	l.BytesPerRow = float64(bytes) / float64(rows)
	return err
}

const (
	clients  = 50
	requests = 1000
)

// measureDesk asks all questions in turn, from many at once, of a projection that stands still: as a load test does.
func measureDesk(ctx context.Context, conn ch.Conn, catalogue *analytics.Catalogue) (timing, error) {
	desk := analytics.NewDesk(catalogue, conn)
	all := catalogue.Queries()
	for _, q := range all {
		if _, err := desk.Ask(ctx, q.Name, nil); err != nil {
			return timing{}, err
		}
	}
	var (
		group  sync.WaitGroup
		mu     sync.Mutex
		took   []time.Duration
		failed error
	)
	for c := range clients {
		group.Go(func() {
			for i := range requests / clients {
				started := time.Now()
				_, err := desk.Ask(ctx, all[(c+i)%len(all)].Name, nil)
				mu.Lock()
				took = append(took, time.Since(started))
				if err != nil {
					failed = err
				}
				mu.Unlock()
			}
		})
	}
	group.Wait()
	return timingOf(took), failed
}
