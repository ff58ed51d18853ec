package bank_test

import (
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	ch "github.com/ClickHouse/clickhouse-go/v2"

	"github.com/ledgerline-es/ledgerline/analytics"
	"github.com/ledgerline-es/ledgerline/analytics/bank"
	"github.com/ledgerline-es/ledgerline/internal/bankrows"
	"github.com/ledgerline-es/ledgerline/internal/kit"
	"github.com/ledgerline-es/ledgerline/schemas/account"
)

func TestMain(m *testing.M) { kit.Main(m) }

func day(text string, hour int) time.Time {
	d, err := time.Parse(time.DateOnly, text)
	if err != nil {
		panic(err)
	}
	return d.Add(time.Duration(hour) * time.Hour)
}

// town are four accounts in two currencies: ann and bob in EUR, cyn and dan in CZK; dan's is empty and eve's is closed.
//
//	            ann EUR   bob EUR            cyn CZK            dan CZK  eve EUR
//	2026-01-31  +100 000  +30 000 wages      +500 000                    +700
//	2026-02-01  -20 000 rent  -5 000 rent    -1 shop, -1 shop            -700, closed
//	2026-03-15            -25 000 car        +1 000 000 wages
func town(t *testing.T) *bankrows.Rows {
	r := bankrows.New(t)
	first, second, third := "2026-01-31", "2026-02-01", "2026-03-15"
	for id, currency := range map[string]string{"ann": "EUR", "bob": "EUR", "cyn": "CZK", "dan": "CZK", "eve": "EUR"} {
		r.Account(id, currency, day(first, 0))
	}
	r.Move("ann", "EUR", day(first, 23), 100_000, "")
	r.Move("bob", "EUR", day(first, 9), 30_000, "wages")
	r.Move("cyn", "CZK", day(first, 9), 500_000, "")
	r.Move("eve", "EUR", day(first, 9), 700, "")
	r.Move("ann", "EUR", day(second, 0), -20_000, "rent")
	r.Write()
	r.Move("bob", "EUR", day(second, 9), -5_000, "rent")
	r.Move("cyn", "CZK", day(second, 9), -1, "shop")
	r.Move("cyn", "CZK", day(second, 10), -1, "shop")
	r.Move("eve", "EUR", day(second, 10), -700, "")
	r.Add("eve", day(second, 11), &account.AccountClosed{Reason: "moved"})
	r.Add("dan", day(second, 11), &account.AccountFrozen{Reason: "check"})
	r.Write()
	r.Move("bob", "EUR", day(third, 9), -25_000, "car")
	r.Move("cyn", "CZK", day(third, 9), 1_000_000, "wages")
	r.Write()
	return r
}

// answers asks a question and compares the rows, each a line of CSV.
func answers(t *testing.T, r *bankrows.Rows, name string, params map[string]string, want ...string) {
	t.Helper()
	c, err := analytics.Open(bank.FS)
	if err != nil {
		t.Fatal(err)
	}
	a, err := c.Run(t.Context(), r.Conn, name, params)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	if err := a.WriteCSV(&b); err != nil {
		t.Fatal(err)
	}
	if got := strings.TrimSpace(b.String()); got != strings.Join(want, "\n") {
		t.Errorf("%s %v:\n%s\nwant\n%s", name, params, got, strings.Join(want, "\n"))
	}
	if !a.AsOf.Exact || !maps.Equal(a.AsOf.Offsets, r.Offsets()) || a.AsOf.EventTime == nil || a.AsOf.Topic != "account.events" {
		t.Errorf("%s is as of %+v, the log ends at %v", name, a.AsOf, r.Offsets())
	}
}

