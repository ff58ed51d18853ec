package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/ledgerline-es/ledgerline/internal/kit"
	"github.com/ledgerline-es/ledgerline/projector"
	"github.com/ledgerline-es/ledgerline/projector/internal/logtest"
	"github.com/ledgerline-es/ledgerline/projector/postgres"
)

func TestMain(m *testing.M) { kit.Main(m) }

type database struct {
	t    *testing.T
	url  string
	sink *postgres.Sink
}

func fresh(t *testing.T) *database {
	t.Helper()
	url := kit.Postgres(t).URL()
	sink := postgres.New(postgres.Config{URL: url})
	t.Cleanup(sink.Close)
	return &database{t: t, url: url, sink: sink}
}

// value runs statements and gives the first value of the last row.
func (d *database) value(sql string) (v any) {
	d.t.Helper()
	conn, err := pgx.Connect(d.t.Context(), d.url)
	if err != nil {
		d.t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(d.t.Context()))
	results, err := conn.Query(d.t.Context(), sql)
	if err != nil {
		d.t.Fatal(err)
	}
	for results.Next() {
		values, err := results.Values()
		if err != nil {
			d.t.Fatal(err)
		}
		v = values[0]
	}
	if err := results.Err(); err != nil {
		d.t.Fatalf("%s: %v", sql, err)
	}
	return v
}

func (d *database) open(b *logtest.Bench) projector.Store {
	d.t.Helper()
	store, err := d.sink.Open(d.t.Context(), b.Plan)
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(store.Close)
	return store
}

// claimed opens a store that owns two partitions from their beginning.
func (d *database) claimed(b *logtest.Bench) projector.Store {
	d.t.Helper()
	store := d.open(b)
	if _, err := store.Claim(d.t.Context(), map[int32]int64{0: 0, 1: 0}); err != nil {
		d.t.Fatal(err)
	}
	return store
}

func (d *database) right(b *logtest.Bench, rows int) {
	d.t.Helper()
	n, differences := b.ReadBack(d.sink)
	if n != rows || len(differences) > 0 {
		d.t.Errorf("%d rows, want %d; differences: %+v", n, rows, differences)
	}
}

func balances(t *testing.T) *logtest.Bench {
	return logtest.NewBench(t, logtest.Balances("balances", postgres.Table[logtest.Row], logtest.BalancesTable), "one", 2)
}

func entries(t *testing.T) *logtest.Bench {
	return logtest.NewBench(t, logtest.Entries("entries", postgres.Table[logtest.Row], logtest.EntriesPostgres), "one", 2)
}

func write(t *testing.T, store projector.Store, batches ...*projector.Batch) error {
	t.Helper()
	return store.Write(t.Context(), batches)
}

func TestP6_RowsAndPositionMoveTogether_OrNotAtAll(t *testing.T) {
	d := fresh(t)
	for name, c := range map[string]struct {
		bench *logtest.Bench
		rows  int
	}{"fold": {balances(t), 6}, "append": {entries(t), 70}} {
		t.Run(name, func(t *testing.T) {
			b, store := c.bench, d.claimed(c.bench)
			for _, batches := range [][]*projector.Batch{
				{b.Batch(0, 0, 10), b.Batch(1, 0, 7)},
				{b.Batch(1, 7, 20)},
				{b.Batch(0, 10, 11), b.Batch(1, 20, 20)}, // an empty range moves the position alone
				{b.Batch(0, 11, 50)},
			} {
				if err := write(t, store, batches...); err != nil {
					t.Fatal(err)
				}
			}
			d.right(b, c.rows)
			positions, err := store.Claim(t.Context(), map[int32]int64{0: 0, 1: 0})
			if err != nil || positions[0].Next != 50 || positions[1].Next != 20 {
				t.Errorf("positions %v, %v", positions, err)
			}

			// One partition stands elsewhere: the whole transaction is without effect.
			for _, stale := range [][]*projector.Batch{
				{b.Batch(0, 50, 60), b.Batch(1, 7, 20)},
				{b.Batch(1, 21, 30), b.Batch(0, 50, 60)},
				{b.Batch(0, 0, 10)},
			} {
				if err := write(t, store, stale...); !errors.Is(err, projector.ErrFenced) {
					t.Errorf("a stale batch gives %v", err)
				}
			}
			d.right(b, c.rows)

			// The topic was made anew under the same offsets.
			other := b.Plan
			other.TopicID = "two"
			again, err := d.sink.Open(t.Context(), other)
			if err != nil {
				t.Fatal(err)
			}
			var stop *projector.FatalError
			if _, err := again.Claim(t.Context(), map[int32]int64{0: 0}); !errors.As(err, &stop) || !strings.Contains(err.Error(), "made anew") {
				t.Errorf("claimed for another topic: %v", err)
			}
			if err := write(t, again, b.Batch(0, 50, 60)); !errors.Is(err, projector.ErrFenced) {
				t.Errorf("written for another topic: %v", err)
			}
			d.right(b, c.rows)
		})
	}
}

