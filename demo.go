package ledgerline

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"golang.org/x/sync/errgroup"

	"github.com/ledgerline-es/ledgerline/internal/cli"
	"github.com/ledgerline-es/ledgerline/internal/process"
	"github.com/ledgerline-es/ledgerline/producer"
	"github.com/ledgerline-es/ledgerline/projector"
	"github.com/ledgerline-es/ledgerline/projector/verify"
)

var demoSettings = []cli.Setting{
	{Key: "data-dir", Default: "./.ledgerline", Help: "folder of the embedded servers' data; a second start goes on with it"},
	{Key: "kafka.listen", Default: "127.0.0.1:9092", Help: "address of the embedded Kafka", Check: checkListen},
	{Key: "registry.listen", Default: "127.0.0.1:8081", Help: "address of the embedded schema registry", Check: checkListen},
	{Key: "postgres.listen", Default: "127.0.0.1:5433", Help: "address of the embedded Postgres", Check: checkListen},
	{Key: "clickhouse.listen", Default: "127.0.0.1:8123", Help: "address of the embedded ClickHouse (HTTP)", Check: checkListen},
	{Key: "sample", Default: true, Help: "load the sample at the first start"},
}

// anyPort is what demo --once and --free-ports listen on unless told otherwise.
const anyPort = "127.0.0.1:0"

func (a *App) demoCommand() *cobra.Command {
	var once, freePorts, asJSON bool
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Run the whole platform here, in one command",
		Long: `Runs everything on loopback in the foreground: Kafka, schema registry, Postgres and ClickHouse, all embedded, with
the producer, the projectors, the monitor and the API. The first start loads a sample. Ctrl-C ends it; the next start goes on with the data.

--kafka-brokers, --registry-url, --postgres-url and --clickhouse-url use real servers instead of embedded ones.
--once loads, projects, verifies, prints counts and rates, and exits: 0, or 1 when something differs.
--free-ports is for a second demo beside another one: give it a folder of its own, too.`,
		Example: fmt.Sprintf("  %[1]s demo\n  %[1]s demo --once --json\n  %[1]s demo --free-ports --data-dir /tmp/second\n  %[1]s demo --postgres-url postgres://me@db:5432/test", a.Domain.Name),
	}
	cmd.Flags().BoolVar(&once, "once", false, "load, project, verify, print and exit; on free ports and in a temporary folder unless told otherwise")
	cmd.Flags().BoolVar(&freePorts, "free-ports", false, "listen on ports that are free, but where told otherwise")
	cmd.Flags().BoolVar(&asJSON, "json", false, "with --once: print the report as one JSON document")
	cmd.RunE = func(cmd *cobra.Command, _ []string) (err error) {
		if asJSON && !once {
			return cli.Usage(errors.New("--json goes with --once"))
		}
		d := &demo{app: a, once: once, freePorts: freePorts || once, told: func(key string) bool {
			return cmd.Flags().Changed(cli.Setting{Key: key}.Flag()) || os.Getenv(cli.Setting{Key: key}.Env()) != ""
		}}
		defer func() { err = errors.Join(err, d.cleanUp()) }()
		report, err := d.run(cmd.Context())
		if !once && cmd.Context().Err() != nil && errors.Is(err, context.Canceled) {
			return nil // Ctrl-C while it started: what that cut short is no failure
		}
		if err != nil || !once {
			return err
		}
		if asJSON {
			err = a.JSON(report)
		} else {
			err = report.print(a)
		}
		if err == nil && !report.Verify.Equal {
			err = cli.Exit(exitDiffers, nil)
		}
		return err
	}
	// Empty addresses mean embedded servers.
	embedded := []cli.Setting{
		{Key: "kafka.brokers", Default: []string{}, Help: "real brokers to use instead of the embedded Kafka", Check: orNone(checkBrokers)},
		{Key: "registry.url", Default: "", Help: "real schema registry to use instead of the embedded one", Check: orNone(checkRegistry)},
		{Key: "topic-prefix", Default: "", Help: "stands before the names of all topics and groups", Check: checkPrefix},
		{Key: "postgres.url", Default: "", Help: "real Postgres to use instead of the embedded one", Check: orNone(checkPostgres)},
		{Key: "clickhouse.url", Default: "", Help: "real ClickHouse to use instead of the embedded one", Check: orNone(checkClickHouse)},
	}
	return a.withSettings(cmd, embedded, demoSettings, topicSettings, producerSettings, apiSettings, monitorSettings, []cli.Setting{adminSetting("127.0.0.1:9464")})
}

