package producer_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/ledgerline-es/ledgerline/producer"
	"github.com/ledgerline-es/ledgerline/schemas/ledgerline"
)

// conditional is a deposit on condition that the account is at a version.
type conditional struct {
	account  string
	expected int64
}

// versions is what one account does with conditional deposits, one after another: it is accepted at the version expected and is at the
// next one then, and a conflict at any other, which the reply names.
var versions = porcupine.Model{
	Init: func() any { return int64(1) }, // opened
	Step: func(state, input, output any) (bool, any) {
		version, write, reply := state.(int64), input.(conditional), output.(*ledgerline.Reply)
		if reply.Outcome == producer.Accepted {
			return write.expected == version && reply.Version == version+1, version + 1
		}
		return reply.Outcome == producer.Conflict && write.expected != version && reply.Version == version, version
	},
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
		accounts := map[string][]porcupine.Operation{}
		for _, op := range history {
			id := op.Input.(conditional).account
			accounts[id] = append(accounts[id], op)
		}
		var parts [][]porcupine.Operation
		for _, part := range accounts {
			parts = append(parts, part)
		}
		return parts
	},
	DescribeOperation: func(input, output any) string { return fmt.Sprintf("%+v: %+v", input, output) },
}

// race has clients write to the same accounts at once, each on condition of the version that it has seen last, some of the commands sent
// twice under one id. What they were told must be explained by some order of the writes, each between its call and its return. The
// function that it gives ends it and checks.
func (s *system) race(clients, accounts int, seed uint64) (check func()) {
	s.t.Helper()
	c := s.client()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	s.t.Cleanup(cancel)
	id := func(a int) string { return fmt.Sprint("raced-", a) }
	seen := make([]atomic.Int64, accounts)
	for a := range accounts {
		if _, err := c.Publish(ctx, open(id(a), 0)); err != nil {
			s.t.Fatal(err)
		}
		seen[a].Store(1)
	}
	var (
		begun   = time.Now()
		halt    = make(chan struct{})
		working sync.WaitGroup
		mu      sync.Mutex
		history []porcupine.Operation
	)
	for n := range clients {
		r := rand.New(rand.NewPCG(seed, uint64(n)))
		working.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-halt:
					return
				default:
				}
				a := r.IntN(accounts)
				write := conditional{id(a), seen[a].Load()}
				cmd := deposit(write.account, 1)
				cmd.CommandID, cmd.ExpectedVersion = fmt.Sprintf("race-%d-%d", n, i), &write.expected
				call := time.Since(begun)
				replies, returned, err := publishTimes(ctx, c, cmd, 1+r.IntN(5)/4)
				if err != nil {
					s.t.Errorf("%s: %v", cmd.CommandID, err)
					return
				}
				reply := replies[0]
				for _, other := range replies {
					// Conflicts are not remembered: sent twice, one may be a conflict and the other not, or each one of its own.
					if other.Outcome == producer.Accepted && reply.Outcome == producer.Accepted && other.Version != reply.Version {
						s.t.Errorf("%s was accepted twice: %+v and %+v", cmd.CommandID, reply, other)
					}
					if other.Outcome == producer.Accepted {
						reply = other
					}
				}
				mu.Lock()
				seen[a].Store(max(seen[a].Load(), reply.Version))
				history = append(history, porcupine.Operation{ClientId: n, Input: write, Call: int64(call), Output: reply, Return: int64(returned.Sub(begun))})
				mu.Unlock()
			}
		})
	}
	return func() {
		s.t.Helper()
		close(halt)
		working.Wait()
		conflicts := 0
		for _, op := range history {
			if op.Output.(*ledgerline.Reply).Outcome == producer.Conflict {
				conflicts++
			}
		}
		if result := porcupine.CheckOperationsTimeout(versions, history, time.Minute); result != porcupine.Ok {
			s.t.Errorf("%d conditional writes: no order of them explains what clients were told (%s)", len(history), result)
		}
		s.t.Logf("%d conditional writes, %d of them conflicts, in an order that explains every reply", len(history), conflicts)
	}
}

// publishTimes publishes a command so many times at once, and gives when the last reply came.
func publishTimes(ctx context.Context, c *producer.Client, cmd producer.Command, times int) (replies []*ledgerline.Reply, last time.Time, err error) {
	var pending []*producer.Pending
	for range times {
		p, err := c.Send(ctx, cmd)
		if err != nil {
			return nil, last, err
		}
		pending = append(pending, p)
	}
	for _, p := range pending {
		reply, err := p.Wait(ctx)
		if err != nil {
			return nil, last, err
		}
		replies = append(replies, reply)
	}
	return replies, time.Now(), nil
}

// The model finds lies: a write accepted at a version that was gone, one that was lost, a conflict that was none.
func TestHistories_ALieIsFound(t *testing.T) {
	op := func(call, end, expected int64, outcome string, version int64) porcupine.Operation {
		return porcupine.Operation{
			Call: call, Return: end, Input: conditional{"a", expected}, Output: &ledgerline.Reply{Outcome: outcome, Version: version},
		}
	}
	for name, c := range map[string]struct {
		history []porcupine.Operation
		good    bool
	}{
		"one after another":    {[]porcupine.Operation{op(1, 2, 1, producer.Accepted, 2), op(3, 4, 2, producer.Accepted, 3), op(5, 6, 2, producer.Conflict, 3)}, true},
		"at once, one wins":    {[]porcupine.Operation{op(1, 5, 1, producer.Accepted, 2), op(1, 5, 1, producer.Conflict, 2)}, true},
		"both win":             {[]porcupine.Operation{op(1, 5, 1, producer.Accepted, 2), op(1, 5, 1, producer.Accepted, 2)}, false},
		"one was lost":         {[]porcupine.Operation{op(1, 2, 1, producer.Accepted, 2), op(3, 4, 1, producer.Accepted, 2)}, false},
		"refused for no cause": {[]porcupine.Operation{op(1, 2, 1, producer.Conflict, 1)}, false},
		"a stale version told": {[]porcupine.Operation{op(1, 2, 1, producer.Accepted, 2), op(3, 4, 2, producer.Accepted, 3), op(5, 6, 1, producer.Conflict, 2)}, false},
	} {
		if good := porcupine.CheckOperations(versions, c.history); good != c.good {
			t.Errorf("%s: explained %v, want %v", name, good, c.good)
		}
	}
}
