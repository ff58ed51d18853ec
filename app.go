package ledgerline

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"

	"github.com/ledgerline-es/ledgerline/internal/cli"
	"github.com/ledgerline-es/ledgerline/producer"
	"github.com/ledgerline-es/ledgerline/projector"
	"github.com/ledgerline-es/ledgerline/projector/clickhouse"
	"github.com/ledgerline-es/ledgerline/projector/postgres"
	"github.com/ledgerline-es/ledgerline/schemas"
)

// Settings that several commands share. In every command but demo they default to the addresses of a demo on this machine.
var (
	logSettings = []cli.Setting{
		{Key: "log.level", Default: "info", Help: "least level to log: debug, info, warn or error"},
		{Key: "log.format", Default: "text", Help: "text or json"},
	}
	kafkaSettings = append([]cli.Setting{
		{Key: "kafka.brokers", Default: []string{"127.0.0.1:9092"}, Help: "host:port of one broker or more", Check: checkBrokers},
		{Key: "registry.url", Default: "http://127.0.0.1:8081", Help: "schema registry", Check: checkRegistry},
		{Key: "topic-prefix", Default: "", Help: "stands before the names of all topics and groups", Check: checkPrefix},
	}, linkSettings...)
	topicSettings = []cli.Setting{
		{Key: "kafka.partitions", Default: 12, Help: "partitions of topics that are created", Check: between(1, 100_000)},
		{Key: "kafka.replication", Default: 3, Help: "replicas of topics that are created; at most as many as brokers", Check: between(1, 1000)},
		{Key: "kafka.min-insync", Default: 0, Help: "replicas that must have a record before it counts, at most --kafka-replication; 0: 2, or 1 of 1", Check: between(0, 1000)},
	}
	producerSettings = []cli.Setting{
		{Key: "producer.window", Default: time.Hour, Help: "how long a repeated command id is recognised", Check: atLeast(time.Millisecond, "")},
		{Key: "producer.session-timeout", Default: 10 * time.Second, Help: "after which a silent producer's partitions go to others", Check: atLeast(time.Second, "; brokers refuse less than 6s unless they are set up for it")},
		{Key: "producer.instance", Default: "", Help: "name of this producer in its group, another for each: after a crash it has its partitions back without a rebalance"},
		{Key: "producer.standbys", Default: 0, Help: "other processes that keep a copy of each partition up to date, so that a take-over restores nothing", Check: between(0, 16)},
		{Key: "producer.sessions", Default: 1, Help: "members of the group in this process, each with a share of the partitions", Check: between(1, 64)},
		{Key: "producer.group", Default: producer.GroupClassic, Help: "protocol of the consumer group: classic, or consumer (KIP-848)", Check: checkGroup},
		{Key: "producer.state-dir", Default: "", Help: "folder of local state, which makes a restart fast; none: in memory"},
		{Key: "producer.memory-aggregates", Default: 200_000, Help: "aggregates of a kind held in memory; others are read from local state when needed", Check: between(1, 1_000_000_000)},
		{Key: "producer.snapshot-events", Default: 50_000, Help: "events of a partition that need be in no snapshot yet: what a restore reads at least", Check: between(1, 1_000_000_000)},
		{Key: "producer.decide-timeout", Default: 5 * time.Second, Help: "after which the process ends, since the rules do not answer to a command; that is then decided alone, and at last a dead letter", Check: atLeast(100*time.Millisecond, "")},
		{Key: "producer.command-retention", Default: 7 * 24 * time.Hour, Help: "how long commands are kept; those not processed yet are kept in any case", Check: atLeast(time.Millisecond, "")},
		{Key: "producer.reply-topics", Default: []string{}, Help: "topics that commands may ask replies to be copied to; patterns with *"},
	}
	storeSettings = []cli.Setting{
		{Key: "postgres.url", Default: "postgres://ledgerline@127.0.0.1:5433/ledgerline", Help: "Postgres", Check: orNone(checkPostgres)},
		{Key: "clickhouse.url", Default: "http://127.0.0.1:8123", Help: "ClickHouse: http://, https:// or clickhouse://", Check: orNone(checkClickHouse)},
	}
)

