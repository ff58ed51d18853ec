package bank

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ledgerline-es/ledgerline/bank/internal/mutant"
	"github.com/ledgerline-es/ledgerline/producer"
	"github.com/ledgerline-es/ledgerline/schemas"
	"github.com/ledgerline-es/ledgerline/schemas/account"
	"github.com/ledgerline-es/ledgerline/schemas/ledgerline"
)

// A transfer is a saga that lives in its source account. The account takes the money out of itself and sends the target a leg that credits
// it; the target's answer ends the transfer. It takes the money back on nothing but a definite refusal. Where no answer comes, and a leg that
// died in a dead letter gives none, it asks the target to cancel the leg: through the same partition, behind the leg, so that the answer is
// true for ever. "Applied" completes the transfer, "cancelled" refunds it.
//
// The target remembers a leg that paid until the source says that the transfer has ended, and one that was cancelled for ever: whoever tries
// its dead letter again is refused. Legs come from the source account itself, which the platform vouches for (Meta.Sender): nobody who may
// publish commands can forge one.

const (
	// transferPatience is how long the source waits for an answer before it says that the transfer has stalled, and cancels the leg: longer
	// than a partition takes to be taken over.
	transferPatience = 2 * time.Minute

	// dailyLimitMinor is what transfers of one account and day may come to, in minor units: by business time, UTC.
	dailyLimitMinor = 100_000_000

	// maxTransfers bounds an account's state: transfers from it that have not ended, and legs to it that were cancelled.
	maxTransfers = 1000
)

// Operations of the money that transfers move.
const (
	operationOut    = "transfer_out"
	operationIn     = "transfer_in"
	operationRefund = "transfer_refund"
)

// reasonCancelled is why a transfer was refunded whose leg gave no answer.
const reasonCancelled = "cancelled"

// codeApplied is how the target refuses to cancel a leg: it has paid.
const codeApplied = "transfer_applied"

// The messages of a transfer are named by it, and so are their answers.
const (
	legCredit = "/credit"
	legCancel = "/cancel"
)

func transferID(source string, sequence int64) string {
	return source + ":" + strconv.FormatInt(sequence, 10)
}

// sourceOf is the account that a transfer comes from.
func sourceOf(transferID string) string {
	return transferID[:max(0, strings.LastIndexByte(transferID, ':'))]
}

// checkName is the name under which the source waits for a transfer's answer.
func checkName(transferID string) string {
	return "transfer-" + transferID[strings.LastIndexByte(transferID, ':')+1:]
}

// dayOf is the day of a time in days since 1970.
func dayOf(at time.Time) int32 { return int32(at.UTC().Unix() / (24 * 60 * 60)) } // rounded towards 1970: before, two days are one

func evolveTransfer(s account.State, e account.Event) account.State {
	switch e := e.(type) {
	case *account.TransferStarted:
		s.Day, s.TransferredMinor = e.Day, e.TransferredMinor
	case *account.TransferCompleted:
		s.Outgoing = without(s.Outgoing, outgoing(e.TransferID))
	case *account.TransferStalled:
		s.Outgoing = slices.Clone(s.Outgoing)
		if i := slices.IndexFunc(s.Outgoing, outgoing(e.TransferID)); i >= 0 {
			s.Outgoing[i].Stalled = true
		}
	case *account.TransferRefunded:
		if i := slices.IndexFunc(s.Outgoing, outgoing(e.TransferID)); i >= 0 && s.Outgoing[i].Day == s.Day {
			s.TransferredMinor -= s.Outgoing[i].AmountMinor
		}
		s.Outgoing = without(s.Outgoing, outgoing(e.TransferID))
	case *account.TransferForgotten:
		s.Incoming = without(s.Incoming, incoming(e.TransferID))
	case *account.TransferLegCancelled:
		s.Incoming = append(slices.Clip(s.Incoming), account.IncomingTransfer{TransferID: e.TransferID, Cancelled: true})
	}
	return s
}

// without gives what is left, in a slice of its own.
func without[T any](all []T, is func(T) bool) []T { return slices.DeleteFunc(slices.Clone(all), is) }

