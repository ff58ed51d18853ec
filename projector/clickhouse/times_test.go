package clickhouse_test

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ledgerline-es/ledgerline/projector"
	"github.com/ledgerline-es/ledgerline/projector/clickhouse"
	"github.com/ledgerline-es/ledgerline/projector/internal/logtest"
	"github.com/ledgerline-es/ledgerline/schemas/account"
)

type timeRow struct {
	ID   string
	Seq  int64
	At   time.Time
	When *time.Time
}

// timesOf is an append whose i-th event has the i-th time, as the value of one column that can't be absent and one that can.
func timesOf(typ string, times ...time.Time) projector.Append[timeRow, account.Event] {
	return projector.Append[timeRow, account.Event]{
		Name: "times", From: account.Kind,
		Into: clickhouse.Table("bank", "times", "CREATE TABLE {{table}} (id String, seq Int64, at "+typ+", when Nullable("+typ+"), _partition Int32, _offset Int64) "+
			"ENGINE = MergeTree ORDER BY (id, seq) SETTINGS non_replicated_deduplication_window = 10000",
			projector.Col("id", func(r *timeRow) *string { return &r.ID }),
			projector.Col("seq", func(r *timeRow) *int64 { return &r.Seq }),
			projector.Col("at", func(r *timeRow) *time.Time { return &r.At }),
			projector.Col("when", func(r *timeRow) **time.Time { return &r.When }),
		),
		Apply: func(e projector.Event[account.Event], emit func(timeRow)) {
			row := timeRow{ID: e.AggregateID, Seq: e.Sequence, At: times[e.Offset]}
			if e.Offset%2 == 0 {
				row.When = &times[e.Offset]
			}
			emit(row)
		},
	}
}

// A time comes back as it was, or it stops the projection by its name: never is another one stored.
func TestP9_TimesThatATypeCannotHold_AreRefusedByName(t *testing.T) {
	at := func(text string) time.Time {
		parsed, err := time.Parse(time.RFC3339Nano, text)
		if err != nil {
			t.Fatal(err)
		}
		return parsed.UTC()
	}
	first, last := at("0001-01-01T00:00:00Z"), at("9999-12-31T23:59:59.999999Z")
	for typ, c := range map[string]struct{ good, bad []time.Time }{
		"DateTime64(6, 'UTC')": {
			[]time.Time{at("1900-01-01T00:00:00Z"), at("1969-12-31T23:59:59.999999Z"), at("2262-04-11T23:47:16.854775Z")},
			[]time.Time{first, at("1899-12-31T23:59:59.999999Z"), at("2262-04-12T00:00:00Z"), at("2299-12-31T00:00:00Z"), at("2026-01-01T00:00:00.0000001Z"), last},
		},
		"DateTime64(9)":                  {[]time.Time{at("1900-01-01T00:00:00.000000001Z"), time.Unix(0, math.MaxInt64-1).UTC()}, []time.Time{first, at("2263-01-01T00:00:00Z"), last}},
		"DateTime64(3, 'Europe/Prague')": {[]time.Time{at("2026-01-01T00:00:00.001Z")}, []time.Time{at("2026-01-01T00:00:00.000001Z"), last}},
		"DateTime":                       {[]time.Time{at("1970-01-01T00:00:00Z"), at("2106-02-07T06:28:15Z")}, []time.Time{first, at("1969-12-31T23:59:59Z"), at("2106-02-07T06:28:16Z"), at("2026-01-01T00:00:00.5Z")}},
		"Date":                           {[]time.Time{at("1970-01-01T00:00:00Z"), at("2149-06-06T00:00:00Z")}, []time.Time{at("1969-12-31T00:00:00Z"), at("2149-06-07T00:00:00Z"), at("2026-01-01T00:00:01Z")}},
		"Date32":                         {[]time.Time{at("1900-01-01T00:00:00Z"), at("2299-12-31T00:00:00Z")}, []time.Time{at("1899-12-31T00:00:00Z"), at("2300-01-01T00:00:00Z"), at("2026-01-01T00:00:00Z").In(time.FixedZone("west", -3600))}},
	} {
		t.Run(typ, func(t *testing.T) {
			s := fresh(t)
			b := logtest.NewBench(t, timesOf(typ, c.good...), "one", 2)
			store, _ := s.member(b)
			good := int64(len(c.good))
			write(t, store, b.Batch(0, 0, good))
			s.right(b, len(c.good))
			for _, bad := range c.bad {
				err := store.Write(t.Context(), []*projector.Batch{logtest.NewBench(t, timesOf(typ, append(slices.Clone(c.good), bad)...), "one", 2).Batch(0, good, good+1)})
				if _, stops := errors.AsType[*projector.FatalError](err); !stops {
					t.Fatalf("%s was taken, or is tried for ever: %v", bad, err)
				}
				for _, want := range []string{fmt.Sprintf("account.events/0 offset %d", good), "column at ", typ, bad.Format(time.RFC3339Nano)} {
					if !strings.Contains(err.Error(), want) {
						t.Errorf("%v does not say %q", err, want)
					}
				}
			}
			if n := s.number("SELECT count() FROM DB_bank.times"); n != uint64(good) {
				t.Errorf("%d rows are there, want %d", n, good)
			}
		})
	}
}