// allSettings are those of every command: a file or an environment may hold any of them.
func allSettings() []cli.Setting {
	return slices.Concat(logSettings, kafkaSettings, topicSettings, producerSettings, storeSettings, apiSettings, monitorSettings, benchmarkSettings, demoSettings, []cli.Setting{adminSetting("")})
}

// App is one run of the program, for a domain's own commands.
type App struct {
	Domain   Domain
	Out, Err io.Writer // for programs, and for people

	running string // the command, without the program's name
	values  *cli.Values
	links   links
	log     *slog.Logger

	stateDir string // of producers, unless the settings name one
}

// withSettings gives a command its flags and has its settings loaded and checked before it runs.
func (a *App) withSettings(cmd *cobra.Command, settings ...[]cli.Setting) *cobra.Command {
	own, run := slices.Concat(settings...), cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := a.check(own); err != nil {
			return err
		}
		return run(cmd, args)
	}
	return a.withFlags(cmd, own)
}

// withFlags gives a command its flags and has its settings loaded before it runs.
func (a *App) withFlags(cmd *cobra.Command, settings []cli.Setting) *cobra.Command {
	cli.AddFlags(cmd.Flags(), settings...)
	run := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := a.load(cmd); err != nil {
			return err
		}
		return run(cmd, args)
	}
	return cmd
}

// WithClient gives a domain's own command the settings of a client of Kafka and the registry.
func (a *App) WithClient(cmd *cobra.Command) *cobra.Command {
	return a.withSettings(cmd, kafkaSettings)
}

func (a *App) load(cmd *cobra.Command) error {
	if err := a.Domain.check(); err != nil {
		return err
	}
	values, err := cli.Load(cmd.Flags(), allSettings())
	if err != nil {
		return err
	}
	a.values = values
	_, a.running, _ = strings.Cut(cmd.CommandPath(), " ")
	var level slog.Level
	if err := level.UnmarshalText([]byte(values.String("log.level"))); err != nil {
		return cli.Usage(fmt.Errorf("--log-level is %q: give debug, info, warn or error", values.String("log.level")))
	}
	options := &slog.HandlerOptions{Level: level}
	switch format := values.String("log.format"); format {
	case "text":
		a.log = slog.New(slog.NewTextHandler(a.Err, options))
	case "json":
		a.log = slog.New(slog.NewJSONHandler(a.Err, options))
	default:
		return cli.Usage(fmt.Errorf("--log-format is %q: give text or json", format))
	}
	return nil
}

// Log is the program's log.
func (a *App) Log() *slog.Logger { return a.log }

// Progress shows how far something is: a bar on a terminal, log lines elsewhere. total is -1 when unknown.
func (a *App) Progress(what, unit string, total int64) *cli.Progress {
	return cli.NewProgress(a.Err, a.log, what, unit, total)
}

// JSON prints one document for programs.
func (a *App) JSON(v any) error {
	e := json.NewEncoder(a.Out)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// Exit ends the program with a code of the command's own.
func (a *App) Exit(code int, err error) error { return cli.Exit(code, err) }

// Usage marks an error as one of the caller: exit code 2.
func (a *App) Usage(err error) error { return cli.Usage(err) }

// Client runs a client of one aggregate kind for as long as use runs.
func (a *App) Client(ctx context.Context, kind string, use func(context.Context, *producer.Client) error) error {
	def, err := a.Domain.aggregate(kind)
	if err != nil {
		return err
	}
	registry, err := a.registry()
	if err != nil {
		return err
	}
	client := producer.NewClient(producer.ClientConfig{
		Brokers: a.values.Strings("kafka.brokers"), Client: a.kafkaOptions(), Registry: registry, TopicPrefix: a.values.String("topic-prefix"), Logger: a.log,
	}, def)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- client.Run(ctx) }()
	err = use(ctx, client)
	cancel()
	failed := <-ended
	switch {
	case err == nil || failed == nil || !errors.Is(err, failed) && !errors.Is(err, schemas.ErrNotRegistered):
		return err // what else may have failed has nothing to do with it
	case errors.Is(failed, schemas.ErrRegistryUnavailable):
		return fmt.Errorf("the schema registry at %v can't be reached: start it, or correct --registry-url (%w)", readable(a.values.String("registry.url")), failed)
	}
	return failed
}

