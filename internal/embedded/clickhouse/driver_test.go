package clickhouse

import (
	"context"
	"errors"
	"fmt"
	"math/big"
	"net"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	ch "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/google/uuid"
	"github.com/shopspring/decimal"
)

var compressions = map[string]func(*ch.Options){
	"none": func(*ch.Options) {},
	"lz4":  func(o *ch.Options) { o.Compression = &ch.Compression{Method: ch.CompressionLZ4} },
	"zstd": func(o *ch.Options) { o.Compression = &ch.Compression{Method: ch.CompressionZSTD} },
	"gzip": func(o *ch.Options) { o.Compression = &ch.Compression{Method: ch.CompressionGZIP, Level: 3} },
	"br":   func(o *ch.Options) { o.Compression = &ch.Compression{Method: ch.CompressionBrotli, Level: 3} },
}

// Every type goes in by a native block and comes back, in each compression, as the driver gave it.
func TestDriver_TypesRoundTrip(t *testing.T) {
	at := time.Date(2026, 2, 3, 4, 5, 6, 123456000, time.UTC)
	day := time.Date(2026, 2, 3, 0, 0, 0, 0, time.UTC)
	text, number := "set", int64(-7)
	huge, _ := new(big.Int).SetString("-170141183460469231731687303715884105728", 10)
	columns := []struct {
		typ   string
		value any
	}{
		{"UInt8", uint8(255)}, {"UInt16", uint16(65535)}, {"UInt32", uint32(1 << 31)}, {"UInt64", uint64(1 << 63)},
		{"Int8", int8(-128)}, {"Int16", int16(-5)}, {"Int32", int32(-5)}, {"Int64", int64(-1 << 63)}, {"Int128", huge},
		{"Float32", float32(1.5)}, {"Float64", -2.25}, {"Bool", true},
		{"String", "žluťoučký\x00'\\"}, {"FixedString(4)", "abcd"}, {"LowCardinality(String)", "low"},
		{"Date", day}, {"Date32", day}, {"DateTime", at.Truncate(time.Second)}, {"DateTime64(6, 'UTC')", at}, {"DateTime64(3)", at.Truncate(time.Millisecond)},
		{"Decimal(18, 4)", decimal.RequireFromString("-12345.6789")}, {"Decimal(38, 10)", decimal.RequireFromString("1.0000000001")},
		{"Enum8('a' = 1, 'b' = 2)", "b"}, {"UUID", uuid.MustParse("0190a0e0-7c00-7000-8000-000000000001")},
		{"IPv4", net.IPv4(10, 1, 2, 3).To4()}, {"IPv6", net.ParseIP("2001:db8::1")},
		{"Nullable(String)", &text}, {"Nullable(Int64)", &number}, {"LowCardinality(Nullable(String))", &text},
		{"Array(String)", []string{"x", ""}}, {"Array(Array(UInt8))", [][]uint8{{1}, {}, {2, 3}}}, {"Map(String, Int64)", map[string]int64{"k": 1, "l": -2}},
		{"Tuple(UInt8, String)", []any{uint8(1), "t"}},
	}
	s := sharedServer(t)
	db := database(t, s)
	setup := connect(t, s, db)
	var definition []string
	for i, c := range columns {
		definition = append(definition, fmt.Sprintf("c%d %s", i, c.typ))
	}
	exec(t, setup, "CREATE TABLE types ("+strings.Join(definition, ", ")+", n Nullable(String)) ENGINE = MergeTree ORDER BY c0")
	for name, compression := range compressions {
		t.Run(name, func(t *testing.T) {
			c := connect(t, s, db, compression)
			exec(t, c, "TRUNCATE TABLE types")
			batch, err := c.PrepareBatch(t.Context(), "INSERT INTO types")
			if err != nil {
				t.Fatal(err)
			}
			var values []any
			for _, c := range columns {
				values = append(values, c.value)
			}
			if err := batch.Append(append(values, nil)...); err != nil {
				t.Fatal(err)
			}
			if err := batch.Send(); err != nil {
				t.Fatal(err)
			}
			rows, err := c.Query(t.Context(), "SELECT * FROM types")
			if err != nil {
				t.Fatal(err)
			}
			defer rows.Close()
			if !rows.Next() {
				t.Fatal("no row", rows.Err())
			}
			got := make([]any, len(columns)+1)
			for i, typ := range rows.ColumnTypes() {
				got[i] = reflect.New(typ.ScanType()).Interface()
			}
			if err := rows.Scan(got...); err != nil {
				t.Fatal(err)
			}
			for i, c := range columns {
				have, want := reflect.ValueOf(got[i]).Elem().Interface(), c.value
				if !same(have, want) {
					t.Errorf("%s: got %#v, want %#v", c.typ, have, want)
				}
			}
			if n := *got[len(columns)].(**string); n != nil {
				t.Errorf("null came back as %q", *n)
			}
		})
	}
}

