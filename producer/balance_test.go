package producer

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// Whoever joins, leaves or says whatever of itself: each partition has one member, balance holds, no more moves than it demands, and
// those of a member that is gone go to who has them warm, if there is room.
func TestShareOut_BalancedStickyAndToTheWarm(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		partitions := rapid.Int32Range(1, 40).Draw(t, "partitions")
		before := map[string]holdings{}
		for i := range rapid.IntRange(1, 8).Draw(t, "members") {
			before[fmt.Sprint("m", i)] = holdings{}
		}
		checkShares(t, shareOut(before, partitions), partitions, len(before))
		for range rapid.IntRange(1, 4).Draw(t, "rebalances") {
			given := shareOut(before, partitions)
			now := map[string]holdings{}
			for id, owned := range given {
				if len(now) == 0 || rapid.Bool().Draw(t, "stays") {
					now[id] = holdings{Generation: 1, Owned: owned, Warm: rapid.SliceOfDistinct(rapid.Int32Range(0, partitions-1), func(p int32) int32 { return p }).Draw(t, "warm")}
				}
			}
			for i := range rapid.IntRange(0, 3).Draw(t, "joined") {
				now[fmt.Sprint("n", i, len(now))] = holdings{}
			}
			after := shareOut(now, partitions)
			checkShares(t, after, partitions, len(now))
			kept := 0
			for id, has := range now {
				most := int(partitions) / len(now)
				stay := 0
				for _, p := range has.Owned {
					if slices.Contains(after[id], p) {
						stay++
					}
				}
				if stay < min(most, len(has.Owned)) {
					t.Fatalf("%s had %v and has %v: it could have kept %d of them", id, has.Owned, after[id], min(most, len(has.Owned)))
				}
				kept += stay
			}
			for id, has := range now { // nobody with room goes without an orphan that it has warm, while a cold one got it
				for _, p := range has.Warm {
					for other, list := range after {
						if other == id || !slices.Contains(list, p) || slices.Contains(now[other].Owned, p) || slices.Contains(now[other].Warm, p) {
							continue
						}
						if len(after[id]) < int(partitions)/len(now) {
							t.Fatalf("partition %d is warm at %s, which has room, and went to %s", p, id, other)
						}
					}
				}
			}
			before = now
		}
	})
}

func checkShares(t *rapid.T, given map[string][]int32, partitions int32, members int) {
	t.Helper()
	count := map[int32]int{}
	least, most := int(partitions), 0
	for _, list := range given {
		for _, p := range list {
			count[p]++
		}
		most = max(most, len(list))
		least = min(least, len(list))
	}
	if len(given) < members {
		least = 0
	}
	for p := range partitions {
		if count[p] != 1 {
			t.Fatalf("partition %d is assigned %d times: %v", p, count[p], given)
		}
	}
	if len(count) != int(partitions) || most-least > 1 {
		t.Fatalf("%d partitions over %d members: %v", partitions, members, given)
	}
}

// A member that goes leaves its partitions to its standby, and nothing else moves as long as balance allows.
func TestShareOut_OfTheDeadToTheirStandbys(t *testing.T) {
	got := shareOut(map[string]holdings{
		"b": {Generation: 7, Owned: []int32{4, 5, 6, 7}, Warm: []int32{1, 3}},
		"c": {Generation: 7, Owned: []int32{8, 9, 10, 11}, Warm: []int32{0, 2}},
		"z": {Generation: 3, Owned: []int32{4, 8}}, // was away for a while
	}, 12)
	want := map[string][]int32{"b": {4, 5, 6, 7}, "c": {8, 9, 10, 11}, "z": {0, 1, 2, 3}}
	if !maps.EqualFunc(got, want, slices.Equal) {
		t.Errorf("with a cold third: %v, want %v", got, want)
	}
	got = shareOut(map[string]holdings{
		"b": {Generation: 7, Owned: []int32{4, 5, 6, 7}, Warm: []int32{1, 3}},
		"c": {Generation: 7, Owned: []int32{8, 9, 10, 11}, Warm: []int32{0, 2}},
	}, 12)
	want = map[string][]int32{"b": {1, 3, 4, 5, 6, 7}, "c": {0, 2, 8, 9, 10, 11}}
	if !maps.EqualFunc(got, want, slices.Equal) {
		t.Errorf("of two: %v, want %v", got, want)
	}
}

// Every member comes to the same placement by itself: so many copies of each partition, each in a process of its own.
func TestPlaceStandbys(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const partitions = 12
		processes, standbys := rapid.IntRange(1, 5).Draw(t, "processes"), rapid.IntRange(0, 4).Draw(t, "standbys")
		var members []groupMember
		for i := range processes {
			for j := range rapid.IntRange(1, 3).Draw(t, "sessions") {
				members = append(members, groupMember{clientID: fmt.Sprintf("p%d/%d", i, j)})
			}
		}
		owner := map[int32]string{}
		for p := range int32(partitions) {
			m := &members[rapid.IntRange(0, len(members)-1).Draw(t, "owner")]
			m.partitions = append(m.partitions, p)
			owner[p] = m.process()
		}
		copies := map[int32]map[string]bool{}
		for _, m := range members {
			for _, p := range placeStandbys(members, m.clientID, partitions, standbys) {
				if copies[p] == nil {
					copies[p] = map[string]bool{}
				}
				if m.process() == owner[p] || copies[p][m.process()] {
					t.Fatalf("partition %d of %s has a copy in %s, of %v", p, owner[p], m.process(), copies[p])
				}
				copies[p][m.process()] = true
			}
		}
		for p := range int32(partitions) {
			if len(copies[p]) != min(standbys, processes-1) {
				t.Fatalf("partition %d has %d copies, want %d", p, len(copies[p]), min(standbys, processes-1))
			}
		}
	})
}
