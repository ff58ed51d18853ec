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

func TestP7_EachRangeOnce_PositionsFollow(t *testing.T) {
	s, b := fresh(t), entries(t)
	store, positions := s.member(b)
	if positions[0] != (projector.Position{}) || positions[1] != (projector.Position{}) {
		t.Errorf("a new projection stands at %v", positions)
	}
	write(t, store, b.Batch(0, 0, 10), b.Batch(1, 0, 7))
	write(t, store, b.Batch(1, 7, 20))
	write(t, store, b.Batch(0, 10, 11), b.Batch(1, 20, 20))
	write(t, store, b.Batch(0, 11, 50))
	s.right(b, 70)
	if positions := s.claim(store); positions[0].Next != 50 || positions[1].Next != 20 || positions[0].Until != 0 {
		t.Errorf("positions %v", positions)
	}
	// A range of records that give no rows moves the position too.
	write(t, store, b.Batch(0, 50, 50), b.Batch(1, 20, 21))
	if err := store.Write(t.Context(), []*projector.Batch{b.Batch(0, 60, 70)}); !errors.Is(err, projector.ErrFenced) {
		t.Errorf("a batch beyond the position gives %v", err)
	}
	write(t, store, b.Batch(0, 50, 55), b.Batch(1, 20, 21)) // the second was written before
	s.right(b, 76)
}

func TestP7_ClaimedByAnother_InsertsNothingMore(t *testing.T) {
	s, b := fresh(t), entries(t)
	old, _ := s.member(b)
	write(t, old, b.Batch(0, 0, 10), b.Batch(1, 0, 10))
	owner, positions := s.member(b)
	if positions[0].Next != 10 || positions[1].Next != 10 {
		t.Errorf("it goes on from %v", positions)
	}
	if err := old.Write(t.Context(), []*projector.Batch{b.Batch(0, 10, 40)}); !errors.Is(err, projector.ErrFenced) {
		t.Errorf("the former owner's write gives %v", err)
	}
	// What the former owner recorded is behind what its successor does, though it reaches further.
	write(t, owner, b.Batch(0, 10, 20), b.Batch(1, 10, 12))
	third, positions := s.member(b)
	if positions[0] != (projector.Position{Next: 20}) || positions[1] != (projector.Position{Next: 12}) {
		t.Errorf("a third member goes on from %v", positions)
	}
	write(t, third, b.Batch(0, 20, 60))
	s.right(b, 72)
}

// The member dies between recording a range and inserting it, in the midst of an insert, or behind it.
func TestP7_RangeInDoubt_IsSettledByWhatIsStored(t *testing.T) {
	for name, c := range map[string]struct {
		stored     string // which of the rows are there
		remembered bool   // the server has seen the token, and would drop the rows without a word
		doubt      bool
	}{
		"nothing is there":         {"0", false, true},
		"nothing but the token is": {"0", true, true},
		"a part is there":          {"_offset % 3 = 1", false, true},
		"a part and the token is":  {"_offset % 3 = 1", true, true},
		"all but one is there":     {"_offset != 15", true, true},
		"all is there":             {"1", true, false},
	} {
		t.Run(name, func(t *testing.T) {
			s, b := fresh(t), entries(t)
			dead, _ := s.member(b)
			write(t, dead, b.Batch(0, 0, 10), b.Batch(1, 0, 5))
			write(t, dead, b.Batch(0, 10, 20))
			s.exec("DELETE FROM DB_bank.entries__g1 WHERE _partition = 0 AND _offset >= 10 AND NOT (" + c.stored + ")")
			if !c.remembered {
				s.exec("ALTER TABLE DB_bank.entries__g1 MODIFY SETTING non_replicated_deduplication_window = 0")
				s.exec("ALTER TABLE DB_bank.entries__g1 MODIFY SETTING non_replicated_deduplication_window = 10000")
			}
			next, positions := s.member(b)
			want := projector.Position{Next: 20}
			if c.doubt {
				want = projector.Position{Next: 10, Until: 20}
			}
			if positions[0] != want || positions[1] != (projector.Position{Next: 5}) {
				t.Fatalf("positions %v, want %v for the first", positions, want)
			}
			if c.doubt {
				if err := next.Write(t.Context(), []*projector.Batch{b.Batch(0, 10, 15)}); !errors.Is(err, projector.ErrFenced) {
					t.Errorf("another range than the one in doubt gives %v", err)
				}
				write(t, next, b.Batch(0, 10, 20))
			}
			write(t, next, b.Batch(0, 20, 25))
			s.right(b, 30)
		})
	}
}

