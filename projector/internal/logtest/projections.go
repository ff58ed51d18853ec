package logtest

import (
	"context"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ledgerline-es/ledgerline/projector"
	"github.com/ledgerline-es/ledgerline/schemas/account"
)

// AccountEvent is what the projections read.
type AccountEvent = account.Event

// Row is a row of both projections: of an entry all fields, of a balance those that a fold can know.
type Row struct {
	ID      string
	Seq     int64
	Type    string
	Amount  int64
	Balance int64
	At      time.Time
	LastAt  *time.Time
	Open    bool
}

// Balances is a fold: one row an account.
func Balances(name string, table func(schema, name, create string, columns ...projector.Column[Row]) projector.Table[Row], create string) projector.Fold[Row, account.Event] {
	return projector.Fold[Row, account.Event]{
		Name: name, From: account.Kind,
		Into: table("bank", "balances", create,
			projector.Col("id", func(r *Row) *string { return &r.ID }),
			projector.Col("version", func(r *Row) *int64 { return &r.Seq }),
			projector.Col("total", func(r *Row) *int64 { return &r.Amount }),
			projector.Col("balance", func(r *Row) *int64 { return &r.Balance }),
			projector.Col("opened_at", func(r *Row) *time.Time { return &r.At }),
			projector.Col("last_at", func(r *Row) **time.Time { return &r.LastAt }),
			projector.Col("open", func(r *Row) *bool { return &r.Open }),
		),
		Apply: func(r *Row, e projector.Event[account.Event]) {
			r.Seq = e.Sequence
			switch d := e.Data.(type) {
			case *account.AccountOpened:
				r.At, r.Open = e.Time, true
			case *account.MoneyDeposited:
				at := e.Time
				r.Amount, r.Balance, r.LastAt = r.Amount+d.AmountMinor, d.BalanceMinor, &at
			case *account.MoneyWithdrawn:
				at := e.Time
				r.Amount, r.Balance, r.LastAt = r.Amount-d.AmountMinor, d.BalanceMinor, &at
			case *account.AccountFrozen:
				r.Open = false
			case *account.AccountUnfrozen:
				r.Open = true
			}
		},
	}
}

// BalancesTable is the CREATE text of Balances in Postgres. total and balance are the same number by two ways.
const BalancesTable = `CREATE TABLE {{table}} (id text PRIMARY KEY, version bigint NOT NULL, total bigint NOT NULL, balance bigint NOT NULL,
	opened_at timestamptz NOT NULL, last_at timestamptz, open boolean NOT NULL)`

// Entries is an append: one row an event.
func Entries(name string, table func(schema, name, create string, columns ...projector.Column[Row]) projector.Table[Row], create string) projector.Append[Row, account.Event] {
	return projector.Append[Row, account.Event]{
		Name: name, From: account.Kind,
		Into: table("bank", "entries", create,
			projector.Col("id", func(r *Row) *string { return &r.ID }),
			projector.Col("seq", func(r *Row) *int64 { return &r.Seq }),
			projector.Col("type", func(r *Row) *string { return &r.Type }),
			projector.Col("amount", func(r *Row) *int64 { return &r.Amount }),
			projector.Col("at", func(r *Row) *time.Time { return &r.At }),
		),
		Apply: func(e projector.Event[account.Event], emit func(Row)) {
			row := Row{ID: e.AggregateID, Seq: e.Sequence, Type: e.Type, At: e.Time}
			switch d := e.Data.(type) {
			case *account.MoneyDeposited:
				row.Amount = d.AmountMinor
			case *account.MoneyWithdrawn:
				row.Amount = -d.AmountMinor
			}
			emit(row)
		},
	}
}

// CREATE texts of Entries.
const (
	EntriesPostgres   = `CREATE TABLE {{table}} (id text, seq bigint, type text NOT NULL, amount bigint NOT NULL, at timestamptz NOT NULL, PRIMARY KEY (id, seq))`
	EntriesClickHouse = `CREATE TABLE {{table}} (id String, seq Int64, type LowCardinality(String), amount Int64, at DateTime64(6, 'UTC'), _partition Int32, _offset Int64)
		ENGINE = MergeTree ORDER BY (id, seq) SETTINGS non_replicated_deduplication_window = 10000`
)

// Config is a projector's configuration that reads this log.
func (l *Log) Config() projector.Config {
	return projector.Config{
		Client:      []kgo.Opt{kgo.SeedBrokers(l.Brokers...), kgo.MetadataMinAge(10 * time.Millisecond)},
		Registry:    l.Registry,
		TopicPrefix: l.Prefix,
		BackoffMax:  500 * time.Millisecond,
	}
}

// Run runs a projector until the test ends, or stop is called, and fails the test if it ends with an error.
func Run(t testing.TB, p *projector.Projector) (stop func()) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			t.Errorf("projector ended: %v", err)
		}
	}
	t.Cleanup(stop)
	return stop
}

// Eventually waits until ok gives no error, for at most a minute and a half.
func Eventually(t testing.TB, ok func() error) {
	t.Helper()
	deadline := time.Now().Add(5 * time.Minute)
	for {
		err := ok()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
		<-time.After(20 * time.Millisecond) // between two looks, not in place of one
	}
}
