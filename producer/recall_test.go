package producer_test

import (
	"fmt"
	"testing"

	"github.com/ledgerline-es/ledgerline/producer"
	"github.com/ledgerline-es/ledgerline/schemas/ledgerline"
)

// A repetition is recognised when its answer is long forgotten and only the place of its reply is known: by this owner, and by the
// next, who has none of the answers at hand. Accepted and rejected alike, many at once, in the order that they were given or not.
func TestP2_RepetitionsWhoseRepliesAreReadAgain(t *testing.T) {
	s := newSystem(t)
	s.change = func(c *producer.Config) { c.Partitions = 1 }
	r := s.start()
	c := s.client()
	s.publish(c, open("a", 0))
	const all = 5000 // more than twice what is at hand
	round := func(duplicate bool, order func(n int) int) {
		t.Helper()
		pending := make([]*producer.Pending, all)
		for n := range all {
			n = order(n)
			cmd := deposit("a", 1)
			if n%50 == 0 {
				cmd = withdraw("a", 1_000_000)
			}
			cmd.CommandID = fmt.Sprint("id-", n)
			var err error
			if pending[n], err = c.Send(t.Context(), cmd); err != nil {
				t.Fatal(err)
			}
		}
		version := int64(1)
		for n, p := range pending {
			reply, err := p.Wait(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			want := ledgerline.Reply{CommandID: fmt.Sprint("id-", n), Outcome: producer.Accepted, Duplicate: duplicate, FirstSequence: version + 1, LastSequence: version + 1, Version: version + 1}
			if n%50 == 0 {
				want.Outcome, want.Code, want.Message = producer.Rejected, "insufficient_funds", reply.Message
				want.FirstSequence, want.LastSequence, want.Version = 0, 0, version
			} else {
				version++
			}
			if *reply != want {
				t.Fatalf("command %d is answered %+v, wanted %+v", n, *reply, want)
			}
		}
	}
	inOrder := func(n int) int { return n }
	round(false, inOrder)
	round(true, inOrder)
	round(true, func(n int) int { return all - 1 - n })
	r.stop()
	s.start()
	round(true, func(n int) int { return n * 7 % all })
}
