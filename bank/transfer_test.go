package bank

import (
	"strings"
	"testing"
	"time"

	"github.com/ledgerline-es/ledgerline/producer"
	"github.com/ledgerline-es/ledgerline/producer/producertest"
	"github.com/ledgerline-es/ledgerline/schemas"
	"github.com/ledgerline-es/ledgerline/schemas/account"
	"github.com/ledgerline-es/ledgerline/schemas/ledgerline"
)

type scenario = producertest.Scenario[account.State, account.Command, account.Event]

// ann has 100.00 on the account test-1, and bob is who she pays.
func ann(more ...schemas.Record) scenario {
	return producertest.Given(Account, append([]schemas.Record{
		&account.AccountOpened{Owner: "ann", Currency: "EUR"}, &account.MoneyDeposited{AmountMinor: 10_000, BalanceMinor: 10_000, Currency: "EUR"},
	}, more...)...)
}

func bob(more ...schemas.Record) scenario {
	s := producertest.Given(Account, append([]schemas.Record{&account.AccountOpened{Owner: "bob", Currency: "EUR"}}, more...)...)
	return s.With(func(m *producer.Meta) { m.ID, m.Sender = "bob", "account/test-1" })
}

func pays(amount int64) *account.TransferMoney {
	return &account.TransferMoney{Target: "bob", AmountMinor: amount, Category: "rent"}
}

// day of the scenarios' business time, 2026-01-02.
const today = 20455

const first = "test-1:3" // the id of ann's first transfer

func TestTransfer_Begins(t *testing.T) {
	check := account.Kind.To("test-1", &account.CheckTransfer{TransferID: first}).As("transfer-3")
	ann().When(pays(3000)).
		Sent(t, account.Kind.To("bob", &account.CreditTransfer{TransferID: first, AmountMinor: 3000, Currency: "EUR", Category: "rent"}).As(first+"/credit")).
		PutOff(t, producer.Delayed{Delay: 2 * time.Minute, Message: check}).
		Then(t,
			&account.TransferStarted{Target: "bob", AmountMinor: 3000, Currency: "EUR", Day: today, TransferredMinor: 3000},
			&account.MoneyWithdrawn{AmountMinor: 3000, BalanceMinor: 7000, Currency: "EUR", Operation: "transfer_out", Category: "rent", Counterparty: "bob", TransferID: first},
		)
}

func TestTransfer_WhatCannotBegin(t *testing.T) {
	for code, c := range map[string]*account.TransferMoney{
		"same_account":       {Target: "test-1", AmountMinor: 1},
		"target_invalid":     {Target: "no account", AmountMinor: 1},
		"amount_invalid":     {Target: "bob"},
		"currency_mismatch":  {Target: "bob", AmountMinor: 1, Currency: "USD"},
		"insufficient_funds": {Target: "bob", AmountMinor: 10_001},
		"text_invalid":       {Target: "bob", AmountMinor: 1, Category: "\x00"},
	} {
		ann().When(c).Rejected(t, code)
	}
	ann(&account.AccountFrozen{}).When(pays(1)).Rejected(t, "account_frozen")
	producertest.Given(Account).When(pays(1)).Rejected(t, "account_not_found")
}

