package analytics_test

import (
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ledgerline-es/ledgerline/analytics"
	"github.com/ledgerline-es/ledgerline/internal/bankrows"
	"github.com/ledgerline-es/ledgerline/internal/kit"
	"github.com/ledgerline-es/ledgerline/projector"
)

func TestMain(m *testing.M) { kit.Main(m) }

func catalogue(t *testing.T, sql string) *analytics.Catalogue {
	t.Helper()
	c, err := open(t, map[string]string{"q.sql": goodHeader + sql})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func noon(day int) time.Time { return time.Date(2026, 3, day, 12, 0, 0, 0, time.UTC) }

func TestRun_BeforeAnythingIsThere(t *testing.T) {
	r := bankrows.New(t)
	c := catalogue(t, "SELECT count() AS n FROM bank.account_events")
	if _, err := c.Run(t.Context(), r.Conn, "q", nil); !errors.Is(err, projector.ErrNotBuilt) {
		t.Errorf("an empty server: %v", err)
	}
	r.Open()
	a, err := c.Run(t.Context(), r.Conn, "q", nil)
	if err != nil {
		t.Fatal(err)
	}
	if !a.AsOf.Exact || a.AsOf.EventTime != nil || a.Rows[0][0] != uint64(0) {
		t.Errorf("an empty table: %+v", a)
	}
}

func TestRun_ValuesAreBoundNeverSpliced(t *testing.T) {
	r := bankrows.New(t)
	r.Account("ann", "EUR", noon(1))
	r.Write()
	c := catalogue(t, "-- param: s String = '', a text\n-- param: f Float64 = 1, a number\n-- param: d Date32 = 1999-12-31, a day\n-- param: b Bool = true, yes\n-- param: i Int64 = -5, whole\n"+
		"SELECT {s:String} AS s, {f:Float64} AS f, {d:Date32} AS d, {b:Bool} AS b, {i:Int64} AS i FROM bank.account_events")
	const no = false
	for _, s := range []string{"", "a' OR '1'='1", `back\slash \' \n`, "x); DROP TABLE bank.account_events; --", "Ünïcødé 🏦", "{f:Float64}", "%27&param_f=2"} {
		a, err := c.Run(t.Context(), r.Conn, "q", map[string]string{"s": s, "f": "-0.25", "d": "2299-12-31", "b": "false", "i": "9223372036854775807"})
		if err != nil {
			t.Fatalf("%q: %v", s, err)
		}
		if row := a.Rows[0]; row[0] != s || row[1] != -0.25 || row[2] != "2299-12-31" || row[3] != any(no) || row[4] != int64(9223372036854775807) {
			t.Errorf("%q comes back as %v", s, row)
		}
	}
}

func TestRun_ReadsAndNothingElse(t *testing.T) {
	r := bankrows.New(t)
	r.Account("ann", "EUR", noon(1))
	r.Write()
	// What a question is may not be known from its text alone: the server holds it too.
	c := catalogue(t, "SELECT getSetting('readonly') AS readonly FROM bank.account_events")
	a, err := c.Run(t.Context(), r.Conn, "q", nil)
	if err != nil || a.Rows[0][0] != uint64(1) {
		t.Errorf("readonly is %v, %v", a, err)
	}
}

func TestRun_Limits(t *testing.T) {
	r := bankrows.New(t)
	r.Account("ann", "EUR", noon(1))
	r.Write()
	c := catalogue(t, "-- limit: 3 rows, 1s\n-- param: n UInt32 = 3, how many\nSELECT number FROM numbers({n:UInt32})")
	for n, truncated := range map[string]bool{"0": false, "2": false, "3": false, "4": true, "4000000": true} {
		a, err := c.Run(t.Context(), r.Conn, "q", map[string]string{"n": n})
		if err != nil || a.Truncated != truncated || len(a.Rows) > 3 || len(a.Columns) != 1 || a.Columns[0].Name != "number" {
			t.Errorf("%s rows: %+v, %v", n, a, err)
		}
	}
	c = catalogue(t, "-- limit: 3 rows, 1s\nSELECT count() FROM numbers(100000000000) WHERE sipHash64(number) = 1")
	started := time.Now()
	if _, err := c.Run(t.Context(), r.Conn, "q", nil); !errors.Is(err, analytics.ErrTooLong) || !strings.Contains(err.Error(), "raise the limit") {
		t.Errorf("a question without end: %v after %v", err, time.Since(started))
	}
	c = catalogue(t, "SELECT nothing FROM bank.account_events")
	if _, err := c.Run(t.Context(), r.Conn, "q", nil); err == nil || !strings.Contains(err.Error(), "ask q") {
		t.Errorf("a column that is not there: %v", err)
	}
}

func TestRun_AsOfWhatTheLedgerSays(t *testing.T) {
	r := bankrows.New(t)
	r.Account("ann", "EUR", noon(1))
	r.Account("bob", "EUR", noon(2))
	r.Move("bob", "EUR", noon(5), 100, "")
	r.Write()
	r.Move("ann", "EUR", noon(4), 50, "")
	r.Write()
	c := catalogue(t, "SELECT count() AS n FROM bank.account_events")
	ask := func() *analytics.Answer {
		t.Helper()
		a, err := c.Run(t.Context(), r.Conn, "q", nil)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	a := ask()
	if ends := r.Offsets(); !a.AsOf.Exact || a.AsOf.Until != nil || a.AsOf.Offsets[0] != ends[0] || a.AsOf.Offsets[1] != ends[1] ||
		!a.AsOf.EventTime.Equal(noon(5)) || a.AsOf.Generation != 1 || a.AsOf.Projection != "analytics" || a.AsOf.Topic != "account.events" {
		t.Errorf("as of %+v, the log ends at %v", a.AsOf, ends)
	}
	// A member recorded a range and inserted none of it yet.
	must(t, r.Conn.Exec(t.Context(), `INSERT INTO ledgerline.ledger SELECT "projection", generation, topic, topic_id, partition, epoch, owner, next_offset, next_offset + 10, 10, 'x', now64(6)
		FROM ledgerline.ledger WHERE partition = 0 AND next_offset > 0 ORDER BY next_offset DESC LIMIT 1`))
	a = ask()
	if ends := r.Offsets(); a.AsOf.Exact || a.AsOf.Offsets[0] != ends[0] || a.AsOf.Until[0] != ends[0]+10 || a.AsOf.Until[1] != ends[1] {
		t.Errorf("with a range under way: as of %+v, the log ends at %v", a.AsOf, ends)
	}
	if text := a.AsOf.String(); !strings.Contains(text, "account.events offsets 0:") || !strings.Contains(text, "2026-03-05T12:00:00.000000Z") {
		t.Errorf("in words: %s", text)
	}
}

// While a projector writes, an answer holds all events before its offsets and none behind, whatever else it holds.
func TestRun_WhileRowsAreWritten_TheVectorsEncloseTheRows(t *testing.T) {
	r := bankrows.New(t)
	ids := []string{"ann", "bob", "cyn", "dan", "eve", "flo", "gus"}
	for _, id := range ids {
		r.Account(id, "EUR", noon(1))
	}
	r.Write()
	c := catalogue(t, "SELECT _partition, count() AS n, max(_offset) AS last FROM bank.account_events GROUP BY _partition")
	done := make(chan struct{})
	var asking sync.WaitGroup
	asking.Go(func() {
		for exact, all := 0, 0; ; all++ {
			a, err := c.Run(t.Context(), r.Conn, "q", nil)
			if err != nil {
				t.Error(err)
				return
			}
			if a.AsOf.Exact {
				exact++
			}
			for _, row := range a.Rows {
				p, n, last := int32(row[0].(int64)), int64(row[1].(uint64)), row[2].(int64)
				until := a.AsOf.Offsets[p]
				if !a.AsOf.Exact {
					until = a.AsOf.Until[p]
				}
				if n != last+1 || n < a.AsOf.Offsets[p] || n > until {
					t.Errorf("partition %d has %d rows, the last at %d, as of %+v", p, n, last, a.AsOf)
				}
			}
			select {
			case <-done:
				t.Logf("%d of %d answers were exact", exact, all)
				return
			default:
			}
		}
	})
	for i := range 60 {
		for j := range 1 + i%7 {
			r.Move(ids[(i+j)%len(ids)], "EUR", noon(2), 1, "")
		}
		r.Write()
	}
	close(done)
	asking.Wait()
}

func TestAnswer_InItsThreeForms(t *testing.T) {
	r := bankrows.New(t)
	r.Account("ann", "EUR", noon(1))
	r.Write()
	c := catalogue(t, `SELECT 'a "b", c' AS text, toNullable(toInt64(-7)) AS n, CAST(NULL, 'Nullable(Int64)') AS none, 0.1 AS f, 0/0 AS nan, [1, 2] AS list, toDateTime64('2026-01-02 03:04:05.6', 6, 'UTC') AS t,
		toDate('2026-01-02') AS d, toDecimal64(1.5, 2) AS dec, toUInt64(18446744073709551615) AS big, toLowCardinality('lc') AS lc FROM bank.account_events`)
	a, err := c.Run(t.Context(), r.Conn, "q", nil)
	must(t, err)
	var csv, table, doc strings.Builder
	must(t, a.WriteCSV(&csv))
	must(t, a.WriteTable(&table))
	must(t, a.WriteJSON(&doc))
	if want := "text,n,none,f,nan,list,t,d,dec,big,lc\n\"a \"\"b\"\", c\",-7,,0.1,,1 2,2026-01-02T03:04:05.600000Z,2026-01-02,1.5,18446744073709551615,lc\n"; csv.String() != want {
		t.Errorf("CSV\n%s\nwant\n%s", csv.String(), want)
	}
	if lines := strings.Split(table.String(), "\n"); len(lines) != 5 || !strings.HasPrefix(lines[0], "text       n") || !strings.HasPrefix(lines[3], "as of account.events offsets ") {
		t.Errorf("table\n%s", table.String())
	}
	var again analytics.Answer
	must(t, json.Unmarshal([]byte(doc.String()), &again))
	for _, want := range []string{`"exact": true`, `"event_time": "2026-03-01T12:00:00.000000Z"`, `18446744073709551615`} {
		if !strings.Contains(doc.String(), want) {
			t.Errorf("no %s in\n%s", want, doc.String())
		}
	}
	var list strings.Builder
	must(t, c.WriteList(&list))
	if list.String() != "q  Q?\n" {
		t.Errorf("list %q", list.String())
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
