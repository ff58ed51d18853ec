package producer

import (
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ledgerline-es/ledgerline/schemas"
)

// DefaultTransactionTimeout is Config's.
const DefaultTransactionTimeout = 10 * time.Second

// Protocols of a consumer group.
const (
	GroupClassic  = "classic"
	GroupConsumer = "consumer" // KIP-848
)

var instanceID = regexp.MustCompile(`^[A-Za-z0-9._-]{0,200}$`)

// Config of a Producer. Only Brokers and Registry have no default.
type Config struct {
	// Brokers are the host:port addresses to start from.
	Brokers []string
	// Client options for every connection: TLS, SASL, a dialer. Options that the producer sets itself win; the client id of the group's
	// members is one, so quotas by client id do not reach them: use quotas by user.
	Client []kgo.Opt
	// Registry knows the schemas.
	Registry *schemas.Registry

	// TopicPrefix stands before all topic and group names. Default "".
	TopicPrefix string
	// Partitions of each of the kind's topics when they are created. Default 12.
	Partitions int32
	// Replication factor of topics that are created. Default 3.
	Replication int16
	// MinInsync is min.insync.replicas of topics that are created, at most Replication. Default 2.
	MinInsync int

	// InstanceID makes the producer a static member of its group, with a transactional id that stays: after a crash it has its
	// partitions back at once, without a rebalance, if it is started again within SessionTimeout. Each producer needs its own, of
	// letters, digits, '.', '_' and '-'. Default none: a dynamic member.
	InstanceID string
	// Group is the protocol of the consumer group: GroupClassic or GroupConsumer (KIP-848, Kafka 4.0 or later, where the group's
	// configuration on the brokers sets session and heartbeat times). All members must agree. Default GroupClassic.
	Group string
	// Sessions is how many members of the group this producer runs, each with its own client, transactions and share of the partitions.
	// Default 1.
	Sessions int
	// Standbys is how many other processes keep a copy of each partition up to date, so that one that takes it over restores nothing. It
	// needs so many processes more than one, and costs each copy's memory, or local state, and reading the log once more. Under
	// GroupClassic who has a copy is preferred when partitions are assigned; under GroupConsumer the brokers assign, and do not know.
	// Default 0.
	Standbys int
	// Window in which a repeated command id gets the first reply again, by append time. Default 1 h.
	Window time.Duration
	// CommandRetention is how long commands are kept after they were appended. Those that are not processed yet are kept in any case.
	// Default 7 days.
	CommandRetention time.Duration
	// ReplyTopics that commands may ask replies to be copied to: names or path.Match patterns. Default none.
	ReplyTopics []string
	// MaxCommandBytes of one command's value; larger ones become dead letters. Default 512 KiB: a forwarded command needs room
	// for more headers.
	MaxCommandBytes int
	// MaxEventBytes of one encoded event. Default 64 KiB.
	MaxEventBytes int
	// MaxEvents of one command. Default 1000.
	MaxEvents int
	// MaxSources is how many numbered senders an aggregate may have. Default 64.
	MaxSources int

	// StateDir is a folder for local state, which saves a restart from reading all snapshots: a copy of the log, rebuilt when it
	// can't be believed. Producers may share one on one machine. Default "": kept in memory.
	StateDir string
	// MemoryAggregates is how many aggregates are held in memory as Go values; the states of all others are read from local state
	// when they are needed. Default 200000.
	MemoryAggregates int
	// SnapshotEvents is how many events of a partition may be in no snapshot yet: what a restore reads at least, beside the
	// snapshots. Fewer cost more snapshots. Default 50000.
	SnapshotEvents int

	// DecideTimeout is how long the rules may take for one command. Rules that do not return can't be stopped: the process ends, the
	// command is decided alone by the next ones and then becomes a dead letter. Default 5 s: a transaction must outlast it.
	DecideTimeout time.Duration

	// MaxPollRecords decided in one transaction. Default 10000.
	MaxPollRecords int
	// TransactionTimeout after which the broker aborts an open transaction whose owner is gone; readers wait for that long.
	// Must leave room for a transaction of MaxPollRecords. Default 10 s.
	TransactionTimeout time.Duration
	// SessionTimeout after which the group counts a silent member as gone. Default 10 s; brokers refuse less than 6 s unless
	// they are set up for it.
	SessionTimeout time.Duration
	// RestoreStall is how long a restore may stand still before it fails with what it waits for. Default 90 s: longer than an
	// abandoned transaction can hold readers up.
	RestoreStall time.Duration

	// Logger; default slog.Default().
	Logger *slog.Logger
	// Metrics registerer; nil: metrics are kept but not published.
	Metrics prometheus.Registerer
}

