// Package write measures the write side on Apache Kafka beside the bare client: a transactional loop of franz-go that reads the same
// commands and writes records of the same bytes, with a map and no platform around it.
//
//	BENCH_COMMANDS=1000000 BENCH_ACCOUNTS=100000 make bench-write
package write

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ledgerline-es/ledgerline/bank"
	"github.com/ledgerline-es/ledgerline/internal/bench"
	"github.com/ledgerline-es/ledgerline/internal/kit"
	"github.com/ledgerline-es/ledgerline/producer"
	"github.com/ledgerline-es/ledgerline/schemas"
	"github.com/ledgerline-es/ledgerline/schemas/account"
)

func TestMain(m *testing.M) { kit.Main(m) }

const partitions = 12

// plant is what both loops run on.
type plant struct {
	b        *testing.B
	brokers  []string
	registry *schemas.Registry
	adm      *kadm.Client
	cl       *kgo.Client // partitions by hand
	commands int
	accounts int
}

func newPlant(b *testing.B, commands int) *plant {
	p := &plant{b: b, commands: commands, accounts: number(b, "BENCH_ACCOUNTS", 100_000), brokers: kit.Kafka(b).Brokers(), registry: schemas.NewRegistry(kit.FakeRegistry(b))}
	p.cl = kit.Kafka(b).Client(b, kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.MaxBufferedRecords(100_000), kgo.ProducerLinger(5*time.Millisecond))
	p.adm = kadm.NewClient(p.cl)
	return p
}

func BenchmarkWrite(b *testing.B) {
	for b.Loop() { // once, by -benchtime 1x
		measure(b)
	}
}

func measure(b *testing.B) {
	p := newPlant(b, number(b, "BENCH_COMMANDS", 1_000_000))

	// Warm: a cold broker is several times slower.
	warm := p.stage(min(p.commands, 300_000))
	shape := p.ledgerline(warm, b.TempDir()).shape
	p.bare(p.copied(warm), shape)

	var results []result
	ours := p.stage(p.commands)
	state := b.TempDir()
	r := p.ledgerline(ours, state)
	results = append(results, r)
	again := p.ledgerline(p.copied(ours), b.TempDir())
	again.name += ", again"
	results = append(results, again)
	for range 2 {
		results = append(results, p.bare(p.copied(ours), r.shape))
	}

	fmt.Printf("\n%d commands on %d accounts in %d partitions of Apache Kafka, all of it a backlog; %s\n\n", p.commands, p.accounts, partitions, bench.ThisMachine())
	fmt.Printf("%-28s %12s %12s %14s\n", "", "commands/s", "steady", "CPU s/million")
	best := map[bool]float64{}
	for _, r := range results {
		fmt.Printf("%-28s %12.0f %12.0f %14.2f\n", r.name, r.rate, r.steady, r.cpu)
		best[r.shape.event != nil] = max(best[r.shape.event != nil], r.steady)
	}
	without := p.restart(ours, b.TempDir())
	with := p.restart(ours, state)
	fmt.Printf("\nready again, of %d accounts: %.2f s without local state, %.2f s with; heap %.0f MiB then, %.0f MiB\n\n", p.accounts, without.ready.Seconds(), with.ready.Seconds(), without.heap, with.heap)
	targets := []bench.Target{
		bench.AtMost("restore_without_local_state_s", without.ready.Seconds(), 5),
		bench.AtMost("restore_with_local_state_s", with.ready.Seconds(), 0.5),
		bench.AtMost("heap_MiB", max(without.heap, with.heap), 512),
		bench.AtLeast("write_vs_bare_loop", best[true]/best[false], 0.7),
		bench.AtLeast("write_commands_per_second", best[true], 100_000),
	}
	bench.Print(os.Stdout, targets)
	if err := bench.WriteJSON(map[string]any{"machine": bench.ThisMachine(), "targets": targets}); err != nil {
		b.Fatal(err)
	}
}

