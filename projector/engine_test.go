package projector_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"

	"github.com/ledgerline-es/ledgerline/internal/kit"
	"github.com/ledgerline-es/ledgerline/projector"
	"github.com/ledgerline-es/ledgerline/projector/internal/logtest"
)

func fakeLog(t *testing.T, seed uint64) *logtest.Log {
	t.Helper()
	registry, _ := logtest.Registry(t)
	return logtest.New(t, kit.FakeKafka(t).Brokers(), registry, kit.Prefix(t), 4, seed)
}

// ends runs a projector that is expected to stop by itself, and gives its error.
func ends(t *testing.T, p *projector.Projector) error {
	t.Helper()
	done := make(chan error, 1)
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	defer cancel()
	go func() { done <- p.Run(ctx) }()
	select {
	case err := <-done:
		if err == nil {
			t.Fatal("it ended without an error")
		}
		if ready := p.Ready(); ready == nil || !strings.Contains(ready.Error(), "stopped") {
			t.Errorf("ended with %v, ready says %v", err, ready)
		}
		return err
	case <-time.After(90 * time.Second):
		t.Fatalf("it goes on; ready says %v", p.Ready())
		return nil
	}
}

func TestEveryEventOnce_InOrder_OffsetsFollow(t *testing.T) {
	log, store := fakeLog(t, 20), newMemory()
	cfg := log.Config()
	reg := prometheus.NewRegistry()
	cfg.Registerer = reg
	p := projector.New(cfg, entries("entries"), store)
	if err := p.Ready(); err == nil {
		t.Error("ready before it runs")
	}
	log.Write(3000, 100)
	stop := logtest.Run(t, p)
	log.Write(2000, 100)
	eventuallyComplete(t, store, log, p)
	if err := p.Ready(); err != nil {
		t.Error(err)
	}
	admin := kadm.NewClient(mustClient(t, log))
	logtest.Eventually(t, func() error { return groupStandsWhere(t, admin, log, store) })
	logtest.Eventually(t, func() error {
		got := gathered(t, reg, "projector_events_total")
		if up := gathered(t, reg, "projector_up"); got != 5000 || up != 1 {
			return fmt.Errorf("projector_events_total %v, projector_up %v", got, up)
		}
		if lag := gathered(t, reg, "projector_lag_records"); lag != 0 {
			return fmt.Errorf("projector_lag_records adds up to %v", lag)
		}
		return nil
	})
	stop()
	if n := testutil.CollectAndCount(reg, "projector_lag_records"); n != 0 {
		t.Errorf("%d lags of partitions that it holds no more", n)
	}
}

// groupStandsWhere compares the group's offsets with the store's.
func groupStandsWhere(t *testing.T, admin *kadm.Client, log *logtest.Log, store *memory) error {
	offsets, err := admin.FetchOffsets(t.Context(), log.Prefix+"entries")
	if err != nil {
		return err
	}
	ends, err := admin.ListEndOffsets(t.Context(), log.Topics.Events)
	if err != nil {
		return err
	}
	store.mu.Lock()
	defer store.mu.Unlock()
	for id, next := range store.next {
		o, _ := offsets.Lookup(log.Topics.Events, id)
		e, _ := ends.Lookup(log.Topics.Events, id)
		if o.At != next || next != e.Offset {
			return fmt.Errorf("partition %d: the group stands at %d, the store at %d, the log ends at %d", id, o.At, next, e.Offset)
		}
	}
	return nil
}

