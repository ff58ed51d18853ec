package write

import (
	"context"
	"log/slog"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/ledgerline-es/ledgerline/bank"
	"github.com/ledgerline-es/ledgerline/producer"
	"github.com/ledgerline-es/ledgerline/schemas"
)

// ledgerline runs a producer with the bank's rules over a backlog.
func (p *plant) ledgerline(sessions int, prefix, state string) result {
	counted, j := prometheus.NewRegistry(), p.commandsOf(prefix, producer.Group(prefix, "account"))
	j.who, j.setting = nameOurs, sessionsSetting(sessions)
	r := p.run(j, func() running { return within(p.startLedgerline(sessions, prefix, state, counted)) })
	topics := schemas.TopicsOf(prefix, "account")
	r.shape = shape{event: p.last(topics.Events), reply: p.last(topics.Replies), snapshots: counter(p.b, counted, "ledgerline_producer_snapshots_total") / float64(j.all)}
	return r
}

func (p *plant) startLedgerline(sessions int, prefix, state string, metrics prometheus.Registerer) (stop func()) {
	cfg := p.config(prefix, state)
	cfg.Metrics, cfg.Sessions = metrics, sessions
	return p.background(func(ctx context.Context) {
		if err := producer.New(cfg, bank.Account).Run(ctx); err != nil {
			p.b.Error(err)
		}
	})
}

// sessionTimeout is the default, which a take-over has to wait for.
const sessionTimeout = 10 * time.Second

// config of a producer under a prefix.
func (p *plant) config(prefix, state string) producer.Config {
	return producer.Config{
		Brokers: p.brokers, Registry: p.registry, TopicPrefix: prefix, Partitions: partitions, Replication: 1, MinInsync: 1, StateDir: state, SessionTimeout: sessionTimeout,
		Logger: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
	}
}

// restarted is how a producer came back.
type restarted struct {
	ready time.Duration
	heap  float64 // MiB in use by the whole process, after collecting garbage
}

// restart starts a producer that has everything to restore and nothing to decide, until it is ready.
func (p *plant) restart(prefix, state string) (r restarted) {
	ctx, cancel := context.WithCancel(p.b.Context())
	defer cancel()
	again, started := producer.New(p.config(prefix, state), bank.Account), time.Now()
	var running sync.WaitGroup
	running.Go(func() {
		if err := again.Run(ctx); err != nil {
			p.b.Error(err)
		}
	})
	for again.Ready() != nil {
		if time.Since(started) > 10*time.Minute {
			p.b.Fatal("not ready: ", again.Ready())
		}
		<-time.After(time.Millisecond)
	}
	r.ready = time.Since(started)
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	r.heap = float64(m.HeapAlloc) / (1 << 20)
	cancel()
	running.Wait()
	return r
}

// counter is the sum of a family's counters; 0 before there is one.
func counter(b *testing.B, reg *prometheus.Registry, name string) (sum float64) {
	for _, m := range family(b, reg, name) {
		sum += m.GetCounter().GetValue()
	}
	return sum
}

func gauge(b *testing.B, reg *prometheus.Registry, name string) float64 {
	all := family(b, reg, name)
	if len(all) == 0 {
		b.Fatalf("no metric %s", name)
	}
	return all[0].GetGauge().GetValue()
}

func family(b *testing.B, reg *prometheus.Registry, name string) []*dto.Metric {
	families, err := reg.Gather()
	if err != nil {
		b.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			return f.GetMetric()
		}
	}
	return nil
}
