package producer

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
)

// What topics and brokers have to be stands in Topics and in brokerNeeds, and nowhere else: a producer refuses to start on what breaks a
// promise, and whoever looks at a cluster from outside is told the same, and what is of less weight.

// Level is how much a problem weighs.
type Level string

// The levels.
const (
	Advice  Level = "advice"  // it works; it could be quicker
	Warning Level = "warning" // it works, and something may go wrong that need not
	Refusal Level = "error"   // a promise is broken: no producer starts
)

// Problem is how a topic, or a broker, differs from how it has to be.
type Problem struct {
	Level  Level
	Where  string // such as "topic account.events"
	What   string // such as "has cleanup.policy=delete, wanted compact: events are kept for ever"
	Remedy string

	kind error
}

// Err is an ErrTopic or an ErrBroker that names where, what and the remedy.
func (p Problem) Err() error { return fmt.Errorf("%w: %s %s; %s", p.kind, p.Where, p.What, p.Remedy) }

// sift tells the problems that keep a producer from starting from the others.
func sift(all []Problem) (lesser []Problem, err error) {
	var errs []error
	for _, p := range all {
		if p.Level == Refusal {
			errs = append(errs, p.Err())
		} else {
			lesser = append(lesser, p)
		}
	}
	return lesser, errors.Join(errs...)
}

// need is a setting, and what it has to be.
type need struct {
	key   string
	holds func(value string) bool
	want  string
	mend  string // a value that does
	why   string
	level Level
}

func is(key, want, why string) need {
	return need{key, func(v string) bool { return v == want }, want, want, why, Refusal}
}

func atLeast(key string, least int64, why string) need {
	return need{key, func(v string) bool {
		n, err := strconv.ParseInt(v, 10, 64)
		return err == nil && (n >= least || n == -1)
	}, fmt.Sprintf("at least %d", least), strconv.FormatInt(least, 10), why, Refusal}
}

func atMost(key string, most int64, why string) need {
	return need{key, func(v string) bool {
		n, err := strconv.ParseInt(v, 10, 64)
		return err == nil && n <= most
	}, fmt.Sprintf("at most %d", most), strconv.FormatInt(most, 10), why, Refusal}
}

func (n need) warns() need { n.level = Warning; return n }

func (n need) advises() need { n.level = Advice; return n }

// broken gives the needs that settings do not meet. A setting that the broker does not tell is none that it has.
func broken(needs []need, configs []kadm.Config, say func(n need, value string)) {
	for _, n := range needs {
		i := slices.IndexFunc(configs, func(c kadm.Config) bool { return c.Key == n.key })
		if i >= 0 && configs[i].Value != nil && !n.holds(*configs[i].Value) {
			say(n, *configs[i].Value)
		}
	}
}

func (s *TopicState) inspect(detail kadm.TopicDetail, configs kadm.ResourceConfigs) {
	name := s.Spec.Name
	problem := func(level Level, remedy, what string, args ...any) {
		s.Problems = append(s.Problems, Problem{level, "topic " + name, fmt.Sprintf(what, args...), remedy, ErrTopic})
	}
	alter := func(key, value string) string {
		return fmt.Sprintf("mend it with `kafka-configs.sh --alter --entity-type topics --entity-name %s --add-config %s=%s`", name, key, value)
	}
	found, err := configs.On(name, nil)
	if err == nil {
		err = found.Err
	}
	if errors.Is(err, kerr.UnknownTopicOrPartition) {
		return // one broker has heard of it, another has not yet, or not any more
	}
	s.Exists, s.Partitions, s.Replication = true, int32(len(detail.Partitions)), math.MaxInt16
	for _, p := range detail.Partitions {
		s.Replication = min(s.Replication, int16(len(p.Replicas)))
	}
	if n := s.Partitions; n != s.Spec.Partitions && s.Spec.Partitions > 0 {
		problem(Refusal, fmt.Sprintf("set --kafka-partitions %d if that is what was meant", n),
			"has %d partitions, wanted %d: all topics of a kind need the same number", n, s.Spec.Partitions)
	}
	if s.Replication < s.Spec.Replication {
		problem(Warning, fmt.Sprintf("add replicas with `kafka-reassign-partitions.sh`, or set --kafka-replication %d if that is what was meant", s.Replication),
			"has %d replicas, wanted %d: what is in them is gone with as many brokers", s.Replication, s.Spec.Replication)
	}
	if err != nil {
		problem(Refusal, "its producer, and whoever looks at it, needs the right to describe its settings", "can't be looked at: %v", err)
		return
	}
	broken(s.Spec.needs, found.Configs, func(n need, value string) {
		problem(n.level, alter(n.key, n.mend), "has %s=%s, wanted %s: %s", n.key, value, n.want, n.why)
	})
	broken([]need{{key: minInsync, holds: func(string) bool { return false }}}, found.Configs, func(_ need, value string) {
		n, err := strconv.Atoi(value)
		s.MinInsync = n
		wanted := max(s.Spec.insync, 1)
		switch {
		case err != nil:
		case n > int(s.Replication):
			problem(Refusal, alter(minInsync, strconv.Itoa(min(wanted, int(s.Replication)))), "has %s=%d and %d replicas: no write can succeed", minInsync, n, s.Replication)
		case s.Replication < 2: // one copy is one copy, whatever the setting says
		case n < wanted:
			problem(Refusal, alter(minInsync, strconv.Itoa(wanted)), "has %s=%d, wanted at least %d: an acknowledged record could be lost with one broker", minInsync, n, wanted)
		case n == 1:
			problem(Warning, alter(minInsync, "2"), "has %s=1, as was asked for: an acknowledged record could be lost with one broker", minInsync)
		case n == int(s.Replication):
			problem(Warning, alter(minInsync, strconv.Itoa(n-1)), "has %s=%d and as many replicas: when one broker is away, nothing can be written", minInsync, n)
		}
	})
}

