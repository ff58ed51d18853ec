package write

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sr"

	"github.com/ledgerline-es/ledgerline/internal/embedded/registry"
	"github.com/ledgerline-es/ledgerline/internal/kit"
	"github.com/ledgerline-es/ledgerline/producer"
	"github.com/ledgerline-es/ledgerline/schemas"
	"github.com/ledgerline-es/ledgerline/schemas/account"
)

const partitions = 12

// plant is what all contenders run on.
type plant struct {
	b        *testing.B
	brokers  []string
	registry *schemas.Registry
	url      string // of the registry
	adm      *kadm.Client
	cl       *kgo.Client // partitions by hand
	commands int
	accounts int
}

func newPlant(b *testing.B, commands int) *plant {
	p := &plant{b: b, commands: commands, accounts: number(b, "BENCH_ACCOUNTS", 100_000), brokers: kit.Kafka(b).Brokers()}
	server, err := registry.Start(b.Context(), registry.Config{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := server.Stop(context.WithoutCancel(b.Context())); err != nil {
			b.Error(err)
		}
	})
	p.url = server.URL()
	p.registry = registryOf(b, p.url)
	p.cl = kit.Kafka(b).Client(b, kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.MaxBufferedRecords(100_000), kgo.ProducerLinger(5*time.Millisecond))
	p.adm = kadm.NewClient(p.cl)
	return p
}

func registryOf(b *testing.B, url string) *schemas.Registry {
	cl, err := sr.NewClient(sr.URLs(url))
	if err != nil {
		b.Fatal(err)
	}
	return schemas.NewRegistry(cl)
}

// stage makes the topics of a prefix and publishes commands that nobody has processed: accounts are opened before.
func (p *plant) stage(commands int) (prefix string) {
	random := rand.New(rand.NewPCG(1, 2))
	return p.staged(func(publish func(id string, c account.Command, headers ...kgo.RecordHeader)) {
		for n := range p.accounts {
			publish(accountID(n), &account.OpenAccount{Owner: "benchmark", Currency: "EUR"})
		}
		for n := range commands {
			publish(accountID(random.IntN(p.accounts)), &account.DepositMoney{AmountMinor: int64(p.accounts + n), Category: "bench"})
		}
	})
}

func accountID(n int) string { return fmt.Sprintf("account-%07d", n) }

// stageOdd publishes what the others leave out: commands that are rejected, repeated, or under an id that was used.
func (p *plant) stageOdd() (prefix string) {
	return p.staged(func(publish func(id string, c account.Command, headers ...kgo.RecordHeader)) {
		for n := range 100 {
			id, under := accountID(n), kgo.RecordHeader{Key: schemas.HeaderID, Value: fmt.Appendf(nil, "order-%d", n)}
			publish(id, &account.DepositMoney{AmountMinor: 1})
			publish(id, &account.OpenAccount{Currency: "EUR"})
			publish(id, &account.OpenAccount{Owner: "benchmark", Currency: "euro"})
			publish(id, &account.OpenAccount{Owner: "benchmark", Currency: "EUR"})
			publish(id, &account.OpenAccount{Owner: "benchmark", Currency: "EUR"})
			publish(id, &account.DepositMoney{AmountMinor: 1 << 40, Currency: "EUR", Operation: "cash", Counterparty: "bench"}, under)
			publish(id, &account.DepositMoney{AmountMinor: 0})
			publish(id, &account.DepositMoney{AmountMinor: 1, Currency: "USD"})
			publish(id, &account.DepositMoney{AmountMinor: 1 << 53})
			publish(id, &account.DepositMoney{AmountMinor: 1 << 40, Currency: "EUR", Operation: "cash", Counterparty: "bench"}, under)
			publish(id, &account.DepositMoney{AmountMinor: 1 << 41}, under)
			publish(id, &account.DepositMoney{AmountMinor: 7})
		}
	})
}

// staged makes the topics of a prefix and publishes commands.
func (p *plant) staged(all func(publish func(id string, c account.Command, headers ...kgo.RecordHeader))) (prefix string) {
	prefix = kit.Prefix(p.b)
	p.topics(prefix)
	topics := schemas.TopicsOf(prefix, "account")
	serde := schemas.NewSerde(schemas.NewCodec(p.registry), topics.Commands, schemas.BackwardTransitive, account.Kind.Commands...)
	if err := serde.Register(p.b.Context()); err != nil {
		p.b.Fatal(err)
	}
	all(func(id string, c account.Command, headers ...kgo.RecordHeader) {
		value, err := serde.Append(nil, c)
		if err != nil {
			p.b.Fatal(err)
		}
		p.publish(&kgo.Record{Topic: topics.Commands, Partition: schemas.Partition(id, partitions), Key: []byte(id), Value: value, Headers: headers})
	})
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

// copied gives the same commands under another prefix.
func (p *plant) copied(from string) (prefix string) {
	prefix = kit.Prefix(p.b)
	p.topics(prefix)
	p.copyTo(prefix, from)
	return prefix
}

// copyTo publishes the commands of one prefix under another. Schema ids are those of the registry, whatever the topic.
func (p *plant) copyTo(prefix, from string) {
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
}

// drop removes the topics of a prefix, so that a long contest does not fill the disk.
func (p *plant) drop(prefix string) {
	topics, err := p.adm.ListTopics(p.b.Context())
	if err != nil {
		p.b.Fatal(err)
	}
	maps.DeleteFunc(topics, func(name string, _ kadm.TopicDetail) bool { return !strings.HasPrefix(name, prefix) })
	deleted, err := p.adm.DeleteTopics(p.b.Context(), topics.Names()...)
	if err == nil {
		err = deleted.Error()
	}
	if err != nil {
		p.b.Fatalf("delete the topics under %s: %v", prefix, err)
	}
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

// watch waits until a job is done, and gives the rates. dead says why nobody works on it any more.
func (p *plant) watch(j job, started time.Time, dead func() error) (rate, steady float64) {
	type sample struct {
		at   time.Time
		done int64
	}
	var first, last sample
	for {
		if err := dead(); err != nil {
			p.b.Fatal(err)
		}
		done, err := j.done()
		if err != nil && (time.Since(started) > time.Minute || p.b.Context().Err() != nil) { // the first group has to wait for its topic
			p.b.Fatal(err)
		}
		now := sample{time.Now(), done}
		if first.done == 0 && done > j.all/10 {
			first = now
		}
		if done <= j.all*9/10 {
			last = now
		}
		if done >= j.all {
			took := now.at.Sub(started).Seconds()
			if last.done <= first.done { // too quick to look at twice
				return float64(j.all) / took, float64(j.all) / took
			}
			return float64(j.all) / took, float64(last.done-first.done) / last.at.Sub(first.at).Seconds()
		}
		<-time.After(20 * time.Millisecond)
	}
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

// background runs something until it is stopped.
func (p *plant) background(run func(ctx context.Context)) (stop func()) {
	ctx, cancel := context.WithCancel(p.b.Context())
	var running sync.WaitGroup
	running.Go(func() { run(ctx) })
	return func() { cancel(); running.Wait() }
}