func number(b *testing.B, name string, standard int) int {
	text := os.Getenv(name)
	if text == "" {
		return standard
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1000 {
		b.Fatalf("%s is %q: give a whole number from 1000", name, text)
	}
	return n
}

// result is one run.
type result struct {
	name   string
	rate   float64 // commands/s from the start of the process
	steady float64 // commands/s between a tenth and nine tenths
	cpu    float64 // of this process, seconds a million commands
	shape  shape
}

// shape is what the platform writes for a command, and how many snapshots.
type shape struct {
	event, reply *kgo.Record
	snapshots    float64 // a command
}

// config of a producer under a prefix.
func (p *plant) config(prefix, state string) producer.Config {
	return producer.Config{
		Brokers: p.brokers, Registry: p.registry, TopicPrefix: prefix, Partitions: partitions, Replication: 1, MinInsync: 1, StateDir: state,
		Logger: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
	}
}

// stage makes the topics of a prefix and publishes commands that nobody has processed: accounts are opened before.
func (p *plant) stage(commands int) (prefix string) {
	prefix = kit.Prefix(p.b)
	p.topics(prefix)
	topics := schemas.TopicsOf(prefix, "account")
	serde := schemas.NewSerde(schemas.NewCodec(p.registry), topics.Commands, schemas.BackwardTransitive, account.Kind.Commands...)
	if err := serde.Register(p.b.Context()); err != nil {
		p.b.Fatal(err)
	}
	random := rand.New(rand.NewPCG(1, 2))
	for n := range p.accounts + commands {
		id, record := n, account.Command(&account.OpenAccount{Owner: "benchmark", Currency: "EUR"})
		if n >= p.accounts {
			id, record = random.IntN(p.accounts), &account.DepositMoney{AmountMinor: int64(n), Category: "bench"}
		}
		value, err := serde.Append(nil, record)
		if err != nil {
			p.b.Fatal(err)
		}
		key := fmt.Sprintf("account-%07d", id)
		p.publish(&kgo.Record{Topic: topics.Commands, Partition: schemas.Partition(key, partitions), Key: []byte(key), Value: value})
	}
	p.flush()
	return prefix
}

func (p *plant) publish(rec *kgo.Record) {
	p.cl.Produce(p.b.Context(), rec, func(_ *kgo.Record, err error) {
		if err != nil {
			p.b.Error(err)
		}
	})
}

func (p *plant) flush() {
	if err := p.cl.Flush(p.b.Context()); err != nil {
		p.b.Fatal(err)
	}
}

func (p *plant) topics(prefix string) {
	if _, err := producer.EnsureTopics(p.b.Context(), p.adm, producer.Topics(p.config(prefix, ""), "account")); err != nil {
		p.b.Fatal(err)
	}
}

// copied gives the same commands under another prefix. Schema ids are those of the registry, whatever the topic.
func (p *plant) copied(from string) (prefix string) {
	prefix = kit.Prefix(p.b)
	p.topics(prefix)
	source, target := schemas.TopicsOf(from, "account").Commands, schemas.TopicsOf(prefix, "account").Commands
	cl := kit.Kafka(p.b).Client(p.b, kgo.ConsumeTopics(source), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	defer cl.Close()
	left := p.end(source)
	for left > 0 {
		fetches := cl.PollFetches(p.b.Context())
		if err := fetches.Err(); err != nil {
			p.b.Fatal(err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			left--
			p.publish(&kgo.Record{Topic: target, Partition: r.Partition, Key: r.Key, Value: r.Value, Headers: r.Headers})
		})
	}
	p.flush()
	return prefix
}

// end is the sum of a topic's end offsets.
func (p *plant) end(topic string) (n int64) {
	ends, err := p.adm.ListEndOffsets(p.b.Context(), topic)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		p.b.Fatal(err)
	}
	ends.Each(func(o kadm.ListedOffset) { n += o.Offset })
	return n
}

// watch waits until a group has committed all commands of a prefix, and gives the rates.
func (p *plant) watch(prefix, group string, started time.Time) (rate, steady float64) {
	topic := schemas.TopicsOf(prefix, "account").Commands
	all := p.end(topic)
	type sample struct {
		at   time.Time
		done int64
	}
	var first, last sample
	for {
		offsets, err := p.adm.FetchOffsets(p.b.Context(), group)
		if err != nil && (time.Since(started) > time.Minute || p.b.Context().Err() != nil) { // the first group has to wait for its topic
			p.b.Fatal(err)
		}
		var done int64
		offsets.Each(func(o kadm.OffsetResponse) {
			if o.Topic == topic && o.At > 0 {
				done += o.At
			}
		})
		now := sample{time.Now(), done}
		if first.done == 0 && done > all/10 {
			first = now
		}
		if done <= all*9/10 {
			last = now
		}
		if done >= all {
			took := now.at.Sub(started).Seconds()
			if last.done <= first.done { // too quick to look at twice
				return float64(all) / took, float64(all) / took
			}
			return float64(all) / took, float64(last.done-first.done) / last.at.Sub(first.at).Seconds()
		}
		<-time.After(20 * time.Millisecond)
	}
}

// ledgerline runs a producer with the bank's rules over a backlog.
func (p *plant) ledgerline(prefix, state string) result {
	counted := prometheus.NewRegistry()
	started, before := time.Now(), cpuSeconds()
	stop := p.startLedgerline(prefix, state, counted)
	r := result{name: "Ledgerline"}
	r.rate, r.steady = p.watch(prefix, producer.Group(prefix, "account"), started)
	r.cpu = (cpuSeconds() - before) / float64(p.accounts+p.commands) * 1e6
	stop()
	topics := schemas.TopicsOf(prefix, "account")
	r.shape = shape{event: p.last(topics.Events), reply: p.last(topics.Replies), snapshots: counter(p.b, counted, "ledgerline_producer_snapshots_total") / float64(p.end(topics.Commands))}
	return r
}

func (p *plant) startLedgerline(prefix, state string, metrics prometheus.Registerer) (stop func()) {
	cfg := p.config(prefix, state)
	cfg.Metrics = metrics
	return p.background(func(ctx context.Context) {
		if err := producer.New(cfg, bank.Account).Run(ctx); err != nil {
			p.b.Error(err)
		}
	})
}

// background runs something until it is stopped.
func (p *plant) background(run func(ctx context.Context)) (stop func()) {
	ctx, cancel := context.WithCancel(p.b.Context())
	var running sync.WaitGroup
	running.Go(func() { run(ctx) })
	return func() { cancel(); running.Wait() }
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

func counter(b *testing.B, reg *prometheus.Registry, name string) float64 {
	families, err := reg.Gather()
	if err != nil {
		b.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			return f.GetMetric()[0].GetCounter().GetValue()
		}
	}
	b.Fatalf("no metric %s", name)
	return 0
}

// last is one of the last records of a topic's first partition.
func (p *plant) last(topic string) *kgo.Record {
	ends, err := p.adm.ListEndOffsets(p.b.Context(), topic)
	if err != nil {
		p.b.Fatal(err)
	}
	end, _ := ends.Lookup(topic, 0)
	cl := kit.Kafka(p.b).Client(p.b, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {0: kgo.NewOffset().At(max(0, end.Offset-10))}}))
	defer cl.Close()
	for {
		fetches := cl.PollFetches(p.b.Context())
		if err := fetches.Err(); err != nil {
			p.b.Fatal(err)
		}
		if recs := fetches.Records(); len(recs) > 0 {
			return recs[0]
		}
	}
}