// The limit counts by the day of the business time, and what is refunded on that day does not count.
func TestTransfer_DailyLimit(t *testing.T) {
	rich := ann(&account.MoneyDeposited{AmountMinor: 1 << 40, BalanceMinor: 1 << 40, Currency: "EUR"})
	rich.When(pays(dailyLimitMinor+1)).Rejected(t, "daily_limit_exceeded")
	used := rich.When(pays(dailyLimitMinor)).After()
	used.When(pays(1)).Rejected(t, "daily_limit_exceeded")
	used.With(func(m *producer.Meta) { m.Time = m.Time.Add(24 * time.Hour) }).When(pays(dailyLimitMinor)).After().
		When(pays(1)).Rejected(t, "daily_limit_exceeded")
	earlier := used.With(func(m *producer.Meta) { m.Time = m.Time.Add(-24 * time.Hour) })
	earlier.When(pays(1)).Rejected(t, "daily_limit_exceeded")
	some := rich.When(pays(dailyLimitMinor - 1)).After().With(func(m *producer.Meta) { m.Time = m.Time.Add(-24 * time.Hour) }).When(pays(1)).After()
	some.With(func(m *producer.Meta) { m.Time = m.Time.Add(24 * time.Hour) }).When(pays(1)).Rejected(t, "daily_limit_exceeded")
	from := func(m *producer.Meta) { m.Sender = "account/bob" }
	refunded := used.With(from).WhenReplied(&ledgerline.Reply{CommandID: "test-1:4/credit", Outcome: producer.Rejected, Code: "account_frozen"}).After()
	refunded.When(pays(dailyLimitMinor)).Sent(t, account.Kind.To("bob", &account.CreditTransfer{TransferID: "test-1:8", AmountMinor: dailyLimitMinor, Currency: "EUR", Category: "rent"}).As("test-1:8/credit"))
}

// Every answer of the target, in every order, with the check at every moment: the source ends the transfer once, and has the money or not.
func TestTransfer_EveryAnswerInEveryOrder(t *testing.T) {
	replies := append(producertest.Replies("account_closed", "account_not_found", "currency_mismatch", "transfer_applied", "transfer_cancelled"),
		ledgerline.Reply{Outcome: producer.Error, Code: "panic"}, ledgerline.Reply{Outcome: producer.Conflict})
	ways := 0
	begun := ann().With(func(m *producer.Meta) { m.Sender = "account/bob" }).When(pays(3000))
	begun.EveryReply(t, replies, func(t testing.TB, s scenario, path []string) {
		ways++
		way := strings.Join(path, ", ")
		// What the target can have answered: the leg paid, or did not; and a cancellation tells the truth of it.
		credited := strings.Contains(way, "/credit accepted")
		applied := strings.Contains(way, "/cancel rejected transfer_applied")
		cancelled := strings.Contains(way, "/cancel accepted")
		refused := strings.Contains(way, "/credit rejected")
		if credited && cancelled || refused && applied {
			return // no target answers so
		}
		state := s.State()
		switch {
		case credited || applied:
			if state.BalanceMinor != 7000 || len(state.Outgoing) != 0 {
				t.Errorf("%s: paid, and the source has %d, %d transfers", way, state.BalanceMinor, len(state.Outgoing))
			}
		case refused || cancelled:
			if state.BalanceMinor != 10_000 || len(state.Outgoing) != 0 {
				t.Errorf("%s: not paid, and the source has %d, %d transfers", way, state.BalanceMinor, len(state.Outgoing))
			}
		default:
			if state.BalanceMinor != 7000 || len(state.Outgoing) != 1 || !state.Outgoing[0].Stalled {
				t.Errorf("%s: nobody knows, and the source has %d, %+v", way, state.BalanceMinor, state.Outgoing)
			}
		}
	})
	if ways < 50 {
		t.Errorf("%d ways", ways)
	}
}

