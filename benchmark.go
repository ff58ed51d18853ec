package ledgerline

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ledgerline-es/ledgerline/analytics"
	"github.com/ledgerline-es/ledgerline/internal/benchmark"
	"github.com/ledgerline-es/ledgerline/internal/cli"
	"github.com/ledgerline-es/ledgerline/internal/logread"
	"github.com/ledgerline-es/ledgerline/producer"
	"github.com/ledgerline-es/ledgerline/schemas"
)

// Workload is what `benchmark` asks of a domain's running system. run is a word that is new each time, for ids that nobody used.
type Workload struct {
	// Requests are measured over HTTP, each a row of the report.
	Requests []WorkRequest
	// Kind is where the commands go that measure throughput and lag.
	Kind string
	// Prepare gives the commands that make what Command and Requests need.
	Prepare func(run string) []producer.Command
	// Command is the n-th command of a run; it should be accepted, and have one event.
	Command func(run string, n int) producer.Command
	// Later are rows that can't be measured yet.
	Later []LaterRow
}

// WorkRequest is one kind of HTTP request: the n-th of a run.
type WorkRequest struct {
	Name   string
	Target time.Duration // of the 90th percentile
	Method string
	Path   func(run string, n int) string
	Body   func(run string, n int) any // nil: none

	// Then is where to ask what came of it: the request is over when that is answered too, and Came finds no fault with the
	// answer. nil: the first answer is all.
	Then func(answer []byte) (path string, err error)
	Came func(answer []byte) error
}

// LaterRow is a row of the report without a figure.
type LaterRow struct {
	Name   string
	Target float64
	Unit   string // "ms" or "%"
	Why    string
}

// Targets of what every domain has.
const (
	targetAnalytics  = 500 * time.Millisecond
	targetThroughput = 5000   // commands with their events committed, a second
	targetLag        = 1      // s, at most
	targetWrite      = 5000   // events a second
	targetRead       = 50_000 // events a second
)

var benchmarkSettings = []cli.Setting{
	{Key: "api.url", Default: "http://127.0.0.1:8080", Help: "HTTP API to measure"},
}

type benchmarkRun struct {
	app      *App
	work     *Workload
	run      string
	token    string
	api      *benchmark.Server
	lasting  time.Duration
	rate     float64 // HTTP requests a second
	commands float64 // commands a second while lag is measured
	client   *producer.Client
}

func (a *App) benchmarkCommand() *cobra.Command {
	var asJSON, asYAML bool
	b := &benchmarkRun{app: a}
	var only []string
	cmd := &cobra.Command{
		Use:   "benchmark",
		Short: "Measure a running system against its targets",
		Long: `Measures reads, questions and writes over HTTP, open-loop: requests begin when they are due, and their time counts from then.
Then commands through Kafka as fast as they are answered (throughput), and at a set rate while it watches from outside how far
the projections are behind (projection_lag); last, how fast the event store can be read. It writes to the system: accounts of
its own, whose ids begin with "bench-".

status compares current (the 90th percentile; of projection_lag the maximum) with the target:
  times        excellent up to 0.7 of the target, good up to 1, acceptable up to 1.05, else failing
  rates        excellent, good and acceptable while target/current is up to 0.7, 1.05 and 1.1
  availability good without a shortfall, acceptable up to 0.01 points
A row with failed requests is failing. When Kafka goes away the rest is not measured, and what was is printed.
A system and its benchmark on one machine share its cores: figures are of both together.`,
		Example: fmt.Sprintf("  %[1]s benchmark\n  %[1]s benchmark --only account_summary,throughput --duration 30s --yaml\n  %[1]s benchmark --api-url http://api:8080 --api-token SECRET --kafka-brokers broker-1:9092", a.Domain.Name),
	}
	f := cmd.Flags()
	f.DurationVar(&b.lasting, "duration", 10*time.Second, "of each measurement")
	f.Float64Var(&b.rate, "rate", 100, "HTTP requests a second")
	f.Float64Var(&b.commands, "commands", targetThroughput, "commands a second while lag is measured")
	f.StringSliceVar(&only, "only", nil, "measure only these rows")
	f.StringVar(&b.token, "api-token", "", "token to show to the API")
	f.BoolVar(&asJSON, "json", false, "print one JSON document")
	f.BoolVar(&asYAML, "yaml", false, "print YAML")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if a.Domain.Workload == nil {
			return cli.Usage(fmt.Errorf("domain %s says nothing of what to measure: give its Domain a Workload", a.Domain.Name))
		}
		if b.lasting <= 0 || !(b.rate > 0) || !(b.commands > 0) { // what is no number is not above 0 either
			return cli.Usage(errors.New("--duration, --rate and --commands must be above 0"))
		}
		if b.rate > mostRate || b.commands > mostRate {
			return cli.Usage(fmt.Errorf("--rate and --commands can be %d a second at most: nothing here can begin more", mostRate))
		}
		format := benchmark.Table
		switch {
		case asJSON && asYAML:
			return cli.Usage(errors.New("--json and --yaml exclude each other"))
		case asJSON:
			format = benchmark.JSON
		case asYAML:
			format = benchmark.YAML
		}
		b.work, b.run = a.Domain.Workload, "bench-"+uuid.Must(uuid.NewV7()).String()
		b.api = benchmark.NewServer(a.values.String("api.url"), b.token)
		rows, err := b.all(cmd.Context(), only)
		if err != nil && len(rows) == 0 {
			return err
		}
		return errors.Join(benchmark.Write(a.Out, format, rows), err)
	}
	return a.withSettings(cmd, kafkaSettings, storeSettings, benchmarkSettings)
}

