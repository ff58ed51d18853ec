package analytics

import (
	"context"
	"reflect"
	"strings"
	"time"

	ch "github.com/ClickHouse/clickhouse-go/v2"

	"github.com/ledgerline-es/ledgerline/projector/clickhouse"
)

// Run asks a question. params are its parameters by name; those left out take their defaults. The error is an
// *UnknownQueryError, *ParamError (joined, when several), projector.ErrNotBuilt, ErrTooLong, ErrUnavailable, or one of the server's.
func (c *Catalogue) Run(ctx context.Context, conn ch.Conn, name string, params map[string]string) (*Answer, error) {
	q, err := c.Query(name)
	if err != nil {
		return nil, err
	}
	values, err := q.Values(params)
	if err != nil {
		return nil, err
	}
	before, err := readReach(ctx, conn, q, nil)
	if err != nil {
		return nil, err
	}
	answer, _, err := ask(ctx, conn, q, values, before)
	return answer, err
}

// readReach reads how far a question's projection reaches.
func readReach(ctx context.Context, conn ch.Conn, q Query, earlier *clickhouse.Reach) (*clickhouse.Reach, error) {
	ctx, cancel := q.bound(ctx)
	defer cancel()
	r, err := clickhouse.ReadReach(ctx, conn, "", q.Projection, earlier)
	return r, explain(q, err)
}

// graceTime is what the way to the server and back may take beside a question's own limit.
const graceTime = 5 * time.Second

// ask asks the question between two readings of how far its projection reaches. It gives the second one too.
func ask(ctx context.Context, conn ch.Conn, q Query, values map[string]string, before *clickhouse.Reach) (*Answer, *clickhouse.Reach, error) {
	started := time.Now()
	a := &Answer{Query: q.Name, Title: q.Title, Params: values, Rows: [][]any{}}
	if err := a.read(ctx, conn, q, values); err != nil {
		return nil, nil, explain(q, err)
	}
	a.Took = time.Since(started)
	latest, err := latestEvent(ctx, conn, q, before)
	if err != nil {
		return nil, nil, explain(q, err)
	}
	bounded, cancel := q.bound(ctx)
	defer cancel()
	after, err := before.Again(bounded, conn)
	if err != nil {
		return nil, nil, explain(q, err)
	}
	a.AsOf = asOf(before, after)
	if a.AsOf.holdsEvents() {
		a.AsOf.EventTime = &latest
	}
	return a, after, nil
}

// asOf is what can be said of rows that were read between two readings of the ledger.
func asOf(before, after *clickhouse.Reach) AsOf {
	a := AsOf{Projection: before.Projection, Generation: before.Generation, Topic: after.Topic, Offsets: map[int32]int64{}, Until: map[int32]int64{}}
	a.Exact = before.Generation == after.Generation // else the rows are of either
	for id, p := range after.Partitions {
		a.Offsets[id], a.Until[id] = before.Partitions[id].Stored, p.Begun // of a partition that was not there before: 0
		a.Exact = a.Exact && a.Offsets[id] == a.Until[id]
	}
	if a.Exact {
		a.Until = nil
	}
	return a
}

func (a AsOf) holdsEvents() bool {
	for id, offset := range a.Offsets {
		if offset > 0 || a.Until[id] > 0 {
			return true
		}
	}
	return false
}

// bound ends a question whose server does not end it in time, as it would if it were well. The context has no deadline that shows: the driver would
// make a time limit of its own out of it, in place of the question's.
func (q Query) bound(parent context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(parent))
	follow := context.AfterFunc(parent, func() { cancel(context.Cause(parent)) })
	timer := time.AfterFunc(q.Timeout+graceTime, func() { cancel(ErrUnavailable) })
	return ctx, func() {
		timer.Stop()
		follow()
		cancel(nil)
	}
}

// settings hold a question to its limits. readonly comes from the one place where it holds in every engine, the request:
// neither a SETTINGS clause nor a function can take it back.
func (q Query) settings() ch.Settings {
	return ch.Settings{
		"readonly":             1,
		"max_execution_time":   max(1, int(q.Timeout.Seconds())),
		"max_result_rows":      q.MaxRows + 1,
		"result_overflow_mode": "break",
	}
}

// escaped is a value in the form in which servers read parameters.
var escaped = strings.NewReplacer(`\`, `\\`, "\t", `\t`, "\n", `\n`)

func (a *Answer) read(ctx context.Context, conn ch.Conn, q Query, values map[string]string) error {
	parameters := make(ch.Parameters, len(values))
	for name, value := range values {
		parameters[name] = escaped.Replace(value)
	}
	ctx, cancel := q.bound(ctx)
	defer cancel()
	rows, err := conn.Query(ch.Context(ctx, ch.WithSettings(q.settings()), ch.WithParameters(parameters)), q.SQL)
	if err != nil {
		return err
	}
	defer rows.Close()
	targets := make([]any, 0, len(rows.ColumnTypes()))
	for _, column := range rows.ColumnTypes() {
		a.Columns = append(a.Columns, Column{Name: column.Name(), Type: column.DatabaseTypeName()})
		targets = append(targets, reflect.New(column.ScanType()).Interface())
	}
	for rows.Next() {
		if len(a.Rows) == q.MaxRows {
			a.Truncated = true
			break
		}
		if err := rows.Scan(targets...); err != nil {
			return err
		}
		row := make([]any, len(targets))
		for i, target := range targets {
			row[i] = plain(reflect.ValueOf(target).Elem().Interface(), a.Columns[i].Type)
		}
		a.Rows = append(a.Rows, row)
	}
	if err := rows.Err(); err != nil || len(a.Columns) > 0 {
		return err
	}
	return a.describe(ctx, conn, q, parameters)
}

// describe asks for the columns alone: over HTTP an answer without rows comes without them.
func (a *Answer) describe(ctx context.Context, conn ch.Conn, q Query, parameters ch.Parameters) error {
	settings := q.settings()
	delete(settings, "max_result_rows")
	rows, err := conn.Query(ch.Context(ctx, ch.WithSettings(settings), ch.WithParameters(parameters)), "DESCRIBE TABLE (\n"+q.SQL+"\n)")
	if err != nil {
		return err
	}
	defer rows.Close()
	about := make([]string, len(rows.Columns())) // name, type, and what else is known of a column
	targets := make([]any, len(about))
	for i := range about {
		targets[i] = &about[i]
	}
	for rows.Next() {
		if err := rows.Scan(targets...); err != nil {
			return err
		}
		a.Columns = append(a.Columns, Column{Name: about[0], Type: about[1]})
	}
	return rows.Err()
}

// latestEvent is the latest time of any event that has rows.
func latestEvent(ctx context.Context, conn ch.Conn, q Query, reach *clickhouse.Reach) (Time, error) {
	database, table, _ := strings.Cut(reach.Table, ".")
	var latest time.Time
	ctx, cancel := q.bound(ctx)
	defer cancel()
	ctx = ch.Context(ctx, ch.WithSettings(q.settings()))
	err := conn.QueryRow(ctx, "SELECT max(`"+q.EventTime+"`) FROM `"+database+"`.`"+table+"`").Scan(&latest)
	return Time{latest}, err
}
