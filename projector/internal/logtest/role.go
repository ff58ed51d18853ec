package logtest

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sr"
	"golang.org/x/sync/errgroup"

	"github.com/ledgerline-es/ledgerline/internal/process"
	"github.com/ledgerline-es/ledgerline/projector"
	"github.com/ledgerline-es/ledgerline/projector/clickhouse"
	"github.com/ledgerline-es/ledgerline/projector/postgres"
	"github.com/ledgerline-es/ledgerline/schemas"
)

// Setup is what a process of projectors needs to know.
type Setup struct {
	Brokers        []string
	RegistryURL    string
	Prefix         string
	PostgresURL    string
	ClickHouseURL  string
	DatabasePrefix string
	Only           []string // names of projections; none: all
	Instance       string   // of static members
	MaxBatch       int      // events of a partition in a write; 0: the sinks' defaults
	SessionTimeout time.Duration
}

// Names of the projections of a Setup.
const (
	BalancesName = "balances" // fold, Postgres
	EntriesName  = "entries"  // append, Postgres
	FactsName    = "facts"    // append, ClickHouse
)

// Projections are those of a Setup, with their sinks by store.
func (s Setup) Projections() ([]projector.Projection, map[string]projector.Sink) {
	all := []projector.Projection{
		Balances(BalancesName, postgres.Table[Row], BalancesTable),
		Entries(EntriesName, postgres.Table[Row], EntriesPostgres),
		Entries(FactsName, clickhouse.Table[Row], EntriesClickHouse),
	}
	sinks := map[string]projector.Sink{
		postgres.StoreName:   postgres.New(postgres.Config{URL: s.PostgresURL, MaxEvents: s.MaxBatch}),
		clickhouse.StoreName: clickhouse.New(clickhouse.Config{URL: s.ClickHouseURL, DatabasePrefix: s.DatabasePrefix, MaxRows: s.MaxBatch, Interval: 100 * time.Millisecond, SettleWait: 2 * time.Second}),
	}
	return slices.DeleteFunc(all, func(p projector.Projection) bool {
		return len(s.Only) > 0 && !slices.Contains(s.Only, p.ProjectionName())
	}), sinks
}

// Run runs the projectors until ctx ends.
func (s Setup) Run(ctx context.Context) error {
	registry, err := sr.NewClient(sr.URLs(s.RegistryURL))
	if err != nil {
		return err
	}
	projections, sinks := s.Projections()
	group, ctx := errgroup.WithContext(ctx)
	for _, p := range projections {
		cfg := projector.Config{
			Client:         []kgo.Opt{kgo.SeedBrokers(s.Brokers...), kgo.MetadataMinAge(10 * time.Millisecond)},
			Registry:       schemas.NewRegistry(registry),
			TopicPrefix:    s.Prefix,
			SessionTimeout: cmp.Or(s.SessionTimeout, 6*time.Second),
			BackoffMax:     500 * time.Millisecond,
			Logger:         slog.New(slog.NewTextHandler(os.Stderr, nil)),
		}
		if s.Instance != "" {
			cfg.InstanceID = p.ProjectionName() + "-" + s.Instance
		}
		group.Go(func() error { return projector.New(cfg, p, sinks[p.StoreName()]).Run(ctx) })
	}
	return group.Wait()
}

// Args are the arguments of Role, or of a program that calls RunArgs.
func (s Setup) Args() []string {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err) // strings and numbers
	}
	return []string{string(b)}
}

// RunArgs runs the projectors of a Setup's Args.
func RunArgs(ctx context.Context, args []string) error {
	var s Setup
	if len(args) != 1 {
		return fmt.Errorf("want one argument, a Setup, got %d", len(args))
	}
	if err := json.Unmarshal([]byte(args[0]), &s); err != nil {
		return err
	}
	return s.Run(ctx)
}

// RoleName is Role's.
const RoleName = "projectors"

// Role runs the projectors in a process of its own.
func Role() process.Role { return process.Role{Name: RoleName, Run: RunArgs} }
