package producer

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/ledgerline-es/ledgerline/schemas"
)

// TopicSpec is how a topic has to be.
type TopicSpec struct {
	Name        string
	Partitions  int32
	Replication int16
	Configs     map[string]string // set when the topic is created
	insync      int               // wanted of min.insync.replicas
	needs       []need            // checked when it exists
}

// Topics lists the topics of a kind as they have to be: the kind's six, which all have the same number of partitions, and the
// platform's own.
func Topics(cfg Config, kind string) []TopicSpec {
	cfg = cfg.withDefaults()
	t := schemas.TopicsOf(cfg.TopicPrefix, kind)
	insync := strconv.Itoa(cfg.MinInsync)
	spec := func(name string, partitions int32, configs map[string]string, needs ...need) TopicSpec {
		configs["min.insync.replicas"] = insync
		largest := int64(batchBytes)
		if name == t.DeadLetters {
			largest = deadLetterBatchBytes
		}
		return TopicSpec{
			Name: name, Partitions: partitions, Replication: cfg.Replication, Configs: configs, insync: cfg.MinInsync,
			needs: append(needs,
				is("unclean.leader.election.enable", "false", "a broker that was behind could lead, and what was acknowledged would be gone"),
				atLeast("max.message.bytes", largest, "a batch of this size would be refused, and its transaction with it, again and again")),
		}
	}
	commands := func(name string) TopicSpec {
		return spec(name, cfg.Partitions,
			map[string]string{"cleanup.policy": "delete", "retention.ms": "-1", "retention.bytes": "-1", "message.timestamp.type": "LogAppendTime"},
			is("cleanup.policy", "delete", "compaction would drop commands to one aggregate"),
			is("retention.ms", "-1", "a backlog, or a command with an old timestamp, would be dropped"),
			is("retention.bytes", "-1", "a backlog would be dropped"),
			is("message.timestamp.type", "LogAppendTime", "repetitions are told by append time"))
	}
	return []TopicSpec{
		commands(t.Commands),
		commands(t.Internal),
		spec(t.Events, cfg.Partitions,
			map[string]string{"cleanup.policy": "compact", "retention.ms": "-1", "retention.bytes": "-1", "min.compaction.lag.ms": strconv.FormatInt(math.MaxInt64, 10)},
			is("cleanup.policy", "compact", "events are kept for ever; any other policy deletes them")),
		spec(t.Snapshots, cfg.Partitions,
			map[string]string{"cleanup.policy": "compact", "retention.ms": "-1", "retention.bytes": "-1"},
			is("cleanup.policy", "compact", "positions and senders' numbers are kept for ever")),
		spec(t.Replies, cfg.Partitions,
			map[string]string{"cleanup.policy": "delete", "retention.ms": millis(max(24*time.Hour, cfg.Window)), "retention.bytes": "-1", "message.timestamp.type": "LogAppendTime"},
			is("cleanup.policy", "delete", "compaction would drop replies to one aggregate"),
			atLeast("retention.ms", cfg.Window.Milliseconds(), "replies are needed for as long as a repeated command gets its first reply"),
			is("retention.bytes", "-1", "under load replies would go before a repeated command may ask for them").warns(),
			is("message.timestamp.type", "LogAppendTime", "repetitions are told by append time")),
		spec(t.DeadLetters, cfg.Partitions,
			map[string]string{"cleanup.policy": "delete", "retention.ms": millis(30 * 24 * time.Hour), "max.message.bytes": strconv.Itoa(deadLetterBatchBytes)},
			is("cleanup.policy", "delete", "compaction would drop dead letters of one aggregate")),
		spec(schemas.PinsTopic(cfg.TopicPrefix), 1,
			map[string]string{"cleanup.policy": "compact", "retention.ms": "-1", "retention.bytes": "-1"},
			is("cleanup.policy", "compact", "what was pinned is kept for ever")),
	}
}

// KafkaTopics are Kafka's own topics that transactions and groups rest on. Their number of partitions is Kafka's affair.
func KafkaTopics(cfg Config) []TopicSpec {
	cfg = cfg.withDefaults()
	spec := func(name string) TopicSpec {
		return TopicSpec{Name: name, Replication: cfg.Replication, insync: cfg.MinInsync, needs: []need{
			is("unclean.leader.election.enable", "false", "a broker that was behind could lead, and what became of transactions would be forgotten"),
			is("cleanup.policy", "compact", "what is there is kept for as long as it is needed, whatever its age"),
		}}
	}
	return []TopicSpec{spec("__transaction_state"), spec("__consumer_offsets")}
}

func millis(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }

// topology is what the broker says the kind's topics are.
type topology struct {
	cluster string
	topics  map[string]topicFacts
}

type topicFacts struct {
	id         string // as Kafka's own tools print it
	partitions int32
}

