package api

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/ledgerline-es/ledgerline/producer"
	"github.com/ledgerline-es/ledgerline/projector"
)

// Config says how an API runs. Only Client and Postgres have no default.
type Config struct {
	// Title and Version head the OpenAPI document. Default "Ledgerline" and "0".
	Title, Version string

	// Listen is the address that Run is given a listener of; what it is decides who must show a token. Default
	// 127.0.0.1:8080.
	Listen string
	// Tokens are those that callers must show. Default: none, which is allowed on loopback alone, or with Insecure.
	Tokens *Tokens
	// Insecure lets anyone in who reaches an address that is not loopback.
	Insecure bool
	// Hosts are the names that a Host header may hold beside loopback's. Default: on loopback none, elsewhere any.
	Hosts []string

	// Aggregates are the kinds that commands are sent to.
	Aggregates []producer.Definition
	// Projections are those that Projection finds.
	Projections []projector.Projection
	// Client is how the clients of all kinds reach Kafka and the registry.
	Client producer.ClientConfig
	// Postgres has the projections' tables.
	Postgres *pgxpool.Pool

	// CacheSize is the most rows a cache holds. Default 100,000.
	CacheSize int
	// WriteWait is how long a write waits for its reply unless it says ?wait. Default 5 s.
	WriteWait time.Duration
	// ReadWait is how long a read waits for its projection unless it says ?wait. Default 1 s.
	ReadWait time.Duration
	// MaxWait is the longest ?wait. Default 30 s.
	MaxWait time.Duration
	// MaxBody is the most bytes of a request's body. Default 64 KiB.
	MaxBody int64
	// MaxPending is how many writes may wait for replies at a time. Default 10,000.
	MaxPending int
	// NoReplyAfter is after how long without any reply from a partition, while commands wait there, further ones are
	// refused. Default 10 s.
	NoReplyAfter time.Duration

	// Logger takes the log. Default: none.
	Logger *slog.Logger
	// Metrics takes the metrics. Default: none.
	Metrics prometheus.Registerer
}

func (c Config) withDefaults() Config {
	set(&c.Title, "Ledgerline")
	set(&c.Version, "0")
	set(&c.Listen, "127.0.0.1:8080")
	set(&c.CacheSize, 100_000)
	set(&c.WriteWait, 5*time.Second)
	set(&c.ReadWait, time.Second)
	set(&c.MaxWait, 30*time.Second)
	set(&c.MaxBody, 64<<10)
	set(&c.MaxPending, 10_000)
	set(&c.NoReplyAfter, 10*time.Second)
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Client.Logger == nil {
		c.Client.Logger = c.Logger
	}
	return c
}

func set[T comparable](field *T, value T) {
	if *field == *new(T) {
		*field = value
	}
}

// ErrOpen means that the API could be reached from elsewhere, and would let anyone in.
var ErrOpen = errors.New("it can be reached from outside this machine, and nobody would have to say who he is")

// Validate names each field that cannot be used, its value and the remedy. Zero values mean the defaults.
func (c Config) Validate() error {
	var errs []error
	bad := func(field string, value any, remedy string) {
		errs = append(errs, fmt.Errorf("api config: %s is %v: %s", field, value, remedy))
	}
	c = c.withDefaults()
	if _, _, err := net.SplitHostPort(c.Listen); err != nil {
		bad("Listen", fmt.Sprintf("%q", c.Listen), "give host:port, such as 127.0.0.1:8080")
	} else if !Loopback(c.Listen) && c.Tokens == nil && !c.Insecure {
		errs = append(errs, fmt.Errorf("api config: Listen is %s: %w: give Tokens, or set Insecure", c.Listen, ErrOpen))
	}
	if len(c.Client.Brokers) == 0 {
		bad("Client.Brokers", "empty", "give host:port of one broker or more")
	}
	if c.Client.Registry == nil {
		bad("Client.Registry", "nil", "give schemas.NewRegistry")
	}
	if c.Postgres == nil {
		bad("Postgres", "nil", "give a pool of connections")
	}
	for _, n := range []struct {
		field string
		value int64
	}{{"CacheSize", int64(c.CacheSize)}, {"MaxBody", c.MaxBody}, {"MaxPending", int64(c.MaxPending)}} {
		if n.value < 1 {
			bad(n.field, n.value, "give 1 or more, or 0 for the default")
		}
	}
	for _, d := range []struct {
		field string
		value time.Duration
	}{{"WriteWait", c.WriteWait}, {"ReadWait", c.ReadWait}, {"MaxWait", c.MaxWait}, {"NoReplyAfter", c.NoReplyAfter}} {
		if d.value < 0 {
			bad(d.field, d.value, "give a duration above 0, or none for the default")
		}
	}
	return errors.Join(errs...)
}

// Loopback says whether only this machine reaches an address.
func Loopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	return err == nil && loopbackHost(host)
}

func loopbackHost(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}
