package producer_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/ledgerline-es/ledgerline/producer"
)

// Old commands go when they are processed; a backlog stays, however old.
func TestP13_OldCommands_DeletedWhenProcessed(t *testing.T) {
	for name, on := range map[string]func(testing.TB) *system{"kfake": newSystem, "Apache Kafka": realSystem} {
		t.Run(name, func(t *testing.T) {
			s := on(t)
			s.change = func(c *producer.Config) { c.Window, c.CommandRetention = 100*time.Millisecond, 300*time.Millisecond }
			r := s.start()
			c := s.client()
			for n := range 50 {
				expect(t, s.publish(c, open(fmt.Sprint("acc-", n), 1)), producer.Accepted, "")
			}
			adm := kadm.NewClient(s.kafka())
			left := func() (n int64) {
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				defer cancel()
				starts, err := adm.ListStartOffsets(ctx, s.topics.Commands)
				if err != nil {
					t.Fatal(err)
				}
				ends, err := adm.ListEndOffsets(ctx, s.topics.Commands)
				if err != nil {
					t.Fatal(err)
				}
				ends.Each(func(o kadm.ListedOffset) {
					start, _ := starts.Lookup(o.Topic, o.Partition)
					n += o.Offset - start.Offset
				})
				return n
			}
			s.await("processed commands to be deleted", func() error {
				if n := left(); n > 0 {
					return fmt.Errorf("%d are left", n)
				}
				return nil
			})
			r.stop()

			var pending []*producer.Pending
			for n := range 50 {
				p, err := c.Send(t.Context(), deposit(fmt.Sprint("acc-", n), 1))
				if err != nil {
					t.Fatal(err)
				}
				pending = append(pending, p)
			}
			<-time.After(time.Second) // older than commands are kept
			s.start()
			for _, p := range pending {
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				reply, err := p.Wait(ctx)
				cancel()
				if err != nil {
					t.Fatal(err)
				}
				expect(t, reply, producer.Accepted, "")
			}
			s.await("they to be deleted too", func() error {
				if n := left(); n > 0 {
					return fmt.Errorf("%d are left", n)
				}
				return nil
			})
		})
	}
}
