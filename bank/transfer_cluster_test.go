package bank_test

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ledgerline-es/ledgerline/internal/kit"
	"github.com/ledgerline-es/ledgerline/internal/process"
	"github.com/ledgerline-es/ledgerline/producer"
	"github.com/ledgerline-es/ledgerline/schemas/account"
)

// Accounts send each other money without a pause, while brokers of a cluster are killed and restarted, or stand still, links to them are cut,
// and producers are killed. Each transfer ends, in one way, and no cent is made or lost: in the log, in Postgres and in ClickHouse.
// CLUSTER_CHAOS_TIME has it last longer, CHAOS_SEED repeats a run's decisions.
func TestP13_Transfers_BrokersOfAClusterKilled_LinksCut_NoCentMadeOrLost(t *testing.T) {
	lasts, err := time.ParseDuration(cmp.Or(os.Getenv("CLUSTER_CHAOS_TIME"), "30s"))
	if err != nil {
		t.Fatal(err)
	}
	seed, err := strconv.ParseUint(cmp.Or(os.Getenv("CHAOS_SEED"), "1"), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	kit.Start(t, kit.UseRegistry, kit.UsePostgres, kit.UseClickHouse)
	cluster := kit.StartKafkaCluster(t)
	h := houseOn(t, cluster.Brokers())
	var running [3]*process.Process
	start := func(n int) {
		t.Helper()
		p, err := h.spawn(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		running[n] = p
		t.Cleanup(func() {
			_ = p.Kill() // it may be gone
			<-p.Done()
		})
	}
	for n := range running {
		start(n)
	}
	h.awaitTopics()
	client := h.client()
	ctx, cancel := context.WithTimeout(t.Context(), lasts+4*patience)
	defer cancel()
	const accounts, amount = 20, 1_000_000
	id := func(n int) string { return fmt.Sprint("acc-", n) }
	publish := func(id string, c account.Command) bool {
		reply, err := client.Publish(ctx, producer.Command{AggregateID: id, Record: c})
		if err != nil || reply.Outcome != producer.Accepted {
			t.Errorf("%s to %s: %+v, %v", c.AvroName(), id, reply, err)
			return false
		}
		return true
	}
	for n := range accounts {
		publish(id(n), &account.OpenAccount{Owner: "ann", Currency: "EUR", InitialDepositMinor: amount})
	}
	var begun [accounts]atomic.Int64
	halt := make(chan struct{})
	var customers sync.WaitGroup
	for n := range accounts {
		random := rand.New(rand.NewPCG(seed, uint64(n)))
		customers.Go(func() {
			for {
				select {
				case <-halt:
					return
				default:
				}
				to := id((n + 1 + random.IntN(accounts-1)) % accounts)
				if random.IntN(10) == 0 {
					to = "nobody" // who refuses it
				}
				if !publish(id(n), &account.TransferMoney{Target: to, AmountMinor: 1 + random.Int64N(50)}) {
					return
				}
				begun[n].Add(1)
			}
		})
	}
	r := rand.New(rand.NewPCG(seed, accounts))
	done := map[string]int{}
	for end, round := time.Now().Add(lasts), 0; time.Now().Before(end) || round < 5; round++ {
		var before [accounts]int64
		for n := range before {
			before[n] = begun[n].Load()
		}
		victim, kill := r.IntN(len(running)), round%2 == 0
		if kill {
			if err := running[victim].Kill(); err != nil {
				t.Fatal(err)
			}
			<-running[victim].Done()
			done["a producer killed"]++
		}
		done[cluster.Trouble(r, round)]++
		if kill {
			start(victim)
		}
		h.await("each account to go on", func() error {
			for n := range before {
				if begun[n].Load() == before[n] && !t.Failed() {
					return fmt.Errorf("%s has begun no transfer since", id(n))
				}
			}
			return nil
		})
	}
	close(halt)
	customers.Wait()
	transfers := 0
	for n := range begun {
		transfers += int(begun[n].Load())
	}
	said := h.awaitEnds(transfers)
	h.toldByStores(transfers)
	t.Logf("seed %d: %v; %d transfers, of which %d stalled, %d were refunded", seed, done, transfers, said.stalled, len(said.refunds))
	for _, p := range running {
		select {
		case <-p.Done():
			t.Errorf("a producer died: %v", p.Err())
		default:
		}
	}
}
