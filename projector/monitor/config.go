package monitor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ledgerline-es/ledgerline/projector"
)

// Reader is a consumer group to watch, and the projection that it feeds, if it does.
type Reader struct {
	// Group is the consumer group's full name.
	Group string
	// Topics are those that it reads.
	Topics []string
	// Projector is the value of projection_lag's label. Empty: the group feeds no projection.
	Projector string
	// Stored says where a projection stands, by its store, whose topic is the first of Topics. nil: the group's offsets count.
	Stored func(ctx context.Context) (map[int32]projector.SnapshotPosition, error)
}

// Positioner is a store that says where a projection stands: *postgres.Sink, *clickhouse.Sink.
type Positioner interface {
	// Positions gives for each partition that was ever claimed the offset to go on from. It makes nothing; a projection that
	// was never built has no positions, which is no error.
	Positions(ctx context.Context, plan projector.Plan) (map[int32]projector.SnapshotPosition, error)
}

// ReaderOf is the reader of a projection whose rows are in store.
func ReaderOf(p projector.Projection, topicPrefix string, store Positioner) (Reader, error) {
	plan, err := p.Plan(topicPrefix)
	if err != nil {
		return Reader{}, err
	}
	r := Reader{Group: topicPrefix + plan.Projection, Topics: []string{plan.Topic}, Projector: plan.Projection}
	if store != nil {
		r.Stored = func(ctx context.Context) (map[int32]projector.SnapshotPosition, error) {
			return store.Positions(ctx, plan)
		}
	}
	return r, nil
}

// Config says how a monitor runs. Only Client has no default.
type Config struct {
	// Client are the options of the Kafka client: seed brokers, client id, TLS, SASL.
	Client []kgo.Opt
	// Topics are watched for open transactions beside those of the readers. Default: none.
	Topics []string
	// Interval is the time from the beginning of one look to the next. Default 500 ms.
	Interval time.Duration
	// Timeout bounds one look, half of it the stores' answers. Default 3 s.
	Timeout time.Duration
	// Stale is the age from which a reading is no longer shown. Default 5 s, or three intervals if that is more.
	Stale time.Duration

	// Registerer takes the metrics. Default: none.
	Registerer prometheus.Registerer
	// Logger takes the log. Default: none.
	Logger *slog.Logger
}

func (c Config) withDefaults() Config {
	if c.Interval == 0 {
		c.Interval = 500 * time.Millisecond
	}
	if c.Timeout == 0 {
		c.Timeout = 3 * time.Second
	}
	if c.Stale == 0 {
		c.Stale = max(5*time.Second, 3*c.Interval)
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

// Validate names each field that cannot be used, its value and the remedy.
func (c Config) Validate() error {
	var errs []error
	c = c.withDefaults()
	if len(c.Client) == 0 {
		errs = append(errs, errors.New("monitor config: Client is empty: give at least kgo.SeedBrokers"))
	}
	if c.Interval < 50*time.Millisecond {
		errs = append(errs, fmt.Errorf("monitor config: Interval is %v: give 50ms or more: each look asks every broker", c.Interval))
	}
	if c.Timeout <= 0 {
		errs = append(errs, fmt.Errorf("monitor config: Timeout is %v: give a duration above 0, or none for the default", c.Timeout))
	}
	if c.Stale < c.Interval {
		errs = append(errs, fmt.Errorf("monitor config: Stale is %v: give at least the interval, %v, or nothing would ever be shown", c.Stale, c.Interval))
	}
	return errors.Join(errs...)
}

// topicsOf are all topics to look at, each once: those that readers read, and more.
func topicsOf(readers []Reader, more []string) []string {
	topics := slices.Clone(more)
	for _, r := range readers {
		topics = append(topics, r.Topics...)
	}
	slices.Sort(topics)
	return slices.Compact(topics)
}
