package projector

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ledgerline-es/ledgerline/schemas"
)

// Config says how a projector runs. Only Client and Registry have no default.
type Config struct {
	// Client are the options of the Kafka client: seed brokers, client id, TLS, SASL. Those of consuming and of the group
	// are set by the projector.
	Client []kgo.Opt
	// Registry is where the schemas of the events are.
	Registry *schemas.Registry
	// TopicPrefix stands before the names of topics and groups. Default: none.
	TopicPrefix string

	// InstanceID makes the member a static one: after a crash it comes back to its partitions at once, without the
	// session timeout. It must be unique in the group. Default: none.
	InstanceID string
	// SessionTimeout is how long the group waits for a member that says nothing. Default 10 s; brokers refuse below 6 s.
	SessionTimeout time.Duration

	// Decoders is how many goroutines decode. Default 2; more than there are processors gains nothing.
	Decoders int
	// MaxBuffered bounds the events between Kafka and the store, in bytes of their records. Default 64 MiB.
	MaxBuffered int64
	// MaxPoll is the most records taken from the client at once. Default 20,000.
	MaxPoll int

	// WriteTimeout bounds one attempt to write; the attempt is then made again. Default 60 s.
	WriteTimeout time.Duration
	// StopTimeout is how long a write may take to end after Run's context has. Default 5 s.
	StopTimeout time.Duration
	// MirrorInterval is the least time between two commits of offsets to the group while there is work. Default 1 s.
	MirrorInterval time.Duration
	// BackoffMin and BackoffMax bound the wait before something that failed is tried again. Default 50 ms and 5 s.
	BackoffMin, BackoffMax time.Duration

	// Registerer takes the metrics. Default: none.
	Registerer prometheus.Registerer
	// Logger takes the log. Default: none.
	Logger *slog.Logger
}

func (c Config) withDefaults() Config {
	if c.SessionTimeout == 0 {
		c.SessionTimeout = 10 * time.Second
	}
	if c.Decoders == 0 {
		c.Decoders = 2
	}
	if c.MaxBuffered == 0 {
		c.MaxBuffered = 64 << 20
	}
	if c.MaxPoll == 0 {
		c.MaxPoll = 20_000
	}
	if c.WriteTimeout == 0 {
		c.WriteTimeout = 60 * time.Second
	}
	if c.StopTimeout == 0 {
		c.StopTimeout = 5 * time.Second
	}
	if c.MirrorInterval == 0 {
		c.MirrorInterval = time.Second
	}
	if c.BackoffMin == 0 {
		c.BackoffMin = 50 * time.Millisecond
	}
	if c.BackoffMax == 0 {
		c.BackoffMax = 5 * time.Second
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
		errs = append(errs, fmt.Errorf("projector config: %s is %v: %s", field, value, remedy))
	}
	c = c.withDefaults()
	if len(c.Client) == 0 {
		bad("Client", "empty", "give at least kgo.SeedBrokers")
	}
	if c.Registry == nil {
		bad("Registry", "nil", "give schemas.NewRegistry")
	}
	if c.SessionTimeout < time.Second {
		bad("SessionTimeout", c.SessionTimeout, "give at least what the broker allows, 6s on a stock one")
	}
	if c.Decoders < 1 {
		bad("Decoders", c.Decoders, "give 1 or more")
	}
	if c.MaxBuffered < 1<<20 {
		bad("MaxBuffered", c.MaxBuffered, "give 1048576 bytes or more")
	}
	if c.MaxPoll < 1 {
		bad("MaxPoll", c.MaxPoll, "give 1 or more")
	}
	for field, d := range map[string]time.Duration{
		"WriteTimeout": c.WriteTimeout, "StopTimeout": c.StopTimeout, "MirrorInterval": c.MirrorInterval, "BackoffMin": c.BackoffMin,
	} {
		if d < 0 {
			bad(field, d, "give a duration above 0, or none for the default")
		}
	}
	if c.BackoffMax < c.BackoffMin {
		bad("BackoffMax", c.BackoffMax, fmt.Sprintf("give at least BackoffMin, %s", c.BackoffMin))
	}
	return errors.Join(errs...)
}
