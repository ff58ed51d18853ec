package bank

import (
	"math"
	"testing"

	"pgregory.net/rapid"

	"github.com/ledgerline-es/ledgerline/producer"
	"github.com/ledgerline-es/ledgerline/producer/producertest"
	"github.com/ledgerline-es/ledgerline/schemas"
	"github.com/ledgerline-es/ledgerline/schemas/account"
)

var opened = &account.AccountOpened{Owner: "ann", Currency: "EUR"}

func TestOpenAccount(t *testing.T) {
	none := producertest.Given(Account)
	none.When(&account.OpenAccount{Owner: "ann", Currency: "EUR"}).Then(t, opened)
	none.When(&account.OpenAccount{Owner: "ann", Currency: "EUR", InitialDepositMinor: 10_000}).
		Then(t, opened, &account.MoneyDeposited{AmountMinor: 10_000, BalanceMinor: 10_000, Currency: "EUR"})
	none.When(&account.OpenAccount{Currency: "EUR"}).Rejected(t, "owner_missing")
	none.When(&account.OpenAccount{Owner: "ann", Currency: "eur"}).Rejected(t, "currency_invalid")
	none.When(&account.OpenAccount{Owner: "ann", Currency: "EURO"}).Rejected(t, "currency_invalid")
	none.When(&account.OpenAccount{Owner: "ann", Currency: "EUR", InitialDepositMinor: -1}).Rejected(t, "amount_invalid")
	producertest.Given(Account, opened).When(&account.OpenAccount{Owner: "bob", Currency: "EUR"}).Rejected(t, "account_exists")
}

func TestMoneyMoves(t *testing.T) {
	paid := producertest.Given(Account, opened).
		When(&account.DepositMoney{AmountMinor: 500, Operation: "cash", Category: "gift", Counterparty: "AB/1"}).
		Then(t, &account.MoneyDeposited{AmountMinor: 500, BalanceMinor: 500, Currency: "EUR", Operation: "cash", Category: "gift", Counterparty: "AB/1"})
	paid.When(&account.WithdrawMoney{AmountMinor: 500, Currency: "EUR"}).
		Then(t, &account.MoneyWithdrawn{AmountMinor: 500, BalanceMinor: 0, Currency: "EUR"})
	paid.When(&account.WithdrawMoney{AmountMinor: 501}).Rejected(t, "insufficient_funds")
	paid.When(&account.WithdrawMoney{AmountMinor: 0}).Rejected(t, "amount_invalid")
	paid.When(&account.DepositMoney{AmountMinor: -5}).Rejected(t, "amount_invalid")
	paid.When(&account.DepositMoney{AmountMinor: 5, Currency: "CZK"}).Rejected(t, "currency_mismatch")
	paid.When(&account.DepositMoney{AmountMinor: math.MaxInt64}).Rejected(t, "amount_invalid")
	// What an account can hold, every reader of JSON can read.
	full := paid.When(&account.DepositMoney{AmountMinor: 1<<53 - 1 - 500}).
		Then(t, &account.MoneyDeposited{AmountMinor: 1<<53 - 1 - 500, BalanceMinor: 1<<53 - 1, Currency: "EUR"})
	full.When(&account.DepositMoney{AmountMinor: 1}).Rejected(t, "amount_invalid")
	producertest.Given(Account).When(&account.OpenAccount{Owner: "ann", Currency: "EUR", InitialDepositMinor: 1 << 53}).Rejected(t, "amount_invalid")
	producertest.Given(Account).When(&account.DepositMoney{AmountMinor: 5}).Rejected(t, "account_not_found")
}

// Postgres has no place for it: one such event would hold up a projection for ever.
func TestTextWithNUL_Rejected(t *testing.T) {
	const bad = "a\x00b"
	producertest.Given(Account).When(&account.OpenAccount{Owner: bad, Currency: "EUR"}).Rejected(t, "text_invalid")
	for _, c := range []account.Command{
		&account.DepositMoney{AmountMinor: 1, Counterparty: bad}, &account.WithdrawMoney{AmountMinor: 1, Category: bad},
		&account.DepositMoney{AmountMinor: 1, Operation: bad}, &account.FreezeAccount{Reason: bad}, &account.UnfreezeAccount{Reason: bad},
		&account.CloseAccount{Reason: bad},
	} {
		producertest.Given(Account, opened).When(c).Rejected(t, "text_invalid")
	}
}

