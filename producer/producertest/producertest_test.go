package producertest_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/ledgerline-es/ledgerline/producer"
	"github.com/ledgerline-es/ledgerline/producer/producertest"
	"github.com/ledgerline-es/ledgerline/schemas"
	"github.com/ledgerline-es/ledgerline/schemas/account"
	"github.com/ledgerline-es/ledgerline/schemas/ledgerline"
)

// split pays one amount to two accounts and takes back what is refused. The names of unanswered credits stand in the state's owner.
var split = producer.Aggregate[account.State, account.Command, account.Event]{
	Kind: account.Kind,
	Evolve: func(s account.State, e account.Event) account.State {
		switch e := e.(type) {
		case *account.AccountOpened:
			s.Status = "open"
		case *account.MoneyWithdrawn:
			s.BalanceMinor, s.Owner = e.BalanceMinor, "left right"
		case *account.MoneyDeposited:
			s.BalanceMinor, s.Owner = e.BalanceMinor, strings.TrimSpace(strings.Replace(s.Owner, e.Operation, "", 1))
		case *account.AccountUnfrozen:
			s.Owner = strings.TrimSpace(strings.Replace(s.Owner, e.Reason, "", 1))
		}
		return s
	},
	Decide: func(s account.State, c account.Command, _ producer.Meta) producer.Decision[account.Event] {
		if s.Status == "" {
			return producer.Reject[account.Event]("account_not_found", "it does not exist")
		}
		w := c.(*account.WithdrawMoney)
		half := &account.DepositMoney{AmountMinor: w.AmountMinor / 2}
		return producer.Accept[account.Event](&account.MoneyWithdrawn{AmountMinor: w.AmountMinor, BalanceMinor: s.BalanceMinor - w.AmountMinor}).
			Send(account.Kind.To("acc-2", half).As("left"), account.Kind.To("acc-3", half).As("right"))
	},
	Replied: func(s account.State, r *ledgerline.Reply, _ producer.Meta) producer.Decision[account.Event] {
		if r.Outcome == producer.Accepted {
			return producer.Accept[account.Event](&account.AccountUnfrozen{Reason: r.CommandID})
		}
		return producer.Accept[account.Event](&account.MoneyDeposited{AmountMinor: 5, BalanceMinor: s.BalanceMinor + 5, Operation: r.CommandID})
	},
}

func given() producertest.Scenario[account.State, account.Command, account.Event] {
	return producertest.Given(split, &account.AccountOpened{}, &account.MoneyDeposited{BalanceMinor: 100})
}

func TestSent_CommandsThatADecisionSends(t *testing.T) {
	half := &account.DepositMoney{AmountMinor: 5}
	left, right := account.Kind.To("acc-2", half).As("left"), account.Kind.To("acc-3", half).As("right")
	given().When(&account.WithdrawMoney{AmountMinor: 10}).Sent(t, left, right).
		Then(t, &account.MoneyWithdrawn{AmountMinor: 10, BalanceMinor: 90}).
		WhenReplied(&ledgerline.Reply{CommandID: "left", Outcome: producer.Rejected}).Sent(t).
		Then(t, &account.MoneyDeposited{AmountMinor: 5, BalanceMinor: 95, Operation: "left"})
	for name, wrong := range map[string][]schemas.Message{
		"one is missing":    {left},
		"another order":     {right, left},
		"another id":        {left, right.As("other")},
		"another aggregate": {left, account.Kind.To("acc-4", half).As("right")},
		"another amount":    {left, account.Kind.To("acc-3", &account.DepositMoney{AmountMinor: 6}).As("right")},
	} {
		if said := failure(t, func(t testing.TB) { given().When(&account.WithdrawMoney{AmountMinor: 10}).Sent(t, wrong...) }); said == "" {
			t.Errorf("%s: it is not said", name)
		}
	}
	if said := failure(t, func(t testing.TB) { producertest.Given(split).When(&account.WithdrawMoney{}).Sent(t) }); !strings.Contains(said, "account_not_found") {
		t.Errorf("of a rejected command it says %q", said)
	}
}

// Both credits are answered in either order, each accepted or refused for one of two reasons.
func TestEveryReply_WalksEveryWay(t *testing.T) {
	ends, balances := map[string]bool{}, map[int64]int{}
	given().When(&account.WithdrawMoney{AmountMinor: 10}).EveryReply(t, producertest.Replies("account_closed", "account_frozen"),
		func(t testing.TB, s producertest.Scenario[account.State, account.Command, account.Event], path []string) {
			ends[strings.Join(path, ", ")] = true
			balances[s.State().BalanceMinor]++
			if s.State().Owner != "" {
				t.Errorf("%v: %q is open", path, s.State().Owner)
			}
			refused := strings.Count(strings.Join(path, " "), "rejected")
			if want := 90 + 5*int64(refused); s.State().BalanceMinor != want {
				t.Errorf("%v: the balance is %d, wanted %d", path, s.State().BalanceMinor, want)
			}
		})
	if len(ends) != 18 || balances[90] != 2 || balances[95] != 8 || balances[100] != 8 {
		t.Errorf("%d ways with the balances %v, wanted 18: 2 ending with 90, 8 with 95, 8 with 100", len(ends), balances)
	}
	if !ends["right rejected account_frozen, left accepted"] {
		t.Errorf("a way is missing: %v", ends)
	}
}

// A saga that asks again for ever is no saga, and one that refuses an answer loses what it was about.
func TestEveryReply_FindsWhatNeverEnds(t *testing.T) {
	play := func(replied func(account.State, *ledgerline.Reply, producer.Meta) producer.Decision[account.Event]) string {
		bad := split
		bad.Replied = replied
		return failure(t, func(t testing.TB) {
			producertest.Given(bad, &account.AccountOpened{}).When(&account.WithdrawMoney{}).EveryReply(t, producertest.Replies(),
				func(testing.TB, producertest.Scenario[account.State, account.Command, account.Event], []string) {})
		})
	}
	said := play(func(account.State, *ledgerline.Reply, producer.Meta) producer.Decision[account.Event] {
		return producer.Accept[account.Event]().Send(account.Kind.To("acc-2", &account.CloseAccount{}))
	})
	if !strings.Contains(said, "not at its end after 20 answers") {
		t.Errorf("of a saga without an end it says %q", said)
	}
	said = play(func(_ account.State, r *ledgerline.Reply, _ producer.Meta) producer.Decision[account.Event] {
		return producer.Reject[account.Event]("no", "not %s", r.CommandID)
	})
	if !strings.Contains(said, "the accepted reply to left was rejected: no: not left") {
		t.Errorf("of a refused answer it says %q", said)
	}
}

// recorder is a test that may fail.
type recorder struct {
	testing.TB
	said string
}

func (r *recorder) Fatalf(format string, args ...any) {
	r.said = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

// failure is what a test says that fails; "" of one that passes.
func failure(t *testing.T, test func(testing.TB)) string {
	r := &recorder{TB: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		test(r)
	}()
	<-done
	return r.said
}
