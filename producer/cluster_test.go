package producer_test

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

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
		n, wait := r.IntN(cluster.Size()), time.Duration(r.IntN(3000))*time.Millisecond
		before := l.progress()
		switch {
		case round%5 < 4:
			done[cut(cluster, n, linkFaults[r.IntN(len(linkFaults))], wait, r.IntN(2) == 0)]++
		case r.IntN(3) > 0:
			done["killed"]++
			cluster.Kill9(n)
			<-time.After(wait)
			cluster.Restart(n)
		default:
			done["stood still"]++
			cluster.Pause(n)
			<-time.After(wait + 4*time.Second) // past its session: the others take its partitions
			cluster.Continue(n)
		}
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

const afterEndTxn = "cut after an EndTxn"

var linkFaults = []string{"cut", "requests cut", "answers cut", "slow", afterEndTxn, afterEndTxn}

// cut does something to the link to a broker for a time, then either delivers what was held or breaks the connections. It gives what it did.
func cut(cluster *kit.KafkaCluster, n int, fault string, lasts time.Duration, deliver bool) string {
	link := cluster.Link(n)
	switch fault {
	case "cut":
		link.Cut()
	case "requests cut":
		link.CutRequests()
	case "answers cut":
		link.CutAnswers()
	case "slow":
		link.Slow(lasts/20, 20_000)
	case afterEndTxn: // whichever coordinates the transaction that is the first to end
		var hits [3]<-chan struct{}
		for n := range hits {
			hits[n] = cluster.Link(n).CutAfter((&kmsg.EndTxnRequest{}).Key())
		}
		select {
		case <-hits[0]:
		case <-hits[1]:
		case <-hits[2]:
		case <-time.After(patience):
			return "no EndTxn came"
		}
		<-time.After(lasts)
		for n := range hits {
			cluster.Link(n).Reset()
		}
		return fault
	}
	<-time.After(lasts)
	if deliver {
		link.Heal()
		return fault + ", delivered"
	}
	link.Reset()
	return fault + ", broken"
}