func gathered(t *testing.T, reg *prometheus.Registry, name string) (sum float64) {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == name {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return sum
}

func mustClient(t *testing.T, log *logtest.Log, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	client, err := kgo.NewClient(append(opts, kgo.SeedBrokers(log.Brokers...))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

func TestStoreAway_RetriedAndVisible_ThenGoesOn(t *testing.T) {
	log, store := fakeLog(t, 21), newMemory()
	var away atomic.Bool
	away.Store(true)
	fail := func() error {
		if away.Load() {
			return errors.New("the store is away")
		}
		return nil
	}
	store.openErr, store.claimErr = fail, fail
	store.writeErr = func([]*projector.Batch) error { return fail() }
	log.Write(500, 50)
	p := projector.New(log.Config(), entries("entries"), store)
	logtest.Run(t, p)
	for _, stage := range []string{"open memory", "claim", "write"} {
		logtest.Eventually(t, func() error {
			if err := p.Ready(); err == nil || !strings.Contains(err.Error(), stage) || !strings.Contains(err.Error(), "the store is away") {
				return fmt.Errorf("stage %s: ready says %w", stage, err)
			}
			return nil
		})
		switch stage { // one stage after the other lets it pass
		case "open memory":
			store.set(func(m *memory) { m.openErr = nil })
		case "claim":
			store.set(func(m *memory) { m.claimErr = nil })
		}
	}
	away.Store(false)
	eventuallyComplete(t, store, log, p)
	logtest.Eventually(t, p.Ready)
}

// A write may be stored and yet answered with an error: what follows is neither lost nor written again.
func TestWriteWithUnknownOutcome_IsAskedFor(t *testing.T) {
	log, store := fakeLog(t, 22), newMemory()
	n := 0
	store.afterErr = func([]*projector.Batch) error {
		if n++; n%3 == 0 {
			return errors.New("connection reset: who knows")
		}
		return nil
	}
	store.pace.MaxEvents = 100
	p := projector.New(log.Config(), entries("entries"), store)
	logtest.Run(t, p)
	for range 10 {
		log.Write(400, 50)
	}
	eventuallyComplete(t, store, log, p)
	if store.claims < 3 {
		t.Errorf("it asked for positions %d times", store.claims)
	}
}

// A position that another one moved is asked for again, in the midst of a backlog.
func TestPositionMovedByAnother_GoesOnFromThere(t *testing.T) {
	log, store := fakeLog(t, 23), newMemory()
	log.Write(5000, 100)
	store.pace.MaxEvents = 50
	calls, fencings := 0, 0
	store.writeErr = func([]*projector.Batch) error {
		if calls++; calls%3 != 2 || fencings >= 15 {
			return nil
		}
		fencings++
		return fmt.Errorf("%w: as if another one had written", projector.ErrFenced)
	}
	p := projector.New(log.Config(), entries("entries"), store)
	logtest.Run(t, p)
	eventuallyComplete(t, store, log, p)
	if fencings < 5 {
		t.Errorf("refused %d times only", fencings)
	}
}

// A range that was begun and may be stored in part comes back as exactly that range, at whatever offset it ends.
func TestRangeInDoubt_ComesAsOneBatch(t *testing.T) {
	log := fakeLog(t, 24)
	log.Write(4000, 100)
	for _, end := range []int64{1, 37, 500, 900} {
		store := newMemory()
		store.pace.MaxEvents = 64 // a range may be longer than what is written now
		for id := range log.Partitions {
			store.until[id] = end
		}
		p := projector.New(log.Config(), entries(fmt.Sprintf("doubt-%d", end)), store)
		stop := logtest.Run(t, p)
		eventuallyComplete(t, store, log, p)
		stop()
		for _, w := range store.writes {
			if w.first < end && w.next != end || w.first == 0 && w.next != end {
				t.Errorf("end %d: partition %d was written as [%d, %d)", end, w.partition, w.first, w.next)
			}
		}
	}
}

func TestMemoryIsBounded_WhateverTheBacklog(t *testing.T) {
	log, store := fakeLog(t, 25), newMemory()
	log.Write(30_000, 200)
	var blocked atomic.Bool
	blocked.Store(true)
	store.writeErr = func([]*projector.Batch) error {
		if blocked.Load() {
			return errors.New("not now")
		}
		return nil
	}
	reg := prometheus.NewRegistry()
	cfg := log.Config()
	cfg.Registerer, cfg.MaxBuffered, cfg.MaxPoll = reg, 1<<20, 500
	p := projector.New(cfg, entries("entries"), store)
	logtest.Run(t, p)
	logtest.Eventually(t, func() error {
		if b := gathered(t, reg, "projector_buffered_bytes"); b < 1<<20 {
			return fmt.Errorf("%v bytes buffered", b)
		}
		return nil
	})
	most := 0.0
	for begun := time.Now(); time.Since(begun) < 3*time.Second; {
		most = max(most, gathered(t, reg, "projector_buffered_bytes"))
	}
	if most > 1<<20+500*2000 {
		t.Errorf("%v bytes buffered, the bound is %d and one poll", most, 1<<20)
	}
	blocked.Store(false)
	eventuallyComplete(t, store, log, p)
}

// Members come and go under load; the store sees each event once and in order, whoever writes it.
func TestMembersComeAndGo_NothingLostNothingDoubled(t *testing.T) {
	log, store := fakeLog(t, 26), newMemory()
	ctx, cancel := context.WithCancel(t.Context())
	written := make(chan error, 1)
	go func() { written <- log.WriteUntil(ctx, 4000, 100, nil) }()
	first := projector.New(log.Config(), entries("entries"), store)
	stopFirst := logtest.Run(t, first)
	var last *projector.Projector
	for range 4 {
		last = projector.New(log.Config(), entries("entries"), store)
		stop := logtest.Run(t, last)
		logtest.Eventually(t, last.Ready)
		stopFirst()
		stopFirst = stop
	}
	cancel()
	if err := <-written; err != nil {
		t.Fatal(err)
	}
	eventuallyComplete(t, store, log, last)
}

func TestEnded_LeavesNothingBehind(t *testing.T) {
	log, store := fakeLog(t, 33), newMemory()
	log.Write(200, 10)
	before := goleak.IgnoreCurrent()
	p := projector.New(log.Config(), entries("entries"), store)
	stop := logtest.Run(t, p)
	eventuallyComplete(t, store, log, p)
	stop()
	goleak.VerifyNone(t, before)
}