func same(a, b any) bool {
	switch b := b.(type) {
	case time.Time:
		return a.(time.Time).Equal(b)
	case decimal.Decimal:
		return a.(decimal.Decimal).Equal(b)
	case *big.Int:
		return a.(*big.Int).Cmp(b) == 0
	case net.IP:
		return a.(net.IP).Equal(b)
	}
	if v := reflect.ValueOf(a); v.Kind() == reflect.Pointer && reflect.TypeOf(b).Kind() != reflect.Pointer {
		a = v.Elem().Interface()
	}
	return reflect.DeepEqual(a, b)
}

func TestDriver_PingExecErrorsAndViews(t *testing.T) {
	s := sharedServer(t)
	db := database(t, s)
	c := connect(t, s, db)
	if err := c.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	version, err := c.ServerVersion()
	if err != nil || version.Version.Major < 26 {
		t.Errorf("version %v, %v", version, err)
	}
	exec(t, c, "CREATE TABLE a (n UInt64, d Date) ENGINE = MergeTree PARTITION BY toYYYYMM(d) ORDER BY n")
	exec(t, c, "CREATE TABLE b AS a")
	exec(t, c, "INSERT INTO a VALUES (1, '2026-01-01'), (2, '2026-02-01')")
	exec(t, c, "CREATE OR REPLACE VIEW v AS SELECT n FROM a")
	if got := scalar[uint64](t, c, "SELECT count() FROM v"); got != 2 {
		t.Errorf("view of a: %d", got)
	}
	exec(t, c, "CREATE OR REPLACE VIEW v AS SELECT n FROM b")
	if got := scalar[uint64](t, c, "SELECT count() FROM v"); got != 0 {
		t.Errorf("view of b: %d", got)
	}
	exec(t, c, "EXCHANGE TABLES a AND b")
	if got := scalar[uint64](t, c, "SELECT sum(n) FROM v WHERE n IN (?)", []uint64{1, 2, 3}); got != 3 {
		t.Errorf("after the exchange: %d", got)
	}
	if got := scalar[string](t, c, "SELECT {x:String}", ch.Named("x", "it's")); got != "it's" {
		t.Errorf("parameter: %q", got)
	}
	exec(t, c, "ALTER TABLE b DELETE WHERE n = 1 SETTINGS mutations_sync = 1")

	var rows []struct {
		N uint64    `ch:"n"`
		D time.Time `ch:"d"`
	}
	if err := c.Select(t.Context(), &rows, "SELECT n, d FROM b ORDER BY n"); err != nil || len(rows) != 1 || rows[0].N != 2 {
		t.Errorf("%v, %v", rows, err)
	}
	for sql, code := range map[string]int32{"SELECT * FROM nope": 60, "SELECT nope": 47, "SELEC": 62, "SELECT throwIf(1)": 395, "DROP TABLE nope": 60} {
		err := c.Exec(t.Context(), sql)
		if e, ok := errors.AsType[*ch.Exception](err); !ok || e.Code != code {
			t.Errorf("%s: %v, want code %d", sql, err, code)
		}
	}
	if _, err := c.PrepareBatch(t.Context(), "INSERT INTO nope"); err == nil {
		t.Error("a batch for no table")
	}
	// An error in the middle of rows that are already on their way.
	r, err := c.Query(t.Context(), "SELECT number, repeat('x', 1000), throwIf(number = 9000) FROM numbers(10000) SETTINGS max_block_size = 100")
	if err != nil {
		t.Fatal(err)
	}
	for r.Next() {
		continue // on to the error
	}
	if e, ok := errors.AsType[*ch.Exception](r.Err()); !ok || e.Code != 395 {
		t.Errorf("midway: %v", r.Err())
	}
	_ = r.Close()
}

func TestDriver_EmptyAndUnreadableResults(t *testing.T) {
	s := sharedServer(t)
	db := database(t, s)
	c := connect(t, s, db)
	rows, err := c.Query(t.Context(), "SELECT number FROM numbers(10) WHERE number > 100")
	if err != nil {
		t.Fatal(err)
	}
	if rows.Next() || rows.Err() != nil || rows.Close() != nil {
		t.Error("rows out of nothing", rows.Err())
	}
	exec(t, c, "CREATE TABLE agg (k UInt8, s AggregateFunction(uniq, UInt64)) ENGINE = AggregatingMergeTree ORDER BY k")
	exec(t, c, "INSERT INTO agg SELECT 1, uniqState(number) FROM numbers(10)")
	err = c.Exec(t.Context(), "SELECT s FROM agg")
	if err == nil || !strings.Contains(err.Error(), "finalizeAggregation") {
		t.Errorf("a state that no client can read: %v", err)
	}
	if got := scalar[uint64](t, c, "SELECT finalizeAggregation(s) FROM agg"); got != 10 {
		t.Errorf("got %d", got)
	}
}

