package verify

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ledgerline-es/ledgerline/internal/logread"
	"github.com/ledgerline-es/ledgerline/schemas"
	"github.com/ledgerline-es/ledgerline/schemas/ledgerline"
)

// placedBy gives by how many partitions the events of a kind were placed: as many as its producers pinned, which is what the
// topic has unless somebody added some. A log without pins, or with those of another topic of that name, speaks for itself.
func (v *verification) placedBy(ctx context.Context, kind string, events logread.Topic) (int32, error) {
	topic, err := logread.Look(ctx, v.admin, schemas.PinsTopic(v.TopicPrefix))
	if errors.Is(err, logread.ErrNoTopic) {
		return events.Partitions, nil
	}
	if err != nil {
		return 0, err
	}
	serde := schemas.NewSerde(v.codec, topic.Name, schemas.FullTransitive, ledgerline.PinType)
	placed := events.Partitions
	err = v.reader.Partition(ctx, topic, 0, func(rec *kgo.Record) error {
		if string(rec.Key) != kind {
			return nil
		}
		pin, err := serde.Decode(ctx, rec.Value)
		if err != nil {
			return fmt.Errorf("decode %s offset %d: %w", rec.Topic, rec.Offset, err)
		}
		placed = events.Partitions
		for _, p := range pin.Topics {
			if p.Topic == events.Name && p.TopicID == events.ID {
				placed = p.Partitions
			}
		}
		return nil
	})
	return placed, err
}

// partitionsAdded is what is wrong with a topic that has more partitions than its events were placed by; the events are not.
func partitionsAdded(events logread.Topic, placed int32) Finding {
	return Finding{Topic: events.Name, Partition: -1, Offset: -1, Reason: fmt.Sprintf("the topic has %d partitions, and its events were placed by %d, as pinned in the producers' own record: "+
		"partitions were added by hand, and producers write no more; a kind's partitions can't be changed in place: copy its topics into new ones of %d partitions", events.Partitions, placed, placed)}
}