// mostRate is the highest rate, a second, that makes sense to ask for.
const mostRate = 1_000_000

// measurement is one row, or some that are measured together.
type measurement struct {
	names   []string
	measure func(ctx context.Context) ([]benchmark.Row, error)
}

func (b *benchmarkRun) measurements() ([]measurement, error) {
	var all []measurement
	one := func(name string, measure func(ctx context.Context) (benchmark.Row, error)) {
		all = append(all, measurement{[]string{name}, func(ctx context.Context) ([]benchmark.Row, error) {
			row, err := measure(ctx)
			return []benchmark.Row{row}, err
		}})
	}
	// Commands first: then what is read has a history.
	all = append(all, measurement{[]string{"throughput", "event_store_write"}, b.throughput})
	one("projection_lag", b.lag)
	for _, r := range b.work.Requests {
		one(r.Name, func(ctx context.Context) (benchmark.Row, error) { return b.requests(ctx, r, b.rate) })
	}
	questions, err := analytics.Open(b.app.Domain.Queries)
	if err != nil {
		return nil, err
	}
	for _, q := range questions.Queries() {
		name := "complex_analytics/" + q.Name
		one(name, func(ctx context.Context) (benchmark.Row, error) {
			return b.requests(ctx, WorkRequest{Name: name, Target: targetAnalytics, Method: http.MethodGet, Path: func(string, int) string { return "/analytics/" + q.Name }}, b.rate/10)
		})
	}
	one("event_store_read", b.read)
	for _, l := range b.work.Later {
		one(l.Name, func(context.Context) (benchmark.Row, error) {
			return benchmark.Single(l.Name, benchmark.Unit(l.Unit), l.Target, math.NaN(), 0, l.Why), nil
		})
	}
	return all, nil
}

func (b *benchmarkRun) all(ctx context.Context, only []string) (rows []benchmark.Row, err error) {
	all, err := b.measurements()
	if err != nil {
		return nil, err
	}
	chosen, err := choose(all, only)
	if err != nil {
		return nil, cli.Usage(err)
	}
	err = b.app.Client(ctx, b.work.Kind, func(ctx context.Context, client *producer.Client) error {
		b.client = client
		if err := b.prepare(ctx); err != nil {
			return err
		}
		for _, m := range chosen {
			fmt.Fprintf(b.app.Err, "measuring %s …\n", strings.Join(m.names, ", "))
			measured, err := m.measure(ctx)
			if err != nil {
				return fmt.Errorf("%s: %w", m.names[0], err)
			}
			rows = append(rows, measured...)
		}
		return nil
	})
	return rows, err
}

// choose gives the measurements that have rows of these names, each once, in the order of all.
func choose(all []measurement, only []string) (chosen []measurement, err error) {
	if len(only) == 0 {
		return all, nil
	}
	var known []string
	meant := map[string]bool{}
	for _, m := range all {
		known = append(known, m.names...)
		wanted := false
		for _, row := range m.names {
			for _, name := range only {
				if row == name || strings.HasPrefix(row, name+"/") {
					meant[name], wanted = true, true
				}
			}
		}
		if wanted {
			chosen = append(chosen, m)
		}
	}
	for _, name := range only {
		if !meant[name] {
			return nil, fmt.Errorf("--only: there is no row %q: there are %s", name, strings.Join(known, ", "))
		}
	}
	return chosen, nil
}

