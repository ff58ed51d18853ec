package logread

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
)

// ErrNoTopic says that a topic does not exist.
var ErrNoTopic = errors.New("no such topic")

// Topic is a topic's partitions as of one moment.
type Topic struct {
	Name       string
	ID         string // Kafka's id of it, as its tools print it
	Partitions int32
	Starts     map[int32]int64
	Ends       map[int32]int64 // last stable offsets: what is behind them is not committed yet

	only *int32
}

// Look asks Kafka for a topic. An error that is ErrNoTopic says that it does not exist.
func Look(ctx context.Context, admin *kadm.Client, topic string) (Topic, error) {
	t := Topic{Name: topic, Starts: make(map[int32]int64), Ends: make(map[int32]int64)}
	details, err := admin.ListTopics(ctx, topic)
	if err == nil {
		err = details[topic].Err
	}
	if errors.Is(err, kerr.UnknownTopicOrPartition) {
		return t, fmt.Errorf("topic %s: %w", topic, ErrNoTopic)
	}
	if err != nil {
		return t, fmt.Errorf("look up topic %s: %w", topic, err)
	}
	t.ID, t.Partitions = details[topic].ID.String(), int32(len(details[topic].Partitions))
	for into, list := range map[*map[int32]int64]func(context.Context, ...string) (kadm.ListedOffsets, error){
		&t.Starts: admin.ListStartOffsets,
		&t.Ends:   admin.ListCommittedOffsets,
	} {
		if err := t.list(*into, func() (kadm.ListedOffsets, error) { return list(ctx, topic) }); err != nil {
			return t, err
		}
	}
	return t, nil
}

// Since moves the starts to the first records that were written at t or later.
func (t *Topic) Since(ctx context.Context, admin *kadm.Client, at time.Time) error {
	return t.list(t.Starts, func() (kadm.ListedOffsets, error) { return admin.ListOffsetsAfterMilli(ctx, at.UnixMilli(), t.Name) })
}

func (t *Topic) list(into map[int32]int64, ask func() (kadm.ListedOffsets, error)) error {
	offsets, err := ask()
	if err == nil {
		err = offsets.Error()
	}
	if err != nil {
		return fmt.Errorf("list offsets of %s: %w", t.Name, err)
	}
	answers := 0
	offsets.Each(func(o kadm.ListedOffset) { into[o.Partition] = o.Offset; answers++ })
	if answers != int(t.Partitions) {
		return fmt.Errorf("list offsets of %s: %d partitions, answers for %d", t.Name, t.Partitions, answers)
	}
	return nil
}

// Only leaves one partition to read and to follow.
func (t *Topic) Only(partition int32) {
	t.only = &partition
	for p := range t.Ends {
		if p != partition {
			t.Starts[p] = t.Ends[p]
		}
	}
}

// Total is how many offsets there are to read.
func (t *Topic) Total() int64 {
	var n int64
	for p, end := range t.Ends {
		n += max(0, end-t.Starts[p])
	}
	return n
}
