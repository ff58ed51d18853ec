package clickhouse_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	ch "github.com/ClickHouse/clickhouse-go/v2"

	"github.com/ledgerline-es/ledgerline/internal/kit"
	"github.com/ledgerline-es/ledgerline/projector"
	"github.com/ledgerline-es/ledgerline/projector/clickhouse"
	"github.com/ledgerline-es/ledgerline/projector/internal/logtest"
)

func TestMain(m *testing.M) { kit.Main(m) }

type server struct {
	t      *testing.T
	url    string
	prefix string // of all databases of this test
	conn   ch.Conn
}

func fresh(t *testing.T) *server {
	t.Helper()
	s := &server{t: t, url: kit.ClickHouse(t).URL(), prefix: strings.TrimSuffix(kit.Prefix(t), ".") + "_"}
	o, err := ch.ParseDSN(s.url)
	if err != nil {
		t.Fatal(err)
	}
	if s.conn, err = ch.Open(o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.conn.Close() })
	return s
}

// sink is a server's sink; several of them are several members.
func (s *server) sink(change ...func(*clickhouse.Config)) *clickhouse.Sink {
	cfg := clickhouse.Config{URL: s.url, DatabasePrefix: s.prefix, Interval: 10 * time.Millisecond, Stall: time.Second, SettleWait: 100 * time.Millisecond}
	for _, c := range change {
		c(&cfg)
	}
	sink := clickhouse.New(cfg)
	s.t.Cleanup(sink.Close)
	return sink
}

// exec runs a statement, with DB_ for the prefix of databases.
func (s *server) exec(sql string) {
	s.t.Helper()
	if err := s.conn.Exec(s.t.Context(), strings.ReplaceAll(sql, "DB_", s.prefix)); err != nil {
		s.t.Fatal(err)
	}
}

func (s *server) number(sql string) (n uint64) {
	s.t.Helper()
	if err := s.conn.QueryRow(context.WithoutCancel(s.t.Context()), strings.ReplaceAll(sql, "DB_", s.prefix)).Scan(&n); err != nil {
		s.t.Fatalf("%s: %v", sql, err)
	}
	return n
}

func entries(t *testing.T) *logtest.Bench {
	return logtest.NewBench(t, logtest.Entries("entries", clickhouse.Table[logtest.Row], logtest.EntriesClickHouse), "one", 2)
}

// member opens a store and claims both partitions.
func (s *server) member(b *logtest.Bench) (projector.Store, map[int32]projector.Position) {
	s.t.Helper()
	store, err := s.sink().Open(s.t.Context(), b.Plan)
	if err != nil {
		s.t.Fatal(err)
	}
	return store, s.claim(store)
}

// memberOf opens a store and claims some partitions.
func (s *server) memberOf(b *logtest.Bench, partitions ...int32) (projector.Store, map[int32]projector.Position) {
	s.t.Helper()
	return s.memberAt(s.sink(), b, partitions...)
}

func (s *server) memberAt(sink *clickhouse.Sink, b *logtest.Bench, partitions ...int32) (projector.Store, map[int32]projector.Position) {
	s.t.Helper()
	store, err := sink.Open(s.t.Context(), b.Plan)
	if err != nil {
		s.t.Fatal(err)
	}
	begin := map[int32]int64{}
	for _, p := range partitions {
		begin[p] = 0
	}
	positions, err := store.Claim(s.t.Context(), begin)
	if err != nil {
		s.t.Fatal(err)
	}
	return store, positions
}

func (s *server) claim(store projector.Store) map[int32]projector.Position {
	s.t.Helper()
	positions, err := store.Claim(s.t.Context(), map[int32]int64{0: 0, 1: 0})
	if err != nil {
		s.t.Fatal(err)
	}
	return positions
}

func (s *server) right(b *logtest.Bench, rows int) {
	s.t.Helper()
	n, differences := b.ReadBack(s.sink())
	if n != rows || len(differences) > 0 {
		s.t.Errorf("%d rows, want %d; differences: %+v", n, rows, differences)
	}
}