func (a *App) producer(def producer.Definition, metrics prometheus.Registerer) (*producer.Producer, error) {
	cfg, err := a.producerConfig()
	if err != nil {
		return nil, err
	}
	cfg.Metrics = metrics
	return producer.New(cfg, def), nil
}

func (a *App) producerConfig() (producer.Config, error) {
	registry, err := a.registry()
	if err != nil {
		return producer.Config{}, err
	}
	return producer.Config{
		Brokers: a.values.Strings("kafka.brokers"), Client: a.kafkaOptions(), Registry: registry, TopicPrefix: a.values.String("topic-prefix"),
		Partitions: int32(a.values.Int("kafka.partitions")), Replication: int16(a.values.Int("kafka.replication")), MinInsync: a.values.Int("kafka.min-insync"),
		InstanceID: a.values.String("producer.instance"), Sessions: a.values.Int("producer.sessions"), Standbys: a.values.Int("producer.standbys"), Group: a.values.String("producer.group"),
		Window: a.values.Duration("producer.window"), CommandRetention: a.values.Duration("producer.command-retention"), SessionTimeout: a.values.Duration("producer.session-timeout"),
		StateDir: cmp.Or(a.values.String("producer.state-dir"), a.stateDir), MemoryAggregates: a.values.Int("producer.memory-aggregates"), SnapshotEvents: a.values.Int("producer.snapshot-events"),
		ReplyTopics: a.values.Strings("producer.reply-topics"), DecideTimeout: a.values.Duration("producer.decide-timeout"),
		Logger: a.log,
	}, nil
}

// stores are the sinks that projections name, each made once.
type stores struct {
	sinks map[string]projector.Sink
	close []func()
}

// Close closes the connections.
func (s *stores) Close() {
	for _, f := range s.close {
		f()
	}
}

// register has a scrape show what the sinks do.
func (s *stores) register(metrics prometheus.Registerer) error {
	for store, sink := range s.sinks {
		if c, ok := sink.(prometheus.Collector); ok {
			if err := metrics.Register(c); err != nil {
				return fmt.Errorf("register the metrics of %s: %w", store, err)
			}
		}
	}
	return nil
}

// stores makes the sinks that the projections need and no other: a pilot may have Postgres alone.
func (a *App) stores(projections []projector.Projection) (*stores, error) {
	s := &stores{sinks: map[string]projector.Sink{}}
	for _, p := range projections {
		store := p.StoreName()
		if s.sinks[store] != nil {
			continue
		}
		switch store {
		case postgres.StoreName:
			cfg := postgres.Config{URL: a.values.String("postgres.url"), Logger: a.log}
			if err := cfg.Validate(); err != nil {
				return nil, cli.Usage(fmt.Errorf("--postgres-url: %w", err))
			}
			sink := postgres.New(cfg)
			s.sinks[store], s.close = sink, append(s.close, sink.Close)
		case clickhouse.StoreName:
			cfg := clickhouse.Config{URL: a.values.String("clickhouse.url"), Logger: a.log}
			if err := cfg.Validate(); err != nil {
				return nil, cli.Usage(fmt.Errorf("--clickhouse-url: %w", err))
			}
			sink := clickhouse.New(cfg)
			s.sinks[store], s.close = sink, append(s.close, sink.Close)
		default:
			return nil, fmt.Errorf("projection %s is for store %q, which is not built in", p.ProjectionName(), store)
		}
	}
	return s, nil
}

func (a *App) projector(p projector.Projection, sinks *stores, metrics prometheus.Registerer) (*projector.Projector, error) {
	registry, err := a.registry()
	if err != nil {
		return nil, err
	}
	return projector.New(projector.Config{
		Client: a.kafkaOptions(), Registry: registry, TopicPrefix: a.values.String("topic-prefix"), Logger: a.log, Registerer: metrics,
	}, p, sinks.sinks[p.StoreName()]), nil
}