// The token makes a repeated block a no-op, whatever its rows; a repeat with another token is stored.
func TestDriver_InsertDeduplicationToken(t *testing.T) {
	s := sharedServer(t)
	db := database(t, s)
	c := connect(t, s, db, func(o *ch.Options) { o.Settings = ch.Settings{"async_insert": 0} })
	exec(t, c, "CREATE TABLE t (n UInt64) ENGINE = MergeTree ORDER BY n SETTINGS non_replicated_deduplication_window = 100")
	insert := func(token string, from, to uint64) {
		t.Helper()
		ctx := ch.Context(t.Context(), ch.WithSettings(ch.Settings{"insert_deduplication_token": token}))
		batch, err := c.PrepareBatch(ctx, "INSERT INTO t (n)")
		if err != nil {
			t.Fatal(err)
		}
		var values []uint64
		for n := from; n < to; n++ {
			values = append(values, n)
		}
		if err := batch.Column(0).Append(values); err != nil {
			t.Fatal(err)
		}
		if err := batch.Send(); err != nil {
			t.Fatal(err)
		}
	}
	for _, step := range []struct {
		token    string
		from, to uint64
		want     uint64
	}{{"a", 0, 1000, 1000}, {"a", 0, 1000, 1000}, {"b", 1000, 1500, 1500}, {"a", 0, 1000, 1500}, {"c", 0, 1000, 2500}} {
		insert(step.token, step.from, step.to)
		if got := scalar[uint64](t, c, "SELECT count() FROM t"); got != step.want {
			t.Errorf("after token %s: %d rows, want %d", step.token, got, step.want)
		}
	}
}

func TestDriver_LargeNativeBlock(t *testing.T) {
	const rows = 100_000
	s := sharedServer(t)
	db := database(t, s)
	c := connect(t, s, db, compressions["lz4"])
	exec(t, c, "CREATE TABLE t (n UInt64, id String, at DateTime64(6, 'UTC'), kind LowCardinality(String)) ENGINE = MergeTree ORDER BY n")
	batch, err := c.PrepareBatch(t.Context(), "INSERT INTO t")
	if err != nil {
		t.Fatal(err)
	}
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for n := range rows {
		if err := batch.Append(uint64(n), fmt.Sprintf("account-%06d", n), start.Add(time.Duration(n)*time.Microsecond), []string{"in", "out"}[n%2]); err != nil {
			t.Fatal(err)
		}
	}
	if err := batch.Send(); err != nil {
		t.Fatal(err)
	}
	if parts := scalar[uint64](t, c, "SELECT count() FROM system.parts WHERE database = ? AND table = 't' AND level = 0", db); parts != 1 {
		t.Errorf("one block became %d parts", parts)
	}
	r, err := c.Query(t.Context(), "SELECT n, id, at, kind FROM t ORDER BY n")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	next := 0
	for ; r.Next(); next++ {
		var n uint64
		var id, kind string
		var at time.Time
		if err := r.Scan(&n, &id, &at, &kind); err != nil {
			t.Fatal(err)
		}
		if n != uint64(next) || id != fmt.Sprintf("account-%06d", next) || !at.Equal(start.Add(time.Duration(next)*time.Microsecond)) || kind != []string{"in", "out"}[next%2] {
			t.Fatalf("row %d: %d %s %s %s", next, n, id, at, kind)
		}
	}
	if r.Err() != nil || next != rows {
		t.Errorf("%d rows, %v", next, r.Err())
	}
}

// Four sleepers and an insert at once: none waits for another.
func TestDriver_Concurrency(t *testing.T) {
	s := sharedServer(t)
	db := database(t, s)
	c := connect(t, s, db)
	exec(t, c, "CREATE TABLE t (n UInt64) ENGINE = MergeTree ORDER BY n")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var sleepers sync.WaitGroup
	for i := range 4 {
		sleepers.Go(func() {
			err := connect(t, s, db).Exec(ctx, "SELECT sleepEachRow(1) FROM numbers(600) SETTINGS max_block_size = 1, function_sleep_max_microseconds_per_block = 0")
			if !errors.Is(err, context.Canceled) {
				t.Errorf("sleeper %d: %v", i, err)
			}
		})
	}
	eventually(t, "all four sleep at the same time", func() bool {
		return scalar[uint64](t, c, "SELECT count() FROM system.processes WHERE query LIKE '%sleepEachRow(1) FROM numbers(60' || '0)%'") == 4
	})
	batch, err := c.PrepareBatch(t.Context(), "INSERT INTO t")
	if err != nil {
		t.Fatal(err)
	}
	if err := batch.Append(uint64(1)); err != nil {
		t.Fatal(err)
	}
	if err := batch.Send(); err != nil {
		t.Fatal(err)
	}
	if got := scalar[uint64](t, c, "SELECT count() FROM t"); got != 1 {
		t.Errorf("%d rows", got)
	}
	cancel()
	sleepers.Wait()
}
