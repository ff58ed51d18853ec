package monitor

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"golang.org/x/sync/errgroup"
)

// span is what Kafka says of a partition.
type span struct {
	leader int32
	start  int64 // the first offset that is still there
	stable int64 // the last stable offset: what is below it is decided
	end    int64 // the high watermark

	open time.Duration // for how long the last stable offset has stood still below the high watermark
}

// topicState is a topic as Kafka knows it now.
type topicState struct {
	id         kadm.TopicID
	partitions map[int32]span
	err        error // why nothing is known
}

// topics asks for the topics and their partitions' leaders; their offsets are asked for later, after the positions.
func topics(ctx context.Context, admin *kadm.Client, names []string) (map[string]*topicState, error) {
	details, err := admin.ListTopics(ctx, names...)
	if err != nil {
		return nil, fmt.Errorf("look up topics: %w", err)
	}
	states := make(map[string]*topicState, len(names))
	for _, name := range names {
		state := &topicState{partitions: make(map[int32]span)}
		states[name] = state
		detail, ok := details[name]
		switch {
		case !ok:
			state.err = fmt.Errorf("look up topic %s: no answer", name)
		case detail.Err != nil:
			state.err = fmt.Errorf("look up topic %s (its producer creates it): %w", name, detail.Err)
		default:
			state.id = detail.ID
			for id, p := range detail.Partitions {
				state.partitions[id] = span{leader: p.Leader}
			}
		}
	}
	return states, nil
}

// spans completes the topics with their partitions' offsets. A partition without an answer fails its topic.
func spans(ctx context.Context, admin *kadm.Client, states map[string]*topicState) error {
	var names []string
	for name, state := range states {
		if state.err == nil {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return nil
	}
	var starts, stables, ends kadm.ListedOffsets
	work, workCtx := errgroup.WithContext(ctx)
	for _, ask := range []struct {
		what string
		of   func(context.Context, ...string) (kadm.ListedOffsets, error)
		into *kadm.ListedOffsets
	}{
		{"first", admin.ListStartOffsets, &starts}, {"stable", admin.ListCommittedOffsets, &stables}, {"end", admin.ListEndOffsets, &ends},
	} {
		work.Go(func() error {
			listed, err := ask.of(workCtx, names...)
			if err != nil && len(listed) == 0 { // else some brokers answered: those partitions are known
				return fmt.Errorf("list %s offsets: %w", ask.what, err)
			}
			*ask.into = listed
			return nil
		})
	}
	if err := work.Wait(); err != nil {
		return err
	}
	for _, name := range names {
		state := states[name]
		for id, p := range state.partitions {
			var errs [3]error
			p.start, errs[0] = listed(starts, name, id)
			p.stable, errs[1] = listed(stables, name, id)
			p.end, errs[2] = listed(ends, name, id)
			if err := errors.Join(errs[:]...); err != nil {
				state.err = fmt.Errorf("list offsets of %s/%d: %w", name, id, err)
				break
			}
			p.end = max(p.end, p.stable) // the two answers are not of one moment
			state.partitions[id] = p
		}
	}
	return nil
}

func listed(offsets kadm.ListedOffsets, topic string, partition int32) (int64, error) {
	o, ok := offsets.Lookup(topic, partition)
	if !ok {
		return 0, errors.New("no answer")
	}
	return o.Offset, o.Err
}

// groupOffsets asks for the offsets that a group has committed. A group that does not exist has none.
func groupOffsets(ctx context.Context, admin *kadm.Client, group string) (kadm.OffsetResponses, error) {
	fetched, ok := admin.FetchManyOffsets(ctx, group)[group]
	switch {
	case !ok:
		return nil, fmt.Errorf("read the offsets of group %s: no answer", group)
	case errors.Is(fetched.Err, kerr.GroupIDNotFound):
		return nil, nil
	case fetched.Err != nil:
		return nil, fmt.Errorf("read the offsets of group %s: %w", group, fetched.Err)
	}
	return fetched.Fetched, nil
}
