package producer_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/ledgerline-es/ledgerline/internal/kit"
	"github.com/ledgerline-es/ledgerline/internal/process"
	"github.com/ledgerline-es/ledgerline/producer"
)

// Producers in processes of their own join and leave, are killed, and stopped past their session and continued, under load. Each accepted
// command is in the log once, whatever happened, and what the writers of conditional commands were told is explained by one order of
// them. CHAOS_TIME=10m has it last longer, CHAOS_SEED repeats a run's decisions.
func TestP1P13_Chaos_NothingLostNothingTwice(t *testing.T) {
	lasts, err := time.ParseDuration(envOr("CHAOS_TIME", "40s"))
	if err != nil {
		t.Fatal(err)
	}
	seed, err := strconv.ParseUint(envOr("CHAOS_SEED", "2"), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		settings func(n int) []string
		group    string
	}{
		"classic": {func(n int) []string {
			if n%2 == 0 {
				return []string{"standbys=1", "instance=member-" + strconv.Itoa(n), "sessions=2"}
			}
			return []string{"standbys=1", "tail=50"}
		}, producer.GroupClassic},
		"consumer": {func(int) []string { return []string{"standbys=1", "tail=50", "group=" + producer.GroupConsumer} }, producer.GroupConsumer},
	} {
		t.Run(name, func(t *testing.T) {
			s := realSystem(t)
			registry := kit.Registry(t).URL()
			if c.group == producer.GroupConsumer {
				s.soonGone()
			}
			var running [3]*process.Process
			start := func(n int) { running[n] = s.spawn(registry, c.settings(n)...) }
			start(0)
			s.awaitTopics()
			l := s.load(40)
			raced := s.race(4, 3, seed)
			r := rand.New(rand.NewPCG(seed, 0))
			done := map[string]int{}
			signal := func(p *process.Process, sig syscall.Signal) {
				if err := syscall.Kill(p.Pid(), sig); err != nil {
					t.Fatal(err)
				}
			}
			for end := time.Now().Add(lasts); time.Now().Before(end); {
				n := r.IntN(len(running))
				what, wait := r.IntN(10), time.Duration(r.IntN(1500))*time.Millisecond
				switch p := running[n]; {
				case p == nil:
					done["started"]++
					start(n)
				case what < 3:
					done["stopped for good"]++
					if err := p.Stop(t.Context()); err != nil {
						t.Errorf("a clean stop: %v", err)
					}
					running[n] = nil
				case what < 6:
					done["killed"]++
					if err := p.Kill(); err != nil {
						t.Fatal(err)
					}
					<-p.Done()
					running[n] = nil
				case what < 8: // past its session: others take over, and it wakes in the middle of what it did
					done["stopped for longer than its session"]++
					signal(p, syscall.SIGSTOP)
					<-time.After(7*time.Second + wait)
					signal(p, syscall.SIGCONT)
				default:
					done["stopped for a moment"]++
					signal(p, syscall.SIGSTOP)
					<-time.After(wait)
					signal(p, syscall.SIGCONT)
				}
				<-time.After(wait)
			}
			for n, p := range running {
				if p == nil {
					start(n)
				}
			}
			l.work(s, l.answered()+40)
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
		})
	}
}

func envOr(name, value string) string {
	if given := os.Getenv(name); given != "" {
		return given
	}
	return value
}
