package bank_test

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ledgerline-es/ledgerline/bank"
	"github.com/ledgerline-es/ledgerline/producer"
	"github.com/ledgerline-es/ledgerline/projector"
	"github.com/ledgerline-es/ledgerline/projector/postgres"
	"github.com/ledgerline-es/ledgerline/projector/verify"
	"github.com/ledgerline-es/ledgerline/schemas/account"
)

// Eight writers and three of each projector work at once, in all: some of the writers with two sessions, some as static members, some
// leaving and coming back. No event is missed, none is there twice, in the log or in a table.
func TestP1P6_EightWritersThreeProjectors_NothingMissedNothingTwice(t *testing.T) {
	h := newHouse(t)
	writer := func(n int) (stop func()) {
		cfg := producer.Config{
			Brokers: h.brokers, Registry: h.registry, TopicPrefix: h.prefix, Partitions: 12, Replication: 1, MinInsync: 1,
			SessionTimeout: 6 * time.Second, TransactionTimeout: 10 * time.Second, Sessions: 1 + n%2, Logger: h.log,
		}
		if n%3 == 0 {
			cfg.InstanceID = fmt.Sprintf("writer-%d", n)
		}
		p := producer.New(cfg, bank.Account)
		return h.run(fmt.Sprintf("writer %d", n), p.Ready, p.Run)
	}
	writer(0)
	for range 3 {
		h.projectors()
	}
	client := producer.NewClient(producer.ClientConfig{Brokers: h.brokers, Registry: h.registry, TopicPrefix: h.prefix, Logger: h.log}, bank.Account)
	h.run("client", client.Ready, client.Run)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	const accounts, deposits = 100, 100
	var events, answered atomic.Int64
	publish := func(id string, rec account.Command, commandID string) {
		r, err := client.Publish(ctx, producer.Command{AggregateID: id, Record: rec, CommandID: commandID})
		if err != nil || r.Outcome != producer.Accepted {
			t.Errorf("%s to %s: %+v, %v", commandID, id, r, err)
			return
		}
		answered.Add(1)
		if !r.Duplicate {
			events.Add(r.LastSequence - r.FirstSequence + 1)
		}
	}
	var customers sync.WaitGroup
	for a := range accounts {
		customers.Go(func() {
			id := fmt.Sprintf("acc-%d", a)
			publish(id, &account.OpenAccount{Owner: "ann", Currency: "EUR"}, "open")
			for n := range deposits {
				publish(id, &account.DepositMoney{AmountMinor: 1}, fmt.Sprint(n))
				if n%10 == 0 { // an impatient customer
					publish(id, &account.DepositMoney{AmountMinor: 1}, fmt.Sprint(n))
				}
			}
		})
	}
	var stops [8]func()
	for n := 1; n < len(stops); n++ {
		stops[n] = writer(n)
	}
	for _, n := range []int{3, 6} {
		before := answered.Load()
		h.await("commands to be answered", func() error {
			if now := answered.Load(); now < before+accounts {
				return fmt.Errorf("%d", now-before)
			}
			return nil
		})
		stops[n]()
		stops[n] = writer(n)
	}
	customers.Wait()
	if want := int64(accounts * (deposits + 1)); events.Load() != want {
		t.Errorf("the replies speak of %d events, wanted %d", events.Load(), want)
	}

	sink := postgres.New(postgres.Config{URL: h.url})
	defer sink.Close()
	var report verify.Report
	h.await("the tables to be up to date", func() error {
		var err error
		report, err = verify.Verify(t.Context(), verify.Config{
			Client: []kgo.Opt{kgo.SeedBrokers(h.brokers...)}, Registry: h.registry, TopicPrefix: h.prefix, Sinks: map[string]projector.Sink{"postgres": sink},
		}, bank.AccountSummary, bank.TransactionHistory)
		if err != nil {
			return err
		}
		for _, p := range report.Projections {
			if p.Behind > 0 {
				return fmt.Errorf("%s is %d behind", p.Projection, p.Behind)
			}
		}
		return nil
	})
	if !report.Equal || report.Logs[0].Events != events.Load() {
		text, err := json.MarshalIndent(report, "", " ")
		t.Errorf("%d events were promised; not equal: %s, %v", events.Load(), text, err)
	}
}
