package verify

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"

	"github.com/ledgerline-es/ledgerline/internal/logread"
	"github.com/ledgerline-es/ledgerline/schemas"
)

// causes are the commands that are still there, by the ids that events may name them by. They are kept as hashes of 64
// bits: that a foreign event names a cause that is not there and yet has the hash of one is not to be expected.
type causes struct {
	seed maphash.Seed
	ids  map[uint64]struct{}
	read int64

	kept  bool      // there are commands to judge by
	whole bool      // all commands there ever were are there
	since time.Time // else: events older than this may have lost their commands
}

// causes reads the commands of a kind.
func (v *verification) causes(ctx context.Context, topics schemas.Topics) (*causes, error) {
	c := &causes{seed: maphash.MakeSeed(), ids: make(map[uint64]struct{}), whole: true}
	var mu sync.Mutex
	for _, topic := range []string{topics.Commands, topics.Internal} {
		b, err := logread.Look(ctx, v.admin, topic)
		if errors.Is(err, logread.ErrNoTopic) {
			continue
		}
		if err != nil {
			return nil, err
		}
		c.kept = true
		group, ctx := errgroup.WithContext(ctx)
		group.SetLimit(v.Parallel)
		for partition := range b.Partitions {
			group.Go(func() error {
				first := true
				err := v.reader.Partition(ctx, b, partition, func(rec *kgo.Record) error {
					mu.Lock()
					defer mu.Unlock()
					if first && b.Starts[partition] > 0 {
						c.purged(rec.Timestamp)
					}
					first = false
					c.add(rec)
					return nil
				})
				if err == nil && first && b.Starts[partition] > 0 {
					mu.Lock()
					defer mu.Unlock()
					c.kept = false // all of this partition are gone: nothing can be said of any event's cause
				}
				return err
			})
		}
		if err := group.Wait(); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// purged notes that commands before the one recorded at t were deleted.
func (c *causes) purged(t time.Time) {
	c.whole = false
	if t.After(c.since) {
		c.since = t
	}
}

// add notes the ids that an event may name a command by: its own, or the place where it was first published.
func (c *causes) add(rec *kgo.Record) {
	c.read++
	id, ok := schemas.Header(rec, schemas.HeaderID)
	if !ok || id == "" {
		if id, ok = schemas.Header(rec, schemas.HeaderOrigin); !ok {
			id = fmt.Sprintf("%s/%d/%d", rec.Topic, rec.Partition, rec.Offset)
		}
	}
	c.ids[maphash.String(c.seed, id)] = struct{}{}
}

func (c *causes) has(id string) bool {
	_, ok := c.ids[maphash.String(c.seed, id)]
	return ok
}

// judges reports whether the cause of an event must be there. anchored: a command of an earlier event of the partition
// was found. Commands of a partition are taken in order, so what comes behind that event was caused by commands behind
// its own; without this, a command that waited long before it was deleted would be looked for in vain.
func (c *causes) judges(rec *kgo.Record, anchored bool) bool {
	return c.kept && (c.whole || anchored && !rec.Timestamp.Before(c.since))
}