// Two topic prefixes on one database would mix their rows in one table: the second is refused, also before the first has
// written anything, and also where the table is older than the note of its topic.
func TestP9_TableOfAnotherTopic_IsRefused(t *testing.T) {
	d, b := fresh(t), entries(t)
	store := d.open(b)
	other := b.Plan
	other.Topic = "test." + b.Plan.Topic
	refused := func(when string) {
		t.Helper()
		_, open := d.sink.Open(t.Context(), other)
		_, look := d.sink.Snapshot(t.Context(), other)
		for doing, err := range map[string]error{"open": open, "snapshot": look} {
			if _, stops := errors.AsType[*projector.FatalError](err); !stops || !strings.Contains(err.Error(), "topic "+b.Plan.Topic+",") || !strings.Contains(err.Error(), "topic "+other.Topic) || !strings.Contains(err.Error(), "--postgres-url") {
				t.Errorf("%s %s: %v", doing, when, err)
			}
		}
	}
	refused("before a write")
	if _, err := store.Claim(t.Context(), map[int32]int64{0: 0, 1: 0}); err != nil {
		t.Fatal(err)
	}
	if err := write(t, store, b.Batch(0, 0, 5)); err != nil {
		t.Fatal(err)
	}
	refused("after a write")
	d.value("COMMENT ON VIEW bank.entries IS NULL")
	refused("without a note")
	d.open(b)
	d.value("COMMENT ON VIEW bank.entries IS 'somebody''s own words'")
	d.open(b)
	d.right(b, 5)
}

// Who watches from outside sees where the rows stand.
func TestPositions_OfWhatIsStored(t *testing.T) {
	d, b := fresh(t), entries(t)
	if positions, err := d.sink.Positions(t.Context(), b.Plan); err != nil || len(positions) > 0 {
		t.Errorf("before anything was made: %v, %v", positions, err)
	}
	store := d.claimed(b)
	if err := write(t, store, b.Batch(0, 0, 10)); err != nil {
		t.Fatal(err)
	}
	positions, err := d.sink.Positions(t.Context(), b.Plan)
	if err != nil || len(positions) != 2 || positions[0].Next != 10 || positions[1].Next != 0 || positions[0].TopicID != "one" {
		t.Errorf("positions %v, %v", positions, err)
	}
}

func TestP6_RowThatIsThereAlready_StopsAndMovesNothing(t *testing.T) {
	d, b := fresh(t), entries(t)
	store := d.claimed(b)
	if err := write(t, store, b.Batch(0, 0, 10)); err != nil {
		t.Fatal(err)
	}
	d.value("UPDATE ledgerline.offsets SET next_offset = 5 WHERE partition = 0") // as after a restore of the one table alone
	var stop *projector.FatalError
	if err := write(t, store, b.Batch(0, 5, 15)); !errors.As(err, &stop) || !strings.Contains(stop.Remedy, "verify") {
		t.Errorf("doubled rows give %v", err)
	}
	if at := d.value("SELECT next_offset FROM ledgerline.offsets WHERE partition = 0"); at != int64(5) {
		t.Errorf("the position moved to %v", at)
	}
}

func TestP6_OffsetsDeletedByHand_Stops(t *testing.T) {
	d, b := fresh(t), balances(t)
	store := d.claimed(b)
	if err := write(t, store, b.Batch(0, 0, 10)); err != nil {
		t.Fatal(err)
	}
	d.value("DELETE FROM ledgerline.offsets")
	var stop *projector.FatalError
	if _, err := store.Claim(t.Context(), map[int32]int64{0: 0}); !errors.As(err, &stop) || !strings.Contains(err.Error(), "no position") {
		t.Errorf("claiming says %v", err)
	}
}

// Many writers that believe in the same position: one of them is right, the others change nothing, and none waits for
// ever for another.
func TestP6_ManyWritersOfTheSameRanges_EachOnce(t *testing.T) {
	d, b := fresh(t), balances(t)
	const writers, rounds = 6, 25
	stores := make([]projector.Store, writers)
	for i := range stores {
		stores[i] = d.claimed(b)
	}
	var won, refused atomic.Int64
	for round := range int64(rounds) {
		zero, one := b.Batch(0, round*4, round*4+4), b.Batch(1, round*3, round*3+3)
		var group sync.WaitGroup
		for i, store := range stores {
			batches := []*projector.Batch{zero, one}
			if i%2 == 0 {
				batches = []*projector.Batch{one, zero}
			}
			group.Go(func() {
				switch err := store.Write(t.Context(), batches); {
				case err == nil:
					won.Add(1)
				case errors.Is(err, projector.ErrFenced):
					refused.Add(1)
				default:
					t.Error(err)
				}
			})
		}
		group.Wait()
	}
	if won.Load() != rounds || refused.Load() != rounds*(writers-1) {
		t.Errorf("%d writes in %d rounds, %d refused", won.Load(), rounds, refused.Load())
	}
	d.right(b, 6)
}