func write(t *testing.T, store projector.Store, batches ...*projector.Batch) {
	t.Helper()
	if err := store.Write(t.Context(), batches); err != nil {
		t.Fatal(err)
	}
}

func TestPreflight_RefusesWhatCannotHold_WithTheStatementThatMendsIt(t *testing.T) {
	const columns = "(id String, seq Int64, type String, amount Int64, at DateTime64(6, 'UTC'), _partition Int32, _offset Int64)"
	plan := func(t *testing.T, create string) projector.Plan {
		return logtest.NewBench(t, logtest.Entries("entries", clickhouse.Table[logtest.Row], create), "one", 2).Plan
	}
	refused := func(t *testing.T, s *server, plan projector.Plan, want string) string {
		t.Helper()
		var stop *projector.FatalError
		_, err := s.sink().Open(t.Context(), plan)
		if !errors.As(err, &stop) || !strings.Contains(err.Error(), want) {
			t.Fatalf("opening says %v, want %q", err, want)
		}
		_, statement, _ := strings.Cut(stop.Remedy, "run: ")
		return statement
	}
	t.Run("no window", func(t *testing.T) {
		s := fresh(t)
		p := plan(t, "CREATE TABLE {{table}} "+columns+" ENGINE = MergeTree ORDER BY id")
		s.exec(refused(t, s, p, "recognises a repeated insert among the last 0"))
		if _, err := s.sink().Open(t.Context(), p); err != nil {
			t.Errorf("mended as it said: %v", err)
		}
	})
	t.Run("too short a window", func(t *testing.T) {
		s := fresh(t)
		p := plan(t, "CREATE TABLE {{table}} "+columns+" ENGINE = MergeTree ORDER BY id SETTINGS non_replicated_deduplication_window = 100")
		s.exec(refused(t, s, p, "need 200"))
		if _, err := s.sink().Open(t.Context(), p); err != nil {
			t.Errorf("mended as it said: %v", err)
		}
	})
	t.Run("an engine without one", func(t *testing.T) {
		refused(t, fresh(t), plan(t, "CREATE TABLE {{table}} "+columns+" ENGINE = Memory"), "engine Memory")
	})
	t.Run("a view's target", func(t *testing.T) {
		s := fresh(t)
		p := plan(t, logtest.EntriesClickHouse)
		if _, err := s.sink().Open(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		s.exec("CREATE TABLE DB_bank.sums (id String, n UInt64) ENGINE = SummingMergeTree ORDER BY id")
		s.exec("CREATE MATERIALIZED VIEW DB_bank.adding TO DB_bank.sums AS SELECT id, count() AS n FROM DB_bank.entries__g1 GROUP BY id")
		s.exec(refused(t, s, p, "adding"))
		if _, err := s.sink().Open(t.Context(), p); err != nil {
			t.Errorf("mended as it said: %v", err)
		}
	})
	t.Run("a column too few", func(t *testing.T) {
		refused(t, fresh(t), plan(t, strings.Replace(logtest.EntriesClickHouse, ", _offset Int64", "", 1)), "no column _offset")
	})
	t.Run("a column of another type", func(t *testing.T) {
		refused(t, fresh(t), plan(t, strings.Replace(logtest.EntriesClickHouse, "_offset Int64", "_offset UInt32", 1)), "_offset is UInt32 and must be Int64")
	})
}

func TestOpen_ManyAtOnce_MakeOneTable(t *testing.T) {
	s, b := fresh(t), entries(t)
	var group sync.WaitGroup
	for range 6 {
		sink := s.sink()
		group.Go(func() {
			if _, err := sink.Open(t.Context(), b.Plan); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if n := s.number(`SELECT count() FROM DB_ledgerline.generations WHERE "projection" = 'entries' AND generation = 1 AND table_name = 'DB_bank.entries__g1' AND state = 'serving'`); n != 1 {
		t.Errorf("%d rows in generations", n)
	}
	if n := s.number("SELECT count() FROM DB_bank.entries"); n != 0 {
		t.Errorf("the view shows %d rows", n)
	}
	other := b.Plan
	other.Fingerprint = "another"
	var rebuild *projector.RebuildRequiredError
	if _, err := s.sink().Open(t.Context(), other); !errors.As(err, &rebuild) {
		t.Errorf("another declaration gives %v", err)
	}
	if _, err := s.sink().Snapshot(t.Context(), other); !errors.As(err, &rebuild) {
		t.Errorf("a snapshot of another declaration gives %v", err)
	}
}

func TestSnapshot_OfWhatIsNotThere(t *testing.T) {
	s, b := fresh(t), entries(t)
	if _, err := s.sink().Snapshot(t.Context(), b.Plan); !errors.Is(err, projector.ErrNotBuilt) {
		t.Errorf("an empty server gives %v", err)
	}
}

func TestTopicMadeAnew_Stops(t *testing.T) {
	s, b := fresh(t), entries(t)
	store, _ := s.member(b)
	write(t, store, b.Batch(0, 0, 5))
	other := b.Plan
	other.TopicID = "two"
	again, err := s.sink().Open(t.Context(), other)
	if err != nil {
		t.Fatal(err)
	}
	var stop *projector.FatalError
	if _, err := again.Claim(t.Context(), map[int32]int64{0: 0}); !errors.As(err, &stop) || !strings.Contains(err.Error(), "made anew") {
		t.Errorf("claimed for another topic: %v", err)
	}
}

// As of the sink for Postgres: see there.
func TestP9_TableOfAnotherTopic_IsRefused(t *testing.T) {
	s, b := fresh(t), entries(t)
	store, err := s.sink().Open(t.Context(), b.Plan)
	if err != nil {
		t.Fatal(err)
	}
	other := b.Plan
	other.Topic = "test." + b.Plan.Topic
	refused := func(when string) {
		t.Helper()
		_, open := s.sink().Open(t.Context(), other)
		_, look := s.sink().Snapshot(t.Context(), other)
		for doing, err := range map[string]error{"open": open, "snapshot": look} {
			if _, stops := errors.AsType[*projector.FatalError](err); !stops || !strings.Contains(err.Error(), "topic "+b.Plan.Topic+",") || !strings.Contains(err.Error(), "topic "+other.Topic) || !strings.Contains(err.Error(), "--clickhouse-url") {
				t.Errorf("%s %s: %v", doing, when, err)
			}
		}
	}
	refused("before a write")
	s.claim(store)
	write(t, store, b.Batch(0, 0, 5))
	refused("after a write")
	s.exec("ALTER TABLE DB_bank.entries MODIFY COMMENT ''")
	refused("without a note")
	s.member(b)
	s.exec("ALTER TABLE DB_bank.entries MODIFY COMMENT 'the words of somebody else'")
	s.member(b)
	s.right(b, 5)
}

func TestTableDroppedByHand_Stops(t *testing.T) {
	s, b := fresh(t), entries(t)
	store, _ := s.member(b)
	s.exec("DROP TABLE DB_bank.entries__g1 SYNC")
	var stop *projector.FatalError
	if err := store.Write(t.Context(), []*projector.Batch{b.Batch(0, 0, 5)}); !errors.As(err, &stop) || !strings.Contains(err.Error(), "rebuild") {
		t.Errorf("writing says %v", err)
	}
	if _, err := s.sink().Open(t.Context(), b.Plan); !errors.As(err, &stop) || !strings.Contains(err.Error(), "gone") {
		t.Errorf("opening says %v", err)
	}
}

func TestSeveralRowsOfAnEvent_NeedAColumn(t *testing.T) {
	twice := logtest.Entries("entries", clickhouse.Table[logtest.Row], logtest.EntriesClickHouse)
	apply := twice.Apply
	twice.Apply = func(e projector.Event[logtest.AccountEvent], emit func(logtest.Row)) {
		apply(e, emit)
		apply(e, func(r logtest.Row) { r.Amount = -r.Amount; emit(r) })
	}
	s := fresh(t)
	store, _ := s.member(logtest.NewBench(t, twice, "one", 2))
	var stop *projector.FatalError
	if err := store.Write(t.Context(), []*projector.Batch{logtest.NewBench(t, twice, "one", 2).Batch(0, 0, 4)}); !errors.As(err, &stop) || !strings.Contains(err.Error(), "_row") {
		t.Errorf("without a column: %v", err)
	}
	twice.Into.Create = strings.Replace(logtest.EntriesClickHouse, "_offset Int64", "_offset Int64, _row UInt32", 1)
	s = fresh(t)
	b := logtest.NewBench(t, twice, "one", 2)
	dead, _ := s.member(b)
	write(t, dead, b.Batch(0, 0, 10))
	s.exec("DELETE FROM DB_bank.entries__g1 WHERE _offset = 3 AND _row = 1")
	next, positions := s.member(b)
	if positions[0].Until != 10 {
		t.Fatalf("positions %v", positions)
	}
	write(t, next, b.Batch(0, 0, 10))
	s.right(b, 20)
}

func TestEveryTypeOfColumn_ComesBackAsItWas(t *testing.T) {
	s := fresh(t)
	b := logtest.NewBench(t, logtest.WideProjection(clickhouse.Table[logtest.Wide], `CREATE TABLE {{table}} (id LowCardinality(String), seq Int64, flag Bool, small Int16, middle Int32, fraction Float64,
		at DateTime64(6, 'UTC'), text_or_null Nullable(String), flag_or_null Nullable(Bool), number_or_null Nullable(Int64), fraction_or_null Nullable(Float64),
		when_or_null Nullable(DateTime64(3, 'UTC')), _partition Int32, _offset Int64) ENGINE = MergeTree ORDER BY (id, seq) SETTINGS non_replicated_deduplication_window = 10000`), "one", 2)
	store, _ := s.member(b)
	write(t, store, b.Batch(0, 0, 40), b.Batch(1, 0, 9))
	s.right(b, 49)
	if n := s.number("SELECT count() FROM DB_bank.wide WHERE when_or_null IS NULL AND text_or_null IS NULL"); n == 0 || n == 49 {
		t.Errorf("%d rows of 49 hold NULL", n)
	}
}

func TestServerKilled_ProjectorGoesOn(t *testing.T) {
	s := fresh(t)
	registry, _ := logtest.Registry(t)
	log := logtest.New(t, kit.FakeKafka(t).Brokers(), registry, kit.Prefix(t), 4, 2)
	p := projector.New(log.Config(), logtest.Entries("entries", clickhouse.Table[logtest.Row], logtest.EntriesClickHouse), s.sink())
	logtest.Run(t, p)
	engine := kit.ClickHouse(t)
	for range 3 {
		log.Write(2000, 100)
		engine.Kill9()
		log.Write(500, 100)
		logtest.Eventually(t, func() error {
			if p.Ready() == nil {
				return errors.New("it is ready without its store")
			}
			return nil
		})
		engine.Restart(t)
	}
	logtest.Eventually(t, func() error {
		if err := p.Ready(); err != nil {
			return err
		}
		all, different := s.number("SELECT count() FROM DB_bank.entries"), s.number("SELECT uniqExact(id, seq) FROM DB_bank.entries")
		if all != uint64(log.Written()) || different != all {
			return fmt.Errorf("%d rows, %d different, of %d events", all, different, log.Written())
		}
		return nil
	})
}

func TestConfigThatCannotWork_IsNamed(t *testing.T) {
	const url = "http://127.0.0.1:8123"
	for want, cfg := range map[string]clickhouse.Config{
		"URL cannot be used":  {},
		"it is no URL":        {URL: "http://a b:x"},
		"Interval is 1ms":     {URL: url, Interval: time.Millisecond},
		"MaxRows is -1":       {URL: url, MaxRows: -1},
		"MaxRows is 10000000": {URL: url, MaxRows: 10_000_000},
		"Inserts is -1":       {URL: url, Inserts: -1},
		"Stall":               {URL: url, Stall: -1},
	} {
		if err := cfg.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", cfg, err, want)
		}
	}
	for _, good := range []string{url, "https://user:secret@host:8443/db", "clickhouse://host:9000?dial_timeout=2s"} {
		if err := (clickhouse.Config{URL: good}).Validate(); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
}
