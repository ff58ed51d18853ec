package write

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ledgerline-es/ledgerline/internal/bench"
	"github.com/ledgerline-es/ledgerline/internal/benchmark"
	"github.com/ledgerline-es/ledgerline/internal/kit"
	"github.com/ledgerline-es/ledgerline/schemas"
	"github.com/ledgerline-es/ledgerline/schemas/account"
)

// latency is how long something took at a set rate, in milliseconds; of a command from the call that produces it to the poll that reads
// its reply.
type latency struct {
	rate               int // a second
	p50, p90, p99, max float64
}

// latencyOf is that of what was measured, in the order in which it ended: the first tenth is the way up, and left out.
func latencyOf(rate int, values []float64) latency {
	s := benchmark.Samples{Values: values[len(values)/10:]}
	return latency{rate: rate, p50: s.Quantile(0.5), p90: s.Quantile(0.9), p99: s.Quantile(0.99), max: s.Quantile(1)}
}

// times is what would take so many times as long.
func (l latency) times(n float64) latency {
	return latency{rate: l.rate, p50: n * l.p50, p90: n * l.p90, p99: n * l.p99, max: n * l.max}
}

// latencyTable prints rows, and keeps them for a file.
type latencyTable []map[string]any

func (t *latencyTable) head(what, of string) {
	fmt.Printf("\n%s, open loop; %s\n\n", what, bench.ThisMachine())
	fmt.Printf("%-44s %12s %10s %10s %10s %10s\n", "", of+"/s", "p50 ms", "p90 ms", "p99 ms", "max ms")
}

func (t *latencyTable) add(who, setting string, l latency) {
	fmt.Printf("%-44s %12d %10.1f %10.1f %10.1f %10.1f\n", result{who: who, setting: setting}, l.rate, l.p50, l.p90, l.p99, l.max)
	*t = append(*t, map[string]any{"who": who, "setting": setting, "per_second": l.rate, "p50_ms": l.p50, "p90_ms": l.p90, "p99_ms": l.p99, "max_ms": l.max})
}

// asker publishes commands for accounts that are open and reads the replies as any client would. In a partition replies come in the
// order of their commands.
type asker struct {
	p              *plant
	topics         schemas.Topics
	serde          *schemas.Serde[account.Command]
	reader, writer *kgo.Client

	mu   sync.Mutex
	sent [][]time.Time // by partition: when those were due that are not answered yet
	took []time.Duration
}

// openLoop measures a rate: each command is published when it is due, whatever became of those before it.
func (p *plant) openLoop(prefix string, rate int, lasting time.Duration) latency {
	a := p.asker(prefix)
	ctx, cancel := context.WithTimeout(p.b.Context(), lasting+2*time.Minute)
	defer cancel()
	a.publish(ctx, 0, time.Now())
	a.read(ctx, 1) // the loop has begun
	a.took = nil

	n := int(lasting.Seconds() * float64(rate))
	var reading sync.WaitGroup
	reading.Go(func() { a.read(ctx, n) })
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	begun := time.Now()
	for i := 0; i < n; <-tick.C {
		for due := int(time.Since(begun).Seconds() * float64(rate)); i < min(n, due); i++ {
			a.publish(ctx, i, begun.Add(time.Duration(float64(i)/float64(rate)*float64(time.Second))))
		}
	}
	reading.Wait()
	var values []float64
	for _, took := range a.took {
		values = append(values, ms(took))
	}
	return latencyOf(rate, values)
}

func (p *plant) asker(prefix string) *asker {
	a := &asker{p: p, topics: schemas.TopicsOf(prefix, "account"), sent: make([][]time.Time, partitions)}
	a.serde = schemas.NewSerde(schemas.NewCodec(p.registry), a.topics.Commands, schemas.BackwardTransitive, account.Kind.Commands...)
	if err := a.serde.Register(p.b.Context()); err != nil {
		p.b.Fatal(err)
	}
	a.reader = p.tail(a.topics.Replies)
	a.writer = kit.Kafka(p.b).Client(p.b, kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(0), kgo.MaxBufferedRecords(1_000_000))
	return a
}

