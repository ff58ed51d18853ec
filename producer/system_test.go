package producer_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sr"

	"github.com/ledgerline-es/ledgerline/internal/kit"
	"github.com/ledgerline-es/ledgerline/producer"
	"github.com/ledgerline-es/ledgerline/schemas"
	"github.com/ledgerline-es/ledgerline/schemas/account"
	"github.com/ledgerline-es/ledgerline/schemas/ledgerline"
)

// patience is how long a test waits for what must come: machines are slow and busy.
const patience = 90 * time.Second

// system is a broker and a registry, with what runs against them.
type system struct {
	t        testing.TB
	brokers  []string
	registry *schemas.Registry
	prefix   string
	topics   schemas.Topics
	change   func(*producer.Config)
	quiet    bool // no log

	clientOptions []kgo.Opt
	def           producer.Definition // what producers decide by
}

// newSystem is fast: broker and registry run in the test.
func newSystem(t testing.TB) *system {
	t.Helper()
	return systemOn(t, kit.FakeKafka(t, kfake.SleepOutOfOrder()).Brokers(), kit.FakeRegistry(t), "")
}

// realSystem is Apache Kafka and Apicurio Registry.
func realSystem(t testing.TB) *system {
	t.Helper()
	kit.Start(t, kit.UseKafka, kit.UseRegistry)
	return systemOn(t, kit.Kafka(t).Brokers(), kit.Registry(t).Client(t), kit.Prefix(t))
}

// onBoth runs a test on either: the fast one shows most errors first, Apache Kafka decides.
func onBoth(t *testing.T, test func(*testing.T, *system)) {
	for name, on := range map[string]func(testing.TB) *system{"kfake": newSystem, "Apache Kafka": realSystem} {
		t.Run(name, func(t *testing.T) { test(t, on(t)) })
	}
}

func systemOn(t testing.TB, brokers []string, registry *sr.Client, prefix string) *system {
	return &system{t: t, brokers: brokers, registry: schemas.NewRegistry(registry), prefix: prefix, topics: schemas.TopicsOf(prefix, "account"), def: rules}
}

func (s *system) config() producer.Config {
	c := producer.Config{
		Brokers: s.brokers, Registry: s.registry, TopicPrefix: s.prefix,
		Partitions: 4, Replication: 1, MinInsync: 1, SessionTimeout: 6 * time.Second, TransactionTimeout: 5 * time.Second,
		Logger: slog.New(slog.NewTextHandler(testWriter{s.t}, &slog.HandlerOptions{Level: slog.LevelInfo})),
	}
	if s.quiet {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if s.change != nil {
		s.change(&c)
	}
	return c
}

type testWriter struct{ t testing.TB }

func (w testWriter) Write(b []byte) (int, error) {
	w.t.Logf("%s", strings.TrimSpace(string(b)))
	return len(b), nil
}

// running is a producer at work.
type running struct {
	*producer.Producer
	stop func()
	done chan error
}

// start runs a producer until the test ends or stop is called, and waits until it is ready.
func (s *system) start() *running {
	s.t.Helper()
	r := s.launch()
	s.await("the producer to be ready", func() error {
		select {
		case err := <-r.done:
			s.t.Fatalf("the producer stopped: %v", err)
		default:
		}
		return r.Ready()
	})
	return r
}

func (s *system) launch() *running {
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{Producer: producer.New(s.config(), s.def), done: make(chan error, 1)}
	finished := make(chan struct{})
	go func() {
		defer close(finished)
		r.done <- r.Run(ctx)
	}()
	r.stop = sync.OnceFunc(func() {
		cancel()
		<-finished
	})
	s.t.Cleanup(r.stop)
	return r
}

// await waits until check gives nil.
func (s *system) await(what string, check func() error) {
	s.t.Helper()
	deadline := time.Now().Add(patience)
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("waited %v for %s: %v", patience, what, err)
		}
		<-time.After(5 * time.Millisecond)
	}
}

