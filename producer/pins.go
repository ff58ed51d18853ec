package producer

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ledgerline-es/ledgerline/schemas"
	"github.com/ledgerline-es/ledgerline/schemas/ledgerline"
)

// pins compare the cluster and its topics with those that were written to before. A topic that was deleted and made anew, a
// partition added by hand or another cluster behind the same address would start histories anew: nothing may be written.
type pins struct {
	kind  string
	topic string
	serde *schemas.Serde[*ledgerline.Pin]
	names []string // topics pinned
}

// check reads the pinned record, writes it when there is none, and compares. The error is ErrPinned.
func (p *pins) check(ctx context.Context, cl *kgo.Client) (*ledgerline.Pin, error) {
	adm := kadm.NewClient(cl)
	now, err := readTopology(ctx, adm, p.names)
	if err != nil {
		return nil, err
	}
	pinned, err := p.read(ctx, cl)
	if err != nil {
		return nil, fmt.Errorf("read pins: %w", err)
	}
	if pinned == nil {
		pinned = now.pin()
		data, err := p.serde.Append(nil, pinned)
		if err != nil {
			return nil, err
		}
		if err := cl.ProduceSync(ctx, &kgo.Record{Topic: p.topic, Key: []byte(p.kind), Value: data}).FirstErr(); err != nil {
			return nil, fmt.Errorf("write pins: %w", err)
		}
		// Two that start at once may both have written: the last one stands, and both read it.
		if pinned, err = p.read(ctx, cl); err != nil {
			return nil, fmt.Errorf("read pins: %w", err)
		}
	}
	return pinned, now.compare(pinned)
}

// read gives the pinned record, nil when there is none.
func (p *pins) read(ctx context.Context, cl *kgo.Client) (*ledgerline.Pin, error) {
	ends, err := kadm.NewClient(cl).ListEndOffsets(ctx, p.topic)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		return nil, err
	}
	end, _ := ends.Lookup(p.topic, 0)
	var found *ledgerline.Pin
	if end.Offset == 0 {
		return nil, nil
	}
	cl.AddConsumePartitions(map[string]map[int32]kgo.Offset{p.topic: {0: kgo.NewOffset().AtStart()}})
	defer cl.RemoveConsumePartitions(map[string][]int32{p.topic: {0}})
	deadline := time.Now().Add(60 * time.Second)
	for at := int64(0); at < end.Offset; {
		poll, cancel := context.WithDeadline(ctx, deadline)
		fetches := cl.PollFetches(poll)
		cancel()
		if err := fetches.Err(); err != nil {
			return nil, fmt.Errorf("at offset %d of %d: %w", at, end.Offset, err)
		}
		var failed error
		fetches.EachRecord(func(rec *kgo.Record) {
			at = rec.Offset + 1
			if string(rec.Key) == p.kind && failed == nil && !rec.Attrs.IsControl() {
				found, failed = p.serde.Decode(ctx, rec.Value)
			}
		})
		if failed != nil {
			return nil, failed
		}
	}
	return found, nil
}

func (t topology) pin() *ledgerline.Pin {
	pin := &ledgerline.Pin{ClusterID: t.cluster}
	for _, name := range slices.Sorted(maps.Keys(t.topics)) {
		pin.Topics = append(pin.Topics, ledgerline.PinnedTopic{Topic: name, TopicID: t.topics[name].id, Partitions: t.topics[name].partitions})
	}
	return pin
}

// identity is what local state is a copy of, but for the partition.
func (p *pins) identity(pinned *ledgerline.Pin, m machine) identity {
	id := identity{Cluster: pinned.ClusterID}
	for _, t := range pinned.Topics {
		id.Topics = append(id.Topics, t.Topic+" "+t.TopicID)
		id.Partitions = t.Partitions
	}
	id.Revision, id.State = m.form()
	return id
}

// compare names every difference between what is and what was pinned. The error is ErrPinned.
func (t topology) compare(pinned *ledgerline.Pin) error {
	var errs []error
	for _, p := range t.differences(pinned) {
		errs = append(errs, p.Err())
	}
	return errors.Join(errs...)
}

func (t topology) differences(pinned *ledgerline.Pin) (all []Problem) {
	differ := func(where, remedy, what string, args ...any) {
		all = append(all, Problem{Refusal, where, fmt.Sprintf(what, args...), remedy, ErrPinned})
	}
	if pinned.ClusterID != t.cluster {
		differ("cluster", "point --kafka-brokers at the cluster that holds the history", "id is %s, pinned is %s", t.cluster, pinned.ClusterID)
	}
	for _, p := range pinned.Topics {
		now, ok := t.topics[p.Topic]
		switch {
		case !ok:
			differ("topic "+p.Topic, "do not make it anew: restore it from a backup, or begin under another --topic-prefix", "is gone, and was written to before")
		case now.id != p.TopicID:
			differ("topic "+p.Topic, "restore it from a backup, or begin under another --topic-prefix",
				"has id %s, pinned is %s: it was deleted and made anew, its history is not here", now.id, p.TopicID)
		case now.partitions != p.Partitions:
			differ("topic "+p.Topic, "a kind's partitions can't be changed in place: begin under another --topic-prefix with as many as are wanted",
				"has %d partitions, pinned are %d: aggregates would start anew on other partitions", now.partitions, p.Partitions)
		}
	}
	return all
}

// InspectPins holds the cluster and a kind's topics against what was pinned when a producer first wrote to them, and changes nothing.
// Where nothing is pinned yet there is no problem.
func InspectPins(ctx context.Context, cl *kgo.Client, cfg Config, kind string) ([]Problem, error) {
	topic := schemas.PinsTopic(cfg.TopicPrefix)
	p := &pins{kind: kind, topic: topic, serde: schemas.NewSerde(schemas.NewCodec(cfg.Registry), topic, schemas.FullTransitive, ledgerline.PinType)}
	pinned, err := p.read(ctx, cl)
	if errors.Is(err, kerr.UnknownTopicOrPartition) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read pins: %w", err)
	}
	if pinned == nil {
		return nil, nil
	}
	adm, names := kadm.NewClient(cl), []string(nil)
	for _, t := range pinned.Topics {
		names = append(names, t.Topic)
	}
	details, err := adm.ListTopics(ctx, names...)
	if err != nil {
		return nil, fmt.Errorf("look up topics %v: %w", names, err)
	}
	names = slices.DeleteFunc(names, func(name string) bool { return errors.Is(details[name].Err, kerr.UnknownTopicOrPartition) })
	now, err := readTopology(ctx, adm, names)
	if err != nil {
		return nil, err
	}
	return now.differences(pinned), nil
}

// watch compares again and again until ctx ends, and hands the first difference to fail.
func (p *pins) watch(ctx context.Context, cl *kgo.Client, pinned *ledgerline.Pin, every time.Duration, fail func(error)) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now, err := readTopology(ctx, kadm.NewClient(cl), p.names)
		if err != nil {
			continue // a broker that does not answer says nothing about its topics
		}
		if err := now.compare(pinned); err != nil {
			fail(err)
			return
		}
	}
}
