package producertest_test

import (
	"fmt"
	"maps"
	"runtime"
	"strings"
	"testing"
	"time"

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
	if !strings.Contains(said, "not at its end after 20 steps") {
		t.Errorf("of a saga without an end it says %q", said)
	}
	said = play(func(_ account.State, r *ledgerline.Reply, _ producer.Meta) producer.Decision[account.Event] {
		return producer.Reject[account.Event]("no", "not %s", r.CommandID)
	})
	if !strings.Contains(said, "the accepted reply to left was rejected: no: not left") {
		t.Errorf("of a refused answer it says %q", said)
	}
}

// patient opens an account, and closes it again when nothing was paid in for a day.
var patient = producer.Aggregate[account.State, account.Command, account.Event]{
	Kind: account.Kind,
	Evolve: func(s account.State, e account.Event) account.State {
		switch e.(type) {
		case *account.AccountOpened:
			s.Status = "open"
		case *account.MoneyDeposited:
			s.Status = "used"
		case *account.AccountClosed:
			s.Status = "closed"
		}
		return s
	},
	Decide: func(s account.State, c account.Command, m producer.Meta) producer.Decision[account.Event] {
		switch c.(type) {
		case *account.OpenAccount:
			return producer.Accept[account.Event](&account.AccountOpened{}).After(24*time.Hour, account.Kind.To(m.ID, &account.CloseAccount{})).
				Send(account.Kind.To("bonus", &account.WithdrawMoney{}).As("bonus"))
		case *account.CloseAccount:
			if m.Sender != "account/test-1" {
				return producer.Reject[account.Event]("not_due", "by %q", m.Sender)
			}
			if s.Status != "open" {
				return producer.Accept[account.Event]()
			}
			return producer.Accept[account.Event](&account.AccountClosed{})
		}
		return producer.Reject[account.Event]("unknown", "no")
	},
	Replied: func(s account.State, r *ledgerline.Reply, _ producer.Meta) producer.Decision[account.Event] {
		if s.Status == "open" && r.Outcome == producer.Accepted {
			return producer.Accept[account.Event](&account.MoneyDeposited{}).Cancel("ledgerline.account.CloseAccount")
		}
		return producer.Accept[account.Event]()
	},
}

func TestPutOff_AndEveryMomentAtWhichItComes(t *testing.T) {
	opened := producertest.Given(patient).When(&account.OpenAccount{})
	closing := account.Kind.To("test-1", &account.CloseAccount{})
	opened.PutOff(t, producer.Delayed{Delay: 24 * time.Hour, Message: closing}).Cancelled(t)
	opened.After().WhenReplied(&ledgerline.Reply{Outcome: producer.Accepted}).PutOff(t).Cancelled(t, "ledgerline.account.CloseAccount")
	opened.After().WhenDue(&account.CloseAccount{}).Then(t, &account.AccountClosed{})
	opened.After().When(&account.CloseAccount{}).Rejected(t, "not_due")
	for name, wrong := range map[string]func(testing.TB){
		"another time": func(t testing.TB) { opened.PutOff(t, producer.Delayed{Delay: time.Hour, Message: closing}) },
		"nothing":      func(t testing.TB) { opened.PutOff(t) },
		"another command": func(t testing.TB) {
			opened.PutOff(t, producer.Delayed{Delay: 24 * time.Hour, Message: closing.As("x")})
		},
		"another name": func(t testing.TB) { opened.Cancelled(t, "x") },
	} {
		if said := failure(t, wrong); said == "" {
			t.Errorf("%s: it is not said", name)
		}
	}
	ends := map[string]string{}
	opened.EveryReply(t, producertest.Replies("no"), func(_ testing.TB, s producertest.Scenario[account.State, account.Command, account.Event], path []string) {
		ends[strings.Join(path, ", ")] = s.State().Status
	})
	if want := map[string]string{
		"bonus accepted": "used", "bonus rejected no, due ledgerline.account.CloseAccount": "closed",
		"due ledgerline.account.CloseAccount, bonus accepted": "closed", "due ledgerline.account.CloseAccount, bonus rejected no": "closed",
	}; !maps.Equal(ends, want) {
		t.Errorf("the ways are %v, wanted %v", ends, want)
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