// demo is one run of the whole platform.
type demo struct {
	app       *App
	once      bool
	freePorts bool
	told      func(key string) bool // whether the caller set it

	dir       string
	temporary *process.Folder // nil: the folder stays
	lock      *os.File
	servers   *servers
	admin     *admin
	api       *apiService
	workers   errgroup.Group
	stopWork  context.CancelFunc

	mu   sync.Mutex
	lost []string // parts that have stopped for good; the rest goes on without them
}

// demoReport is what demo --once says.
type demoReport struct {
	Sample        SampleReport  `json:"sample"`
	Stages        []demoStage   `json:"stages"`
	LagSeconds    float64       `json:"lag_seconds"` // from the last reply until the last projection had everything
	Verify        verify.Report `json:"verify"`
	ReadySeconds  float64       `json:"ready_seconds"`
	totalDuration time.Duration
}

type demoStage struct {
	Name      string  `json:"name"`
	Count     int64   `json:"count"`
	Unit      string  `json:"unit"`
	Seconds   float64 `json:"seconds"`
	PerSecond float64 `json:"per_second"`
}

func (d *demo) run(ctx context.Context) (*demoReport, error) {
	started := time.Now()
	if err := d.prepare(ctx); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	err := d.app.values.Set(map[string]any{"admin.listen": d.listenAddress("admin.listen"), "api.listen": d.listenAddress("api.listen")})
	if err != nil {
		return nil, err
	}
	if d.admin, err = d.app.listenAdmin(ctx); err != nil {
		return nil, err
	}
	if d.api, err = d.app.listenAPI(ctx); err != nil {
		return nil, errors.Join(err, d.admin.listener.Close())
	}
	if d.servers, err = startServers(ctx, d); err != nil {
		return nil, errors.Join(err, d.admin.listener.Close(), d.api.Close())
	}
	go d.servers.watch(ctx, cancel)

	if err := d.work(ctx, cancel); err != nil {
		return nil, err
	}
	report := &demoReport{}
	if err := d.awaitReady(ctx); err != nil {
		return nil, d.cause(ctx, err)
	}
	report.ReadySeconds = time.Since(started).Seconds()
	if err := d.sample(ctx, report); err != nil {
		return nil, d.cause(ctx, err)
	}
	if d.once {
		if err := d.settle(ctx, report); err != nil {
			return nil, d.cause(ctx, err)
		}
		return report, d.stop(cancel)
	}
	d.announce(time.Since(started))
	<-ctx.Done()
	fmt.Fprintln(d.app.Err, "stopping …")
	failure := context.Cause(ctx)
	if errors.Is(failure, context.Canceled) {
		failure = nil
	}
	return nil, errors.Join(failure, d.stop(cancel))
}

// cause prefers the reason why everything was told to stop to the errors that this led to.
func (d *demo) cause(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
		return cause
	}
	return err
}

// prepare takes the folder.
func (d *demo) prepare(ctx context.Context) error {
	d.dir = d.app.values.String("data-dir")
	if d.once && !d.told("data-dir") {
		folder, err := process.TempFolder(ctx, "ledgerline-demo-*")
		if err != nil {
			return err
		}
		d.dir, d.temporary = folder.Path, folder
	}
	dir, err := filepath.Abs(d.dir)
	if err != nil {
		return err
	}
	d.dir = dir
	d.app.stateDir = filepath.Join(d.dir, "state")
	if err := os.MkdirAll(d.dir, 0o700); err != nil {
		return fmt.Errorf("--data-dir: %w", err)
	}
	wait, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	if d.lock, err = process.LockFile(wait, filepath.Join(d.dir, "lock"), nil); err != nil {
		return fmt.Errorf("--data-dir %s: another demo runs on this folder: stop it, or give another folder (%w)", d.dir, err)
	}
	return nil
}

// listenAddress is where a server is to listen.
func (d *demo) listenAddress(key string) string {
	if d.freePorts && !d.told(key) {
		return anyPort
	}
	return d.app.values.String(key)
}