// A time that a store can't hold would hold up its projection for ever.
func TestBusinessTimeOutOfRange_Rejected(t *testing.T) {
	at := func(text string) func(*producer.Meta) {
		return func(m *producer.Meta) { m.Time, _ = schemas.ParseTime(text) }
	}
	for _, text := range []string{"0000-01-01T00:00:00Z", "0001-01-01T00:00:00Z", "1899-12-31T23:59:59.999999Z", "1900-01-01T00:30:00+01:00", "2262-01-01T00:00:00Z", "9999-12-31T23:59:59Z"} {
		producertest.Given(Account).With(at(text)).When(&account.OpenAccount{Owner: "ann", Currency: "EUR"}).Rejected(t, "time_invalid")
		producertest.Given(Account, opened).With(at(text)).When(&account.DepositMoney{AmountMinor: 1}).Rejected(t, "time_invalid")
	}
	for _, text := range []string{"1900-01-01T00:00:00Z", "2261-12-31T23:59:59.999999Z"} {
		producertest.Given(Account).With(at(text)).When(&account.OpenAccount{Owner: "ann", Currency: "EUR"}).Then(t, opened)
	}
}

func TestFreezeAndClose(t *testing.T) {
	account1 := producertest.Given(Account, opened)
	account1.When(&account.UnfreezeAccount{}).Rejected(t, "account_not_frozen")
	frozen := account1.When(&account.FreezeAccount{Reason: "court"}).Then(t, &account.AccountFrozen{Reason: "court"})
	frozen.When(&account.FreezeAccount{}).Rejected(t, "account_frozen")
	frozen.When(&account.DepositMoney{AmountMinor: 1}).Rejected(t, "account_frozen")
	frozen.When(&account.CloseAccount{}).Rejected(t, "account_frozen")
	thawed := frozen.When(&account.UnfreezeAccount{}).Then(t, &account.AccountUnfrozen{})
	closed := thawed.When(&account.CloseAccount{Reason: "moved"}).Then(t, &account.AccountClosed{Reason: "moved"})
	for _, c := range []account.Command{&account.DepositMoney{AmountMinor: 1}, &account.FreezeAccount{}, &account.UnfreezeAccount{}, &account.CloseAccount{}} {
		closed.When(c).Rejected(t, "account_closed")
	}
	closed.When(&account.OpenAccount{Owner: "ann", Currency: "EUR"}).Rejected(t, "account_exists")
	thawed.When(&account.DepositMoney{AmountMinor: 1}).Then(t, &account.MoneyDeposited{AmountMinor: 1, BalanceMinor: 1, Currency: "EUR"}).
		When(&account.CloseAccount{}).Rejected(t, "balance_not_zero")
}

// Whatever is asked of it in whatever order, an account's balance is what was paid in less what was drawn, and never below 0.
func TestBalanceIsTheSumOfWhatMoved(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := producertest.Given(Account)
		var sum int64
		for range rapid.IntRange(1, 60).Draw(t, "commands") {
			amount := rapid.Int64Range(-3, 1000).Draw(t, "amount")
			c := rapid.SampledFrom([]account.Command{
				&account.OpenAccount{Owner: "ann", Currency: "EUR", InitialDepositMinor: amount}, &account.DepositMoney{AmountMinor: amount},
				&account.WithdrawMoney{AmountMinor: amount}, &account.FreezeAccount{}, &account.UnfreezeAccount{}, &account.CloseAccount{},
			}).Draw(t, "command")
			o := s.When(c)
			for _, e := range o.Events() {
				switch e := e.(type) {
				case *account.MoneyDeposited:
					sum += e.AmountMinor
				case *account.MoneyWithdrawn:
					sum -= e.AmountMinor
				}
			}
			s = o.After()
			if s.State().BalanceMinor != sum || sum < 0 {
				t.Fatalf("after %s the balance is %d, the events sum to %d", c.AvroName(), s.State().BalanceMinor, sum)
			}
		}
	})
}
