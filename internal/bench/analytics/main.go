// Command analytics measures the bank's questions over millions of rows in the embedded ClickHouse engine, with three ways
// to keep the sums that they need: none, materialized views, and projections of the table (which is how it is shipped).
// It prints a table with the machine's facts, then a line for each target; BENCH_JSON=FILE takes both as JSON.
//
//	BENCH_ROWS=10000000 make bench-analytics
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"reflect"
	"slices"
	"strconv"
	"time"

	ch "github.com/ClickHouse/clickhouse-go/v2"

	"github.com/ledgerline-es/ledgerline/analytics"
	questions "github.com/ledgerline-es/ledgerline/analytics/bank"
	"github.com/ledgerline-es/ledgerline/bank"
	"github.com/ledgerline-es/ledgerline/internal/bench"
	"github.com/ledgerline-es/ledgerline/internal/embedded/clickhouse"
	"github.com/ledgerline-es/ledgerline/internal/process"
	sink "github.com/ledgerline-es/ledgerline/projector/clickhouse"
)

const (
	defaultRows = 10_000_000
	asked       = 11 // times each question is asked of each layout, after twice without counting
	blockRows   = 100_000
	smallBlocks = 100
	smallRows   = 1_000
)

func main() {
	process.Dispatch(clickhouse.Role())
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench analytics:", err)
		os.Exit(1)
	}
}

// result is what is printed, and written as JSON.
type result struct {
	Machine bench.Machine  `json:"machine"`
	Engine  string         `json:"engine"`
	Rows    int            `json:"rows"`
	Layouts []*layout      `json:"layouts"`
	Targets []bench.Target `json:"targets"`
}

func run(ctx context.Context) (err error) {
	rows := defaultRows
	if text := os.Getenv("BENCH_ROWS"); text != "" {
		if rows, err = strconv.Atoi(text); err != nil || rows < 1_000_000 {
			return fmt.Errorf("BENCH_ROWS is %q: give a whole number from 1000000", text)
		}
	}
	folder, err := process.TempFolder(ctx, "ledgerline-bench-*")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, folder.Remove(context.WithoutCancel(ctx))) }()
	server, err := clickhouse.Start(ctx, clickhouse.Config{Dir: folder.Path, Log: os.Stderr})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.Stop(context.WithoutCancel(ctx))) }()
	conn, err := sink.Connect(server.URL(), 60)
	if err != nil {
		return err
	}
	defer conn.Close()
	catalogue, err := analytics.Open(questions.FS)
	if err != nil {
		return err
	}
	r := &result{Rows: rows}
	if err := conn.QueryRow(ctx, "SELECT version()").Scan(&r.Engine); err != nil {
		return err
	}
	r.Layouts = layouts(claimer(server.URL()))
	for _, l := range r.Layouts {
		fmt.Fprintf(os.Stderr, "%s: %d rows …\n", l.Name, rows)
		if err := l.fill(ctx, conn, rows); err != nil {
			return fmt.Errorf("%s: %w", l.Name, err)
		}
	}
	if err := r.measure(ctx, conn, catalogue); err != nil {
		return err
	}
	desk, err := measureDesk(ctx, conn, catalogue)
	if err != nil {
		return err
	}
	r.Machine = bench.ThisMachine()
	r.target(desk)
	r.print()
	return bench.WriteJSON(r)
}

// claimer makes the tables of the bank's projection and its ledger, with all partitions claimed, as a projector does.
func claimer(url string) func(context.Context) error {
	return func(ctx context.Context) error {
		plan, err := bank.Analytics.Plan("")
		if err != nil {
			return err
		}
		plan.TopicID, plan.Partitions = "bench", 12
		to := sink.New(sink.Config{URL: url})
		defer to.Close()
		store, err := to.Open(ctx, plan)
		if err != nil {
			return err
		}
		defer store.Close()
		begin := map[int32]int64{}
		for p := range plan.Partitions {
			begin[p] = 0
		}
		_, err = store.Claim(ctx, begin)
		return err
	}
}

// measure makes small inserts and asks the questions, of one layout after the other each time: whatever else the machine
// does meanwhile, it does to all of them. All must give the same answers.
func (r *result) measure(ctx context.Context, conn ch.Conn, catalogue *analytics.Catalogue) error {
	fmt.Fprintln(os.Stderr, "small inserts …")
	took := map[string][]time.Duration{}
	for i := range smallBlocks {
		for _, l := range r.Layouts {
			started := time.Now()
			if err := l.insert(ctx, conn, r.Rows, r.Rows-(i+1)*smallRows, smallRows, smallRows); err != nil {
				return fmt.Errorf("%s: %w", l.Name, err)
			}
			took[l.Name] = append(took[l.Name], time.Since(started))
		}
	}
	for _, l := range r.Layouts {
		l.SmallInserts, l.Questions = timingOf(took[l.Name]), map[string]timing{}
		if err := l.weigh(ctx, conn, r.Rows); err != nil {
			return err
		}
	}
	for _, q := range catalogue.Queries() {
		fmt.Fprintf(os.Stderr, "%s …\n", q.Name)
		if err := r.ask(ctx, conn, q); err != nil {
			return fmt.Errorf("%s: %w", q.Name, err)
		}
	}
	return nil
}