// work starts producers, projectors and the admin listener. One that stops for good stops the demo, but for a projector: its
// rows can be made anew at any time, and what else runs does not need them.
func (d *demo) work(ctx context.Context, fail context.CancelCauseFunc) error {
	if err := d.topics(ctx); err != nil {
		return err
	}
	ctx, d.stopWork = context.WithCancel(ctx)
	run := func(name string, ready func() error, work func(context.Context) error) {
		if ready != nil {
			d.admin.parts[name] = ready
		}
		d.workers.Go(func() error {
			err := work(ctx)
			if err != nil {
				fail(fmt.Errorf("%s: %w", name, err))
			}
			return err
		})
	}
	sinks, err := d.app.stores(d.app.Domain.Projections)
	if err != nil {
		return err
	}
	err = d.app.everything(d.admin, sinks, d.api, func(name string, ready func() error, work func(context.Context) error) {
		if strings.HasPrefix(name, projectorPart) && !d.once {
			work = d.withoutIt(name, work)
		}
		run(name, ready, work)
	})
	if err != nil {
		return err
	}
	run("admin listener", nil, d.admin.serve)
	return nil
}

// topics makes them before anybody looks for them: what starts beside a producer would log that there are none.
func (d *demo) topics(ctx context.Context) error {
	specs, err := d.app.topicSpecs()
	if err != nil {
		return err
	}
	adm, err := d.app.kafkaAdmin()
	if err != nil {
		return err
	}
	defer adm.Close()
	_, err = producer.EnsureTopics(ctx, adm, specs)
	return err
}

// withoutIt has a projector that stops for good leave all else at work.
func (d *demo) withoutIt(name string, work func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) error {
		err := work(ctx)
		if err == nil {
			return nil
		}
		d.lose(name)
		fmt.Fprintf(d.app.Err, "\n%v\n%s has stopped for good; all else goes on. Mend that, then start the demo again\n\n", err, name)
		if _, rebuild := errors.AsType[*projector.RebuildRequiredError](err); rebuild {
			fmt.Fprintf(d.app.Err, "A demo's data can be thrown away: stop it, remove %s, and start it again\n\n", d.dir)
		}
		return nil
	}
}

// readyTimeout bounds the start of producers and projectors. A member that was killed holds its partitions until its
// session ends.
const readyTimeout = 3 * time.Minute

// lose notes that a part has stopped for good.
func (d *demo) lose(name string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lost = append(d.lost, name)
}

// without are the parts that have stopped for good.
func (d *demo) without() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.lost)
}

func (d *demo) awaitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	for {
		err := d.admin.unready(d.without()...)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.Canceled) {
				return ctx.Err()
			}
			return fmt.Errorf("not ready after %v: %w", readyTimeout, err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// sample loads the domain's sample, once a data folder.
func (d *demo) sample(ctx context.Context, report *demoReport) error {
	marker := filepath.Join(d.dir, "sample-loaded")
	if _, err := os.Stat(marker); err == nil || d.app.Domain.Sample == nil || !d.app.values.Bool("sample") {
		return nil
	}
	started := time.Now()
	loaded, err := d.app.Domain.Sample(ctx, d.app)
	if err != nil {
		return fmt.Errorf("load the sample: %w", err)
	}
	took := time.Since(started)
	report.Sample = loaded
	report.stage("commands to replies", loaded.Commands, "commands", took)
	fmt.Fprintf(d.app.Err, "sample: %s: %d accepted, %d rejected by rules\n", cli.Rate(loaded.Commands, "commands", took), loaded.Accepted, loaded.Rejected)
	report.totalDuration = took
	return os.WriteFile(marker, []byte(time.Now().UTC().Format(time.RFC3339)+"\n"), 0o600)
}

// stage notes how fast something went; where there was nothing to do there is nothing to note.
func (r *demoReport) stage(name string, n int64, unit string, took time.Duration) {
	if n == 0 {
		return
	}
	r.Stages = append(r.Stages, demoStage{Name: name, Count: n, Unit: unit, Seconds: took.Seconds(), PerSecond: float64(n) / max(took.Seconds(), 1e-9)})
}

// settle waits until every projection has everything, and verifies.
func (d *demo) settle(ctx context.Context, report *demoReport) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	started := time.Now()
	if err := d.caughtUp(ctx); err != nil {
		return err
	}
	report.LagSeconds = time.Since(started).Seconds()
	verifying := time.Now()
	var err error
	if report.Verify, err = d.app.verify(ctx, nil, 100); err != nil {
		return fmt.Errorf("could not verify: %w", err)
	}
	for _, p := range report.Verify.Projections {
		report.stage("events to "+p.Table, p.Rows, "rows", report.totalDuration+time.Duration(report.LagSeconds*float64(time.Second)))
	}
	var events int64
	for _, l := range report.Verify.Logs {
		events += l.Events
	}
	report.stage("verify", events, "events", time.Since(verifying))
	return nil
}