// EnsureTopics creates the topics that are missing and checks those that exist. A difference that could lose or double
// something is an ErrTopic naming topic, setting, value and remedy; lesser ones are given.
func EnsureTopics(ctx context.Context, adm *kadm.Client, specs []TopicSpec) (lesser []Problem, err error) {
	for _, s := range specs {
		configs := make(map[string]*string, len(s.Configs))
		for k, v := range s.Configs {
			configs[k] = new(v)
		}
		r, err := createTopic(ctx, adm, s, configs)
		if err != nil {
			return nil, fmt.Errorf("create topic %s: %w", s.Name, err)
		}
		switch {
		case r.Err == nil, errors.Is(r.Err, kerr.TopicAlreadyExists):
		case errors.Is(r.Err, kerr.InvalidReplicationFactor):
			return nil, fmt.Errorf("%w: create topic %s: %w: replication %d needs as many brokers: start more, or set --kafka-replication (and --kafka-min-insync)", ErrTopic, s.Name, r.Err, s.Replication)
		case errors.Is(r.Err, kerr.TopicAuthorizationFailed), errors.Is(r.Err, kerr.ClusterAuthorizationFailed):
			// Creating may be somebody else's task: what counts is whether the topic is there, see below.
		default:
			return nil, fmt.Errorf("create topic %s: %w %s", s.Name, r.Err, r.ErrMessage)
		}
	}
	return checkTopics(ctx, adm, specs)
}

// brokersTimeout is how long brokers of a cluster that is just starting have to join it.
const brokersTimeout = 15 * time.Second

// createTopic asks again while there are too few brokers.
func createTopic(ctx context.Context, adm *kadm.Client, s TopicSpec, configs map[string]*string) (kadm.CreateTopicResponse, error) {
	deadline := time.After(brokersTimeout)
	for {
		resp, err := adm.CreateTopics(ctx, s.Partitions, s.Replication, configs, s.Name)
		if err != nil || !errors.Is(resp[s.Name].Err, kerr.InvalidReplicationFactor) {
			return resp[s.Name], err
		}
		select {
		case <-ctx.Done():
			return resp[s.Name], ctx.Err()
		case <-deadline:
			return resp[s.Name], nil
		case <-time.After(250 * time.Millisecond):
		}
	}
}

func checkTopics(ctx context.Context, adm *kadm.Client, specs []TopicSpec) ([]Problem, error) {
	states, err := awaitTopics(ctx, adm, specs)
	if err != nil {
		return nil, err
	}
	var all []Problem
	for _, s := range states {
		all = append(all, s.Problems...)
	}
	return sift(all)
}

// TopicState is what a topic is, compared with what it has to be.
type TopicState struct {
	Spec        TopicSpec
	Exists      bool
	Partitions  int32
	Replication int16     // of the partition with the fewest replicas
	MinInsync   int       // 0: not told
	Unled       []int32   // partitions without a leader
	Short       []int32   // with fewer replicas in sync than MinInsync: they can't be written
	Behind      []int32   // with some replica that is not in sync
	Problems    []Problem // those that keep a producer from starting, and lesser ones
}

// InspectTopics looks at topics and changes nothing.
func InspectTopics(ctx context.Context, adm *kadm.Client, specs []TopicSpec) ([]TopicState, error) {
	names := make([]string, len(specs))
	for i, s := range specs {
		names[i] = s.Name
	}
	details, err := adm.ListTopicsWithInternal(ctx, names...)
	if err != nil {
		return nil, fmt.Errorf("look up topics %v: %w", names, err)
	}
	var there []string
	for _, name := range names {
		switch err := details[name].Err; {
		case err == nil:
			there = append(there, name)
		case !errors.Is(err, kerr.UnknownTopicOrPartition):
			return nil, fmt.Errorf("look up topic %s: %w", name, err)
		}
	}
	configs := kadm.ResourceConfigs{}
	if len(there) > 0 {
		if configs, err = adm.DescribeTopicConfigs(ctx, there...); err != nil {
			return nil, fmt.Errorf("describe topic settings: %w", err)
		}
	}
	states := make([]TopicState, len(specs))
	for i, s := range specs {
		states[i] = TopicState{Spec: s}
		if slices.Contains(there, s.Name) {
			states[i].inspect(details[s.Name], configs)
			states[i].replicas(details[s.Name])
		}
	}
	return states, nil
}

// topicsTimeout is how long the brokers of a cluster have to tell each other of topics that were just made.
const topicsTimeout = 30 * time.Second

// awaitTopics looks at topics until all are there: after a creation some broker may not have heard of it yet.
func awaitTopics(ctx context.Context, adm *kadm.Client, specs []TopicSpec) ([]TopicState, error) {
	deadline := time.Now().Add(topicsTimeout)
	for {
		states, err := InspectTopics(ctx, adm, specs)
		var missing []string
		for _, s := range states {
			if !s.Exists {
				missing = append(missing, s.Spec.Name)
			}
		}
		switch {
		case err == nil && len(missing) == 0:
			return states, nil
		case err != nil && !retriable(err):
			return nil, err
		case err != nil && time.Now().After(deadline):
			return nil, err
		case time.Now().After(deadline):
			return nil, fmt.Errorf("look up topics %v: %w: they could not be created; `topics plan` prints what is needed", missing, kerr.UnknownTopicOrPartition)
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// retriable says whether any error in a chain is one that Kafka means to pass.
func retriable(err error) bool {
	var k *kerr.Error
	return errors.As(err, &k) && k.Retriable
}

// readTopology asks what the topics are now.
func readTopology(ctx context.Context, adm *kadm.Client, names []string) (topology, error) {
	meta, err := adm.Metadata(ctx, names...)
	if err == nil {
		err = meta.Topics.Error()
	}
	if err != nil {
		return topology{}, fmt.Errorf("look up topics %v: %w", names, err)
	}
	t := topology{cluster: meta.Cluster, topics: map[string]topicFacts{}}
	for name, d := range meta.Topics {
		t.topics[name] = topicFacts{id: base64.RawURLEncoding.EncodeToString(d.ID[:]), partitions: int32(len(d.Partitions))}
	}
	return t, nil
}
