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
type unsent map[int32][]input

// note takes over what a transaction could not write. More may fail while it is looked at, where it could not be aborted.
func (u unsent) note(tx *transaction) {
	tx.mu.Lock()
	defer tx.mu.Unlock()
	for _, w := range tx.work {
		if len(w.failed) > 0 {
			u[w.book.partition] = slices.Collect(maps.Keys(w.failed))
		}
	}
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
	slices.Sort(partitions)
	topics, needs := s.takeover.watched(), map[int32][]input{}
	for _, p := range partitions {
		for _, topic := range s.takeover.watched() {
			needs[p] = append(needs[p], input{topic, p})
		}
		for _, at := range s.unsent[p] {
			topics, needs[p] = append(topics, at.topic), append(needs[p], at)
		}
	}
	slices.Sort(topics)
	details, err := kadm.NewClient(s.gts.Client()).ListTopics(ctx, slices.Compact(topics)...)
	if err != nil {
		return nil, fmt.Errorf("ask for the leaders of partitions: %w", err)
	}
	before := l.partitions
	l.partitions, l.why = map[int32]bool{}, nil
	for _, p := range partitions {
		i := slices.IndexFunc(needs[p], func(at input) bool {
			d, ok := details[at.topic].Partitions[at.partition]
			return ok && (d.Leader < 0 || errors.Is(d.Err, kerr.LeaderNotAvailable))
		})
		if i < 0 {
			delete(s.unsent, p)
			continue
		}
		l.partitions[p] = true
		if l.why == nil {
			l.why = s.whyLeft(p, needs[p][i], details)
		}
	}
	if back := notIn(before, l.partitions); len(back) > 0 {
		s.log.Info("partitions have leaders again", "partitions", back)
		s.gts.Client().ResumeFetchPartitions(s.inputsOf(back))
	}
	if gone := notIn(l.partitions, before); len(gone) > 0 {
		s.log.Warn("partitions have no leaders, and are left out until they have", "partitions", gone, "first", l.why)
		s.gts.Client().PauseFetchPartitions(s.inputsOf(gone))
	}
	return slices.DeleteFunc(partitions, func(p int32) bool { return l.partitions[p] }), nil
}

// whyLeft says why a partition is left out: it needs one that has no leader.
func (s *session) whyLeft(p int32, needs input, details kadm.TopicDetails) error {
	d := details[needs.topic].Partitions[needs.partition]
	what := "what it holds"
	if needs.partition != p || !slices.Contains(s.takeover.watched(), needs.topic) {
		what = fmt.Sprintf("partition %d of %s, which sends to it,", p, s.writer.kind)
	}
	return fmt.Errorf("%s partition %d has no leader: %s waits, other partitions go on; bring back one of the brokers %v",
		needs.topic, needs.partition, what, holders(d.ISR, d.Replicas))
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
