package producer_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/sr"

	"github.com/ledgerline-es/ledgerline/internal/kit"
	"github.com/ledgerline-es/ledgerline/internal/process"
	"github.com/ledgerline-es/ledgerline/producer"
	"github.com/ledgerline-es/ledgerline/schemas"
	"github.com/ledgerline-es/ledgerline/schemas/account"
)

func TestMain(m *testing.M) { kit.Main(m, producerRole) }

// producerRole is a producer in a process of its own, to be killed. Arguments: brokers, registry, prefix, then what differs in its
// settings.
var producerRole = process.Role{Name: "test-producer", Run: func(ctx context.Context, args []string) error {
	cl, err := sr.NewClient(sr.URLs(args[1]))
	if err != nil {
		return err
	}
	s := &system{brokers: strings.Split(args[0], ","), registry: schemas.NewRegistry(cl), prefix: args[2]}
	s.change = func(c *producer.Config) {
		c.Logger = slog.New(slog.NewTextHandler(os.Stderr, nil))
		for _, arg := range args[3:] {
			what, value, _ := strings.Cut(arg, "=")
			switch what {
			case "long-transactions":
				c.TransactionTimeout, c.RestoreStall = longTransactions, longTransactions+time.Minute
			case "long-session":
				c.SessionTimeout = 5 * time.Minute
			case "state":
				c.StateDir, c.SnapshotEvents, c.MemoryAggregates = value, boundedTail, 16
			case "instance":
				c.InstanceID = value
			case "group":
				c.Group = value
			case "window":
				c.Window, _ = time.ParseDuration(value)
			case "decide":
				c.DecideTimeout, _ = time.ParseDuration(value)
			case "standbys":
				c.Standbys, _ = strconv.Atoi(value)
			case "replication":
				n, _ := strconv.Atoi(value)
				c.Replication, c.MinInsync = int16(n), n-1
			case "tail":
				c.SnapshotEvents, _ = strconv.Atoi(value)
			case "sessions":
				c.Sessions, _ = strconv.Atoi(value)
			}
		}
	}
	c := s.config()
	return producer.New(c, rules).Run(ctx)
}}

func (s *system) spawn(registry string, more ...string) *process.Process {
	s.t.Helper()
	p, err := process.Start(s.t.Context(), process.Spec{Role: producerRole.Name, Args: append([]string{strings.Join(s.brokers, ","), registry, s.prefix}, more...), Log: testWriter{s.t}})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		_ = p.Kill() // it may be gone
		<-p.Done()
	})
	return p
}

// load publishes deposits of 1 to accounts until it is stopped, and knows what was answered.
type load struct {
	accounts int
	answered func() int64            // deposits accepted so far
	progress func() map[string]int64 // … per account
	stop     func() map[string]int64 // waits for all replies, gives the deposits accepted per account
}

func (s *system) load(accounts int) *load {
	s.t.Helper()
	c := s.client()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	s.t.Cleanup(cancel)
	id := func(a int) string { return "acc-" + strconv.Itoa(a) }
	for a := range accounts {
		if _, err := c.Publish(ctx, open(id(a), 0)); err != nil {
			s.t.Fatal(err)
		}
	}
	halt := make(chan struct{})
	var working sync.WaitGroup
	var mu sync.Mutex
	accepted, total := map[string]int64{}, int64(0)
	for a := range accounts {
		working.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-halt:
					return
				default:
				}
				cmd := deposit(id(a), 1)
				cmd.CommandID = fmt.Sprintf("%s-%d", id(a), n)
				r, err := c.Publish(ctx, cmd)
				if err != nil || r.Outcome != producer.Accepted {
					s.t.Errorf("deposit %s: %+v, %v", cmd.CommandID, r, err)
					return
				}
				mu.Lock()
				accepted[id(a)]++
				total++
				mu.Unlock()
			}
		})
	}
	return &load{accounts: accounts, answered: func() int64 {
		mu.Lock()
		defer mu.Unlock()
		return total
	}, progress: func() map[string]int64 {
		mu.Lock()
		defer mu.Unlock()
		return maps.Clone(accepted)
	}, stop: func() map[string]int64 {
		close(halt)
		working.Wait()
		return accepted
	}}
}

