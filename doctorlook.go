package ledgerline

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ledgerline-es/ledgerline/internal/logread"
	"github.com/ledgerline-es/ledgerline/producer"
	"github.com/ledgerline-es/ledgerline/schemas"
)

// topics looks at the topics of all kinds and at Kafka's own, and gives those partitions in which a transaction may be open.
func (d *doctor) topics(ctx context.Context) (kadm.TopicsSet, error) {
	specs, err := d.specs(ctx)
	if err != nil {
		return nil, err
	}
	states, err := producer.InspectTopics(ctx, d.adm, specs)
	if err != nil {
		return nil, err
	}
	if d.values.Int("kafka.replication") == 1 {
		d.find(producer.Advice, "topics", "add replicas, and set --kafka-replication, once there are more brokers", "are to have one copy each, as was asked for: with its disk all of it is gone")
	}
	partitions := kadm.TopicsSet{}
	for _, s := range states {
		if !s.Exists {
			d.find(producer.Warning, "topic "+s.Spec.Name, fmt.Sprintf("start a producer, which creates it, or say %q", d.Domain.Name+" topics create"), "is missing")
			continue
		}
		d.topic(s)
		for p := range s.Partitions {
			if !slices.Contains(s.Unled, p) { // nobody can be asked
				partitions.Add(s.Spec.Name, p)
			}
		}
	}
	return partitions, d.kafkaTopics(ctx)
}

// specs are the topics as they have to be. Unless --kafka-partitions says it, a kind has as many partitions as its events topic has.
func (d *doctor) specs(ctx context.Context) ([]producer.TopicSpec, error) {
	cfg, err := d.producerConfig()
	if err != nil {
		return nil, err
	}
	var specs []producer.TopicSpec
	for _, def := range d.Domain.Aggregates {
		cfg := cfg
		if events := schemas.TopicsOf(cfg.TopicPrefix, def.KindName()).Events; d.values.Origin("kafka.partitions") == "default" {
			details, err := d.adm.ListTopics(ctx, events)
			if err != nil {
				return nil, fmt.Errorf("look up topic %s: %w", events, err)
			}
			if n := len(details[events].Partitions); n > 0 {
				cfg.Partitions = int32(n)
			}
		}
		for _, s := range producer.Topics(cfg, def.KindName()) {
			if !slices.ContainsFunc(specs, func(t producer.TopicSpec) bool { return t.Name == s.Name }) {
				specs = append(specs, s)
			}
		}
	}
	return specs, nil
}

func (d *doctor) topic(s producer.TopicState) {
	for _, p := range s.Problems {
		d.find(p.Level, p.Where, p.Remedy, "%s", p.What)
	}
	where := "topic " + s.Spec.Name
	if len(s.Unled) > 0 {
		d.find(producer.Refusal, where, "start the brokers that hold them", "has no leader of partitions %v: they can't be read or written", s.Unled)
	}
	if len(s.Short) > 0 {
		d.find(producer.Refusal, where, "start the brokers that are away", "has fewer than %d replicas in sync of partitions %v: they can't be written", s.MinInsync, s.Short)
	}
	if len(s.Behind) > 0 {
		d.find(producer.Warning, where, "start the brokers that are away; if none is, look whether their disks or the network are too slow",
			"has replicas out of sync of partitions %v: with another broker away they could not be written, or lose what was acknowledged", s.Behind)
	}
}

// pins looks whether cluster and topics are those that were written to before.
func (d *doctor) pins(ctx context.Context) error {
	cfg, err := d.producerConfig()
	if err != nil {
		return err
	}
	for _, def := range d.Domain.Aggregates {
		found, err := producer.InspectPins(ctx, d.cl, cfg, def.KindName())
		if errors.Is(err, schemas.ErrRegistryUnavailable) {
			d.find(producer.Warning, "schema registry", "start it, or set --registry-url", "does not answer, so that what was pinned of %s can't be read: %v", def.KindName(), err)
			continue
		}
		if err != nil {
			return err
		}
		for _, p := range found {
			if !slices.ContainsFunc(d.said.Findings, func(f findingDocument) bool { return f.Where == p.Where && f.What == p.What }) { // the cluster is every kind's
				d.find(p.Level, p.Where, p.Remedy, "%s", p.What)
			}
		}
	}
	return nil
}