func TestQuestions_OnATownOfFiveAccounts(t *testing.T) {
	r := town(t)
	t.Run("daily volume", func(t *testing.T) {
		head := "day,currency,type,transactions,volume_minor"
		answers(t, r, "daily-volume", nil, head,
			"2026-01-31,CZK,MoneyDeposited,1,500000",
			"2026-01-31,EUR,MoneyDeposited,3,130700",
			"2026-02-01,CZK,MoneyWithdrawn,2,2",
			"2026-02-01,EUR,MoneyWithdrawn,3,25700",
			"2026-03-15,CZK,MoneyDeposited,1,1000000",
			"2026-03-15,EUR,MoneyWithdrawn,1,25000")
		answers(t, r, "daily-volume", map[string]string{"from": "2026-02-01", "to": "2026-02-01", "currency": "EUR"}, head,
			"2026-02-01,EUR,MoneyWithdrawn,3,25700")
	})
	t.Run("top accounts", func(t *testing.T) {
		head := "currency,account_id,turnover_minor,in_minor,out_minor,balance_minor,transactions"
		answers(t, r, "top-accounts", nil, head,
			"CZK,cyn,1500002,1500000,2,1499998,4",
			"EUR,ann,120000,100000,20000,80000,2",
			"EUR,bob,60000,30000,30000,0,3",
			"EUR,eve,1400,700,700,0,2")
		answers(t, r, "top-accounts", map[string]string{"top": "1"}, head,
			"CZK,cyn,1500002,1500000,2,1499998,4",
			"EUR,ann,120000,100000,20000,80000,2")
		answers(t, r, "top-accounts", map[string]string{"currency": "USD"}, head)
	})
	t.Run("balance distribution", func(t *testing.T) {
		// eve has closed hers; bob has nothing left, like dan.
		answers(t, r, "balance-distribution", nil, "currency,from_minor,to_minor,accounts,balance_minor,accounts_percent,balance_percent",
			"CZK,0,1,1,0,50,0",
			"CZK,1000000,2000000,1,1499998,50,100",
			"EUR,0,1,1,0,50,0",
			"EUR,50000,100000,1,80000,50,100")
	})
	t.Run("balance of the bank", func(t *testing.T) {
		head := "period,currency,change_minor,balance_minor"
		// EUR: 130 700, then -25 700 is 105 000, then -25 000 is 80 000. CZK: 500 000, 499 998, 1 499 998.
		answers(t, r, "bank-balance", nil, head,
			"2026-01-01,CZK,500000,500000",
			"2026-01-01,EUR,130700,130700",
			"2026-02-01,CZK,-2,499998",
			"2026-02-01,EUR,-25700,105000",
			"2026-03-01,CZK,1000000,1499998",
			"2026-03-01,EUR,-25000,80000")
		answers(t, r, "bank-balance", map[string]string{"step": "day", "from": "2026-02-01", "to": "2026-02-28", "currency": "EUR"}, head,
			"2026-02-01,EUR,-25700,105000")
		answers(t, r, "bank-balance", map[string]string{"step": "year", "from": "2026-06-01", "currency": "CZK"}, head, // the year that the day is in
			"2026-01-01,CZK,1499998,1499998")
		answers(t, r, "bank-balance", map[string]string{"step": "week", "to": "2026-02-01", "currency": "EUR"}, head, // Saturday and Sunday of one week
			"2026-01-26,EUR,105000,105000")
	})
	t.Run("categories", func(t *testing.T) {
		head := "currency,direction,category,transactions,volume_minor,average_minor,percent"
		// EUR out: 25 000 rent, 25 000 car, 700 without; together 50 700.
		answers(t, r, "categories", nil, head,
			"CZK,in,wages,1,1000000,1000000,66.67",
			"CZK,in,,1,500000,500000,33.33",
			"CZK,out,shop,2,2,1,100",
			"EUR,in,,2,100700,50350,77.05",
			"EUR,in,wages,1,30000,30000,22.95",
			"EUR,out,car,1,25000,25000,49.31",
			"EUR,out,rent,2,25000,12500,49.31",
			"EUR,out,,1,700,700,1.38")
		answers(t, r, "categories", map[string]string{"to": "2026-01-31", "currency": "EUR"}, head,
			"EUR,in,,2,100700,50350,77.05",
			"EUR,in,wages,1,30000,30000,22.95")
	})
}

