package bank

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ledgerline-es/ledgerline/producer"
	"github.com/ledgerline-es/ledgerline/schemas/account"
)

// Account is the aggregate: what may happen to an account, and what its state is afterwards.
var Account = accounts(transferPatience)

// accounts are the rules of accounts, whose transfers wait so long for an answer.
func accounts(patience time.Duration) producer.Aggregate[account.State, account.Command, account.Event] {
	return producer.Aggregate[account.State, account.Command, account.Event]{
		Kind:   account.Kind,
		Evolve: evolveAccount,
		Decide: func(s account.State, c account.Command, m producer.Meta) decision {
			return decideAccount(s, c, m, transfers{patience})
		},
		Replied:  answered,
		Revision: 1, // transfers
	}
}

// Where an account stands. The empty status is that of an account that does not exist.
const (
	statusOpen   = "open"
	statusFrozen = "frozen"
	statusClosed = "closed"
)

func evolveAccount(s account.State, e account.Event) account.State {
	switch e := e.(type) {
	case *account.AccountOpened:
		s.Status, s.Owner, s.Currency = statusOpen, e.Owner, e.Currency
	case *account.MoneyDeposited:
		s.BalanceMinor = e.BalanceMinor
		if e.Operation == operationIn && e.TransferID != "" {
			s.Incoming = append(slices.Clip(s.Incoming), account.IncomingTransfer{TransferID: e.TransferID})
		}
	case *account.MoneyWithdrawn:
		s.BalanceMinor = e.BalanceMinor
		if e.TransferID != "" {
			s.Outgoing = append(slices.Clip(s.Outgoing), account.OutgoingTransfer{TransferID: e.TransferID, Target: e.Counterparty, AmountMinor: e.AmountMinor, Day: s.Day})
		}
	case *account.AccountFrozen:
		s.Status = statusFrozen
	case *account.AccountUnfrozen:
		s.Status = statusOpen
	case *account.AccountClosed:
		s.Status = statusClosed
	default:
		return evolveTransfer(s, e)
	}
	return s
}

type decision = producer.Decision[account.Event]

func accept(events ...account.Event) decision { return producer.Accept(events...) }

func reject(code, format string, args ...any) decision {
	return producer.Reject[account.Event](code, format, args...)
}

func decideAccount(s account.State, c account.Command, m producer.Meta, t transfers) decision {
	if strings.ContainsRune(strings.Join(texts(c), ""), 0) {
		return reject("text_invalid", "a text holds the character U+0000, which no database keeps")
	}
	if why := timeInvalid(m.Time); why != "" {
		return reject("time_invalid", "the business time %s", why)
	}
	switch c := c.(type) {
	case *account.OpenAccount:
		return open(s, c, m)
	case *account.DepositMoney:
		return deposit(s, c, m)
	case *account.WithdrawMoney:
		return withdraw(s, c, m)
	case *account.FreezeAccount:
		switch s.Status {
		case statusOpen:
			return accept(&account.AccountFrozen{Reason: c.Reason})
		case statusFrozen:
			return reject("account_frozen", "account %s is frozen already", m.ID)
		}
		return unusable(s, m)
	case *account.UnfreezeAccount:
		switch s.Status {
		case statusFrozen:
			return accept(&account.AccountUnfrozen{Reason: c.Reason})
		case statusOpen:
			return reject("account_not_frozen", "account %s is not frozen", m.ID)
		}
		return unusable(s, m)
	case *account.CloseAccount:
		if s.Status != statusOpen {
			return unusable(s, m)
		}
		if s.BalanceMinor != 0 {
			return reject("balance_not_zero", "account %s still holds %d minor units of %s: withdraw them first", m.ID, s.BalanceMinor, s.Currency)
		}
		if n := len(s.Outgoing); n > 0 {
			return reject("transfers_pending", "%d transfers from account %s have not ended: what is refunded comes back here", n, m.ID)
		}
		return accept(&account.AccountClosed{Reason: c.Reason})
	case *account.TransferMoney:
		return t.start(s, c, m)
	case *account.CheckTransfer:
		return check(s, c, m)
	case *account.CreditTransfer:
		return credit(s, c, m)
	case *account.CancelTransfer:
		return cancelLeg(s, c, m)
	case *account.ForgetTransfer:
		return forget(s, c, m)
	}
	return reject("unknown_command", "accounts have no rule for %s", c.AvroName())
}

// Business times that every store keeps as they are. ClickHouse's DateTime64 begins in 1900, and its nanoseconds, in which
// drivers count, end in April 2262.
const firstYear, lastYear = 1900, 2261