// client is a running client.
func (s *system) client() *producer.Client {
	s.t.Helper()
	c := producer.NewClient(producer.ClientConfig{Brokers: s.brokers, Client: s.clientOptions, Registry: s.registry, TopicPrefix: s.prefix, Logger: s.config().Logger}, rules)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := c.Run(ctx); err != nil {
			s.t.Errorf("client: %v", err)
		}
	}()
	s.t.Cleanup(func() { cancel(); <-done })
	s.await("the client to be ready", c.Ready)
	return c
}

// publish sends a command and gives the reply.
func (s *system) publish(c *producer.Client, cmd producer.Command) *ledgerline.Reply {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	reply, err := c.Publish(ctx, cmd)
	if err != nil {
		s.t.Fatalf("publish %s to %s: %v", cmd.Record.AvroName(), cmd.AggregateID, err)
	}
	return reply
}

// expect fails the test unless the reply has the outcome and code.
func expect(t testing.TB, r *ledgerline.Reply, outcome, code string) {
	t.Helper()
	if r.Outcome != outcome || r.Code != code {
		t.Fatalf("the reply is %s %q (%s), wanted %s %q", r.Outcome, r.Code, r.Message, outcome, code)
	}
}

func (s *system) kafka(opts ...kgo.Opt) *kgo.Client {
	s.t.Helper()
	cl, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(s.brokers...), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ConsumeResetOffset(kgo.NoResetOffset())}, opts...)...)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(cl.Close)
	return cl
}

// records reads all committed records of a topic, partition by partition.
func (s *system) records(topic string) []*kgo.Record {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cl := s.kafka(kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords(), kgo.DisableFetchSessions())
	defer cl.Close()
	ends, err := kadm.NewClient(cl).ListEndOffsets(ctx, topic)
	if err = errors.Join(err, ends.Error()); err != nil {
		s.t.Fatal(err)
	}
	left := map[int32]int64{}
	from := map[int32]kgo.Offset{}
	ends.Each(func(o kadm.ListedOffset) {
		from[o.Partition] = kgo.NewOffset().AtStart()
		if o.Offset > 0 {
			left[o.Partition] = o.Offset
		}
	})
	cl.AddConsumePartitions(map[string]map[int32]kgo.Offset{topic: from})
	byPartition := map[int32][]*kgo.Record{}
	for len(left) > 0 {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			s.t.Fatalf("read %s, left %v: %v", topic, left, err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			if r.Offset+1 >= left[r.Partition] {
				delete(left, r.Partition)
			}
			if !r.Attrs.IsControl() {
				byPartition[r.Partition] = append(byPartition[r.Partition], r)
			}
		})
	}
	var out []*kgo.Record
	for _, p := range slices.Sorted(maps.Keys(byPartition)) {
		out = append(out, byPartition[p]...)
	}
	return out
}

// history checks that the events topic is one gapless history for each aggregate, and gives each one's events.
func (s *system) history() map[string][]account.Event {
	s.t.Helper()
	serde := schemas.NewSerde(schemas.NewCodec(s.registry), s.topics.Events, schemas.FullTransitive, account.Kind.Events...)
	out := map[string][]account.Event{}
	for _, r := range s.records(s.topics.Events) {
		id, number, _ := strings.Cut(string(r.Key), "/")
		if want := fmt.Sprint(len(out[id]) + 1); number != want {
			s.t.Fatalf("%s partition %d offset %d: %s has event %s, wanted %s", r.Topic, r.Partition, r.Offset, id, number, want)
		}
		if want := schemas.Partition(id, 4); r.Partition != want {
			s.t.Fatalf("event %s is in partition %d, wanted %d", r.Key, r.Partition, want)
		}
		e, err := serde.Decode(context.Background(), r.Value)
		if err != nil {
			s.t.Fatal(err)
		}
		out[id] = append(out[id], e)
	}
	return out
}
