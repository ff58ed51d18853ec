package producer_test

import (
	"fmt"
	"runtime"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ledgerline-es/ledgerline/producer"
	"github.com/ledgerline-es/ledgerline/schemas"
	"github.com/ledgerline-es/ledgerline/schemas/account"
)

// Commands of different partitions are decided at the same time: here each waits until another one begins, which a rule must never do.
func TestPartitions_DecidedSideBySide(t *testing.T) {
	s := newSystem(t)
	var deciding, together atomic.Int32
	s.def = producer.Aggregate[account.State, account.Command, account.Event]{
		Kind:   account.Kind,
		Evolve: func(s account.State, _ account.Event) account.State { return s },
		Decide: func(account.State, account.Command, producer.Meta) producer.Decision[account.Event] {
			deciding.Add(1)
			defer deciding.Add(-1)
			for began := time.Now(); together.Load() == 0 && time.Since(began) < 2*time.Second; runtime.Gosched() {
				if deciding.Load() > 1 {
					together.Add(1)
				}
			}
			return producer.Accept[account.Event](&account.MoneyDeposited{AmountMinor: 1})
		},
	}
	s.start().stop() // it makes the topics
	for n := range 8 {
		id := "acc-" + strconv.Itoa(n)
		s.foreign(schemas.Partition(id, 4), id, s.encode(&account.DepositMoney{AmountMinor: 1}))
	}
	s.start()
	s.await("all events", func() error {
		if n := len(s.records(s.topics.Events)); n < 8 {
			return fmt.Errorf("there are %d", n)
		}
		return nil
	})
	if together.Load() == 0 {
		t.Error("no two commands were ever decided at the same time")
	}
}