// replicas looks at what changes by the hour, which keeps nobody from starting.
func (s *TopicState) replicas(detail kadm.TopicDetail) {
	for _, p := range detail.Partitions.Sorted() {
		switch {
		case p.Err != nil || p.Leader < 0:
			s.Unled = append(s.Unled, p.Partition)
		case len(p.ISR) < s.MinInsync:
			s.Short = append(s.Short, p.Partition)
		case len(p.ISR) < len(p.Replicas):
			s.Behind = append(s.Behind, p.Partition)
		}
	}
}

const (
	minInsync      = "min.insync.replicas"
	maxTransaction = "transaction.max.timeout.ms"
)

// remedy is that of a broker's setting: few of them can be altered while it runs.
func (n need) remedy() string {
	return fmt.Sprintf("set %s=%s in its properties, and restart it", n.key, n.mend)
}

// brokerNeeds are the settings of brokers that a promise or its speed rests on.
func brokerNeeds(cfg Config) []need {
	needs := []need{
		atLeast(maxTransaction, cfg.TransactionTimeout.Milliseconds(), "brokers refuse the transactions of producers, which ask for so long"),
		atLeast("transactional.id.expiration.ms", time.Hour.Milliseconds(), "a producer without commands for longer loses its transaction's id, and begins anew by reading the log").warns(),
		atLeast("offsets.retention.minutes", 24*60, "groups that stand still for longer lose their offsets: nothing is read twice, but lag can't be told, and much is looked at again").warns(),
		is("transaction.partition.verification.enable", "true", "a write that comes late can open a transaction that nobody ends, and hold up all readers").warns(),
		atMost("add.partitions.to.txn.retry.backoff.ms", 1, "small transactions one after another wait for each other's markers, by so many ms at a time").advises(),
	}
	if cfg.Group == GroupClassic {
		needs = append(needs, atMost("group.min.session.timeout.ms", cfg.SessionTimeout.Milliseconds(), "brokers let no producer into its group, whose session timeout is shorter"))
	}
	return needs
}

// InspectBrokers asks every broker for the settings that a kind's producers rest on. Being told them needs the right to describe the
// configuration of the cluster: without it the error is kerr.ClusterAuthorizationFailed.
func InspectBrokers(ctx context.Context, adm *kadm.Client, cfg Config) ([]Problem, error) {
	cfg = cfg.withDefaults()
	brokers, err := adm.ListBrokers(ctx)
	if err != nil {
		return nil, fmt.Errorf("list brokers: %w", err)
	}
	configs, err := adm.DescribeBrokerConfigs(ctx, brokers.NodeIDs()...)
	if err != nil {
		return nil, fmt.Errorf("describe the settings of brokers %v: %w", brokers.NodeIDs(), err)
	}
	var all []Problem
	for _, id := range brokers.NodeIDs() {
		found, err := configs.On(strconv.Itoa(int(id)), nil)
		if err == nil {
			err = found.Err
		}
		if err != nil {
			return nil, fmt.Errorf("describe the settings of broker %d: %w", id, err)
		}
		broken(brokerNeeds(cfg), found.Configs, func(n need, value string) {
			all = append(all, Problem{n.level, fmt.Sprintf("broker %d", id), fmt.Sprintf("has %s=%s, wanted %s: %s", n.key, value, n.want, n.why), n.remedy(), ErrBroker})
		})
	}
	return all, nil
}
