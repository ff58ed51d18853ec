package ledgerline

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"

	ch "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"

	"github.com/ledgerline-es/ledgerline/analytics"
	"github.com/ledgerline-es/ledgerline/api"
	"github.com/ledgerline-es/ledgerline/internal/cli"
	"github.com/ledgerline-es/ledgerline/producer"
	"github.com/ledgerline-es/ledgerline/projector/clickhouse"
)

var apiSettings = []cli.Setting{
	{Key: "api.listen", Default: "127.0.0.1:8080", Help: "address of the HTTP API", Check: checkListen},
	{Key: "api.tokens", Default: "", Help: "file of tokens that callers of the API must show; needed off loopback"},
	{Key: "api.insecure", Default: false, Help: "let anyone in who reaches the API, also off loopback"},
	{Key: "api.hosts", Default: []string{}, Help: "names that a Host header may hold, beside loopback's; none: any, off loopback"},
	{Key: "api.cache-size", Default: 100_000, Help: "most rows that the API keeps in memory", Check: between(1, math.MaxInt32)},
}

// leastConns is how many connections to Postgres an API may have, unless pool_max_conns in the URL says more.
const leastConns = 16

func (a *App) apiCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "api",
		Short: "Serve HTTP: writes become commands, reads come from Postgres and ClickHouse",
		Long: `Serves the domain's HTTP API: /docs shows it, /openapi.json says it to programs, /stats tells how it is. A write is a
command published to Kafka, and waits for its reply. A read comes from a projection's table in Postgres, or from memory
as long as the log shows nothing later. Start as many as you like.

Off loopback it wants --api-tokens FILE, or --api-insecure. ` + api.TokensHelp,
		Example: fmt.Sprintf("  %[1]s api\n  %[1]s api --api-listen 0.0.0.0:8080 --api-tokens /etc/ledgerline/tokens --kafka-brokers broker-1:9092 --registry-url http://registry:8081 --postgres-url postgres://ledger@db/ledger", a.Domain.Name),
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		service, err := a.listenAPI(cmd.Context())
		if err != nil {
			return err
		}
		err = a.serve(cmd.Context(), nil, func(s *admin, run func(name string, ready func() error, run func(context.Context) error)) error {
			if err := service.build(s.registry); err != nil {
				return err
			}
			run("api", service.Ready, service.Run)
			a.log.Info("serving", "api", "http://"+service.listener.Addr().String())
			return nil
		})
		return errors.Join(err, service.Close())
	}
	return a.withSettings(cmd, kafkaSettings, storeSettings, apiSettings, []cli.Setting{adminSetting("127.0.0.1:9467")})
}

// apiService is the API with what it stands on.
type apiService struct {
	*api.API

	app      *App
	tokens   *api.Tokens
	listener net.Listener
	pool     *pgxpool.Pool

	clickhouse ch.Conn // nil unless there are questions
}

// listenAPI checks who may come in and takes the address; nothing is served before Run.
func (a *App) listenAPI(ctx context.Context) (*apiService, error) {
	s := &apiService{app: a}
	address := a.values.String("api.listen")
	if path := a.values.String("api.tokens"); path != "" {
		tokens, err := api.ReadTokens(path)
		if err != nil {
			return nil, cli.Usage(fmt.Errorf("--api-tokens: %w\n%s", err, api.TokensHelp))
		}
		s.tokens = tokens
	}
	if s.tokens == nil && !a.values.Bool("api.insecure") && !api.Loopback(address) {
		return nil, cli.Usage(fmt.Errorf("--api-listen %s: %w: give --api-tokens FILE, or --api-insecure to let anyone in\n%s", address, api.ErrOpen, api.TokensHelp))
	}
	l, err := listen(ctx, address, "api-listen")
	if err != nil {
		return nil, err
	}
	s.listener = l
	return s, nil
}

// build makes the API, when the addresses of all servers are known.
func (s *apiService) build(metrics prometheus.Registerer) error {
	a := s.app
	registry, err := a.registry()
	if err != nil {
		return err
	}
	pool, err := pgxpool.ParseConfig(a.values.String("postgres.url"))
	if err != nil {
		return cli.Usage(fmt.Errorf("--postgres-url: %w", err))
	}
	pool.ConnConfig.RuntimeParams["application_name"] = a.Domain.Name + " api"
	pool.MaxConns = max(pool.MaxConns, leastConns)
	// It connects when it is first asked, and outlives no one: Close ends it.
	if s.pool, err = pgxpool.NewWithConfig(context.Background(), pool); err != nil {
		return fmt.Errorf("--postgres-url: %w", err)
	}
	version, _ := build()
	s.API, err = api.New(api.Config{
		Title: a.Domain.Name, Version: version, Listen: a.values.String("api.listen"), Tokens: s.tokens, Insecure: a.values.Bool("api.insecure"),
		Hosts: a.values.Strings("api.hosts"), Aggregates: a.Domain.Aggregates, Projections: a.Domain.Projections,
		Client:   producer.ClientConfig{Brokers: a.values.Strings("kafka.brokers"), Client: a.kafkaOptions(), Registry: registry, TopicPrefix: a.values.String("topic-prefix"), Logger: a.log},
		Postgres: s.pool, CacheSize: a.values.Int("api.cache-size"), Logger: a.log, Metrics: metrics,
	})
	if err != nil {
		return err
	}
	return s.routes()
}

// routes registers all that is served, beside what the API itself does: the domain's own operations, and its questions.
func (s *apiService) routes() error {
	domain := s.app.Domain
	if domain.Routes != nil {
		if err := domain.Routes(s.API); err != nil {
			return fmt.Errorf("routes of domain %s: %w", domain.Name, err)
		}
	}
	questions, err := analytics.Open(domain.Queries)
	if err != nil || len(questions.Queries()) == 0 {
		return err
	}
	// It connects when it is first asked: an API without ClickHouse serves all the rest.
	if s.clickhouse, err = clickhouse.Connect(s.app.values.String("clickhouse.url"), questionsAtOnce); err != nil {
		return cli.Usage(fmt.Errorf("--clickhouse-url: %w", err))
	}
	questions.Register(s.Huma(), s.clickhouse)
	return nil
}

// questionsAtOnce is how many statements an API has ClickHouse run at a time: the rest of the server is the projectors'.
const questionsAtOnce = 8

// Run serves until ctx ends.
func (s *apiService) Run(ctx context.Context) error { return s.API.Run(ctx, s.listener) }

// Close ends what Run has not: the listener of an API that never ran, and the connections.
func (s *apiService) Close() error {
	if s.pool != nil {
		s.pool.Close()
	}
	if s.clickhouse != nil {
		_ = s.clickhouse.Close() // nothing was written through it
	}
	if err := s.listener.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}