// further reports whether each account has so many more deposits accepted than before.
func (l *load) further(before map[string]int64, n int64) error {
	for id, now := range l.progress() {
		if now < before[id]+n {
			return fmt.Errorf("%s has %d more", id, now-before[id])
		}
	}
	return nil
}

// work waits until so many deposits are accepted.
func (l *load) work(s *system, until int64) {
	s.t.Helper()
	s.await("deposits to be accepted", func() error {
		if n := l.answered(); n < until {
			return fmt.Errorf("%d of %d", n, until)
		}
		return nil
	})
}

// check holds the log against what was answered: every accepted deposit is there once, nothing else is.
func (s *system) check(accepted map[string]int64) {
	s.t.Helper()
	total := int64(0)
	history := s.history()
	for id, n := range accepted {
		events := history[id]
		if int64(len(events)) != n+1 {
			s.t.Errorf("%s: %d deposits were accepted, the log has %d", id, n, len(events)-1)
		}
		if last, ok := events[len(events)-1].(*account.MoneyDeposited); n > 0 && (!ok || last.BalanceMinor != n) {
			s.t.Errorf("%s: %d deposits of 1, the last event is %+v", id, n, events[len(events)-1])
		}
		total += n
	}
	s.t.Logf("%d deposits on %d accounts: each once in the log", total, len(accepted))
}

// ongoing gives a transactional id of the kind's producers whose transaction is open, "" when there is none.
func (s *system) ongoing(adm *kadm.Client) string {
	s.t.Helper()
	listed, err := adm.ListTransactions(context.Background(), nil, []string{"Ongoing"})
	if err != nil {
		s.t.Fatal(err)
	}
	for id := range listed {
		if strings.HasPrefix(id, s.prefix) {
			return id
		}
	}
	return ""
}

func TestP13_ProducerKilledInItsTransactions_NothingLostNothingTwice(t *testing.T) {
	s := realSystem(t)
	registry := kit.Registry(t).URL()
	p := s.spawn(registry)
	s.awaitTopics()
	l := s.load(20)
	adm := kadm.NewClient(s.kafka())
	const wanted = 5
	hits, kills := 0, 0
	for deadline := time.Now().Add(4 * time.Minute); hits < wanted && time.Now().Before(deadline); {
		l.work(s, l.answered()+50)
		s.await("an open transaction", func() error {
			if s.ongoing(adm) == "" {
				return errors.New("none")
			}
			return nil
		})
		if err := p.Kill(); err != nil {
			t.Fatal(err)
		}
		<-p.Done()
		kills++
		if s.ongoing(adm) != "" { // still open after its owner's death: the kill fell inside
			hits++
		}
		p = s.spawn(registry)
		s.await("the abandoned transaction to end", func() error {
			if id := s.ongoing(adm); id != "" && hits < wanted {
				return errors.New(id + " is open")
			}
			return nil
		})
	}
	accepted := l.stop()
	t.Logf("%d kills, %d of them inside an open transaction", kills, hits)
	if hits < wanted {
		t.Errorf("only %d kills fell inside an open transaction, wanted %d", hits, wanted)
	}
	s.check(accepted)
	if err := p.Stop(context.Background()); err != nil {
		t.Errorf("a clean stop: %v", err)
	}
}

// awaitTopics waits for a producer to have made its topics.
func (s *system) awaitTopics() {
	s.t.Helper()
	adm := kadm.NewClient(s.kafka())
	s.await("the producer's topics", func() error {
		details, err := adm.ListTopics(context.Background(), s.topics.Commands, s.topics.Replies)
		return errors.Join(err, details.Error())
	})
}

func TestP1_MembersComeAndGo_OnApacheKafka(t *testing.T) {
	s := realSystem(t)
	s.start()
	l := s.load(20)
	for range 3 {
		before := l.answered()
		other := s.start()
		l.work(s, before+50)
		other.stop()
		l.work(s, l.answered()+50)
	}
	s.check(l.stop())
}

// Kafka's own tool shows the members and no backlog.
func TestProducerGroup_IsSeenByKafkasOwnTool(t *testing.T) {
	s := realSystem(t)
	s.start()
	s.publish(s.client(), open("acc-1", 5))
	out := kit.Kafka(t).Tool(t, "kafka-consumer-groups", "--describe", "--group", s.prefix+"account.producer")
	if !strings.Contains(out, s.topics.Commands) {
		t.Errorf("the tool does not show %s:\n%s", s.topics.Commands, out)
	}
}