func TestOpen_ManyAtOnce_MakeOneTable(t *testing.T) {
	d, b := fresh(t), entries(t)
	var group sync.WaitGroup
	for range 8 {
		sink := postgres.New(postgres.Config{URL: d.url})
		t.Cleanup(sink.Close)
		group.Go(func() {
			if _, err := sink.Open(t.Context(), b.Plan); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if got := d.value("SELECT projection || ' ' || generation || ' ' || table_name || ' ' || state FROM ledgerline.generations"); got != "entries 1 bank.entries__g1 serving" {
		t.Errorf("generations hold %v", got)
	}
	if got := d.value("SELECT viewname FROM pg_views WHERE schemaname = 'bank'"); got != "entries" {
		t.Errorf("the view is %v", got)
	}
}

func TestAnotherDeclaration_AsksForARebuild(t *testing.T) {
	d := fresh(t)
	registry, _ := logtest.Registry(t)
	log := logtest.New(t, kit.FakeKafka(t).Brokers(), registry, kit.Prefix(t), 2, 1)
	log.Write(100, 10)
	p := logtest.Entries("entries", postgres.Table[logtest.Row], logtest.EntriesPostgres)
	stop := logtest.Run(t, projector.New(log.Config(), p, d.sink))
	logtest.Eventually(t, func() error {
		if n := countEntries(d); n != 100 {
			return fmt.Errorf("%d rows", n)
		}
		return nil
	})
	stop()
	p.Version++
	reg := prometheus.NewRegistry()
	cfg := log.Config()
	cfg.Registerer = reg
	err := projector.New(cfg, p, d.sink).Run(t.Context())
	var rebuild *projector.RebuildRequiredError
	if !errors.As(err, &rebuild) || !strings.Contains(err.Error(), "entries") {
		t.Errorf("it ended with %v", err)
	}
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != "projection_rebuild_required" {
			continue
		}
		if m := f.GetMetric()[0]; m.GetGauge().GetValue() != 1 || m.GetLabel()[0].GetName() != "projector" || m.GetLabel()[0].GetValue() != "entries" {
			t.Errorf("the gauge is %v", m)
		}
		return
	}
	t.Error("there is no gauge projection_rebuild_required")
}

func countEntries(d *database) int64 {
	if present, ok := d.value("SELECT to_regclass('bank.entries') IS NOT NULL").(bool); !ok || !present {
		return -1
	}
	return d.value("SELECT count(*) FROM bank.entries").(int64)
}

func TestTableThatDoesNotFit_IsNamed(t *testing.T) {
	for name, c := range map[string]struct{ create, want string }{
		"no such column":       {"CREATE TABLE {{table}} (id text, seq bigint, type text, amount bigint, PRIMARY KEY (id, seq))", "no column at"},
		"a column left out":    {"CREATE TABLE {{table}} (id text, seq bigint, type text, amount bigint, at timestamptz, more text NOT NULL, PRIMARY KEY (id, seq))", "column more"},
		"no primary key":       {"CREATE TABLE {{table}} (id text, seq bigint, type text, amount bigint, at timestamptz)", "no primary key"},
		"not a statement":      {"CREATE TABEL {{table}} (id text)", "syntax error"},
		"a type too far off":   {"CREATE TABLE {{table}} (id text, seq bigint, type text, amount uuid, at timestamptz, PRIMARY KEY (id, seq))", ""},
		"a type that does not": {"CREATE TABLE {{table}} (id text, seq bigint, type bigint, amount bigint, at timestamptz, PRIMARY KEY (id, seq))", ""},
	} {
		t.Run(name, func(t *testing.T) {
			d := fresh(t)
			b := logtest.NewBench(t, logtest.Entries("entries", postgres.Table[logtest.Row], c.create), "one", 1)
			store, err := d.sink.Open(t.Context(), b.Plan)
			if err == nil { // types are found out by the first row
				if _, err = store.Claim(t.Context(), map[int32]int64{0: 0}); err != nil {
					t.Fatal(err)
				}
				err = write(t, store, b.Batch(0, 0, 3))
			}
			var stop *projector.FatalError
			if !errors.As(err, &stop) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("it says %v, want %q", err, c.want)
			}
		})
	}
	d := fresh(t)
	fold := logtest.NewBench(t, logtest.Balances("balances", postgres.Table[logtest.Row], strings.Replace(strings.Replace(logtest.BalancesTable, "text PRIMARY KEY", "text", 1), "open boolean NOT NULL", "open boolean NOT NULL, PRIMARY KEY (id, version)", 1)), "one", 1)
	if _, err := d.sink.Open(t.Context(), fold.Plan); err == nil || !strings.Contains(err.Error(), "must be its first column") {
		t.Errorf("a fold with a key of two columns: %v", err)
	}
}

func TestTableDroppedByHand_Stops(t *testing.T) {
	d, b := fresh(t), entries(t)
	store := d.claimed(b)
	d.value("DROP TABLE bank.entries__g1 CASCADE")
	var stop *projector.FatalError
	if err := write(t, store, b.Batch(0, 0, 3)); !errors.As(err, &stop) || !strings.Contains(err.Error(), "rebuild") {
		t.Errorf("writing says %v", err)
	}
	if _, err := d.sink.Open(t.Context(), b.Plan); !errors.As(err, &stop) || !strings.Contains(err.Error(), "gone") {
		t.Errorf("opening says %v", err)
	}
}

func TestEveryTypeOfColumn_ComesBackAsItWas(t *testing.T) {
	d := fresh(t)
	b := logtest.NewBench(t, logtest.WideProjection(postgres.Table[logtest.Wide], `CREATE TABLE {{table}} (id text, seq bigint, flag boolean NOT NULL, small smallint NOT NULL,
		middle integer NOT NULL, fraction double precision NOT NULL, at timestamptz NOT NULL, text_or_null text, flag_or_null boolean, number_or_null bigint,
		fraction_or_null double precision, when_or_null timestamptz, PRIMARY KEY (id, seq))`), "one", 2)
	store := d.claimed(b)
	if err := write(t, store, b.Batch(0, 0, 40), b.Batch(1, 0, 9)); err != nil {
		t.Fatal(err)
	}
	d.right(b, 49)
	if n := d.value("SELECT count(*) FROM bank.wide WHERE when_or_null IS NULL AND text_or_null IS NULL"); n == int64(0) || n == int64(49) {
		t.Errorf("%v rows of 49 hold NULL", n)
	}
}

func TestServerKilled_ProjectorGoesOn(t *testing.T) {
	d := fresh(t)
	registry, _ := logtest.Registry(t)
	log := logtest.New(t, kit.FakeKafka(t).Brokers(), registry, kit.Prefix(t), 4, 2)
	p := projector.New(log.Config(), logtest.Entries("entries", postgres.Table[logtest.Row], logtest.EntriesPostgres), d.sink)
	logtest.Run(t, p)
	server := kit.Postgres(t)
	for range 3 {
		log.Write(2000, 100)
		server.Kill9()
		log.Write(500, 100)
		logtest.Eventually(t, func() error {
			if p.Ready() == nil {
				return errors.New("it is ready without its store")
			}
			return nil
		})
		server.Restart(t)
	}
	logtest.Eventually(t, func() error {
		if n := countEntries(d); n != int64(log.Written()) {
			return fmt.Errorf("%d rows of %d events; ready: %w", n, log.Written(), p.Ready())
		}
		return nil
	})
	logtest.Eventually(t, p.Ready)
}

func TestSnapshot_OfWhatIsNotThere(t *testing.T) {
	d, b := fresh(t), entries(t)
	if _, err := d.sink.Snapshot(t.Context(), b.Plan); !errors.Is(err, projector.ErrNotBuilt) {
		t.Errorf("an empty database gives %v", err)
	}
	d.open(b)
	other := b.Plan
	other.Projection = "others"
	if _, err := d.sink.Snapshot(t.Context(), other); !errors.Is(err, projector.ErrNotBuilt) {
		t.Errorf("another projection gives %v", err)
	}
	other = b.Plan
	other.Fingerprint = "another"
	var rebuild *projector.RebuildRequiredError
	if _, err := d.sink.Snapshot(t.Context(), other); !errors.As(err, &rebuild) {
		t.Errorf("another declaration gives %v", err)
	}
}

func TestConfigThatCannotWork_IsNamed(t *testing.T) {
	for want, cfg := range map[string]postgres.Config{
		"URL is empty":          {},
		"URL cannot be used":    {URL: "postgres://host:port"},
		"MaxConns is -1":        {URL: "postgres://x", MaxConns: -1},
		"MaxEvents is -1":       {URL: "postgres://x", MaxEvents: -1},
		"postgres config: MaxC": {MaxConns: -1},
	} {
		if err := cfg.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", cfg, err, want)
		}
	}
	var stop *projector.FatalError
	if _, err := postgres.New(postgres.Config{}).Open(t.Context(), projector.Plan{}); !errors.As(err, &stop) {
		t.Errorf("opened without a URL: %v", err)
	}
}