func outgoing(id string) func(account.OutgoingTransfer) bool {
	return func(t account.OutgoingTransfer) bool { return t.TransferID == id }
}

func incoming(id string) func(account.IncomingTransfer) bool {
	return func(t account.IncomingTransfer) bool { return t.TransferID == id }
}

// transfers are the rules of transfers. after is how long an answer is waited for.
type transfers struct{ after time.Duration }

func (t transfers) start(s account.State, c *account.TransferMoney, m producer.Meta) decision {
	if refused, no := refuseMovement(s, c.AmountMinor, c.Currency, m); no {
		return refused
	}
	day, used := max(dayOf(m.Time), s.Day), int64(0) // what is told late counts on the last day: going back would begin that one anew
	if day == s.Day {
		used = s.TransferredMinor
	}
	switch err := schemas.ValidateID(c.Target); {
	case err != nil:
		return reject("target_invalid", "the target: %v", err)
	case c.Target == m.ID:
		return reject("same_account", "account %s can't transfer money to itself", m.ID)
	case c.AmountMinor > s.BalanceMinor:
		return reject("insufficient_funds", "account %s holds %d minor units, %d were asked for", m.ID, s.BalanceMinor, c.AmountMinor)
	case c.AmountMinor > dailyLimitMinor-used:
		return reject("daily_limit_exceeded", "account %s can transfer %d minor units a day, and has transferred %d of them", m.ID, int64(dailyLimitMinor), used)
	case len(s.Outgoing) >= maxTransfers:
		return reject("too_many_transfers", "%d transfers of account %s have not ended yet: wait until some have", len(s.Outgoing), m.ID)
	}
	id := transferID(m.ID, m.Version+1)
	return accept(
		&account.TransferStarted{Target: c.Target, AmountMinor: c.AmountMinor, Currency: s.Currency, Day: day, TransferredMinor: used + c.AmountMinor},
		&account.MoneyWithdrawn{
			AmountMinor: c.AmountMinor, BalanceMinor: s.BalanceMinor - c.AmountMinor, Currency: s.Currency,
			Operation: operationOut, Category: c.Category, Counterparty: c.Target, TransferID: id,
		},
	).Send(account.Kind.To(c.Target, &account.CreditTransfer{TransferID: id, AmountMinor: c.AmountMinor, Currency: s.Currency, Category: c.Category}).As(id+legCredit)).
		After(t.after, account.Kind.To(m.ID, &account.CheckTransfer{TransferID: id}).As(checkName(id)))
}

// check looks after a transfer whose answer has not come in time.
func check(s account.State, c *account.CheckTransfer, m producer.Meta) decision {
	if m.Sender != account.Kind.Name+"/"+m.ID {
		return notFromAccount(m.ID)
	}
	i := slices.IndexFunc(s.Outgoing, outgoing(c.TransferID))
	if i < 0 || s.Outgoing[i].Stalled {
		return accept()
	}
	if mutant.Is(mutant.Timeout) {
		return refund(s, s.Outgoing[i], reasonCancelled)
	}
	return accept(&account.TransferStalled{TransferID: c.TransferID}).
		Send(account.Kind.To(s.Outgoing[i].Target, &account.CancelTransfer{TransferID: c.TransferID}).As(c.TransferID + legCancel))
}

// answered goes on with a transfer from here, by what its target has answered.
func answered(s account.State, r *ledgerline.Reply, m producer.Meta) decision {
	id, leg, _ := strings.Cut(r.CommandID, "/")
	i := slices.IndexFunc(s.Outgoing, outgoing(id))
	if i < 0 || m.Sender != account.Kind.Name+"/"+s.Outgoing[i].Target {
		return accept() // it has ended: a dead letter that is tried again is answered again
	}
	t := s.Outgoing[i]
	switch leg = "/" + leg; {
	case leg == legCredit && r.Outcome == producer.Accepted, leg == legCancel && r.Outcome == producer.Rejected && r.Code == codeApplied:
		return accept(&account.TransferCompleted{TransferID: id}).Cancel(checkName(id)).
			Send(account.Kind.To(t.Target, &account.ForgetTransfer{TransferID: id}).WithoutReply())
	case leg == legCredit && r.Outcome == producer.Rejected:
		return refund(s, t, r.Code)
	case leg == legCancel && r.Outcome == producer.Accepted:
		return refund(s, t, reasonCancelled)
	}
	return accept() // it could not be processed: whether it will be, nobody knows yet
}