// tail reads what is committed in a topic from now on.
func (p *plant) tail(topic string) *kgo.Client {
	ends, err := p.adm.ListEndOffsets(p.b.Context(), topic)
	if err != nil {
		p.b.Fatal(err)
	}
	from := map[int32]kgo.Offset{}
	ends.Each(func(o kadm.ListedOffset) { from[o.Partition] = kgo.NewOffset().At(o.Offset) })
	return kit.Kafka(p.b).Client(p.b, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: from}), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.FetchMaxWait(time.Second))
}

func (a *asker) publish(ctx context.Context, i int, due time.Time) {
	value, err := a.serde.Append(nil, &account.DepositMoney{AmountMinor: 1, Category: "bench"})
	if err != nil {
		a.p.b.Fatal(err)
	}
	key := fmt.Sprintf("account-%07d", i%a.p.accounts)
	part := schemas.Partition(key, partitions)
	a.mu.Lock()
	a.sent[part] = append(a.sent[part], due)
	a.mu.Unlock()
	a.writer.Produce(ctx, &kgo.Record{Topic: a.topics.Commands, Partition: part, Key: []byte(key), Value: value}, func(_ *kgo.Record, err error) {
		if err != nil {
			a.p.b.Error(err)
		}
	})
}

// read reads as many replies.
func (a *asker) read(ctx context.Context, n int) {
	for len(a.took) < n {
		fetches := a.reader.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			a.p.b.Errorf("%d of %d commands were answered: %v", len(a.took), n, err)
			a.took = append(a.took, make([]time.Duration, n)...)
			return
		}
		now := time.Now()
		a.mu.Lock()
		fetches.EachRecord(func(r *kgo.Record) {
			a.took = append(a.took, now.Sub(a.sent[r.Partition][0]))
			a.sent[r.Partition] = a.sent[r.Partition][1:]
		})
		a.mu.Unlock()
	}
}

// measured is how long a rate is held.
const measured = 15 * time.Second

func BenchmarkLatency(b *testing.B) {
	for b.Loop() { // once, by -benchtime 1x
		latencies(b)
	}
}

// latencies measures all in turns, each twice at each rate, and takes the better of two; of Kafka Streams the best setting.
func latencies(b *testing.B) {
	settings := streamsSettings(b, "BENCH_STREAMS_LATENCY", latencySettings)
	p := newPlant(b, number(b, "BENCH_WARM", 200_000))
	var other *program
	if settings != nil {
		other = p.program()
	}
	ours := p.stage(p.commands)
	shape := p.ledgerline(1, ours, b.TempDir()).shape
	bare := p.copied(ours)
	p.bare(1, bare, shape)

	type loop struct {
		who, setting, prefix string
		start                func() (stop func())
	}
	loops := []loop{
		{nameBare, "", bare, func() func() { return p.startBare(1, bare, shape).stop }},
		{nameOurs, "", ours, func() func() { return p.startLedgerline(1, ours, b.TempDir(), prometheus.NewRegistry()) }},
	}
	if other != nil {
		prefix := p.copied(ours)
		other.prepare(p.copied(ours))
		other.run(prefix, settings[0])
		for _, s := range settings {
			loops = append(loops, loop{nameStreams, s.String(), prefix, func() func() { return other.start(prefix, s).stop }})
		}
	}
	var rows latencyTable
	rows.head("from the call that publishes a command to the poll that reads its reply", "commands")
	var targets []bench.Target
	for _, rate := range []int{1000, 5000} {
		best := map[string]latency{}
		for range 2 {
			for _, loop := range loops {
				stop := loop.start()
				l := p.openLoop(loop.prefix, rate, measured)
				stop()
				rows.add(loop.who, loop.setting, l)
				if was, ok := best[loop.who]; !ok || l.p99 < was.p99 {
					best[loop.who] = l
				}
			}
		}
		for _, other := range []struct {
			who, name string
			goal      float64
		}{{nameBare, "bare_loop", 1.3}, {nameStreams, "streams", 1}} {
			if than, ok := best[other.who]; ok {
				targets = append(targets,
					bench.AtMost(fmt.Sprintf("latency_p50_vs_%s_at_%d", other.name, rate), best[nameOurs].p50/than.p50, other.goal),
					bench.AtMost(fmt.Sprintf("latency_p99_vs_%s_at_%d", other.name, rate), best[nameOurs].p99/than.p99, other.goal),
				)
			}
		}
	}
	fmt.Println()
	report(b, "latency", rows, targets)
}

func ms(d time.Duration) float64 { return d.Seconds() * 1000 }
