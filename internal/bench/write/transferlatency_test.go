package write

import (
	"context"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ledgerline-es/ledgerline"
	"github.com/ledgerline-es/ledgerline/api"
	"github.com/ledgerline-es/ledgerline/bank"
	"github.com/ledgerline-es/ledgerline/internal/bench"
	"github.com/ledgerline-es/ledgerline/internal/benchmark"
	"github.com/ledgerline-es/ledgerline/internal/kit"
	"github.com/ledgerline-es/ledgerline/producer"
	"github.com/ledgerline-es/ledgerline/projector"
	"github.com/ledgerline-es/ledgerline/projector/postgres"
	"github.com/ledgerline-es/ledgerline/schemas"
	"github.com/ledgerline-es/ledgerline/schemas/account"
)

// BenchmarkTransferLatency measures how long a transfer takes over HTTP, beside three times one hop.
func BenchmarkTransferLatency(b *testing.B) {
	for b.Loop() { // once, by -benchtime 1x
		transferLatencies(b)
	}
}

// transfersASecond is the rate.
const transfersASecond = 500

// What is measured of a transfer, from when its POST is due.
const (
	nameBegun  = "Ledgerline: begun, by the API"
	nameLogged = "Ledgerline: completed, by the log"
	nameTold   = "Ledgerline: completed, by the API"
)

// transferLatencies measures all in turns, twice, and takes the better of two. The producer decides with one session, and Postgres has the
// one projection that answers.
func transferLatencies(b *testing.B) {
	kit.Start(b, kit.UseKafka, kit.UsePostgres)
	p := newPlant(b, number(b, "BENCH_WARM", 200_000))
	ours := p.stage(p.commands)
	shape := p.ledgerline(1, ours, b.TempDir()).shape
	bare := p.copied(ours)
	p.bare(1, bare, shape)
	o := p.newOffice()

	var rows latencyTable
	rows.head("transfers from when their POST is due, hops from the call that publishes a command to the poll that reads its reply", "transfers")
	best := map[string]latency{}
	add := func(who string, l latency) {
		rows.add(who, "", l)
		if was, ok := best[who]; !ok || l.p90 < was.p90 {
			best[who] = l
		}
	}
	oneHop := func(who, prefix string, stop func()) {
		l := p.openLoop(prefix, transfersASecond, measured)
		stop()
		add(who+": one hop", l)
		add(who+": three times one hop", l.times(bareHops))
	}
	for range 2 {
		oneHop(nameBare, bare, p.startBare(1, bare, shape).stop)
		oneHop(nameOurs, ours, p.startLedgerline(1, ours, b.TempDir(), prometheus.NewRegistry()))
		begun, logged, told := o.openLoop(transfersASecond, measured)
		add(nameBegun, begun)
		add(nameLogged, logged)
		add(nameTold, told)
	}
	targets := []bench.Target{
		bench.AtMost("transfer_p90_ms", best[nameTold].p90, 100),
		bench.AtMost("transfer_logged_p90_ms", best[nameLogged].p90, 100),
	}
	report(b, "transfer_latency", rows, targets)
}

// office is where the accounts of the bank's own workload are open.
type office struct {
	p      *plant
	prefix string
	state  string
	store  string // URL of Postgres
	run    string
	asks   ledgerline.WorkRequest
	next   int
}

func (p *plant) newOffice() *office {
	work := bank.Domain().Workload
	o := &office{p: p, state: p.b.TempDir(), store: kit.Postgres(p.b).URL(), run: "bench"}
	o.asks = work.Requests[slices.IndexFunc(work.Requests, func(r ledgerline.WorkRequest) bool { return r.Name == "money_transfer" })]
	o.prefix = p.staged(func(publish func(id string, c account.Command, headers ...kgo.RecordHeader)) {
		for _, c := range work.Prepare(o.run) {
			publish(c.AggregateID, c.Record.(account.Command))
		}
	})
	p.ledgerline(1, o.prefix, o.state)
	return o
}

