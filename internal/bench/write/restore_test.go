package write

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/sr"

	"github.com/ledgerline-es/ledgerline/bank"
	"github.com/ledgerline-es/ledgerline/internal/bench"
	"github.com/ledgerline-es/ledgerline/internal/process"
	"github.com/ledgerline-es/ledgerline/producer"
	"github.com/ledgerline-es/ledgerline/schemas"
)

// BenchmarkRestore measures how soon a producer of many accounts is back: started again with and without its local state, and taken over
// from one that was killed, with and without a standby. BENCH_RESTORE_ACCOUNTS=1000000.
func BenchmarkRestore(b *testing.B) {
	for b.Loop() { // once, by -benchtime 1x
		measureRestore(b)
	}
}

func measureRestore(b *testing.B) {
	p := newPlant(b, 0)
	p.accounts = number(b, "BENCH_RESTORE_ACCOUNTS", 1_000_000)
	prefix, state := p.stage(0), b.TempDir()
	p.ledgerline(1, prefix, state)
	without, with := p.restart(prefix, b.TempDir()), p.restart(prefix, state)
	cold, warm := p.takeover(prefix, 0), p.takeover(prefix, 1)
	fmt.Printf("\n%d accounts in %d partitions of Apache Kafka; %s\n\n", p.accounts, partitions, bench.ThisMachine())
	rows := []map[string]any{}
	row := func(what string, took time.Duration, heap float64) {
		fmt.Printf("%-60s %8.2f s", what, took.Seconds())
		if heap > 0 {
			fmt.Printf("   heap %4.0f MiB", heap)
		}
		fmt.Println()
		rows = append(rows, map[string]any{"what": what, "seconds": took.Seconds(), "heap_MiB": heap})
	}
	row("started again without local state, until it is ready", without.ready, without.heap)
	row("started again with local state, until it is ready", with.ready, with.heap)
	row("half killed, until all partitions answer", cold, 0)
	row("half killed, which a standby followed", warm, 0)
	fmt.Println()
	report(b, "restore", rows, []bench.Target{
		bench.AtMost("restore_without_local_state_s", without.ready.Seconds(), 5),
		bench.AtMost("restore_with_local_state_s", with.ready.Seconds(), 0.5),
		bench.AtMost("restore_heap_MiB", max(without.heap, with.heap), 512),
		bench.AtMost("takeover_s", cold.Seconds(), sessionTimeout.Seconds()+5),
		bench.AtMost("takeover_with_standby_s", warm.Seconds(), sessionTimeout.Seconds()+1),
	})
}

// victim is a producer in a process of its own, to be killed. Arguments: brokers, registry, prefix.
var victim = process.Role{Name: "bench-producer", Run: func(ctx context.Context, args []string) error {
	cl, err := sr.NewClient(sr.URLs(args[1]))
	if err != nil {
		return err
	}
	p := &plant{brokers: strings.Split(args[0], ","), registry: schemas.NewRegistry(cl)}
	return producer.New(p.config(args[2], ""), bank.Account).Run(ctx)
}}

// takeover kills a producer that decides half the partitions, and gives the time until all of them answer again.
func (p *plant) takeover(prefix string, standbys int) time.Duration {
	metrics := prometheus.NewRegistry()
	cfg := p.config(prefix, "")
	cfg.Metrics, cfg.Standbys = metrics, standbys
	survivor := producer.New(cfg, bank.Account)
	stop := p.background(func(ctx context.Context) {
		if err := survivor.Run(ctx); err != nil {
			p.b.Error(err)
		}
	})
	defer stop()
	until := func(metric string, n int) {
		for end := time.Now().Add(5 * time.Minute); gauge(p.b, metrics, metric) != float64(n); {
			if time.Now().After(end) {
				p.b.Fatalf("%s is %v, wanted %d", metric, gauge(p.b, metrics, metric), n)
			}
			<-time.After(10 * time.Millisecond)
		}
	}
	until("ledgerline_producer_partitions", partitions)
	other, err := process.Start(p.b.Context(), process.Spec{Role: victim.Name, Args: []string{strings.Join(p.brokers, ","), p.url, prefix}, Log: os.Stderr})
	if err != nil {
		p.b.Fatal(err)
	}
	defer func() { _ = other.Kill() }() // it is gone
	until("ledgerline_producer_partitions", partitions/2)
	a := p.asker(prefix)
	ctx, cancel := context.WithTimeout(p.b.Context(), 5*time.Minute)
	defer cancel()
	everywhere := p.everywhere()
	ask := func() {
		for _, n := range everywhere {
			a.publish(ctx, n, time.Now())
		}
		a.read(ctx, len(a.took)+len(everywhere))
	}
	ask() // the other one has restored its half
	if standbys > 0 {
		until("ledgerline_producer_standby_partitions", partitions/2)
		until("ledgerline_producer_standby_lag_events", 0)
	}
	if err := other.Kill(); err != nil {
		p.b.Fatal(err)
	}
	killed := time.Now()
	ask()
	return time.Since(killed)
}

// everywhere are numbers of accounts, one in each partition.
func (p *plant) everywhere() (numbers []int) {
	seen := map[int32]bool{}
	for n := 0; len(seen) < partitions; n++ {
		if at := schemas.Partition(accountID(n), partitions); !seen[at] {
			seen[at], numbers = true, append(numbers, n)
		}
	}
	return numbers
}