// kafkaTopics looks at the topics that Kafka keeps for itself. An auditor need not see them.
func (d *doctor) kafkaTopics(ctx context.Context) error {
	cfg, err := d.producerConfig()
	if err != nil {
		return err
	}
	for _, spec := range producer.KafkaTopics(cfg) {
		states, err := producer.InspectTopics(ctx, d.adm, []producer.TopicSpec{spec})
		if errors.Is(err, kerr.TopicAuthorizationFailed) {
			d.find(producer.Advice, "topic "+spec.Name, "give its login DescribeConfigs on that topic to have it looked at", "is not shown to this login")
			continue
		}
		if err != nil {
			return err
		}
		for _, s := range states {
			if s.Exists { // it is made when the first group or transaction is
				d.topic(s)
			}
		}
	}
	return nil
}

// brokers looks at the brokers' settings, which they tell to few.
func (d *doctor) brokers(ctx context.Context) error {
	cfg, err := d.producerConfig()
	if err != nil {
		return err
	}
	found, err := producer.InspectBrokers(ctx, d.adm, cfg)
	if errors.Is(err, kerr.ClusterAuthorizationFailed) {
		d.find(producer.Advice, "brokers", "give its login DescribeConfigs on the cluster to have them looked at", "do not tell this login their settings")
		return nil
	}
	for _, p := range found {
		d.find(p.Level, p.Where, p.Remedy, "%s", p.What)
	}
	return err
}

// reading is a group, what it reads, and who is missing when it has no member.
type reading struct {
	group, start string
	topics       []string
}

// groups looks whether somebody reads where something waits.
func (d *doctor) groups(ctx context.Context) error {
	platform, err := d.platform()
	if err != nil {
		return err
	}
	var all []reading
	for _, kind := range platform.Kinds {
		t := schemas.TopicsOf(platform.Prefix, kind.Name)
		all = append(all, reading{kind.Group, d.Domain.Name + " producer " + kind.Name, []string{t.Commands, t.Internal}})
	}
	for _, p := range platform.Projections {
		all = append(all, reading{p.Group, d.Domain.Name + " projector " + p.Name, []string{p.Topic}})
	}
	listed, err := d.adm.ListGroups(ctx)
	if err != nil {
		return fmt.Errorf("list groups: %w", err)
	}
	for _, r := range all {
		// A login that has no right to see a group finds that out by its offsets.
		offsets, err := d.offsets(ctx, r.group)
		if err != nil {
			return fmt.Errorf("read the offsets of group %s: %w", r.group, err)
		}
		state := strings.ToLower(listed[r.group].State)
		if state != "" && state != "empty" && state != "dead" {
			continue
		}
		where, err := d.waiting(ctx, r, offsets)
		switch {
		case err != nil:
			return err
		case where != "":
			d.find(producer.Warning, "group "+r.group, fmt.Sprintf("start %q", r.start), "has no member, and records wait for it in %s", where)
		default:
			d.find(producer.Advice, "group "+r.group, fmt.Sprintf("start %q", r.start), "has no member; nothing waits for it yet")
		}
	}
	return nil
}

// coordinatorTimeout is how long a group's coordinator may take to be there: who asks first in a new cluster has it made.
const coordinatorTimeout = 15 * time.Second

func (d *doctor) offsets(ctx context.Context, group string) (kadm.OffsetResponses, error) {
	for deadline := time.Now().Add(coordinatorTimeout); ; {
		answer := d.adm.FetchManyOffsets(ctx, group)[group]
		switch err := answer.Err; {
		case errors.Is(err, kerr.GroupIDNotFound):
			return nil, nil
		case !errors.Is(err, kerr.CoordinatorNotAvailable) && !errors.Is(err, kerr.CoordinatorLoadInProgress) && !errors.Is(err, kerr.NotCoordinator), time.Now().After(deadline):
			return answer.Fetched, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// errSomething ends a reading at its first record.
var errSomething = errors.New("something is there")

// waiting gives a partition in which a record waits behind a group's offset: markers of transactions, which are counted as lag, do not.
func (d *doctor) waiting(ctx context.Context, r reading, offsets kadm.OffsetResponses) (where string, err error) {
	reader := d.reader()
	for _, name := range r.topics {
		topic, err := logread.Look(ctx, d.adm, name)
		if errors.Is(err, logread.ErrNoTopic) {
			continue // which was said
		}
		if err != nil {
			return "", err
		}
		for p := range topic.Partitions {
			if o, ok := offsets.Lookup(name, p); ok && o.Err == nil {
				topic.Starts[p] = max(topic.Starts[p], o.At)
			}
			err := reader.Partition(ctx, topic, p, func(*kgo.Record) error { return errSomething })
			if errors.Is(err, errSomething) {
				return fmt.Sprintf("%s/%d from offset %d on", name, p, topic.Starts[p]), nil
			}
			if err != nil {
				return "", err
			}
		}
	}
	return "", nil
}
