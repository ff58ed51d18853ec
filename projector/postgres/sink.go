package postgres

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"sync"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/ledgerline-es/ledgerline/projector"
)

// StoreName is what Projection.StoreName gives for tables of this package.
const StoreName = "postgres"

// Table is a Postgres table that people query as schema.name. create is one CREATE TABLE statement with {{table}} where
// the name of the physical table goes; columns must name all of the table's columns that have no default.
func Table[R any](schema, name, create string, columns ...projector.Column[R]) projector.Table[R] {
	return projector.Table[R]{Store: StoreName, Schema: schema, Name: name, Create: create, Columns: columns}
}

// Config says how to reach the server. Only URL has no default.
type Config struct {
	// URL is a connection string or URL as libpq knows them: postgres://user@host:5432/database. Its pool_max_conns
	// overrides MaxConns.
	URL string
	// MaxConns is the most connections; each projection that writes uses one. Default 8, or the number of processors if
	// that is more.
	MaxConns int32
	// MaxEvents is the most events of one partition in a transaction. Default 20,000.
	MaxEvents int
	// Logger takes the log. Default: none.
	Logger *slog.Logger
}

// Validate names each field that cannot be used, its value and the remedy.
func (c Config) Validate() error {
	var errs []error
	if c.URL == "" {
		errs = append(errs, errors.New("postgres config: URL is empty: give one such as postgres://user@host:5432/database"))
	} else if _, err := pgxpool.ParseConfig(c.URL); err != nil {
		errs = append(errs, fmt.Errorf("postgres config: URL cannot be used: %w: give one such as postgres://user@host:5432/database", err))
	}
	if c.MaxConns < 0 {
		errs = append(errs, fmt.Errorf("postgres config: MaxConns is %d: give 1 or more, or 0 for the default", c.MaxConns))
	}
	if c.MaxEvents < 0 {
		errs = append(errs, fmt.Errorf("postgres config: MaxEvents is %d: give 1 or more, or 0 for the default", c.MaxEvents))
	}
	return errors.Join(errs...)
}

// Sink is a PostgreSQL server as a sink. It connects when it is first used.
type Sink struct {
	cfg     Config
	metrics *metrics

	mu   sync.Mutex
	pool *pgxpool.Pool
}

var _ projector.Sink = (*Sink)(nil)

// New makes a sink. It does no I/O. Close it when no projector uses it any more.
func New(cfg Config) *Sink {
	if cfg.MaxConns == 0 {
		cfg.MaxConns = max(8, int32(runtime.NumCPU()))
	}
	if cfg.MaxEvents == 0 {
		cfg.MaxEvents = 20_000
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Sink{cfg: cfg, metrics: newMetrics()}
}

// Close closes the connections.
func (s *Sink) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pool != nil {
		s.pool.Close()
		s.pool = nil
	}
}

// conns is the pool of connections. Making it connects to nothing yet.
func (s *Sink) conns(ctx context.Context) (*pgxpool.Pool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pool != nil {
		return s.pool, nil
	}
	if err := s.cfg.Validate(); err != nil {
		return nil, projector.Fatal(err, "correct the configuration")
	}
	cfg, err := pgxpool.ParseConfig(s.cfg.URL)
	if err != nil {
		return nil, fmt.Errorf("postgres URL: %w", err)
	}
	if cfg.MaxConns < s.cfg.MaxConns {
		cfg.MaxConns = s.cfg.MaxConns
	}
	if cfg.ConnConfig.RuntimeParams["application_name"] == "" {
		cfg.ConnConfig.RuntimeParams["application_name"] = "ledgerline projector"
	}
	pool, err := pgxpool.NewWithConfig(context.WithoutCancel(ctx), cfg)
	if err != nil {
		return nil, fmt.Errorf("postgres connections: %w", err)
	}
	s.pool = pool
	return pool, nil
}