// openLoop measures transfers at a rate: until the API says that they have begun, until the log says that they are completed, and until the
// API does.
func (o *office) openLoop(rate int, lasting time.Duration) (begun, logged, told latency) {
	server, stop := o.open()
	defer stop()
	ctx, cancel := context.WithTimeout(o.p.b.Context(), lasting+2*time.Minute)
	defer cancel()
	do := func(ctx context.Context, n int, then func(id string)) error {
		return server.Do(ctx, benchmark.Request{
			Method: o.asks.Method, Path: o.asks.Path(o.run, n), Body: o.asks.Body(o.run, n), Came: o.asks.Came,
			Then: func(answer []byte) (string, error) {
				path, err := o.asks.Then(answer)
				id, _, _ := strings.Cut(strings.TrimPrefix(path, "/transfers/"), "?")
				then(id)
				return path, err
			},
		})
	}
	kit.Await(o.p.b, time.Minute, func() error { return do(ctx, o.next, func(string) {}) }) // all of it has begun

	seen := o.completions(ctx)
	var mu sync.Mutex
	due, begins := map[string]time.Time{}, []float64{}
	began, first := time.Now(), o.next
	samples := benchmark.OpenLoop(ctx, float64(rate), lasting, 10*rate, func(ctx context.Context, n int) error {
		at := began.Add(time.Duration(float64(n) / float64(rate) * float64(time.Second)))
		return do(ctx, first+n, func(id string) {
			mu.Lock()
			defer mu.Unlock()
			due[id], begins = at, append(begins, ms(time.Since(at)))
		})
	})
	o.next += len(samples.Values) + samples.Errors
	if samples.Errors > 0 {
		o.p.b.Errorf("%d of %d transfers failed, first: %v", samples.Errors, samples.Errors+len(samples.Values), samples.First)
	}
	var logs []float64
	for _, c := range seen(len(samples.Values)) {
		if at, ok := due[c.id]; ok {
			logs = append(logs, ms(c.at.Sub(at)))
		}
	}
	return latencyOf(rate, begins), latencyOf(rate, logs), latencyOf(rate, samples.Values)
}

// open starts a producer, the projection of transfers, and the API on loopback.
func (o *office) open() (*benchmark.Server, func()) {
	p, log := o.p, o.p.config("", "").Logger
	fatal := func(err error) {
		if err != nil {
			p.b.Fatal(err)
		}
	}
	stops := []func(){p.startLedgerline(1, o.prefix, o.state, prometheus.NewRegistry())}
	run := func(part string, ready func() error, run func(context.Context) error) {
		stops = append(stops, p.background(func(ctx context.Context) {
			if err := run(ctx); err != nil {
				p.b.Errorf("%s: %v", part, err)
			}
		}))
		kit.Await(p.b, 2*time.Minute, ready)
	}

	sink := postgres.New(postgres.Config{URL: o.store, Logger: log})
	worker := projector.New(projector.Config{Client: []kgo.Opt{kgo.SeedBrokers(p.brokers...)}, Registry: p.registry, TopicPrefix: o.prefix, Logger: log}, bank.TransferStatus, sink)
	run("projector", worker.Ready, worker.Run)

	settings, err := pgxpool.ParseConfig(o.store)
	fatal(err)
	settings.MaxConns = 16 // as `ledgerline api` has
	pool, err := pgxpool.NewWithConfig(p.b.Context(), settings)
	fatal(err)
	domain := bank.Domain()
	l, err := (&net.ListenConfig{}).Listen(p.b.Context(), "tcp", "127.0.0.1:0")
	fatal(err)
	door, err := api.New(api.Config{
		Listen: l.Addr().String(), Aggregates: domain.Aggregates, Projections: domain.Projections, Postgres: pool, Logger: log,
		Client: producer.ClientConfig{Brokers: p.brokers, Registry: p.registry, TopicPrefix: o.prefix},
	})
	fatal(err)
	fatal(domain.Routes(door))
	run("api", door.Ready, func(ctx context.Context) error { return door.Run(ctx, l) })
	return benchmark.NewServer("http://"+l.Addr().String(), ""), func() {
		slices.Reverse(stops)
		for _, stop := range stops {
			stop()
		}
		pool.Close()
		sink.Close()
	}
}

// completion is when a reader of the log saw that a transfer was completed.
type completion struct {
	id string
	at time.Time
}

// completions reads the log from now on, until as many are seen as are asked for.
func (o *office) completions(ctx context.Context) (seen func(wanted int) []completion) {
	topic := schemas.TopicsOf(o.prefix, "account").Events
	serde := schemas.NewSerde(schemas.NewCodec(o.p.registry), topic, schemas.FullTransitive, account.Kind.Events...)
	reader := o.p.tail(topic)
	var mu sync.Mutex
	var all []completion
	stop := o.p.background(func(ctx context.Context) {
		for ctx.Err() == nil {
			fetches := reader.PollFetches(ctx)
			now := time.Now()
			fetches.EachRecord(func(rec *kgo.Record) {
				if typ, _ := schemas.Header(rec, schemas.HeaderType); typ != (*account.TransferCompleted)(nil).AvroName() {
					return
				}
				event, err := serde.Decode(ctx, rec.Value)
				if err != nil {
					o.p.b.Error(err)
					return
				}
				mu.Lock()
				defer mu.Unlock()
				all = append(all, completion{event.(*account.TransferCompleted).TransferID, now})
			})
		}
	})
	return func(wanted int) []completion {
		defer reader.Close()
		defer stop()
		for {
			mu.Lock()
			got := slices.Clone(all)
			mu.Unlock()
			if len(got) >= wanted || ctx.Err() != nil {
				return got
			}
			<-time.After(10 * time.Millisecond)
		}
	}
}
