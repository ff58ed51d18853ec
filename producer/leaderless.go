package producer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
)

// A partition can be restored and written only while its part of each topic has a leader. One that has none waits, and those beside it go on.

// leaderless are the partitions that a session owns and leaves alone.
type leaderless struct {
	partitions map[int32]bool // nothing is fetched of them
	why        error          // nil: there are none
	asked      time.Time
}

// unsent says to which partitions of topics a member could not write, by the partition that wanted to. It outlives sessions: who tries again
// would fail again, and take the partitions beside it along.
type unsent struct {
	mu sync.Mutex
	to map[int32]map[input]bool
}

// note takes over what a transaction could not write.
func (u *unsent) note(tx *transaction) {
	u.mu.Lock()
	defer u.mu.Unlock()
	tx.mu.Lock()
	defer tx.mu.Unlock()
	for _, w := range tx.work {
		if len(w.failed) == 0 {
			continue
		}
		if u.to == nil {
			u.to = map[int32]map[input]bool{}
		}
		u.to[w.book.partition] = w.failed
	}
}

// of are those of a partition, by topic and number.
func (u *unsent) of(partition int32) []input {
	u.mu.Lock()
	defer u.mu.Unlock()
	return slices.SortedFunc(maps.Keys(u.to[partition]), func(a, b input) int {
		return cmp.Or(cmp.Compare(a.topic, b.topic), cmp.Compare(a.partition, b.partition))
	})
}

func (u *unsent) forget(partition int32) {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.to, partition)
}

// leadersEvery is how often the brokers are asked whether they are back.
const leadersEvery = 500 * time.Millisecond

// withLeaders gives those of partitions to adopt that have leaders, and sees to it that nothing is fetched of the others.
func (s *session) withLeaders(ctx context.Context, partitions []int32) ([]int32, error) {
	l := &s.leaderless
	unknown := slices.ContainsFunc(partitions, func(p int32) bool { return !l.partitions[p] })
	if len(partitions) == 0 || !unknown && time.Since(l.asked) < leadersEvery {
		return nil, nil
	}
	l.asked = time.Now()
	topics := []string{s.writer.topics.Commands, s.writer.topics.Internal, s.writer.topics.Events, s.writer.topics.Snapshots, s.writer.topics.Replies}
	others := map[string]bool{}
	for _, p := range partitions {
		for _, at := range s.unsent.of(p) {
			others[at.topic] = true
		}
	}
	details, err := kadm.NewClient(s.gts.Client()).ListTopics(ctx, slices.AppendSeq(slices.Clone(topics), maps.Keys(others))...)
	if err != nil {
		return nil, fmt.Errorf("ask for the leaders of partitions: %w", err)
	}
	leaderless := func(topic string, p int32) (brokers []int32, without bool) {
		d, ok := details[topic].Partitions[p]
		if !ok || d.Leader >= 0 && !errors.Is(d.Err, kerr.LeaderNotAvailable) {
			return nil, false
		}
		return holders(d.ISR, d.Replicas), true
	}
	before := l.partitions
	l.partitions, l.why = map[int32]bool{}, nil
	for _, topic := range topics {
		for _, p := range partitions {
			brokers, without := leaderless(topic, p)
			if !without {
				continue
			}
			if l.partitions[p] = true; l.why == nil {
				l.why = fmt.Errorf("%s partition %d has no leader: what it holds waits, other partitions go on; bring back one of the brokers %v", topic, p, brokers)
			}
		}
	}
	for _, p := range partitions {
		if l.partitions[p] {
			continue
		}
		for _, at := range s.unsent.of(p) {
			brokers, without := leaderless(at.topic, at.partition)
			if !without {
				continue
			}
			if l.partitions[p] = true; l.why == nil {
				l.why = fmt.Errorf("%s partition %d has no leader, and partition %d of %s sends to it: it waits, other partitions go on; bring back one of the brokers %v",
					at.topic, at.partition, p, s.writer.kind, brokers)
			}
		}
		if !l.partitions[p] {
			s.unsent.forget(p)
		}
	}
	if !maps.Equal(before, l.partitions) {
		if back := notIn(before, l.partitions); len(back) > 0 {
			s.log.Info("partitions have leaders again", "partitions", back)
			s.gts.Client().ResumeFetchPartitions(s.inputsOf(back))
		}
		if gone := notIn(l.partitions, before); len(gone) > 0 {
			s.log.Warn("partitions have no leaders, and are left out until they have", "partitions", gone, "first", l.why)
			s.gts.Client().PauseFetchPartitions(s.inputsOf(gone))
		}
	}
	return slices.DeleteFunc(partitions, func(p int32) bool { return l.partitions[p] }), nil
}

// askForLeadersAnew forgets who had none: another generation may have other partitions.
func (s *session) askForLeadersAnew() {
	s.gts.Client().ResumeFetchPartitions(s.inputsOf(slices.Collect(maps.Keys(s.leaderless.partitions))))
	s.leaderless = leaderless{}
}

// inputsOf are the inputs of partitions.
func (s *session) inputsOf(partitions []int32) map[string][]int32 {
	return map[string][]int32{s.writer.topics.Commands: partitions, s.writer.topics.Internal: partitions}
}

// holders are the brokers that can lead a partition again: those with all of it, where any are known.
func holders(insync, replicas []int32) []int32 {
	if len(insync) > 0 {
		return insync
	}
	return replicas
}

// notIn are the partitions of one set that are not in another, sorted.
func notIn(all, others map[int32]bool) (left []int32) {
	for p := range all {
		if !others[p] {
			left = append(left, p)
		}
	}
	slices.Sort(left)
	return left
}