// timeInvalid says what is wrong with a business time; "" if nothing.
func timeInvalid(at time.Time) string {
	if year := at.UTC().Year(); year >= firstYear && year <= lastYear {
		return ""
	}
	return fmt.Sprintf("is %s: give one of the years %d to %d, or none for now", at.UTC().Format(time.RFC3339), firstYear, lastYear)
}

// texts are the texts of a command that its events repeat.
func texts(c account.Command) []string {
	switch c := c.(type) {
	case *account.OpenAccount:
		return []string{c.Owner}
	case *account.DepositMoney:
		return []string{c.Operation, c.Category, c.Counterparty}
	case *account.WithdrawMoney:
		return []string{c.Operation, c.Category, c.Counterparty}
	case *account.FreezeAccount:
		return []string{c.Reason}
	case *account.UnfreezeAccount:
		return []string{c.Reason}
	case *account.CloseAccount:
		return []string{c.Reason}
	case *account.TransferMoney:
		return []string{c.Category}
	}
	return nil
}

// mostMinor is the most that an account can hold, in minor units: up to here every reader of JSON keeps whole numbers exact
// (RFC 8259, section 6), and sums over a thousand such accounts stay within 64 bits.
const mostMinor = 1<<53 - 1

func open(s account.State, c *account.OpenAccount, m producer.Meta) decision {
	switch {
	case s.Status != "":
		return reject("account_exists", "account %s was opened before", m.ID)
	case c.Owner == "":
		return reject("owner_missing", "an account needs an owner")
	case !isCurrency(c.Currency):
		return reject("currency_invalid", "%q is no ISO 4217 code: give three capital letters", c.Currency)
	case c.InitialDepositMinor < 0:
		return reject("amount_invalid", "the initial deposit is %d: give 0 or more minor units", c.InitialDepositMinor)
	case c.InitialDepositMinor > mostMinor:
		return reject("amount_invalid", "the initial deposit is %d: an account can hold %d minor units", c.InitialDepositMinor, int64(mostMinor))
	}
	opened := &account.AccountOpened{Owner: c.Owner, Currency: c.Currency}
	if c.InitialDepositMinor == 0 {
		return accept(opened)
	}
	return accept(opened, &account.MoneyDeposited{
		AmountMinor: c.InitialDepositMinor, BalanceMinor: c.InitialDepositMinor, Currency: c.Currency,
	})
}

func deposit(s account.State, c *account.DepositMoney, m producer.Meta) decision {
	if refused, no := refuseMovement(s, c.AmountMinor, c.Currency, m); no {
		return refused
	}
	if c.AmountMinor > mostMinor-s.BalanceMinor {
		return reject("amount_invalid", "account %s can't hold %d minor units more: it can hold %d", m.ID, c.AmountMinor, int64(mostMinor))
	}
	return accept(&account.MoneyDeposited{
		AmountMinor: c.AmountMinor, BalanceMinor: s.BalanceMinor + c.AmountMinor, Currency: s.Currency,
		Operation: c.Operation, Category: c.Category, Counterparty: c.Counterparty,
	})
}

func withdraw(s account.State, c *account.WithdrawMoney, m producer.Meta) decision {
	if refused, no := refuseMovement(s, c.AmountMinor, c.Currency, m); no {
		return refused
	}
	if c.AmountMinor > s.BalanceMinor {
		return reject("insufficient_funds", "account %s holds %d minor units, %d were asked for", m.ID, s.BalanceMinor, c.AmountMinor)
	}
	return accept(&account.MoneyWithdrawn{
		AmountMinor: c.AmountMinor, BalanceMinor: s.BalanceMinor - c.AmountMinor, Currency: s.Currency,
		Operation: c.Operation, Category: c.Category, Counterparty: c.Counterparty,
	})
}

// refuseMovement holds the rules that deposits and withdrawals share.
func refuseMovement(s account.State, amount int64, currency string, m producer.Meta) (decision, bool) {
	switch {
	case s.Status != statusOpen:
		return unusable(s, m), true
	case amount <= 0:
		return reject("amount_invalid", "the amount is %d: give 1 or more minor units", amount), true
	case currency != "" && currency != s.Currency:
		return reject("currency_mismatch", "account %s is kept in %s, not in %s", m.ID, s.Currency, currency), true
	}
	return decision{}, false
}

// unusable refuses what needs an open account.
func unusable(s account.State, m producer.Meta) decision {
	switch s.Status {
	case statusFrozen:
		return reject("account_frozen", "account %s is frozen", m.ID)
	case statusClosed:
		return reject("account_closed", "account %s is closed", m.ID)
	}
	return reject("account_not_found", "account %s does not exist: open it first", m.ID)
}

func isCurrency(code string) bool {
	if len(code) != 3 {
		return false
	}
	for i := range len(code) {
		if code[i] < 'A' || code[i] > 'Z' {
			return false
		}
	}
	return true
}