func TestUnusualTransactions_EachAccountIsItsOwnMeasure(t *testing.T) {
	r := bankrows.New(t)
	for _, id := range []string{"rich", "poor", "steady", "young"} {
		r.Account(id, "EUR", day("2026-01-01", 0))
	}
	at := day("2026-01-01", 12)
	next := func(id string, amount int64) {
		at = at.Add(24 * time.Hour)
		r.Move(id, "EUR", at, amount, "x")
	}
	// What is every day's for the rich would be unheard of for the poor. Both have 8 withdrawals, the poor one more: of the
	// amounts 100 200 300 400 500 600 700 800 6400 the quartiles by nearest rank are the 3rd and the 7th, 300 and 700; the
	// width is 7/3, and the fence 700 * (7/3)^2 = 3811.1 at 2 widths, 700 * (7/3)^3 = 8892.6 at 3.
	for _, amount := range []int64{500, 100, 800, 300, 700, 200, 600, 400} {
		next("rich", 1_000_000)
		next("rich", -amount*1000)
		next("poor", 10_000)
		next("poor", -amount)
	}
	// The same rent each time: the width is 1.25, the fence at 2 is 1000 * 1.5625 = 1562.5.
	for range 8 {
		next("steady", 100_000)
		next("steady", -1000)
	}
	for range 3 {
		next("young", 10)
	}
	next("young", 1_000_000)
	next("poor", -6400)
	next("steady", -1563)
	next("steady", -1562)
	r.Write()
	latest := at
	head := "currency,account_id,sequence,business_time,amount_minor,operation,category,counterparty,history,upper_quartile_minor,usual_most_minor,score"
	when := func(back int) string { return latest.AddDate(0, 0, -back).Format("2006-01-02T15:04:05.000000Z") }
	// ln(6400/700) / ln(7/3) = 2.612; ln(1563/1000) / ln 1.25 = 2.001. 1562 is not above its fence.
	poor := fmt.Sprintf("EUR,poor,18,%s,-6400,,x,,9,700,3811,2.61", when(2))
	steady := fmt.Sprintf("EUR,steady,18,%s,-1563,,x,,10,1000,1562,2", when(1))
	answers(t, r, "unusual-transactions", map[string]string{"history": "5", "fence": "2"}, head, poor, steady)
	answers(t, r, "unusual-transactions", map[string]string{"history": "5", "fence": "2", "days": "2"}, head, steady) // the poor's is two days old to the second
	answers(t, r, "unusual-transactions", map[string]string{"history": "10", "fence": "2"}, head, steady)
	answers(t, r, "unusual-transactions", map[string]string{"history": "5"}, head)
	answers(t, r, "unusual-transactions", map[string]string{"history": "5", "fence": "2", "currency": "CZK"}, head)
	// 10 10 10 1 000 000: the quartiles are 10 and 10. Four are enough when somebody says so.
	answers(t, r, "unusual-transactions", map[string]string{"history": "4", "fence": "20"}, head,
		fmt.Sprintf("EUR,young,5,%s,1000000,,x,,4,10,867,51.59", when(3)))
}

