package verify

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ledgerline-es/ledgerline/internal/logread"
	"github.com/ledgerline-es/ledgerline/projector"
	"github.com/ledgerline-es/ledgerline/schemas"
)

// Config says what to verify and how. Client and Registry have no default, and each projection needs its sink.
type Config struct {
	// Client are the options of the Kafka client: seed brokers, client id, TLS, SASL.
	Client []kgo.Opt
	// Registry is where the schemas of the events are.
	Registry *schemas.Registry
	// TopicPrefix stands before the names of topics. Default: none.
	TopicPrefix string
	// Sinks are the stores, by what Projection.StoreName gives: "postgres", "clickhouse".
	Sinks map[string]projector.Sink
	// Logs are kinds to check beside those that the projections read.
	Logs []projector.Log

	// MaxFindings is how many findings the report keeps; all are counted. Default 100.
	MaxFindings int
	// Parallel is how many partitions are read at once. Default 2.
	Parallel int
	// StallTimeout is how long to wait for the log to go on before giving up. Default 60 s.
	StallTimeout time.Duration
	// Progress is told, at most a few times a second, how many offsets of how many were read. Default: none.
	Progress func(kind string, done, total int64)
	// Logger takes the log. Default: none.
	Logger *slog.Logger
}

func (c Config) withDefaults() Config {
	if c.MaxFindings == 0 {
		c.MaxFindings = 100
	}
	if c.Parallel == 0 {
		c.Parallel = 2
	}
	if c.StallTimeout == 0 {
		c.StallTimeout = time.Minute
	}
	if c.Progress == nil {
		c.Progress = func(string, int64, int64) {}
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

// Validate names each field that cannot be used, its value and the remedy. Zero values mean the defaults.
func (c Config) Validate() error {
	var errs []error
	bad := func(field string, value any, remedy string) {
		errs = append(errs, fmt.Errorf("verify config: %s is %v: %s", field, value, remedy))
	}
	if len(c.Client) == 0 {
		bad("Client", "empty", "give at least kgo.SeedBrokers")
	}
	if c.Registry == nil {
		bad("Registry", "nil", "give schemas.NewRegistry")
	}
	if c.MaxFindings < 0 {
		bad("MaxFindings", c.MaxFindings, "give 1 or more, or 0 for the default")
	}
	if c.Parallel < 0 {
		bad("Parallel", c.Parallel, "give 1 or more, or 0 for the default")
	}
	if c.StallTimeout < 0 {
		bad("StallTimeout", c.StallTimeout, "give a duration above 0, or none for the default")
	}
	return errors.Join(errs...)
}

// Verify checks the logs that the projections read, and cfg.Logs, and compares the projections with them. Its error says
// what could not be checked; the report then covers the rest, and its findings hold.
func Verify(ctx context.Context, cfg Config, projections ...projector.Projection) (Report, error) {
	begun := time.Now()
	if err := cfg.Validate(); err != nil {
		return Report{}, err
	}
	cfg = cfg.withDefaults()
	client, err := kgo.NewClient(cfg.Client...)
	if err != nil {
		return Report{}, fmt.Errorf("kafka client: %w", err)
	}
	defer client.Close()
	v := &verification{Config: cfg, admin: kadm.NewClient(client), reader: logread.Reader{Client: cfg.Client, StallTimeout: cfg.StallTimeout}, codec: schemas.NewCodec(cfg.Registry)}
	v.findings.most = cfg.MaxFindings

	var (
		report Report
		errs   []error
	)
	for _, group := range byKind(cfg.Logs, projections) {
		if err := v.kind(ctx, group, &report); err != nil {
			errs = append(errs, err)
		}
		if ctx.Err() != nil {
			break
		}
	}
	report.Findings, report.Found = v.findings.kept, v.findings.found
	report.Equal = report.Found == 0 && len(errs) == 0
	for _, p := range report.Projections {
		report.Equal = report.Equal && len(p.Unfinished) == 0
	}
	report.Seconds = time.Since(begun).Seconds()
	return report, errors.Join(errs...)
}

// verification is one run.
type verification struct {
	Config
	admin    *kadm.Client
	reader   logread.Reader
	codec    *schemas.Codec
	findings findings
}

// kindGroup is a kind's log with the projections that read it.
type kindGroup struct {
	log         projector.Log
	projections []projector.Projection
}

func byKind(logs []projector.Log, projections []projector.Projection) []*kindGroup {
	var groups []*kindGroup
	of := func(log projector.Log) *kindGroup {
		for _, g := range groups {
			if g.log.Kind == log.Kind {
				g.log.Ignore = append(slices.Clone(g.log.Ignore), log.Ignore...)
				return g
			}
		}
		groups = append(groups, &kindGroup{log: log})
		return groups[len(groups)-1]
	}
	for _, log := range logs {
		of(log)
	}
	for _, p := range projections {
		g := of(p.Log())
		g.projections = append(g.projections, p)
	}
	return groups
}

// kind verifies one kind. The order matters: first the projections' snapshots, then the end of the events, then the
// commands. So every event that a projection has is read, and every command that an event names is there to be found.
func (v *verification) kind(ctx context.Context, g *kindGroup, report *Report) error {
	topics := schemas.TopicsOf(v.TopicPrefix, g.log.Kind)
	events, err := logread.Look(ctx, v.admin, topics.Events)
	if err != nil {
		return err
	}
	var (
		views []*view
		errs  []error
	)
	defer func() {
		for _, view := range views {
			view.snapshot.Close()
		}
	}()
	for _, p := range g.projections {
		view, err := v.look(ctx, p, events)
		if err != nil {
			errs = append(errs, fmt.Errorf("projection %s could not be checked: %w", p.ProjectionName(), err))
			continue
		}
		views = append(views, view)
	}
	if events, err = logread.Look(ctx, v.admin, topics.Events); err != nil {
		return errors.Join(append(errs, err)...)
	}
	causes, err := v.causes(ctx, topics)
	if err != nil {
		return errors.Join(append(errs, err)...)
	}
	placed, err := v.placedBy(ctx, g.log.Kind, events)
	if err != nil {
		return errors.Join(append(errs, err)...)
	}
	check := newLogCheck(v, g.log, events, placed, causes)
	if err := check.read(ctx, views); err != nil {
		return errors.Join(append(errs, err)...)
	}
	report.Logs = append(report.Logs, check.report)
	for _, view := range views {
		r, err := view.finish(ctx, events)
		if err != nil {
			errs = append(errs, fmt.Errorf("projection %s could not be checked: %w", r.Projection, err))
			continue
		}
		report.Projections = append(report.Projections, r)
	}
	return errors.Join(errs...)
}