// bare runs the loop without a platform over a backlog.
func (p *plant) bare(prefix string, as shape) result {
	started, before := time.Now(), cpuSeconds()
	stop := p.startBare(prefix, as)
	r := result{name: "bare loop"}
	r.rate, r.steady = p.watch(prefix, prefix+"bare", started)
	r.cpu = (cpuSeconds() - before) / float64(p.accounts+p.commands) * 1e6
	stop()
	return r
}

// startBare starts the loop without a platform: an event, a reply and its share of snapshots a command, a map of balances.
func (p *plant) startBare(prefix string, as shape) (stop func()) {
	topics, group := schemas.TopicsOf(prefix, "account"), prefix+"bare"
	gts, err := kgo.NewGroupTransactSession(
		kgo.SeedBrokers(p.brokers...), kgo.ConsumerGroup(group), kgo.ConsumeTopics(topics.Commands), kgo.TransactionalID(group), kgo.Balancers(kgo.RangeBalancer()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.RequiredAcks(kgo.AllISRAcks()), kgo.ProducerLinger(0), kgo.MaxBufferedRecords(100_000), kgo.MetadataMinAge(10*time.Millisecond),
	)
	if err != nil {
		p.b.Fatal(err)
	}
	return p.background(func(ctx context.Context) {
		defer gts.Close()
		balances, owed := map[string]int64{}, 0.0
		failed := func(_ *kgo.Record, err error) {
			if err != nil && ctx.Err() == nil {
				p.b.Error(err)
			}
		}
		for ctx.Err() == nil {
			fetches := gts.PollRecords(ctx, 10_000)
			if fetches.NumRecords() == 0 {
				continue
			}
			if err := gts.Begin(); err != nil {
				p.b.Error(err)
				return
			}
			fetches.EachRecord(func(r *kgo.Record) {
				id := string(r.Key)
				balances[id]++
				gts.Produce(ctx, &kgo.Record{Topic: topics.Events, Partition: r.Partition, Key: fmt.Appendf(nil, "%s/%d", id, balances[id]), Value: as.event.Value, Headers: as.event.Headers}, failed)
				gts.Produce(ctx, &kgo.Record{Topic: topics.Replies, Partition: r.Partition, Key: r.Key, Value: as.reply.Value, Headers: as.reply.Headers}, failed)
				for owed += as.snapshots; owed >= 1; owed-- {
					gts.Produce(ctx, &kgo.Record{Topic: topics.Snapshots, Partition: r.Partition, Key: r.Key, Value: as.event.Value}, failed)
				}
			})
			if _, err := gts.End(ctx, kgo.TryCommit); err != nil && ctx.Err() == nil {
				p.b.Error(err)
				return
			}
		}
	})
}

// cpuSeconds are those that this process has used.
func cpuSeconds() float64 {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		return 0
	}
	return float64(used.Utime.Nano()+used.Stime.Nano()) / 1e9
}
