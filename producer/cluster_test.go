package producer_test

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"testing"
	"time"

	"github.com/ledgerline-es/ledgerline/internal/kit"
	"github.com/ledgerline-es/ledgerline/internal/process"
)

// The brokers of a cluster are killed and restarted, stand still and go on, or clients can't reach them, one at a time, under load: leaders,
// the group's coordinator and those of the transactions move, and answers are lost. CLUSTER_CHAOS_TIME has it last longer, CHAOS_SEED
// repeats a run's decisions.
func TestP13_BrokersOfAClusterKilled_LinksCut_NothingLostNothingTwice(t *testing.T) {
	lasts, err := time.ParseDuration(envOr("CLUSTER_CHAOS_TIME", "45s"))
	if err != nil {
		t.Fatal(err)
	}
	seed, err := strconv.ParseUint(envOr("CHAOS_SEED", "3"), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	kit.Start(t, kit.UseRegistry)
	cluster := kit.StartKafkaCluster(t)
	s := systemOn(t, cluster.Brokers(), kit.Registry(t).Client(t), kit.Prefix(t))
	var running [2]*process.Process
	for n := range running {
		running[n] = s.spawn(kit.Registry(t).URL(), "standbys=1", "tail=50", "replication=3")
	}
	s.awaitTopics()
	l := s.load(20)
	raced := s.race(4, 3, seed)
	r := rand.New(rand.NewPCG(seed, 0))
	done := map[string]int{}
	for end, round := time.Now().Add(lasts), 0; time.Now().Before(end); round++ {
		before := l.progress()
		done[cluster.Trouble(r, round)]++
		s.await("each account to go on", func() error { return l.further(before, 1) })
	}
	raced()
	s.check(l.stop())
	t.Logf("seed %d: %s", seed, fmt.Sprint(done))
	for _, p := range running {
		select {
		case <-p.Done():
			t.Errorf("a producer died: %v", p.Err())
		default:
		}
	}
}
