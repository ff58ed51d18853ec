package producer_test

import (
	"runtime"

	"github.com/ledgerline-es/ledgerline/producer"
	"github.com/ledgerline-es/ledgerline/schemas/account"
)

// rules are an account's, as short as the tests of this package need them.
var rules = producer.Aggregate[account.State, account.Command, account.Event]{Kind: account.Kind, Evolve: evolve, Decide: decide}

func evolve(s account.State, e account.Event) account.State {
	switch e := e.(type) {
	case *account.AccountOpened:
		s.Status, s.Currency = "open", e.Currency
	case *account.MoneyDeposited:
		s.BalanceMinor = e.BalanceMinor
	case *account.MoneyWithdrawn:
		s.BalanceMinor = e.BalanceMinor
	}
	return s
}

func decide(s account.State, c account.Command, m producer.Meta) producer.Decision[account.Event] {
	reject := producer.Reject[account.Event]
	switch c := c.(type) {
	case *account.OpenAccount:
		if s.Status != "" {
			return reject("account_exists", "%s was opened before", m.ID)
		}
		events := []account.Event{&account.AccountOpened{Owner: c.Owner, Currency: c.Currency}}
		if c.InitialDepositMinor > 0 {
			events = append(events, &account.MoneyDeposited{AmountMinor: c.InitialDepositMinor, BalanceMinor: c.InitialDepositMinor})
		}
		return producer.Accept(events...)
	case *account.DepositMoney:
		switch c.Operation { // what a rule may do wrong
		case "endless":
			for spin := 0; ; spin++ {
				runtime.Gosched()
			}
		case "overflow":
			return producer.Accept[account.Event](&account.MoneyDeposited{AmountMinor: endlessly(c.AmountMinor)})
		case "panic":
			panic("the rule is broken")
		case "large":
			return producer.Accept[account.Event](&account.MoneyDeposited{Operation: string(make([]byte, 70<<10))})
		case "many":
			many := make([]account.Event, 1001)
			for i := range many {
				many[i] = &account.MoneyDeposited{}
			}
			return producer.Accept(many...)
		}
		return producer.Accept[account.Event](&account.MoneyDeposited{AmountMinor: c.AmountMinor, BalanceMinor: s.BalanceMinor + c.AmountMinor})
	case *account.WithdrawMoney:
		if c.AmountMinor > s.BalanceMinor {
			return reject("insufficient_funds", "%s holds %d", m.ID, s.BalanceMinor)
		}
		return producer.Accept[account.Event](&account.MoneyWithdrawn{AmountMinor: c.AmountMinor, BalanceMinor: s.BalanceMinor - c.AmountMinor})
	}
	return reject("unknown_command", "%s", c.AvroName())
}

// endlessly calls itself until the stack is full, which ends the process.
func endlessly(n int64) int64 {
	if n < 0 {
		return 0
	}
	return endlessly(n+1) + 1
}
