// Package bankrows fills bank.account_events for tests: events go through the bank's own projection and sink, as a
// projector would write them, without a log behind them.
package bankrows

import (
	"context"
	"testing"
	"time"

	ch "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ledgerline-es/ledgerline/bank"
	"github.com/ledgerline-es/ledgerline/internal/kit"
	"github.com/ledgerline-es/ledgerline/projector"
	"github.com/ledgerline-es/ledgerline/projector/clickhouse"
	"github.com/ledgerline-es/ledgerline/schemas"
	"github.com/ledgerline-es/ledgerline/schemas/account"
)

// Partitions is how many the log has that the rows are said to be of.
const Partitions = 2

// Rows are the databases bank and ledgerline of the kit's ClickHouse. They are one test's at a time and go with it.
type Rows struct {
	Conn ch.Conn
	URL  string
	Plan projector.Plan

	t         *testing.T
	sink      *clickhouse.Sink
	store     projector.Store
	codec     *schemas.Codec
	serde     *schemas.Serde[account.Event]
	sequences map[string]int64
	balances  map[string]int64
	next      [Partitions]int64
	pending   [Partitions][]*kgo.Record
}

// New makes empty tables.
func New(t *testing.T) *Rows {
	t.Helper()
	r := &Rows{t: t, URL: kit.ClickHouse(t).URL(), sequences: map[string]int64{}, balances: map[string]int64{}}
	var err error
	r.Conn, err = clickhouse.Connect(r.URL, 0)
	must(t, err)
	t.Cleanup(func() {
		for _, database := range []string{"bank", "ledgerline"} {
			must(t, r.Conn.Exec(context.WithoutCancel(t.Context()), "DROP DATABASE IF EXISTS "+database))
		}
		must(t, r.Conn.Close())
	})
	r.Plan, err = bank.Analytics.Plan("")
	must(t, err)
	r.Plan.TopicID, r.Plan.Partitions = "topic", Partitions
	r.codec = schemas.NewCodec(schemas.NewRegistry(kit.FakeRegistry(t)))
	r.serde = schemas.NewSerde(r.codec, r.Plan.Topic, schemas.FullTransitive, account.Kind.Events...)
	must(t, r.serde.Register(t.Context()))
	r.sink = clickhouse.New(clickhouse.Config{URL: r.URL})
	t.Cleanup(r.sink.Close)
	return r
}

// Open makes the tables and claims all partitions. Write does it when it was not done before.
func (r *Rows) Open() {
	r.t.Helper()
	var err error
	r.store, err = r.sink.Open(r.t.Context(), r.Plan)
	must(r.t, err)
	_, err = r.store.Claim(r.t.Context(), map[int32]int64{0: 0, 1: 0})
	must(r.t, err)
}

// Account opens an account.
func (r *Rows) Account(id, currency string, at time.Time) {
	r.t.Helper()
	r.Add(id, at, &account.AccountOpened{Owner: id, Currency: currency})
}

// Move deposits money, or withdraws it when amount is below 0.
func (r *Rows) Move(id, currency string, at time.Time, amount int64, category string) {
	r.t.Helper()
	r.balances[id] += amount
	if amount > 0 {
		r.Add(id, at, &account.MoneyDeposited{AmountMinor: amount, BalanceMinor: r.balances[id], Currency: currency, Category: category})
		return
	}
	r.Add(id, at, &account.MoneyWithdrawn{AmountMinor: -amount, BalanceMinor: r.balances[id], Currency: currency, Category: category})
}

// Add appends an event to what the next Write writes.
func (r *Rows) Add(id string, at time.Time, event account.Event) {
	r.t.Helper()
	value, err := r.serde.Append(nil, event)
	must(r.t, err)
	r.sequences[id]++
	p := schemas.Partition(id, Partitions)
	r.pending[p] = append(r.pending[p], &kgo.Record{
		Topic: r.Plan.Topic, Partition: p, Offset: r.next[p] + int64(len(r.pending[p])), Key: []byte(schemas.EventKey(id, r.sequences[id])), Value: value,
		Timestamp: at.Add(time.Hour), Headers: []kgo.RecordHeader{{Key: schemas.HeaderTime, Value: []byte(schemas.FormatTime(at))}, {Key: schemas.HeaderType, Value: []byte(event.AvroName())}},
	})
}

// Write writes what was added since the last time, a batch a partition.
func (r *Rows) Write() {
	r.t.Helper()
	if r.store == nil {
		r.Open()
	}
	var batches []*projector.Batch
	for p, records := range r.pending {
		if len(records) == 0 {
			continue
		}
		end := r.next[p] + int64(len(records))
		batch, err := projector.BatchOf(r.t.Context(), bank.Analytics, r.codec, r.Plan.Topic, int32(p), r.next[p], end, records)
		must(r.t, err)
		batches = append(batches, batch)
		r.next[p], r.pending[p] = end, nil
	}
	must(r.t, r.store.Write(r.t.Context(), batches))
}

// Offsets are where the log ends, by partition.
func (r *Rows) Offsets() map[int32]int64 { return map[int32]int64{0: r.next[0], 1: r.next[1]} }

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