// A former owner's insert arrives after its successor has written the range again.
func TestP7_LateInsertOfTheFormerOwner_HasNoEffect(t *testing.T) {
	s, b := fresh(t), entries(t)
	zombie, _ := s.member(b)
	write(t, zombie, b.Batch(0, 0, 10))
	// It recorded 10-19 and stopped before its insert.
	s.exec(`INSERT INTO DB_ledgerline.ledger SELECT "projection", generation, topic, topic_id, partition, epoch, owner, 10, 20, 10, 'late', now64(6) FROM DB_ledgerline.ledger WHERE next_offset = 10`)
	next, positions := s.member(b)
	if positions[0] != (projector.Position{Next: 10, Until: 20}) {
		t.Fatalf("positions %v", positions)
	}
	write(t, next, b.Batch(0, 10, 20))
	token := b.Plan.Projection + "/1/" + b.Plan.TopicID + "/0/10-19"
	s.exec("INSERT INTO DB_bank.entries__g1 SELECT * FROM DB_bank.entries__g1 WHERE _offset >= 10 SETTINGS async_insert = 0, insert_deduplication_token = '" + token + "'")
	s.right(b, 20)
	// So is the range itself, should its new owner not know the outcome: the same store writes it again.
	write(t, next, b.Batch(0, 20, 30))
	s.right(b, 30)
}

// The bookkeeping is older than the table, or gone: what is there counts.
func TestP7_LedgerLost_NothingDoubled(t *testing.T) {
	for name, lose := range map[string]string{"gone": "TRUNCATE TABLE DB_ledgerline.ledger", "older": "DELETE FROM DB_ledgerline.ledger WHERE next_offset > 20"} {
		t.Run(name, func(t *testing.T) {
			s, b := fresh(t), entries(t)
			s.exec("SYSTEM STOP MERGES") // or there is nothing older left to go back to
			defer s.exec("SYSTEM START MERGES")
			store, _ := s.member(b)
			for at := int64(0); at < 60; at += 10 {
				write(t, store, b.Batch(0, at, at+10), b.Batch(1, at, at+10))
			}
			s.exec(lose)
			next, positions := s.member(b)
			for id, p := range positions {
				if p.Until != 60 {
					t.Fatalf("partition %d: %v, all up to 60 is in doubt", id, p)
				}
				write(t, next, b.Batch(id, p.Next, p.Until))
				write(t, next, b.Batch(id, 60, 65))
			}
			s.right(b, 130)
		})
	}
}

func TestP7_ManyMembersClaimAndWrite_EachRangeOnce(t *testing.T) {
	s, b := fresh(t), entries(t)
	if _, err := s.sink().Open(t.Context(), b.Plan); err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	for range 3 {
		store, err := s.sink().Open(t.Context(), b.Plan)
		if err != nil {
			t.Fatal(err)
		}
		group.Go(func() {
			for done := 0; done < 6; {
				positions, err := store.Claim(t.Context(), map[int32]int64{0: 0})
				if errors.Is(err, projector.ErrFenced) {
					continue
				}
				if err != nil {
					t.Error(err)
					return
				}
				at, until := positions[0].Next, positions[0].Until
				for range 3 {
					if until == 0 {
						until = at + 5
					}
					if err = store.Write(t.Context(), []*projector.Batch{b.Batch(0, at, until)}); err != nil {
						break
					}
					done++
					at, until = until, 0
				}
				if err != nil && !errors.Is(err, projector.ErrFenced) {
					t.Error(err)
					return
				}
			}
		})
	}
	group.Wait()
	last, positions := s.member(b)
	if p := positions[0]; p.Until > 0 {
		write(t, last, b.Batch(0, p.Next, p.Until))
	}
	n, differences := b.ReadBack(s.sink())
	if len(differences) > 0 || n < 6*5 { // a range that several wrote counts for each of them
		t.Errorf("%d rows; differences: %+v", n, differences)
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