// The sums that the questions need are kept by projections of the table. A question that asks for them in other words than
// the table's CREATE text reads all rows instead, and nobody would notice until there are many.
func TestQuestions_ReadTheSumsThatTheTableKeeps(t *testing.T) {
	r := town(t)
	c, err := analytics.Open(bank.FS)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"daily-volume": "by_day", "bank-balance": "by_day", "categories": "by_day", "top-accounts": "by_account", "balance-distribution": "by_account", "unusual-transactions": "by_account",
	} {
		q, err := c.Query(name)
		if err != nil {
			t.Fatal(err)
		}
		values, err := q.Values(nil)
		if err != nil {
			t.Fatal(err)
		}
		var plan string
		ctx := ch.Context(t.Context(), ch.WithParameters(values))
		if err := r.Conn.QueryRow(ctx, "SELECT arrayStringConcat(groupArray(explain), '\n') FROM (EXPLAIN\n"+q.SQL+"\n)").Scan(&plan); err != nil {
			t.Fatal(err)
		}
		for _, sums := range []string{"by_day", "by_account"} {
			if strings.Contains(plan, "("+sums+")") != (sums == want) {
				t.Errorf("%s is to use the sums %q; it is answered by:\n%s", name, want, plan)
			}
		}
		answers := func(use int) string {
			t.Helper()
			ctx := ch.Context(t.Context(), ch.WithParameters(values), ch.WithSettings(ch.Settings{"optimize_use_projections": use}))
			var hash uint64
			if err := r.Conn.QueryRow(ctx, "SELECT cityHash64(groupArray(formatRow('CSV', *))) FROM (\n"+q.SQL+"\n)").Scan(&hash); err != nil {
				t.Fatal(err)
			}
			return fmt.Sprint(hash)
		}
		if with, without := answers(1), answers(0); with != without {
			t.Errorf("%s has another answer from the sums than from the rows", name)
		}
	}
}

// An insert that is repeated has no effect on the sums either: they are in the part that is not written again.
func TestSums_OfARepeatedInsert_CountOnce(t *testing.T) {
	r := town(t)
	before := sums(t, r)
	for range 2 {
		ctx := ch.Context(t.Context(), ch.WithSettings(ch.Settings{"insert_deduplicate": 1, "insert_deduplication_token": "again", "deduplicate_blocks_in_dependent_materialized_views": 1}))
		if err := r.Conn.Exec(ctx, `INSERT INTO bank.account_events__g1 (aggregate_id, sequence, type, amount_minor, currency, business_time, _partition, _offset)
			VALUES ('ann', 9, 'MoneyDeposited', 5, 'EUR', '2026-03-16 12:00:00', 0, 1000)`); err != nil {
			t.Fatal(err)
		}
	}
	if after := sums(t, r); after != before+5 {
		t.Errorf("the sums were %d, and %d after 5 were inserted twice under one token", before, after)
	}
	if err := r.Conn.Exec(t.Context(), "OPTIMIZE TABLE bank.account_events__g1 FINAL"); err != nil {
		t.Fatal(err)
	}
	if after := sums(t, r); after != before+5 {
		t.Errorf("the sums were %d, and %d after the parts were merged", before, after)
	}
}

// Whoever takes rows away, or changes them, by hand changes the sums with them.
func TestSums_FollowRowsThatAreChangedByHand(t *testing.T) {
	r := town(t)
	before := sums(t, r)
	for _, step := range []struct {
		sql    string
		change int64
	}{
		{"ALTER TABLE bank.account_events__g1 UPDATE amount_minor = amount_minor + 10 WHERE aggregate_id = 'ann' AND sequence = 2 SETTINGS mutations_sync = 2", 10},
		{"DELETE FROM bank.account_events__g1 WHERE aggregate_id = 'ann' AND sequence = 2", -100_010},
		{"ALTER TABLE bank.account_events__g1 DELETE WHERE aggregate_id = 'ann' AND sequence = 3 SETTINGS mutations_sync = 2", -20_000},
	} {
		if err := r.Conn.Exec(t.Context(), step.sql); err != nil {
			t.Fatal(err)
		}
		after := sums(t, r)
		if int64(after)-int64(before) != step.change {
			t.Errorf("%s: the sums were %d, and are %d", step.sql, before, after)
		}
		before = after
	}
}

// sums adds up what moved, from the sums of the days.
func sums(t *testing.T, r *bankrows.Rows) (n uint64) {
	t.Helper()
	ctx := ch.Context(t.Context(), ch.WithSettings(ch.Settings{"force_optimize_projection": 1, "force_optimize_projection_name": "by_day"}))
	if err := r.Conn.QueryRow(ctx, "SELECT sum(abs(amount_minor)) FROM bank.account_events").Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}
