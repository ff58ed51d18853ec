package producer

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ledgerline-es/ledgerline/producer/internal/mutant"
	"github.com/ledgerline-es/ledgerline/schemas"
)

// ownership is what the group gave this member.
type ownership struct {
	generation int32
	partitions map[int32]uint64 // in which both input topics are assigned → since when without a break: a count, not a time
}

func (o ownership) has(partition int32) bool { return o.partitions[partition] != 0 }

// assignment keeps what the group's callbacks say.
//
// The classic protocol, with its eager balancer, assigns everything anew in every generation, so that what was said in an earlier
// generation says nothing about this one. The consumer protocol (KIP-848) says only what is added and what is taken away, several
// times within one generation, and the session that wraps our client keeps a second revocation within one transaction to itself. So
// there the coordinator is asked, after each change, what it counts as ours (confirm); what is added is never kept from us, which
// tells a partition that was ours all the time from one that was away.
type assignment struct {
	topics   schemas.Topics
	consumer bool // the group's protocol is KIP-848
	settle   func(ctx context.Context, member *kgo.Client, added map[string][]int32)

	mu        sync.Mutex
	changes   uint64           // callbacks so far
	since     map[input]uint64 // what is assigned → the change that assigned it
	last      ownership        // as of the change in asOf
	asOf      uint64
	committed map[input]int64 // offsets as the group had them
	awake     func()          // called at each change
}

func newAssignment(topics schemas.Topics, consumer bool) *assignment {
	return &assignment{topics: topics, consumer: consumer, since: map[input]uint64{}, committed: map[input]int64{}}
}

// wake has a function called at the next changes; it must not block.
func (a *assignment) wake(f func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.awake = f
}

// changed notes a change. Called with the lock held.
func (a *assignment) changed() {
	a.changes++
	if a.awake != nil {
		a.awake()
	}
}

// assigned is the callback kgo.OnPartitionsAssigned. The client asks for the group's offsets when it returns; a refusal would cost a
// second, so that they are waited for here.
func (a *assignment) assigned(ctx context.Context, cl *kgo.Client, parts map[string][]int32) {
	if a.settle != nil && len(parts) > 0 {
		a.settle(ctx, cl, parts)
	}
	_, generation := cl.GroupMetadata()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.changed()
	if !a.consumer {
		clear(a.since)
		clear(a.committed)
	}
	for topic, list := range parts {
		for _, p := range list {
			a.since[input{topic, p}] = a.changes
			delete(a.committed, input{topic, p})
		}
	}
	if !a.consumer {
		a.last, a.asOf = ownership{generation: generation, partitions: a.paired()}, a.changes
	}
}

// revoked is the callback kgo.OnPartitionsRevoked.
func (a *assignment) revoked(_ context.Context, _ *kgo.Client, parts map[string][]int32) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.changed()
	for topic, list := range parts {
		for _, p := range list {
			delete(a.since, input{topic, p})
		}
	}
}

// lost is the callback kgo.OnPartitionsLost: all is.
func (a *assignment) lost(context.Context, *kgo.Client, map[string][]int32) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.changed()
	clear(a.since)
}

// paired are the partitions that are assigned in both input topics. Called with the lock held.
func (a *assignment) paired() map[int32]uint64 {
	owned := map[int32]uint64{}
	for at, since := range a.since {
		if other, ok := a.since[input{a.topics.Internal, at.partition}]; ok && at.topic == a.topics.Commands {
			owned[at.partition] = max(since, other)
		}
	}
	return owned
}

// confirm asks the coordinator what it counts as ours, where callbacks do not say enough. Until it agrees with us about the
// generation, nothing is owned.
func (a *assignment) confirm(ctx context.Context, cl *kgo.Client, group string) error {
	if !a.consumer {
		return nil
	}
	id, generation := cl.GroupMetadata()
	a.mu.Lock()
	changes, known := a.changes, a.asOf == a.changes && a.last.generation == generation
	a.mu.Unlock()
	if known || changes == 0 || id == "" {
		return nil
	}
	described, err := kadm.NewClient(cl).DescribeConsumerGroups(ctx, group)
	if err == nil {
		err = described[group].Err
	}
	if err != nil {
		return fmt.Errorf("ask what group %s assigns to us (brokers that know only the classic protocol: set Group to %q): %w", group, GroupClassic, err)
	}
	var ours kadm.TopicsSet
	agreed := false
	for _, m := range described[group].Members {
		if m.MemberID == id && m.MemberEpoch == generation {
			ours, agreed = m.Assignment, true
		}
	}
	if !agreed {
		return nil // it knows more than we do, or less: asked again
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.changes != changes {
		return nil
	}
	owned := a.paired()
	maps.DeleteFunc(owned, func(p int32, _ uint64) bool {
		return (!ours.Lookup(a.topics.Commands, p) || !ours.Lookup(a.topics.Internal, p)) && !mutant.Is(mutant.Asked)
	})
	a.last, a.asOf = ownership{generation: generation, partitions: owned}, changes
	return nil
}

// owned is what this member owns in a generation; nothing while that is not known.
func (a *assignment) owned(generation int32) ownership {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.last.generation != generation || a.consumer && a.asOf != a.changes {
		return ownership{generation: generation}
	}
	return a.last
}

// partitions are those that the group gave this member last.
func (a *assignment) partitions() []int32 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Collect(maps.Keys(a.last.partitions))
}

// holdings are what this member says of itself when it joins the group.
func (a *assignment) holdings(warm []int32) holdings {
	a.mu.Lock()
	defer a.mu.Unlock()
	return holdings{Generation: a.last.generation, Owned: slices.Collect(maps.Keys(a.last.partitions)), Warm: warm}
}

// fetched is the callback kgo.AdjustFetchOffsetsFn; it adjusts nothing.
func (a *assignment) fetched(_ context.Context, offsets map[string]map[int32]kgo.Offset) (map[string]map[int32]kgo.Offset, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for topic, parts := range offsets {
		for p, o := range parts {
			a.committed[input{topic, p}] = o.EpochOffset().Offset
		}
	}
	if a.awake != nil {
		a.awake()
	}
	return offsets, nil
}

// offsets are those that the group had when it assigned the partitions; not known until the group has told of all of them.
func (a *assignment) offsets(partitions []int32) (offsets map[string]map[int32]int64, known bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	offsets = map[string]map[int32]int64{a.topics.Commands: {}, a.topics.Internal: {}}
	for topic, parts := range offsets {
		for _, p := range partitions {
			at, ok := a.committed[input{topic, p}]
			if !ok {
				return nil, false
			}
			parts[p] = at
		}
	}
	return offsets, true
}