// caughtUp waits until the group of every projection stands at the end of its topic, or before the marker of the last
// transaction: an event that is not projected would leave two offsets.
func (d *demo) caughtUp(ctx context.Context) error {
	adm, err := d.app.kafkaAdmin()
	if err != nil {
		return err
	}
	defer adm.Close()
	var groups []string
	for _, p := range d.app.Domain.Projections {
		groups = append(groups, d.app.values.String("topic-prefix")+p.ProjectionName())
	}
	for {
		behind, err := behind(ctx, adm, groups)
		if err == nil && len(behind) == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("projections are still behind: %v", behind), err)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// behind lists the groups that have not read everything.
func behind(ctx context.Context, adm *kadm.Client, groups []string) ([]string, error) {
	lags, err := adm.Lag(ctx, groups...)
	if err != nil {
		return nil, err
	}
	var late []string
	for _, name := range groups {
		lag := lags[name]
		if err := lag.Error(); err != nil {
			return nil, err
		}
		for _, l := range lag.Lag.Sorted() {
			if l.Lag > 1 || l.Lag < 0 {
				late = append(late, fmt.Sprintf("%s %s/%d by %d", name, l.Topic, l.Partition, l.Lag))
			}
		}
	}
	return late, nil
}

func (r *demoReport) print(a *App) error {
	var err error
	say := func(format string, args ...any) {
		if err == nil {
			_, err = fmt.Fprintf(a.Out, format+"\n", args...)
		}
	}
	for _, s := range r.Stages {
		say("%-40s %8d %-8s in %7.3f s  %9.0f/s", s.Name, s.Count, s.Unit, s.Seconds, s.PerSecond)
	}
	say("lag of the slowest projection after the last reply: %.3f s", r.LagSeconds)
	if err == nil {
		err = a.printVerification(r.Verify)
	}
	return err
}

// announce says where everything is and what to try.
func (d *demo) announce(took time.Duration) {
	at := d.servers.addresses()
	at.API, at.Admin = "http://"+d.api.listener.Addr().String(), d.admin.listener.Addr().String()
	w := d.app.Err
	fmt.Fprintf(w, "\n  Kafka       %s\n  registry    %s\n  Postgres    %s\n  ClickHouse  %s\n  API         %s/docs  /stats\n  admin       http://%s/readyz  /metrics\n  data        %s\n",
		at.Kafka, at.Registry, at.Postgres, at.ClickHouse, at.API, at.Admin, d.dir)
	if d.app.Domain.TryIt != nil {
		fmt.Fprintln(w, "\nTry, in another terminal:")
		for _, s := range d.app.Domain.TryIt(at) {
			fmt.Fprintf(w, "\n  # %s\n  %s\n", s.What, s.Command)
		}
	}
	but := ""
	if lost := d.without(); len(lost) > 0 {
		but = ", but for " + strings.Join(lost, ", ") + ": see above"
	}
	fmt.Fprintf(w, "\nready after %v%s; Ctrl-C ends it\n", took.Round(100*time.Millisecond), but)
}

// stop ends the work before the servers that it needs.
func (d *demo) stop(cancel context.CancelCauseFunc) error {
	if d.stopWork != nil {
		d.stopWork()
	}
	_ = d.workers.Wait() // what failed was said when it did
	err := errors.Join(d.api.Close(), d.servers.stop())
	cancel(nil)
	d.servers = nil
	return err
}

// cleanUp ends what is still there, whatever went wrong.
func (d *demo) cleanUp() error {
	var errs []error
	if d.stopWork != nil {
		d.stopWork()
		_ = d.workers.Wait()
	}
	if d.api != nil {
		errs = append(errs, d.api.Close())
	}
	if d.servers != nil {
		errs = append(errs, d.servers.stop())
	}
	if d.lock != nil {
		errs = append(errs, d.lock.Close())
	}
	if d.temporary != nil {
		ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
		defer cancel()
		errs = append(errs, d.temporary.Remove(ctx))
	}
	return errors.Join(errs...)
}
