package producer_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/ledgerline-es/ledgerline/producer"
	"github.com/ledgerline-es/ledgerline/schemas"
	"github.com/ledgerline-es/ledgerline/schemas/account"
)

// Old commands go when they are processed; a backlog stays, however old.
func TestP13_OldCommands_DeletedWhenProcessed(t *testing.T) {
	onBoth(t, func(t *testing.T, s *system) {
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

// Somebody sets the group's offsets back to where commands were that are purged. The log knows that they were processed: it goes on.
func TestP13_GroupSetBackBelowThePurge_GoesOn(t *testing.T) {
	onBoth(t, func(t *testing.T, s *system) {
		p := s.start()
		c := s.client()
		expect(t, s.publish(c, open("acc-1", 0)), producer.Accepted, "")
		for range 5 {
			expect(t, s.publish(c, deposit("acc-1", 1)), producer.Accepted, "")
		}
		p.stop()
		partition := schemas.Partition("acc-1", 4)
		s.deleteCommands(partition, 6)
		s.setGroup(partition, 2)
		p = s.start()
		expect(t, s.publish(c, deposit("acc-1", 1)), producer.Accepted, "")
		p.stop()
		s.setGroup(partition, 0)
		s.start()
		expect(t, s.publish(c, deposit("acc-1", 1)), producer.Accepted, "")
		if n := len(s.history()["acc-1"]); n != 8 {
			t.Errorf("%d events, wanted 8", n)
		}
	})
}

// Commands are deleted that nobody has processed: they are not passed over in silence. Who says so goes on without them.
func TestP13_CommandsDeletedUnprocessed_AreNamed(t *testing.T) {
	onBoth(t, func(t *testing.T, s *system) {
		p := s.start()
		c := s.client()
		expect(t, s.publish(c, open("acc-1", 0)), producer.Accepted, "")
		p.stop()
		partition := schemas.Partition("acc-1", 4)
		for range 3 {
			s.foreign(partition, "acc-1", s.encode(&account.DepositMoney{AmountMinor: 1}))
		}
		s.deleteCommands(partition, 4)
		p = s.launch()
		named := func() error {
			err := p.Ready()
			for _, part := range []string{
				fmt.Sprintf("%s partition %d: 3 commands, offsets 1 to 3, ", s.topics.Commands, partition), "publish them again",
				fmt.Sprintf("--group %s --topic %s:%d --reset-offsets --to-earliest", producer.Group(s.prefix, "account"), s.topics.Commands, partition),
			} {
				if err == nil || !strings.Contains(err.Error(), part) {
					return fmt.Errorf("it says %w, and not %q", err, part)
				}
			}
			return nil
		}
		s.await("the producer to name what is missing", named)
		p.stop()
		s.setGroup(partition, 4)
		s.start()
		expect(t, s.publish(c, deposit("acc-1", 1)), producer.Accepted, "")
		if n := len(s.history()["acc-1"]); n != 2 {
			t.Errorf("%d events, wanted 2", n)
		}
	})
}

// deleteCommands deletes a partition's commands below an offset.
func (s *system) deleteCommands(partition int32, below int64) {
	s.t.Helper()
	offsets := kadm.Offsets{}
	offsets.AddOffset(s.topics.Commands, partition, below, -1)
	deleted, err := kadm.NewClient(s.kafka()).DeleteRecords(context.Background(), offsets)
	if err == nil {
		err = deleted.Error()
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

// setGroup sets the group's offset of a partition's commands, as soon as the group has no member.
func (s *system) setGroup(partition int32, offset int64) {
	s.t.Helper()
	offsets := kadm.Offsets{}
	offsets.AddOffset(s.topics.Commands, partition, offset, -1)
	adm := kadm.NewClient(s.kafka())
	s.await("the group's offset to be set", func() error {
		return adm.CommitAllOffsets(context.Background(), producer.Group(s.prefix, "account"), offsets)
	})
}