// The target pays once, tells the truth when asked to cancel, and forgets what has ended.
func TestTransfer_AtTheTarget(t *testing.T) {
	leg := &account.CreditTransfer{TransferID: first, AmountMinor: 3000, Currency: "EUR", Category: "rent"}
	cancel, forgets := &account.CancelTransfer{TransferID: first}, &account.ForgetTransfer{TransferID: first}
	paid := bob().When(leg).Then(t, &account.MoneyDeposited{
		AmountMinor: 3000, BalanceMinor: 3000, Currency: "EUR", Operation: "transfer_in", Category: "rent", Counterparty: "test-1", TransferID: first,
	})
	paid.When(leg).Then(t)
	paid.When(cancel).Rejected(t, "transfer_applied")
	if ended := paid.When(forgets).Then(t, &account.TransferForgotten{TransferID: first}); len(ended.State().Incoming) != 0 {
		t.Errorf("it remembers %+v", ended.State().Incoming)
	}
	bob().When(forgets).Then(t)

	cancelled := bob().When(cancel).Then(t, &account.TransferLegCancelled{TransferID: first})
	cancelled.When(cancel).Then(t)
	cancelled.When(leg).Rejected(t, "transfer_cancelled")
	cancelled.When(forgets).Then(t) // and it is remembered all the same
	cancelled.When(forgets).After().When(leg).Rejected(t, "transfer_cancelled")

	nobody := producertest.Given(Account).With(func(m *producer.Meta) { m.ID, m.Sender = "bob", "account/test-1" })
	nobody.When(leg).Rejected(t, "account_not_found")
	opened := nobody.When(cancel).After().When(&account.OpenAccount{Owner: "bob", Currency: "EUR"}).After()
	opened.When(leg).Rejected(t, "transfer_cancelled")

	bob(&account.AccountFrozen{}).When(leg).Rejected(t, "account_frozen")
	bob(&account.AccountClosed{}).When(leg).Rejected(t, "account_closed")
	bob().When(&account.CreditTransfer{TransferID: first, AmountMinor: 1, Currency: "USD"}).Rejected(t, "currency_mismatch")
	bob(&account.MoneyDeposited{BalanceMinor: mostMinor}).When(leg).Rejected(t, "amount_invalid")
}

// Legs come from the source account alone.
func TestTransfer_LegOfSomebodyElse_Rejected(t *testing.T) {
	for _, sender := range []string{"", "account/", "account/bob", "account/test-2", "order/test-1", "test-1"} {
		other := bob().With(func(m *producer.Meta) { m.Sender = sender })
		for _, c := range []account.Command{
			&account.CreditTransfer{TransferID: first, AmountMinor: 1, Currency: "EUR"}, &account.CancelTransfer{TransferID: first}, &account.ForgetTransfer{TransferID: first},
			&account.CreditTransfer{AmountMinor: 1, Currency: "EUR"}, &account.CheckTransfer{TransferID: first},
		} {
			if _, isCheck := c.(*account.CheckTransfer); isCheck && sender == "account/bob" {
				continue
			}
			other.When(c).Rejected(t, "not_from_account")
		}
	}
}

// A million transfers leave a small state, and many at once stay within bounds.
func TestTransfer_StateStaysSmall(t *testing.T) {
	s, m := account.State{Status: statusOpen, Currency: "EUR"}, producer.Meta{ID: "bob", Sender: "account/test-1", Time: time.Unix(1767323045, 0)}
	for n := range int64(1_000_000) {
		id := transferID("test-1", n)
		for _, c := range []account.Command{&account.CreditTransfer{TransferID: id, AmountMinor: 1, Currency: "EUR"}, &account.ForgetTransfer{TransferID: id}} {
			for _, e := range Account.Decide(s, c, m).Events() {
				s = Account.Evolve(s, e)
			}
		}
	}
	if s.BalanceMinor != 1_000_000 || len(s.Incoming) != 0 || cap(s.Incoming) > 64 {
		t.Errorf("after a million transfers: %d, %d remembered", s.BalanceMinor, len(s.Incoming))
	}
	from := ann()
	for range maxTransfers {
		from = from.When(pays(1)).After()
	}
	from.When(pays(1)).Rejected(t, "too_many_transfers")
	from.When(&account.CloseAccount{}).Rejected(t, "balance_not_zero")
	ann().When(pays(10_000)).After().When(&account.CloseAccount{}).Rejected(t, "transfers_pending")
	to := bob()
	for n := range int64(maxTransfers) {
		to = to.When(&account.CancelTransfer{TransferID: transferID("test-1", n)}).After()
	}
	to.When(&account.CancelTransfer{TransferID: first + "000"}).Rejected(t, "too_many_transfers")
}
