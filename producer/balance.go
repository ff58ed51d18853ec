package producer

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/cespare/xxhash/v2"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// balancer shares out the partitions of a group of the classic protocol. It is eager: every generation assigns everything anew, both
// input topics' partition p to one member. It moves as little as balance allows, and what must move goes to a member that has a
// standby of it. (Range, which members of other versions may know alone, moves most partitions whenever a member comes or goes.)
//
// Each member says in its metadata what it owns and what it has a standby of; the group's leader plans from that, and needs nothing else.
type balancer struct {
	has func() holdings
}

// holdings are what a member says of itself when it joins.
type holdings struct {
	Generation int32   `json:"generation"` // in which it owned …
	Owned      []int32 `json:"owned,omitempty"`
	Warm       []int32 `json:"warm,omitempty"` // it has a standby of these
}

// ProtocolName implements kgo.GroupBalancer.
func (*balancer) ProtocolName() string { return "ledgerline" }

// IsCooperative implements kgo.GroupBalancer.
func (*balancer) IsCooperative() bool { return false }

// JoinGroupMetadata implements kgo.GroupBalancer.
func (b *balancer) JoinGroupMetadata(topics []string, _ map[string][]int32, _ int32) []byte {
	has := b.has()
	slices.Sort(has.Owned)
	slices.Sort(has.Warm)
	meta := kmsg.NewConsumerMemberMetadata()
	meta.Topics = topics
	data, err := json.Marshal(has)
	if err != nil {
		panic(err) // numbers can be encoded
	}
	meta.UserData = data
	return meta.AppendTo(nil)
}

// ParseSyncAssignment implements kgo.GroupBalancer.
func (*balancer) ParseSyncAssignment(assignment []byte) (map[string][]int32, error) {
	return kgo.ParseConsumerSyncAssignment(assignment)
}

// MemberBalancer implements kgo.GroupBalancer.
func (b *balancer) MemberBalancer(members []kmsg.JoinGroupResponseMember) (kgo.GroupMemberBalancer, map[string]struct{}, error) {
	c, err := kgo.NewConsumerBalancer(b, members)
	return c, c.MemberTopics(), err
}

// Balance implements kgo.ConsumerBalancerBalance.
func (*balancer) Balance(c *kgo.ConsumerBalancer, topics map[string]int32) kgo.IntoSyncAssignment {
	members, partitions := map[string]holdings{}, int32(0)
	c.EachMember(func(m *kmsg.JoinGroupResponseMember, meta *kmsg.ConsumerMemberMetadata) {
		var has holdings
		if err := json.Unmarshal(meta.UserData, &has); err != nil {
			c.SetError(fmt.Errorf("what member %s says of itself can't be read: %w", m.MemberID, err))
		}
		members[m.MemberID] = has
	})
	for _, n := range topics {
		partitions = max(partitions, n)
	}
	plan := c.NewPlan()
	for id, assigned := range shareOut(members, partitions) {
		c.EachMember(func(m *kmsg.JoinGroupResponseMember, _ *kmsg.ConsumerMemberMetadata) {
			if m.MemberID != id {
				return
			}
			for topic, n := range topics {
				for _, p := range assigned {
					if p < n {
						plan.AddPartition(m, topic, p)
					}
				}
			}
		})
	}
	return plan
}

// shareOut gives each member its partitions: no member two more than another, as many as balance allows where they are, and of the rest
// as many as balance allows to who has them warm.
func shareOut(members map[string]holdings, partitions int32) map[string][]int32 {
	p := plan{members: members, given: map[string][]int32{}, most: partitions / int32(len(members)), more: partitions % int32(len(members))}
	ids := slices.Sorted(maps.Keys(members))
	owner, since := map[int32]string{}, map[int32]int32{}
	for _, id := range ids { // who owned a partition in the highest generation; a claim of an older one is out of date
		for _, at := range members[id].Owned {
			if at >= 0 && at < partitions && (owner[at] == "" || members[id].Generation > since[at]) {
				owner[at], since[at] = id, members[id].Generation
			}
		}
	}
	owned := map[string][]int32{}
	for at := range partitions {
		owned[owner[at]] = append(owned[owner[at]], at)
	}
	free := owned[""]
	// Who owns most keeps one more where the numbers do not divide.
	slices.SortStableFunc(ids, func(a, b string) int { return cmp.Compare(len(owned[b]), len(owned[a])) })
	for _, id := range ids {
		// What somebody else has warm is given up first.
		slices.SortStableFunc(owned[id], func(a, b int32) int { return cmp.Compare(len(p.warmAt(a, id)), len(p.warmAt(b, id))) })
		for _, at := range owned[id] {
			if !p.give(id, at) {
				free = append(free, at)
			}
		}
	}
	slices.Sort(free)
	slices.SortStableFunc(free, func(a, b int32) int { return cmp.Compare(len(p.warmAt(a, "")), len(p.warmAt(b, ""))) })
	slices.Sort(ids)
	for _, warm := range []bool{true, false} {
		free = slices.DeleteFunc(free, func(at int32) bool {
			candidates := ids
			if warm {
				candidates = p.warmAt(at, "")
			}
			candidates = slices.Clone(candidates)
			slices.SortStableFunc(candidates, func(a, b string) int { return cmp.Compare(len(p.given[a]), len(p.given[b])) })
			return slices.ContainsFunc(candidates, func(id string) bool { return p.give(id, at) })
		})
	}
	for _, list := range p.given {
		slices.Sort(list)
	}
	return p.given
}

// plan is a distribution in the making.
type plan struct {
	members map[string]holdings
	given   map[string][]int32
	most    int32 // for each member …
	more    int32 // … and one more for so many
}

// give gives a partition to a member if it has room.
func (p *plan) give(id string, at int32) bool {
	n := int32(len(p.given[id]))
	if n > p.most || n == p.most && p.more == 0 {
		return false
	}
	if n == p.most {
		p.more--
	}
	p.given[id] = append(p.given[id], at)
	return true
}

// warmAt are the members but one that have a standby of a partition.
func (p *plan) warmAt(at int32, but string) []string {
	var ids []string
	for id, has := range p.members {
		if id != but && slices.Contains(has.Warm, at) {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

// placeStandbys says which partitions a member is to have a standby of: as many members have one of each as there are to be, all in
// processes of their own, none in the owner's. Every member comes to the same answer by itself, and little moves when one comes or goes
// (rendezvous hashing).
func placeStandbys(members []groupMember, self string, partitions int32, standbys int) []int32 {
	var place []int32
	for p := range partitions {
		best := map[string]groupMember{} // of each process the member that would have it
		owner := ""
		for _, m := range members {
			if slices.Contains(m.partitions, p) {
				owner = m.process()
			}
			if other, ok := best[m.process()]; !ok || weight(m.clientID, p) > weight(other.clientID, p) {
				best[m.process()] = m
			}
		}
		delete(best, owner)
		ranked := slices.SortedFunc(maps.Keys(best), func(a, b string) int {
			return cmp.Or(cmp.Compare(weight(b, p), weight(a, p)), cmp.Compare(a, b))
		})
		for _, process := range ranked[:min(standbys, len(ranked))] {
			if best[process].clientID == self {
				place = append(place, p)
			}
		}
	}
	return place
}

func weight(name string, partition int32) uint64 {
	return xxhash.Sum64String(fmt.Sprint(partition, "/", name))
}
