package monitor_test

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ledgerline-es/ledgerline/internal/kit"
	"github.com/ledgerline-es/ledgerline/projector/internal/logtest"
	"github.com/ledgerline-es/ledgerline/projector/monitor"
)

// watch watches all projections of a world from the outside.
func watch(t *testing.T, w *logtest.World, interval time.Duration) (*prometheus.Registry, *monitor.Monitor) {
	t.Helper()
	projections, sinks := w.Projections()
	var readers []monitor.Reader
	for _, p := range projections {
		store, ok := sinks[p.StoreName()].(monitor.Positioner)
		if !ok {
			t.Fatalf("the sink %s does not say where a projection stands", p.StoreName())
		}
		readers = append(readers, must(monitor.ReaderOf(p, w.Log.Prefix, store))(t))
	}
	return starts(t, monitor.Config{Client: []kgo.Opt{kgo.SeedBrokers(w.Log.Brokers...)}, Interval: interval}, readers...)
}

var projectionNames = []string{logtest.BalancesName, logtest.EntriesName, logtest.FactsName}

// lags waits until every projection's lag in milliseconds holds.
func lags(t *testing.T, reg *prometheus.Registry, m *monitor.Monitor, holds func(ms float64) bool) {
	t.Helper()
	logtest.Eventually(t, func() error {
		s := scrapeOf(t, reg)
		for _, name := range projectionNames {
			if ms, ok := s.projection(name); !ok || !holds(ms) {
				return fmt.Errorf("%s: %v ms (there is one: %v); ready says %w", name, ms, ok, m.Ready())
			}
		}
		return nil
	})
}

// Before it was ever started, under load, at rest, frozen, dead, and back: on Kafka and both stores.
func TestP12_ProjectorFrozenOrDead_LagGrows_ZeroAtRest(t *testing.T) {
	w := logtest.NewWorld(t, 4, 30)
	reg, m := watch(t, w, 250*time.Millisecond)
	lags(t, reg, m, func(ms float64) bool { return ms == 0 }) // nothing in the log, nothing in the stores
	w.Write(500, 50)
	lags(t, reg, m, func(ms float64) bool { return ms > 1000 }) // nobody has ever read it

	child := w.StartChild(t, nil)
	lags(t, reg, m, func(ms float64) bool { return ms == 0 })

	stop := w.Load(500, 50)
	lags(t, reg, m, func(ms float64) bool { return ms < 2000 })
	if err := child.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	frozen := time.Now()
	lags(t, reg, m, func(ms float64) bool { return ms > 1500 })
	took := time.Since(frozen)
	t.Logf("1.5 s of lag are shown %v after the projectors were frozen", took)
	if took > 4*time.Second { // 1.5 s and 2 s, and what the machine may take
		t.Errorf("the lag is seen only after %v", took)
	}
	// It grows as time goes by, no faster and no slower.
	at, first := time.Now(), scrapeOf(t, reg)
	stop()
	lags(t, reg, m, func(ms float64) bool { return ms > 6000 })
	last, passed := scrapeOf(t, reg), time.Since(at)
	for _, name := range projectionNames {
		before, _ := first.projection(name)
		after, _ := last.projection(name)
		if grown := time.Duration((after - before) * float64(time.Millisecond)); (grown - passed).Abs() > 2*time.Second {
			t.Errorf("%s: the lag grew by %v in %v", name, grown, passed)
		}
	}
	if err := child.Kill(); err != nil {
		t.Fatal(err)
	}
	lags(t, reg, m, func(ms float64) bool { return ms > 8000 })
	w.StartChild(t, nil)
	lags(t, reg, m, func(ms float64) bool { return ms == 0 })
	s := scrapeOf(t, reg)
	t.Logf("%v looks, %v fetches, %v bytes read", s["monitor_look_seconds{}"], s["monitor_fetches_total{}"], s["monitor_fetched_bytes_total{}"])
}

// Without its store the group's offsets tell where a projection stands, and the monitor says that it is half blind.
func TestP12_StoreAway_TheGroupsOffsetsAreUsed(t *testing.T) {
	w := logtest.NewWorld(t, 2, 31)
	reg, m := watch(t, w, 100*time.Millisecond)
	logtest.Eventually(t, m.Ready) // the broker knows the topics that were just made
	w.Write(200, 20)
	child := w.StartChild(t, nil)
	lags(t, reg, m, func(ms float64) bool { return ms == 0 })
	child.Freeze()
	postgres := kit.Postgres(t)
	postgres.Kill9()
	defer postgres.Restart(t)
	w.Write(200, 20)
	lags(t, reg, m, func(ms float64) bool { return ms > 1000 })
	s := scrapeOf(t, reg)
	if m.Ready() == nil || s["monitor_up{}"] != 0 || s[`monitor_store_errors_total{projector="balances"}`] == 0 {
		t.Errorf("Postgres is away; ready says %v, monitor_up %v", m.Ready(), s["monitor_up{}"])
	}
	postgres.Restart(t)
	child.Thaw()
	lags(t, reg, m, func(ms float64) bool { return ms == 0 })
	logtest.Eventually(t, m.Ready)
}

// What a look costs while 2,000 events a second are written and projected: printed, and bounded generously.
func TestCost_UnderLoad(t *testing.T) {
	w := logtest.NewWorld(t, 12, 32)
	reg, m := watch(t, w, 500*time.Millisecond)
	logtest.Eventually(t, m.Ready) // the broker knows the topics that were just made
	w.StartChild(t, nil)
	stop := w.Load(2000, 300)
	lags(t, reg, m, func(ms float64) bool { return ms < 5000 })
	before, begun := scrapeOf(t, reg), time.Now()
	logtest.Eventually(t, func() error {
		if n := scrapeOf(t, reg)["monitor_look_seconds{}"] - before["monitor_look_seconds{}"]; n < 10 {
			return fmt.Errorf("%v looks", n)
		}
		return nil
	})
	after, took := scrapeOf(t, reg), time.Since(begun)
	stop()
	looks := after["monitor_look_seconds{}"] - before["monitor_look_seconds{}"]
	fetches, bytes := after["monitor_fetches_total{}"]-before["monitor_fetches_total{}"], after["monitor_fetched_bytes_total{}"]-before["monitor_fetched_bytes_total{}"]
	t.Logf("%.1f looks/s, %.1f fetches and %.0f bytes a look", looks/took.Seconds(), fetches/looks, bytes/looks)
	if fetches/looks > 60 || bytes/looks > 8<<20 {
		t.Errorf("a look costs %.1f fetches and %.0f bytes", fetches/looks, bytes/looks)
	}
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "monitor_look_seconds" {
			h := f.GetMetric()[0].GetHistogram()
			t.Logf("a look takes %.1f ms on average", 1000*h.GetSampleSum()/float64(h.GetSampleCount()))
		}
	}
}