func (r *result) ask(ctx context.Context, conn ch.Conn, q analytics.Query) error {
	values, err := q.Values(nil)
	if err != nil {
		return err
	}
	var answer [][]any
	took := map[string][]time.Duration{}
	for i := range asked + 2 {
		for _, l := range r.Layouts {
			started := time.Now()
			got, err := read(ctx, conn, l.rewrite(q.Name, q.SQL), values)
			if err != nil {
				return fmt.Errorf("%s: %w", l.Name, err)
			}
			if i >= 2 {
				took[l.Name] = append(took[l.Name], time.Since(started))
			}
			if answer != nil && !reflect.DeepEqual(got, answer) {
				return fmt.Errorf("%s has another answer than %s", l.Name, r.Layouts[0].Name)
			}
			answer = got
		}
	}
	for _, l := range r.Layouts {
		l.Questions[q.Name] = timingOf(took[l.Name])
	}
	return nil
}

// read asks as the catalogue does and takes all rows.
func read(ctx context.Context, conn ch.Conn, sql string, values map[string]string) (all [][]any, err error) {
	ctx = ch.Context(ctx, ch.WithSettings(ch.Settings{"readonly": 1}), ch.WithParameters(values))
	rows, err := conn.Query(ctx, sql)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		row := make([]any, 0, len(rows.ColumnTypes()))
		for _, c := range rows.ColumnTypes() {
			row = append(row, reflect.New(c.ScanType()).Interface())
		}
		if err := rows.Scan(row...); err != nil {
			return nil, err
		}
		all = append(all, row)
	}
	return all, rows.Err()
}

// timing is in milliseconds.
type timing struct {
	Best float64 `json:"best_ms"`
	P50  float64 `json:"p50_ms"`
	P90  float64 `json:"p90_ms"`
	Max  float64 `json:"max_ms"`
}

func timingOf(took []time.Duration) timing {
	slices.Sort(took)
	at := func(percent int) float64 {
		return took[min(len(took)-1, len(took)*percent/100)].Seconds() * 1000
	}
	return timing{Best: at(0), P50: at(50), P90: at(90), Max: at(100)}
}

// shipped is the layout of the bank's own CREATE text.
func (r *result) shipped() *layout { return r.Layouts[len(r.Layouts)-1] }

func (r *result) target(desk timing) {
	add := func(name string, measured, goal float64) {
		r.Targets = append(r.Targets, bench.AtMost(name, measured, goal))
	}
	for _, name := range questionNames(r.shipped()) {
		p90 := r.shipped().Questions[name].P90
		add("analytics_"+name+"_p90_ms", p90, 500)
		add("analytics_"+name+"_p90_ms_tenth", p90, 50)
	}
	add("analytics_50_clients_p90_ms", desk.P90, 50)
}

func questionNames(l *layout) []string {
	var names []string
	for name := range l.Questions {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func (r *result) print() {
	fmt.Printf("%d rows; ClickHouse engine %s; %s\n\n", r.Rows, r.Engine, r.Machine)
	fmt.Printf("%-38s", "best / p50 / p90 in ms, one at a time")
	for _, l := range r.Layouts {
		fmt.Printf("  %22s", l.Name)
	}
	fmt.Println()
	for _, name := range questionNames(r.shipped()) {
		fmt.Printf("%-38s", name)
		for _, l := range r.Layouts {
			fmt.Printf("  %22s", fmt.Sprintf("%.0f / %.0f / %.0f", l.Questions[name].Best, l.Questions[name].P50, l.Questions[name].P90))
		}
		fmt.Println()
	}
	for _, line := range []struct {
		what  string
		value func(*layout) float64
	}{
		{"inserted, 1000 rows/s, big blocks", func(l *layout) float64 { return l.BigInserts / 1000 }},
		{"ms an insert of 1000 rows, best", func(l *layout) float64 { return l.SmallInserts.Best }},
		{"ms an insert of 1000 rows, p50", func(l *layout) float64 { return l.SmallInserts.P50 }},
		{"ms an insert of 1000 rows, p90", func(l *layout) float64 { return l.SmallInserts.P90 }},
		{"bytes on disk a row", func(l *layout) float64 { return l.BytesPerRow }},
	} {
		fmt.Printf("%-38s", line.what)
		for _, l := range r.Layouts {
			fmt.Printf("  %22.1f", line.value(l))
		}
		fmt.Println()
	}
	fmt.Println()
	bench.Print(os.Stdout, r.Targets)
}
