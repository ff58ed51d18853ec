package producer_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ledgerline-es/ledgerline/internal/kit"
	"github.com/ledgerline-es/ledgerline/internal/process"
	"github.com/ledgerline-es/ledgerline/producer"
	"github.com/ledgerline-es/ledgerline/schemas/account"
)

// soonGone makes the coordinator of a KIP-848 group count members as gone after 6 s, and hear of them often.
func (s *system) soonGone() {
	s.t.Helper()
	req := kmsg.NewPtrIncrementalAlterConfigsRequest()
	resource := kmsg.NewIncrementalAlterConfigsRequestResource()
	resource.ResourceType, resource.ResourceName = kmsg.ConfigResourceTypeGroupConfig, s.prefix+"account.producer"
	for name, value := range map[string]string{"consumer.session.timeout.ms": "6000", "consumer.heartbeat.interval.ms": "300"} {
		config := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
		config.Name, config.Value = name, &value
		resource.Configs = append(resource.Configs, config)
	}
	req.Resources = append(req.Resources, resource)
	resp, err := req.RequestWith(context.Background(), s.kafka())
	if err == nil {
		err = kerr.ErrorForCode(resp.Resources[0].ErrorCode)
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

// gap watches how long the account that waits longest has waited for its next answer.
type gap struct {
	mu      sync.Mutex
	since   map[string]time.Time
	seen    map[string]int64
	longest time.Duration
}

func (g *gap) watch(ctx context.Context, l *load) {
	ticker := time.NewTicker(2 * time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		now := time.Now()
		g.mu.Lock()
		for id, n := range l.progress() {
			if n != g.seen[id] || g.since[id].IsZero() {
				g.seen[id], g.since[id] = n, now
			}
			g.longest = max(g.longest, now.Sub(g.since[id]))
		}
		g.mu.Unlock()
	}
}

// reset gives the longest wait since the last reset.
func (g *gap) reset() time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	longest := g.longest
	g.longest = 0
	clear(g.since)
	return longest
}

// Members join, leave and are killed under load, with either protocol of the group, dynamic and static.
func TestP1_MembersJoinLeaveAndDie_EitherProtocol(t *testing.T) {
	for _, c := range []struct {
		name, group string
		static      bool
	}{{"classic", producer.GroupClassic, false}, {"classic, static", producer.GroupClassic, true}, {"consumer", producer.GroupConsumer, false}, {"consumer, static", producer.GroupConsumer, true}} {
		t.Run(c.name, func(t *testing.T) {
			s := realSystem(t)
			registry := kit.Registry(t).URL()
			if c.group == producer.GroupConsumer {
				s.soonGone()
			}
			spawn := func(n int) *process.Process {
				more := []string{"group=" + c.group}
				if c.static {
					more = append(more, fmt.Sprintf("instance=member-%d", n))
				}
				return s.spawn(registry, more...)
			}
			first := spawn(1)
			s.awaitTopics()
			l := s.load(20)
			g := gap{since: map[string]time.Time{}, seen: map[string]int64{}}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var watching sync.WaitGroup
			watching.Go(func() { g.watch(ctx, l) })
			defer watching.Wait()
			defer cancel()
			step := func(what string, do func()) {
				t.Helper()
				l.work(s, l.answered()+300)
				before := l.progress()
				g.reset()
				do()
				s.await("each account to go on after "+what, func() error { return l.further(before, 5) })
				t.Logf("%s: nothing was answered for some account for %v", what, g.reset().Round(time.Millisecond))
			}
			var second *process.Process
			step("a member joined", func() {
				second = spawn(2)
				s.members(2)
			})
			step("a member left", func() {
				if err := second.Stop(t.Context()); err != nil {
					t.Errorf("a clean stop: %v", err)
				}
				s.members(1)
			})
			second = spawn(2)
			s.members(2)
			step("a member was killed", func() {
				if err := second.Kill(); err != nil {
					t.Fatal(err)
				}
				<-second.Done()
				if c.static {
					second = spawn(2)
				}
			})
			s.check(l.stop())
			_ = first
		})
	}
}

// members waits until the group is stable with so many members.
func (s *system) members(n int) {
	s.t.Helper()
	adm := kadm.NewClient(s.kafka())
	group := s.prefix + "account.producer"
	s.await(fmt.Sprintf("%d members", n), func() error {
		classic, err := adm.DescribeGroups(context.Background(), group)
		if err != nil {
			return err
		}
		consumer, err := adm.DescribeConsumerGroups(context.Background(), group)
		if err != nil {
			return err
		}
		members, state := len(classic[group].Members), classic[group].State
		if members == 0 {
			members, state = len(consumer[group].Members), consumer[group].State
		}
		if members != n || state != "Stable" {
			return fmt.Errorf("%d, %s", members, state)
		}
		return nil
	})
}

// A commit that comes too late for its generation is aborted, and the coordinator says so: the session goes on, nothing is rebuilt that
// stays ours.
func TestRebalanceAtTheCommit_DoesNotEndTheSession(t *testing.T) {
	for _, group := range []string{producer.GroupClassic, producer.GroupConsumer} {
		t.Run(group, func(t *testing.T) {
			s := realSystem(t)
			s.soonGone()
			metrics := prometheus.NewRegistry()
			s.change = func(c *producer.Config) { c.Group, c.Metrics = group, metrics }
			s.start()
			l := s.load(20)
			s.change = func(c *producer.Config) { c.Group = group }
			for range 4 {
				other := s.start()
				l.work(s, l.answered()+100)
				other.stop()
				l.work(s, l.answered()+100)
			}
			s.check(l.stop())
			if n := gauge(t, metrics, "ledgerline_producer_sessions_total"); n != 1 {
				t.Errorf("%v sessions, wanted 1", n)
			}
			t.Logf("%v aborted, %v unknown", transactions(t, metrics, "aborted"), transactions(t, metrics, "unknown"))
		})
	}
}

// Two processes under one instance id: the older stops for good and says why; the younger works.
func TestInstanceIDInUse_TheOlderStopsForGood(t *testing.T) {
	s := realSystem(t)
	s.change = func(c *producer.Config) { c.InstanceID = "a" }
	older := s.start()
	c := s.client()
	s.publish(c, open("acc-1", 0))
	younger := s.launch()
	select {
	case err := <-older.done:
		if !errors.Is(err, producer.ErrInstance) || !strings.Contains(err.Error(), `"a"`) {
			t.Errorf("it stopped with %v, wanted ErrInstance naming the id", err)
		}
	case <-time.After(patience):
		t.Fatal("the older goes on")
	}
	s.await("the younger to be ready", younger.Ready)
	expect(t, s.publish(c, deposit("acc-1", 1)), producer.Accepted, "")
	select {
	case err := <-younger.done:
		t.Errorf("the younger stopped: %v", err)
	default:
	}
	if n := len(s.history()["acc-1"]); n != 2 {
		t.Errorf("%d events, wanted 2", n)
	}
}

// A static member that is killed inside a transaction has its partitions back without a rebalance, long before its session ends.
func TestP13_StaticMemberKilled_IsBackAtOnce(t *testing.T) {
	s := realSystem(t)
	s.change = func(c *producer.Config) {
		c.TransactionTimeout, c.RestoreStall = longTransactions, longTransactions+time.Minute
	}
	registry := kit.Registry(t).URL()
	settings := []string{"long-transactions", "long-session", "instance=a"}
	p := s.spawn(registry, settings...)
	s.awaitTopics()
	l := s.load(20)
	for range 3 {
		s.killInTransaction(p, l)
		killed, before := time.Now(), l.answered()
		p = s.spawn(registry, settings...)
		l.work(s, before+50)
		t.Logf("killed; %v later the same instance has answered 50 commands", time.Since(killed).Round(time.Millisecond))
	}
	s.check(l.stop())
	if err := syscall.Kill(p.Pid(), 0); err != nil {
		t.Errorf("the last one died: %v", err)
	}
	// A clean stop leaves the group: the partitions move although the session would last ten minutes.
	if err := p.Stop(t.Context()); err != nil {
		t.Errorf("a clean stop: %v", err)
	}
	s.start()
	expect(t, s.publish(s.client(), deposit("acc-0", 1)), producer.Accepted, "")
}

// Under KIP-848 partitions are taken away in several steps, and the client tells of the first one in a transaction alone. A member that
// loses some twice while it decides commits nothing into them, and counts none as its own.
func TestP1_PartitionsLostTwiceInATransaction_NoneIsKept(t *testing.T) {
	s := systemOn(t, kit.Kafka(t).Brokers(), kit.FakeRegistry(t), kit.Prefix(t))
	s.soonGone()
	deciding, held := make(chan struct{}), make(chan struct{})
	begun, release := sync.OnceFunc(func() { close(deciding) }), sync.OnceFunc(func() { close(held) })
	slow := rules
	slow.Decide = func(state account.State, c account.Command, m producer.Meta) producer.Decision[account.Event] {
		if d, ok := c.(*account.DepositMoney); ok && d.Operation == "wait" {
			begun()
			<-held
		}
		return decide(state, c, m)
	}
	s.def = slow
	var metrics []*prometheus.Registry
	s.change = func(c *producer.Config) {
		c.Group, c.DecideTimeout, c.TransactionTimeout, c.RestoreStall = producer.GroupConsumer, patience, 2*patience, 3*patience
		metrics = append(metrics, prometheus.NewRegistry())
		c.Metrics = metrics[len(metrics)-1]
	}
	s.start()
	t.Cleanup(release)
	c := s.client()
	metrics = metrics[:1] // a client has none
	const accounts = 16
	var pending []*producer.Pending
	send := func(cmd producer.Command) {
		t.Helper()
		p, err := c.Send(t.Context(), cmd)
		if err != nil {
			t.Fatal(err)
		}
		pending = append(pending, p)
	}
	answered := func() {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		for _, p := range pending {
			r, err := p.Wait(ctx)
			if err != nil {
				t.Fatal(err)
			}
			expect(t, r, producer.Accepted, "")
		}
		pending = nil
	}
	everywhere := func(cmd func(id string) producer.Command) {
		t.Helper()
		for a := range accounts {
			send(cmd(fmt.Sprint("acc-", a)))
		}
	}
	everywhere(func(id string) producer.Command { return open(id, 0) })
	answered()
	everywhere(func(id string) producer.Command { return deposit(id, 1) })
	send(producer.Command{AggregateID: "acc-0", Record: &account.DepositMoney{AmountMinor: 1, Operation: "wait"}})
	select {
	case <-deciding:
	case <-time.After(patience):
		t.Fatal("nothing is decided")
	}
	for n := 2; n <= 4; n++ { // each takes some away
		s.launch()
		s.members(n)
	}
	release()
	answered()
	everywhere(func(id string) producer.Command { return deposit(id, 1) })
	answered()
	for n, m := range metrics {
		if owned := gauge(t, m, "ledgerline_producer_partitions"); owned != 1 {
			t.Errorf("member %d counts %v partitions as its own, wanted 1", n+1, owned)
		}
	}
	for id, events := range s.history() {
		want := 3
		if id == "acc-0" {
			want = 4
		}
		if len(events) != want {
			t.Errorf("%s has %d events, wanted %d", id, len(events), want)
		}
	}
}
