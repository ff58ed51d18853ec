package producer_test

import (
	"errors"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/ledgerline-es/ledgerline/internal/kit"
	"github.com/ledgerline-es/ledgerline/internal/process"
	"github.com/ledgerline-es/ledgerline/producer"
	"github.com/ledgerline-es/ledgerline/schemas/ledgerline"
)

// followed waits until each of the four partitions has a copy that has all events.
func (s *bounded) followed(members ...*prometheus.Registry) {
	s.t.Helper()
	ends, err := kadm.NewClient(s.kafka()).ListEndOffsets(s.t.Context(), s.topics.Events)
	if err = errors.Join(err, ends.Error()); err != nil {
		s.t.Fatal(err)
	}
	s.await("a standby of each partition", func() error {
		copies := map[int32]int64{}
		for _, m := range members {
			families, err := m.Gather()
			if err != nil {
				s.t.Fatal(err)
			}
			for _, f := range families {
				for _, series := range f.GetMetric() {
					if f.GetName() != "ledgerline_producer_standby_offset" {
						continue
					}
					for _, l := range series.GetLabel() {
						if p, err := strconv.ParseInt(l.GetValue(), 10, 32); err == nil && l.GetName() == "partition" {
							copies[int32(p)] = int64(series.GetGauge().GetValue())
						}
					}
				}
			}
		}
		for p := range int32(4) {
			if end, _ := ends.Lookup(s.topics.Events, p); copies[p] < end.Offset {
				return fmt.Errorf("partition %d ends at %d, copies are %v", p, end.Offset, copies)
			}
		}
		return nil
	})
}

// One member goes, and the other has followed what it wrote: states, snapshots, answers, senders' numbers. It reads nothing again, and
// goes on as if it had been the owner all the time. Then a third follows that one, and so on.
func TestP13_Standby_TakesOverWithoutARestore(t *testing.T) {
	for name, rounds := range map[string]int{"in memory": 2, "on disk": 1} {
		t.Run(name, func(t *testing.T) {
			s := newBounded(t, "")
			change := s.change
			s.change = func(c *producer.Config) {
				if name == "on disk" {
					s.state = t.TempDir()
				}
				change(c)
				c.Standbys = 1
			}
			owner := s.start()
			owns := s.counted
			var given []producer.Command
			var replies []*ledgerline.Reply
			for round := range rounds {
				next := s.start()
				follows := s.counted
				s.fill(10)
				c := s.client()
				for a := range s.accounts {
					id := fmt.Sprint("acc-", a)
					refused, numbered := withdraw(id, 1_000_000), withdraw(id, 2_000_000)
					refused.CommandID = fmt.Sprint("refused-", round, id)
					numbered.CommandID, numbered.Source, numbered.SourceSequence = fmt.Sprint("numbered-", round, id), "till", int64(round+1)
					for _, cmd := range []producer.Command{refused, numbered} {
						given, replies = append(given, cmd), append(replies, s.publish(c, cmd))
					}
				}
				s.fill(10)
				s.followed(owns, follows)
				before := gauge(t, follows, "ledgerline_producer_restored_events_total")
				owner.stop()
				s.await("the other to own all", func() error {
					if n := gauge(t, follows, "ledgerline_producer_partitions"); n != 4 {
						return fmt.Errorf("it owns %v", n)
					}
					return next.Ready()
				})
				if read := gauge(t, follows, "ledgerline_producer_restored_events_total") - before; read >= boundedTail {
					t.Errorf("round %d: %v events were read again: a restore reads %d of each partition at least", round, read, boundedTail)
				}
				for i, cmd := range given {
					reply := s.publish(c, cmd)
					if want := replies[i]; !reply.Duplicate || reply.Outcome != want.Outcome || reply.Code != want.Code || reply.Version != want.Version {
						t.Fatalf("round %d, command %s again: %+v, the first reply was %+v", round, cmd.CommandID, reply, want)
					}
				}
				s.whole()
				owner, owns = next, follows
			}
			// What the last one wrote and kept, a restore from nothing must find good as well.
			owner.stop()
			s.start()
			s.whole()
		})
	}
}

// A member of the group is killed under load, again and again, while the others follow: on Apache Kafka, under both protocols.
func TestP13_Standbys_OwnersKilledUnderLoad(t *testing.T) {
	for _, group := range []string{producer.GroupClassic, producer.GroupConsumer} {
		t.Run(group, func(t *testing.T) {
			s := realSystem(t)
			registry := kit.Registry(t).URL()
			if group == producer.GroupConsumer {
				s.soonGone()
			}
			start := func() *process.Process { return s.spawn(registry, "group="+group, "standbys=1", "tail=50") }
			running := []*process.Process{start()}
			s.awaitTopics()
			running = append(running, start(), start())
			l := s.load(40)
			for range 4 {
				l.work(s, l.answered()+200)
				if err := running[0].Kill(); err != nil {
					t.Fatal(err)
				}
				<-running[0].Done()
				killed, progress := time.Now(), l.progress()
				running = append(running[1:], start())
				s.await("each account to go on", func() error { return l.further(progress, 1) })
				t.Logf("killed; every account goes on after %v", time.Since(killed).Round(time.Millisecond))
			}
			s.check(l.stop())
			for _, p := range running {
				select {
				case <-p.Done():
					t.Error(errors.Join(errors.New("a producer died"), p.Err()))
				default:
				}
			}
		})
	}
}