func (c Config) withDefaults() Config {
	set(&c.Partitions, 12)
	set(&c.Replication, 3)
	set(&c.MinInsync, min(2, int(c.Replication)))
	set(&c.Group, GroupClassic)
	set(&c.Sessions, 1)
	set(&c.Window, time.Hour)
	set(&c.CommandRetention, 7*24*time.Hour)
	set(&c.MaxCommandBytes, 512<<10)
	set(&c.MaxEventBytes, 64<<10)
	set(&c.MaxEvents, 1000)
	set(&c.MaxSources, 64)
	set(&c.MemoryAggregates, 200_000)
	set(&c.SnapshotEvents, 50_000)
	set(&c.DecideTimeout, 5*time.Second)
	set(&c.MaxPollRecords, 10_000)
	set(&c.TransactionTimeout, DefaultTransactionTimeout)
	set(&c.SessionTimeout, 10*time.Second)
	set(&c.RestoreStall, 90*time.Second)
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	return c
}

func set[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// Validate reports every field that can't work, with the remedy. Fields left at zero have their defaults.
func (c Config) Validate() error {
	c = c.withDefaults()
	var errs []error
	bad := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	bad(len(c.Brokers) > 0, "Brokers is empty: give at least one host:port")
	bad(c.Registry != nil, "Registry is nil: make one with schemas.NewRegistry")
	bad(c.Partitions > 0, "Partitions is %d: give at least 1", c.Partitions)
	bad(c.Replication > 0, "Replication is %d: give at least 1", c.Replication)
	bad(c.MinInsync >= 1 && c.MinInsync <= int(c.Replication), "MinInsync is %d: give 1 to Replication (%d)", c.MinInsync, c.Replication)
	bad(instanceID.MatchString(c.InstanceID), "InstanceID is %q: give up to 200 letters, digits, '.', '_' or '-'", c.InstanceID)
	bad(c.Group == GroupClassic || c.Group == GroupConsumer, "Group is %q: give %q or %q", c.Group, GroupClassic, GroupConsumer)
	bad(c.Sessions >= 1 && c.Sessions <= 64, "Sessions is %d: give 1 to 64", c.Sessions)
	bad(c.Standbys >= 0 && c.Standbys <= 16, "Standbys is %d: give 0 to 16", c.Standbys)
	bad(c.Window > 0, "Window is %v: give a positive time", c.Window)
	bad(c.CommandRetention >= c.Window, "CommandRetention is %v: give at least Window (%v)", c.CommandRetention, c.Window)
	bad(c.MaxCommandBytes > 0 && c.MaxCommandBytes <= 900<<10, "MaxCommandBytes is %d: give 1 to %d, so that a command fits a Kafka batch", c.MaxCommandBytes, 900<<10)
	bad(c.MaxEventBytes > 0 && c.MaxEventBytes <= 900<<10, "MaxEventBytes is %d: give 1 to %d, so that an event fits a Kafka batch", c.MaxEventBytes, 900<<10)
	bad(c.MaxEvents > 0, "MaxEvents is %d: give at least 1", c.MaxEvents)
	bad(c.MaxSources > 0, "MaxSources is %d: give at least 1", c.MaxSources)
	bad(c.MemoryAggregates > 0, "MemoryAggregates is %d: give at least 1", c.MemoryAggregates)
	bad(c.SnapshotEvents > 0, "SnapshotEvents is %d: give at least 1", c.SnapshotEvents)
	bad(c.DecideTimeout >= 100*time.Millisecond, "DecideTimeout is %v: give at least 100ms", c.DecideTimeout)
	bad(c.MaxPollRecords > 0, "MaxPollRecords is %d: give at least 1", c.MaxPollRecords)
	bad(c.TransactionTimeout >= time.Second && c.TransactionTimeout <= 15*time.Minute, "TransactionTimeout is %v: give 1s to 15m, the broker's limit", c.TransactionTimeout)
	bad(c.RestoreStall > c.TransactionTimeout, "RestoreStall is %v: give more than TransactionTimeout (%v), which an abandoned transaction may last", c.RestoreStall, c.TransactionTimeout)
	return errors.Join(errs...)
}

// group is the consumer group of a kind's producers.
func (c Config) group(kind string) string { return Group(c.TopicPrefix, kind) }

// Group is the consumer group of a kind's producers.
func Group(topicPrefix, kind string) string { return topicPrefix + kind + ".producer" }

// TransactionalIDPrefix begins the transactional ids of a kind's producers, and nobody else's.
func TransactionalIDPrefix(topicPrefix, kind string) string { return Group(topicPrefix, kind) + "-" }
