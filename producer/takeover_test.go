package producer_test

import (
	"context"
	"errors"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ledgerline-es/ledgerline/internal/kit"
	"github.com/ledgerline-es/ledgerline/internal/process"
	"github.com/ledgerline-es/ledgerline/producer"
	"github.com/ledgerline-es/ledgerline/schemas"
	"github.com/ledgerline-es/ledgerline/schemas/account"
)

// longTransactions is a transaction timeout that no take-over in these tests could sit out: they end within patience.
const longTransactions = 10 * time.Minute

// killInTransaction kills a producer while a transaction of it is open, and gives the transactional id.
func (s *system) killInTransaction(p *process.Process, l *load) string {
	s.t.Helper()
	adm := kadm.NewClient(s.kafka())
	l.work(s, l.answered()+50)
	id := ""
	s.await("a transaction that is open while its owner stands still", func() error {
		if s.ongoing(adm) == "" {
			return errors.New("none")
		}
		if err := syscall.Kill(p.Pid(), syscall.SIGSTOP); err != nil {
			s.t.Fatal(err)
		}
		if id = s.ongoing(adm); id != "" {
			return nil
		}
		if err := syscall.Kill(p.Pid(), syscall.SIGCONT); err != nil {
			s.t.Fatal(err)
		}
		return errors.New("it ended in time")
	})
	if err := p.Kill(); err != nil {
		s.t.Fatal(err)
	}
	<-p.Done()
	return id
}

// The owner dies inside a transaction that may stay open for ten minutes. Whoever takes over doesn't wait for that.
func TestP4_TakeOver_EndsTheTransactionOfTheDead(t *testing.T) {
	s := realSystem(t)
	s.change = func(c *producer.Config) {
		c.TransactionTimeout, c.RestoreStall = longTransactions, longTransactions+time.Minute
	}
	registry := kit.Registry(t).URL()
	p := s.spawn(registry, "long-transactions")
	s.awaitTopics()
	l := s.load(20)
	for range 3 {
		id := s.killInTransaction(p, l)
		killed, before := time.Now(), l.answered()
		p = s.spawn(registry, "long-transactions")
		l.work(s, before+50)
		t.Logf("killed inside a transaction of %s; %v later the next producer has answered 50 commands", id, time.Since(killed).Round(time.Millisecond))
	}
	s.check(l.stop())
	if err := p.Stop(context.Background()); err != nil {
		t.Errorf("a clean stop: %v", err)
	}
}

// A stranger's transaction is left alone and named: by the metric, and by the error of a restore that waits for it too long.
func TestP4_TransactionOfAStranger_IsNamedNotAborted(t *testing.T) {
	s := realSystem(t)
	metrics := prometheus.NewRegistry()
	s.change = func(c *producer.Config) {
		c.TransactionTimeout, c.RestoreStall, c.Metrics = time.Second, 8*time.Second, metrics
	}
	p := s.start()
	s.publish(s.client(), open("acc-1", 0))
	p.stop()
	partition := schemas.Partition("acc-1", 4)
	stranger := s.kafka(kgo.TransactionalID(s.prefix+"stranger"), kgo.TransactionTimeout(longTransactions))
	if err := stranger.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	if err := stranger.ProduceSync(t.Context(), &kgo.Record{Topic: s.topics.Replies, Partition: partition, Value: []byte("x")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	metrics = prometheus.NewRegistry()
	p = s.launch()
	s.await("an error that names the transaction", func() error {
		if err := p.Ready(); err == nil || !strings.Contains(err.Error(), s.prefix+"stranger") || !strings.Contains(err.Error(), s.topics.Replies) {
			return err
		}
		return nil
	})
	s.await("the metric to count it", func() error {
		if n := gauge(t, metrics, "ledgerline_producer_hung_transactions"); n != 1 {
			return errors.New("it does not")
		}
		return nil
	})
	described, err := kadm.NewClient(s.kafka()).DescribeTransactions(t.Context(), s.prefix+"stranger")
	if err != nil || described[s.prefix+"stranger"].State != "Ongoing" {
		t.Errorf("the stranger's transaction is %+v, %v", described, err)
	}
	if err := stranger.EndTransaction(t.Context(), kgo.TryAbort); err != nil {
		t.Fatal(err)
	}
	expect(t, s.publish(s.client(), deposit("acc-1", 1)), producer.Accepted, "")
	if n := len(s.history()["acc-1"]); n != 2 {
		t.Errorf("%d events, wanted 2", n)
	}
}

// A member joins while another, alive, has a transaction open: nobody is fenced.
func TestP1_TransactionsOfTheLiving_AreLeftAlone(t *testing.T) {
	s := realSystem(t)
	metrics := prometheus.NewRegistry()
	s.start()
	l := s.load(20)
	s.change = func(c *producer.Config) { c.Metrics = metrics }
	for range 3 {
		metrics = prometheus.NewRegistry()
		before := l.answered()
		other := s.start()
		l.work(s, before+50)
		other.stop()
		if n := gauge(t, metrics, "ledgerline_producer_fenced_transactions_total"); n != 0 {
			t.Errorf("%v transactions of a living member were aborted", n)
		}
	}
	s.check(l.stop())
}

// What a dead producer forwarded stands open in the input of an aggregate whose owner may be another.
func TestP3_ForwardOfTheDead_DoesNotHoldUpTheInput(t *testing.T) {
	s := realSystem(t)
	s.change = func(c *producer.Config) {
		c.TransactionTimeout, c.RestoreStall = longTransactions, longTransactions+time.Minute
	}
	p := s.start()
	c := s.client()
	s.publish(c, open("acc-1", 0))
	p.stop()
	dead := s.kafka(kgo.TransactionalID(s.prefix+"account.producer-dead"), kgo.TransactionTimeout(longTransactions))
	if err := dead.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	at := schemas.Partition("acc-1", 4)
	forwarded := &kgo.Record{Topic: s.topics.Commands, Partition: at, Key: []byte("acc-1"), Value: s.encode(&account.DepositMoney{AmountMinor: 99})}
	if err := dead.ProduceSync(t.Context(), forwarded).FirstErr(); err != nil {
		t.Fatal(err)
	}
	s.start()
	expect(t, s.publish(c, deposit("acc-1", 1)), producer.Accepted, "")
	if err := dead.EndTransaction(t.Context(), kgo.TryCommit); err == nil {
		t.Error("the dead could commit after all")
	}
	if events := s.history()["acc-1"]; len(events) != 2 {
		t.Errorf("%d events, wanted 2", len(events))
	}
}

func gauge(t *testing.T, metrics *prometheus.Registry, name string) float64 {
	t.Helper()
	families, err := metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			return f.GetMetric()[0].GetGauge().GetValue() + f.GetMetric()[0].GetCounter().GetValue()
		}
	}
	t.Fatalf("no metric %s", name)
	return 0
}