// requests measures one kind of HTTP request.
func (b *benchmarkRun) requests(ctx context.Context, r WorkRequest, rate float64) (benchmark.Row, error) {
	ask := func(ctx context.Context, n int) error {
		request := benchmark.Request{Method: r.Method, Path: r.Path(b.run, n), Then: r.Then, Came: r.Came}
		if r.Body != nil {
			request.Body = r.Body(b.run, n)
		}
		return b.api.Do(ctx, request)
	}
	samples := &benchmark.Samples{}
	if err := b.first(ctx, ask); err != nil { // a row that fails; others can be measured
		samples.Fail(fmt.Errorf("the first request: %w", err))
	} else {
		samples = benchmark.OpenLoop(ctx, rate, b.lasting, 1000, func(ctx context.Context, n int) error { return ask(ctx, n+1) })
	}
	return benchmark.Times(r.Name, benchmark.Milliseconds, r.Target.Seconds()*1000, samples, 0.9), ctx.Err()
}

// How long the first request may take to be answered well, while what was prepared gets to where it can be read; and while
// nothing listens at all.
const (
	firstAnswer = time.Minute
	firstListen = 5 * time.Second
)

// first opens a connection, and waits until what was prepared can be read.
func (b *benchmarkRun) first(ctx context.Context, ask func(context.Context, int) error) error {
	began := time.Now()
	for {
		err := ask(ctx, 0)
		away := errors.Is(err, syscall.ECONNREFUSED) && time.Since(began) > firstListen
		if err == nil || ctx.Err() != nil || away || time.Since(began) > firstAnswer {
			return err
		}
		select {
		case <-ctx.Done():
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// inFlight bounds the commands whose replies are awaited while commands go as fast as they can.
const inFlight = 20_000

// sent counts what became of commands.
type sent struct {
	mu                       sync.Mutex
	accepted, events, failed int
	first                    error
}

func (s *sent) wait(ctx context.Context, p *producer.Pending) error {
	reply, err := p.Wait(ctx)
	if err == nil && reply.Outcome != producer.Accepted {
		err = fmt.Errorf("%s %s: %s", reply.Outcome, reply.Code, reply.Message)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		if s.failed++; s.first == nil {
			s.first = err
		}
		return err
	}
	s.accepted++
	if reply.FirstSequence > 0 {
		s.events += int(reply.LastSequence - reply.FirstSequence + 1)
	}
	return nil
}

func (b *benchmarkRun) prepare(ctx context.Context) error {
	var pending []*producer.Pending
	for _, c := range b.work.Prepare(b.run) {
		p, err := b.client.Send(ctx, c)
		if err != nil {
			return err
		}
		pending = append(pending, p)
	}
	s := &sent{}
	for _, p := range pending {
		if err := s.wait(ctx, p); err != nil {
			return fmt.Errorf("prepare: %w", err)
		}
	}
	return nil
}

// throughput sends commands as fast as they are answered.
func (b *benchmarkRun) throughput(ctx context.Context) ([]benchmark.Row, error) {
	var s sent
	var waiting sync.WaitGroup
	replies := make(chan *producer.Pending, inFlight)
	for range 4 {
		waiting.Go(func() {
			for p := range replies {
				_ = s.wait(ctx, p) // counted there
			}
		})
	}
	begun := time.Now()
	var failed error
	for n := 0; time.Since(begun) < b.lasting && ctx.Err() == nil; n++ {
		p, err := b.client.Send(ctx, b.work.Command(b.run, n))
		if err != nil {
			failed = err
			break
		}
		replies <- p
	}
	close(replies)
	waiting.Wait()
	took := time.Since(begun).Seconds() // until the last reply
	if failed != nil {
		return nil, failed
	}
	note := fmt.Sprintf("%d commands in %.1f s, at most %d on their way", s.accepted, took, inFlight)
	if s.first != nil {
		note += fmt.Sprintf("; %d failed, first: %v", s.failed, s.first)
	}
	return []benchmark.Row{
		benchmark.Single("throughput", benchmark.PerSecond, targetThroughput, float64(s.accepted)/took, s.failed, note),
		benchmark.Single("event_store_write", benchmark.PerSecond, targetWrite, float64(s.events)/took, s.failed, fmt.Sprintf("%d events committed meanwhile", s.events)),
	}, nil
}

// lag sends commands at a set rate, and looks from outside how far the projections are behind.
func (b *benchmarkRun) lag(ctx context.Context) (benchmark.Row, error) {
	metrics := prometheus.NewRegistry()
	const every = 250 * time.Millisecond // each look costs the stores something
	if err := b.app.values.Set(map[string]any{"monitor.interval": every}); err != nil {
		return benchmark.Row{}, err
	}
	_, watch, err := b.app.monitor(metrics)
	if err != nil {
		return benchmark.Row{}, err
	}
	watching, stop := context.WithCancel(ctx)
	defer stop()
	var seen benchmark.Samples
	var both sync.WaitGroup
	both.Go(func() { _ = watch(watching) })
	rest(ctx, metrics, every)
	both.Go(func() {
		for tick := time.NewTicker(every); ; {
			select {
			case <-watching.Done():
				tick.Stop()
				return
			case <-tick.C:
			}
			if worst, ok := worstLag(metrics); ok {
				seen.Add(worst)
			}
		}
	})
	var s sent
	load := benchmark.OpenLoop(ctx, b.commands, b.lasting, inFlight, func(ctx context.Context, n int) error {
		p, err := b.client.Send(ctx, b.work.Command(b.run, n))
		if err != nil {
			return err
		}
		return s.wait(ctx, p)
	})
	stop()
	both.Wait()
	seen.Errors, seen.First = load.Errors, load.First
	row := benchmark.Times("projection_lag", benchmark.Seconds, targetLag, &seen, 1)
	if row.Note == "" {
		row.Note = fmt.Sprintf("of the slowest projection, at %.0f commands/s answered in p90 %.1f ms; %d looks", float64(s.accepted)/load.Took.Seconds(), load.Quantile(0.9), len(seen.Values))
	}
	return row, ctx.Err()
}

// rest waits until the projections have stored what went before: their lag is to be that of the load to come. Behind a projector that
// does not run it waits for a while only, and what is measured then says so.
func rest(ctx context.Context, metrics *prometheus.Registry, every time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for {
		if worst, ok := worstLag(metrics); ok && worst == 0 {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(every):
		}
	}
}

// worstLag is the lag of the slowest projection, in seconds.
func worstLag(metrics *prometheus.Registry) (worst float64, ok bool) {
	families, err := metrics.Gather()
	if err != nil {
		return 0, false
	}
	for _, f := range families {
		if f.GetName() != "projection_lag" {
			continue
		}
		for _, m := range f.GetMetric() {
			worst, ok = max(worst, m.GetGauge().GetValue()/1000), true
		}
	}
	return worst, ok
}

// read reads and decodes the event store from its beginning, for as long as a measurement lasts.
func (b *benchmarkRun) read(ctx context.Context) (benchmark.Row, error) {
	def, err := b.app.Domain.aggregate(b.work.Kind)
	if err != nil {
		return benchmark.Row{}, err
	}
	registry, err := b.app.registry()
	if err != nil {
		return benchmark.Row{}, err
	}
	adm, err := b.app.kafkaAdmin()
	if err != nil {
		return benchmark.Row{}, err
	}
	defer adm.Close()
	prefix := b.app.values.String("topic-prefix")
	topic, err := logread.Look(ctx, adm, schemas.TopicsOf(prefix, b.work.Kind).Events)
	if err != nil {
		return benchmark.Row{}, err
	}
	viewer := producer.NewViewer(registry, prefix, def)
	reader := b.app.reader()
	begun := time.Now()
	deadline := begun.Add(b.lasting)
	n := 0
	for p := range topic.Partitions {
		err := reader.Partition(ctx, topic, p, func(rec *kgo.Record) error {
			if n++; n%1000 == 0 && time.Now().After(deadline) {
				return errEnough
			}
			return viewer.CheckEvent(ctx, rec)
		})
		if errors.Is(err, errEnough) {
			break
		}
		if err != nil {
			return benchmark.Row{}, err
		}
	}
	took := time.Since(begun).Seconds()
	return benchmark.Single("event_store_read", benchmark.PerSecond, targetRead, float64(n)/took, 0, fmt.Sprintf("%d events read and decoded in %.1f s, partition after partition", n, took)), nil
}