func refund(s account.State, t account.OutgoingTransfer, reason string) decision {
	return accept(
		&account.TransferRefunded{TransferID: t.TransferID, Reason: reason},
		&account.MoneyDeposited{
			AmountMinor: t.AmountMinor, BalanceMinor: s.BalanceMinor + t.AmountMinor, Currency: s.Currency,
			Operation: operationRefund, Counterparty: t.Target, TransferID: t.TransferID,
		},
	).Cancel(checkName(t.TransferID))
}

// credit pays the target of a transfer.
func credit(s account.State, c *account.CreditTransfer, m producer.Meta) decision {
	if !fromSource(c.TransferID, m) {
		return notFromAccount(sourceOf(c.TransferID))
	}
	if i := slices.IndexFunc(s.Incoming, incoming(c.TransferID)); i >= 0 && !mutant.Is(mutant.Window) {
		if s.Incoming[i].Cancelled {
			return reject("transfer_cancelled", "transfer %s was cancelled: account %s is not paid", c.TransferID, m.ID)
		}
		return accept()
	}
	if refused, no := refuseMovement(s, c.AmountMinor, c.Currency, m); no {
		return refused
	}
	if c.AmountMinor > mostMinor-s.BalanceMinor {
		return reject("amount_invalid", "account %s can't hold %d minor units more: it can hold %d", m.ID, c.AmountMinor, int64(mostMinor))
	}
	return accept(&account.MoneyDeposited{
		AmountMinor: c.AmountMinor, BalanceMinor: s.BalanceMinor + c.AmountMinor, Currency: s.Currency,
		Operation: operationIn, Category: c.Category, Counterparty: sourceOf(c.TransferID), TransferID: c.TransferID,
	})
}

// cancelLeg makes sure that a transfer does not pay, unless it has. It holds for ever, and for an account that is opened later.
func cancelLeg(s account.State, c *account.CancelTransfer, m producer.Meta) decision {
	if !fromSource(c.TransferID, m) {
		return notFromAccount(sourceOf(c.TransferID))
	}
	i, cancelled := slices.IndexFunc(s.Incoming, incoming(c.TransferID)), 0
	for _, t := range s.Incoming {
		if t.Cancelled {
			cancelled++
		}
	}
	switch {
	case i >= 0 && s.Incoming[i].Cancelled:
		return accept()
	case i >= 0:
		return reject(codeApplied, "transfer %s has paid account %s", c.TransferID, m.ID)
	case cancelled >= maxTransfers:
		return reject("too_many_transfers", "account %s remembers %d cancelled transfers: their dead letters are to be looked at", m.ID, cancelled)
	}
	return accept(&account.TransferLegCancelled{TransferID: c.TransferID})
}

func forget(s account.State, c *account.ForgetTransfer, m producer.Meta) decision {
	if !fromSource(c.TransferID, m) {
		return notFromAccount(sourceOf(c.TransferID))
	}
	if i := slices.IndexFunc(s.Incoming, incoming(c.TransferID)); i < 0 || s.Incoming[i].Cancelled {
		return accept()
	}
	return accept(&account.TransferForgotten{TransferID: c.TransferID})
}

// fromSource reports whether a leg comes from the account that the transfer comes from.
func fromSource(transferID string, m producer.Meta) bool {
	source := sourceOf(transferID)
	return source != "" && m.Sender == account.Kind.Name+"/"+source
}

func notFromAccount(id string) decision {
	return reject("not_from_account", "this comes from account %s itself, and from nobody else: to move money use TransferMoney", id)
}
