package producer_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ledgerline-es/ledgerline/internal/kit"
	"github.com/ledgerline-es/ledgerline/producer"
)

// A writer that Kafka takes nothing from waits, and says so; it loses nothing, and goes on by itself.

// spoken is a log that can be looked at.
type spoken struct {
	mu   sync.Mutex
	text bytes.Buffer
	testWriter
}

func (s *spoken) Write(b []byte) (int, error) {
	s.mu.Lock()
	s.text.Write(b)
	s.mu.Unlock()
	return s.testWriter.Write(b)
}

func (s *spoken) says(text string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Contains(s.text.String(), text)
}

// writer is a producer whose log and metrics are looked at.
type writer struct {
	*system
	*running
	log     *spoken
	metrics *prometheus.Registry
}

func (s *system) writer(change func(*producer.Config)) *writer {
	s.t.Helper()
	w := &writer{system: s, log: &spoken{testWriter: testWriter{s.t}}, metrics: prometheus.NewRegistry()}
	s.change = func(c *producer.Config) {
		c.Logger, c.Metrics = slog.New(slog.NewTextHandler(w.log, nil)), w.metrics
		change(c)
	}
	w.running = s.start()
	return w
}

// waits returns when the producer says in all three places that it waits, and for what.
func (w *writer) waits(reason string, texts ...string) {
	w.t.Helper()
	w.await("Ready, metric and log to say that it waits: "+reason, func() error {
		err := w.Ready()
		if err == nil {
			return errors.New("it is ready")
		}
		for _, text := range append(texts, "waiting for Kafka") {
			if !strings.Contains(err.Error(), text) {
				return fmt.Errorf("Ready does not say %q: %w", text, err)
			}
			if !w.log.says(text) {
				return fmt.Errorf("the log does not say %q", text)
			}
		}
		if n := counted(w.t, w.metrics, "ledgerline_producer_waiting", reason); n != 1 {
			return fmt.Errorf("the metric has %v for %s", n, reason)
		}
		return nil
	})
	w.t.Logf("%v", w.Ready())
}

// goesOn waits until it waits no more.
func (w *writer) goesOn(reason string) {
	w.t.Helper()
	w.await("Ready and metric to say that it goes on", func() error {
		if n := counted(w.t, w.metrics, "ledgerline_producer_waiting", reason); n != 0 {
			return fmt.Errorf("the metric has %v for %s", n, reason)
		}
		return w.Ready()
	})
}

// counted reads a metric with one label.
func counted(t testing.TB, metrics *prometheus.Registry, name, label string) float64 {
	t.Helper()
	families, err := metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if f.GetName() == name && l.GetValue() == label {
					return m.GetGauge().GetValue() + m.GetCounter().GetValue()
				}
			}
		}
	}
	return 0
}

func TestP13_TooFewCopiesInSync_Waits_SaysSo_GoesOn(t *testing.T) {
	kit.Start(t, kit.UseRegistry)
	cluster := kit.StartKafkaCluster(t)
	s := systemOn(t, cluster.Brokers(), kit.Registry(t).Client(t), kit.Prefix(t))
	w := s.writer(func(c *producer.Config) { c.Replication, c.MinInsync = 3, 3 })
	l := s.load(20)
	l.work(s, l.answered()+50)
	cluster.Kill9(2)
	w.waits("insync", "NOT_ENOUGH_REPLICAS", "2 copies in sync of the 3 that min.insync.replicas demands", "bring back brokers [3]")
	before := l.progress()
	cluster.Restart(2)
	s.await("each account to go on", func() error { return l.further(before, 2) })
	w.goesOn("insync")
	s.check(l.stop())
}

func TestP13_BrokerSlow_Waits_SaysSo_GoesOn(t *testing.T) {
	s := realSystem(t)
	link := kit.StartLink(t, s.brokers[0])
	w := s.writer(func(c *producer.Config) {
		c.Client, c.TransactionTimeout = []kgo.Opt{kgo.Dialer(link.Dial)}, 20*time.Second
	})
	l := s.load(20)
	l.work(s, l.answered()+50)
	before := l.progress()
	link.Slow(1200*time.Millisecond, 0) // three requests, one after another, commit a transaction
	w.waits("slow", "all brokers answer")
	s.await("each account to go on, slowly", func() error { return l.further(before, 2) })
	link.Heal()
	before = l.progress()
	s.await("each account to go on", func() error { return l.further(before, 2) })
	w.goesOn("slow")
	s.check(l.stop())
}

// A quota of the writer's own client id, which only a static member has a name for.
func TestP13_ThrottledByAQuota_Waits_SaysSo_GoesOn(t *testing.T) {
	s := realSystem(t)
	const rate = 500 // bytes a second: a few commands
	adm := kadm.NewClient(s.kafka())
	w := s.writer(func(c *producer.Config) { c.InstanceID = "held-back" })
	l := s.load(20)
	quota := func(remove bool) {
		t.Helper()
		id := producer.TransactionalIDPrefix(s.prefix, "account") + "held-back/0"
		altered, err := adm.AlterClientQuotas(context.WithoutCancel(t.Context()), []kadm.AlterClientQuotaEntry{{
			Entity: kadm.ClientQuotaEntity{{Type: "client-id", Name: &id}},
			Ops:    []kadm.AlterClientQuotaOp{{Key: "producer_byte_rate", Value: rate, Remove: remove}},
		}})
		if err == nil {
			err = altered[0].Err
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	quota(false)
	t.Cleanup(func() { quota(true) })
	w.waits("quota", "producer_byte_rate")
	if n := counted(t, w.metrics, "ledgerline_producer_throttled_seconds_total", "account"); n == 0 {
		t.Error("the metric knows of no throttling")
	}
	if !w.log.says("throttled by Kafka") {
		t.Error("the log knows of no throttling")
	}
	l.work(s, l.answered()+5) // held back
	before := l.progress()
	quota(true)
	s.await("each account to go on", func() error { return l.further(before, 2) })
	w.goesOn("quota")
	s.check(l.stop())
}
