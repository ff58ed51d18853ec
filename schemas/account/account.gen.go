// Code generated from this folder's .avsc files by ledgerline generate; DO NOT EDIT.

// Package account holds the records of the aggregate kind "account": the commands it takes, the events that are its
// history, and its state.
package account

import (
	"github.com/ledgerline-es/ledgerline/schemas"
)

// Kind describes the aggregate kind "account" to producer and projector.
var Kind = schemas.Kind[State, Command, Event]{
	Name: "account",
	State: schemas.StateType[State]{
		Name:   "ledgerline.account.State",
		Schema: stateSchema,
		Record: func(s *State) schemas.Record { return s },
	},
	Commands: []schemas.Type[Command]{
		{Name: "ledgerline.account.CloseAccount", Schema: closeAccountSchema, New: func() Command { return new(CloseAccount) }},
		{Name: "ledgerline.account.DepositMoney", Schema: depositMoneySchema, New: func() Command { return new(DepositMoney) }},
		{Name: "ledgerline.account.FreezeAccount", Schema: freezeAccountSchema, New: func() Command { return new(FreezeAccount) }},
		{Name: "ledgerline.account.OpenAccount", Schema: openAccountSchema, New: func() Command { return new(OpenAccount) }},
		{Name: "ledgerline.account.UnfreezeAccount", Schema: unfreezeAccountSchema, New: func() Command { return new(UnfreezeAccount) }},
		{Name: "ledgerline.account.WithdrawMoney", Schema: withdrawMoneySchema, New: func() Command { return new(WithdrawMoney) }},
	},
	Events: []schemas.Type[Event]{
		{Name: "ledgerline.account.AccountClosed", Schema: accountClosedSchema, New: func() Event { return new(AccountClosed) }},
		{Name: "ledgerline.account.AccountFrozen", Schema: accountFrozenSchema, New: func() Event { return new(AccountFrozen) }},
		{Name: "ledgerline.account.AccountOpened", Schema: accountOpenedSchema, New: func() Event { return new(AccountOpened) }},
		{Name: "ledgerline.account.AccountUnfrozen", Schema: accountUnfrozenSchema, New: func() Event { return new(AccountUnfrozen) }},
		{Name: "ledgerline.account.MoneyDeposited", Schema: moneyDepositedSchema, New: func() Event { return new(MoneyDeposited) }},
		{Name: "ledgerline.account.MoneyWithdrawn", Schema: moneyWithdrawnSchema, New: func() Event { return new(MoneyWithdrawn) }},
	},
}

// Command is one command of this kind: *CloseAccount, *DepositMoney, *FreezeAccount, *OpenAccount, *UnfreezeAccount
// or *WithdrawMoney.
type Command interface {
	schemas.Record
	isCommand()
}

// Event is one event of this kind: *AccountClosed, *AccountFrozen, *AccountOpened, *AccountUnfrozen,
// *MoneyDeposited or *MoneyWithdrawn.
type Event interface {
	schemas.Record
	isEvent()
}

// State is what an account's rules need to know of its past. The empty state is an account that does not exist yet.
type State struct {
	// Where the account stands: empty (never opened), open, frozen or closed.
	Status string `avro:"status"`
	// Who owns the account.
	Owner string `avro:"owner"`
	// ISO 4217 code of the account; empty before it is opened.
	Currency string `avro:"currency"`
	// Balance in minor units of the currency.
	BalanceMinor int64 `avro:"balance_minor"`
}

// AvroName is ledgerline.account.State.
func (*State) AvroName() string { return "ledgerline.account.State" }

// CloseAccount ends an account whose balance is 0. Nothing follows it.
type CloseAccount struct {
	// Why, for the audit trail; empty if unsaid.
	Reason string `avro:"reason"`
}

// AvroName is ledgerline.account.CloseAccount.
func (*CloseAccount) AvroName() string { return "ledgerline.account.CloseAccount" }

func (*CloseAccount) isCommand() {}

// DepositMoney puts money into an open account.
type DepositMoney struct {
	// Amount in minor units of the currency, such as cents; above 0.
	AmountMinor int64 `avro:"amount_minor"`
	// ISO 4217 code the sender believes the account is in; empty means the account's own.
	Currency string `avro:"currency"`
	// How the money moved, in the bank's own words, such as cash or transfer; empty if unsaid.
	Operation string `avro:"operation"`
	// What the money was for, such as salary or rent; empty if unsaid.
	Category string `avro:"category"`
	// Who stands on the other side, such as a bank and account number; empty if unsaid.
	Counterparty string `avro:"counterparty"`
}

// AvroName is ledgerline.account.DepositMoney.
func (*DepositMoney) AvroName() string { return "ledgerline.account.DepositMoney" }

func (*DepositMoney) isCommand() {}

// FreezeAccount stops all deposits and withdrawals until the account is unfrozen.
type FreezeAccount struct {
	// Why, for the audit trail; empty if unsaid.
	Reason string `avro:"reason"`
}

// AvroName is ledgerline.account.FreezeAccount.
func (*FreezeAccount) AvroName() string { return "ledgerline.account.FreezeAccount" }

func (*FreezeAccount) isCommand() {}

// OpenAccount opens an account for an owner. The account's id is the record key.
type OpenAccount struct {
	// Who owns the account: a name or a customer number.
	Owner string `avro:"owner"`
	// ISO 4217 code of every amount on this account, such as EUR. It never changes.
	Currency string `avro:"currency"`
	// First deposit in minor units of the currency, such as cents; 0 for none. When above 0 a MoneyDeposited follows
	// the AccountOpened.
	InitialDepositMinor int64 `avro:"initial_deposit_minor"`
}

// AvroName is ledgerline.account.OpenAccount.
func (*OpenAccount) AvroName() string { return "ledgerline.account.OpenAccount" }

func (*OpenAccount) isCommand() {}

// UnfreezeAccount lets money move again on a frozen account.
type UnfreezeAccount struct {
	// Why, for the audit trail; empty if unsaid.
	Reason string `avro:"reason"`
}

// AvroName is ledgerline.account.UnfreezeAccount.
func (*UnfreezeAccount) AvroName() string { return "ledgerline.account.UnfreezeAccount" }

func (*UnfreezeAccount) isCommand() {}

// WithdrawMoney takes money out of an open account, never more than is there.
type WithdrawMoney struct {
	// Amount in minor units of the currency, such as cents; above 0.
	AmountMinor int64 `avro:"amount_minor"`
	// ISO 4217 code the sender believes the account is in; empty means the account's own.
	Currency string `avro:"currency"`
	// How the money moved, in the bank's own words, such as cash or transfer; empty if unsaid.
	Operation string `avro:"operation"`
	// What the money was for, such as salary or rent; empty if unsaid.
	Category string `avro:"category"`
	// Who stands on the other side, such as a bank and account number; empty if unsaid.
	Counterparty string `avro:"counterparty"`
}

// AvroName is ledgerline.account.WithdrawMoney.
func (*WithdrawMoney) AvroName() string { return "ledgerline.account.WithdrawMoney" }

func (*WithdrawMoney) isCommand() {}

// AccountClosed is the last event of an account.
type AccountClosed struct {
	// Why, as the command said; empty if it did not.
	Reason string `avro:"reason"`
}

// AvroName is ledgerline.account.AccountClosed.
func (*AccountClosed) AvroName() string { return "ledgerline.account.AccountClosed" }

func (*AccountClosed) isEvent() {}

// AccountFrozen says that no money moves on the account until it is unfrozen.
type AccountFrozen struct {
	// Why, as the command said; empty if it did not.
	Reason string `avro:"reason"`
}

// AvroName is ledgerline.account.AccountFrozen.
func (*AccountFrozen) AvroName() string { return "ledgerline.account.AccountFrozen" }

func (*AccountFrozen) isEvent() {}

// AccountOpened says that an account began, with a balance of 0.
type AccountOpened struct {
	// Who owns the account: a name or a customer number.
	Owner string `avro:"owner"`
	// ISO 4217 code of every amount on this account, such as EUR.
	Currency string `avro:"currency"`
}

// AvroName is ledgerline.account.AccountOpened.
func (*AccountOpened) AvroName() string { return "ledgerline.account.AccountOpened" }

func (*AccountOpened) isEvent() {}

// AccountUnfrozen says that money moves on the account again.
type AccountUnfrozen struct {
	// Why, as the command said; empty if it did not.
	Reason string `avro:"reason"`
}

// AvroName is ledgerline.account.AccountUnfrozen.
func (*AccountUnfrozen) AvroName() string { return "ledgerline.account.AccountUnfrozen" }

func (*AccountUnfrozen) isEvent() {}

// MoneyDeposited says that money came into the account.
type MoneyDeposited struct {
	// Amount deposited in minor units of the currency, such as cents; always above 0, the event's name gives the
	// direction.
	AmountMinor int64 `avro:"amount_minor"`
	// Balance after this event, in minor units of the currency.
	BalanceMinor int64 `avro:"balance_minor"`
	// ISO 4217 code of both amounts.
	Currency string `avro:"currency"`
	// How the money moved, in the bank's own words, such as cash or transfer; empty if unsaid.
	Operation string `avro:"operation"`
	// What the money was for, such as salary or rent; empty if unsaid.
	Category string `avro:"category"`
	// Who stands on the other side, such as a bank and account number; empty if unsaid.
	Counterparty string `avro:"counterparty"`
}

// AvroName is ledgerline.account.MoneyDeposited.
func (*MoneyDeposited) AvroName() string { return "ledgerline.account.MoneyDeposited" }

func (*MoneyDeposited) isEvent() {}

// MoneyWithdrawn says that money left the account.
type MoneyWithdrawn struct {
	// Amount withdrawn in minor units of the currency, such as cents; always above 0, the event's name gives the
	// direction.
	AmountMinor int64 `avro:"amount_minor"`
	// Balance after this event, in minor units of the currency.
	BalanceMinor int64 `avro:"balance_minor"`
	// ISO 4217 code of both amounts.
	Currency string `avro:"currency"`
	// How the money moved, in the bank's own words, such as cash or transfer; empty if unsaid.
	Operation string `avro:"operation"`
	// What the money was for, such as salary or rent; empty if unsaid.
	Category string `avro:"category"`
	// Who stands on the other side, such as a bank and account number; empty if unsaid.
	Counterparty string `avro:"counterparty"`
}

// AvroName is ledgerline.account.MoneyWithdrawn.
func (*MoneyWithdrawn) AvroName() string { return "ledgerline.account.MoneyWithdrawn" }

func (*MoneyWithdrawn) isEvent() {}

const stateSchema = `{"type":"record","name":"State","namespace":"ledgerline.account","doc":"State is what an account's rules need to know of its past. The empty state is an account that does not exist yet.","fields":[{"name":"status","type":"string","doc":"Where the account stands: empty (never opened), open, frozen or closed.","default":""},{"name":"owner","type":"string","doc":"Who owns the account.","default":""},{"name":"currency","type":"string","doc":"ISO 4217 code of the account; empty before it is opened.","default":""},{"name":"balance_minor","type":"long","doc":"Balance in minor units of the currency.","default":0}]}`

const closeAccountSchema = `{"type":"record","name":"CloseAccount","namespace":"ledgerline.account","doc":"CloseAccount ends an account whose balance is 0. Nothing follows it.","fields":[{"name":"reason","type":"string","doc":"Why, for the audit trail; empty if unsaid.","default":""}]}`

const depositMoneySchema = `{"type":"record","name":"DepositMoney","namespace":"ledgerline.account","doc":"DepositMoney puts money into an open account.","fields":[{"name":"amount_minor","type":"long","doc":"Amount in minor units of the currency, such as cents; above 0."},{"name":"currency","type":"string","doc":"ISO 4217 code the sender believes the account is in; empty means the account's own.","default":""},{"name":"operation","type":"string","doc":"How the money moved, in the bank's own words, such as cash or transfer; empty if unsaid.","default":""},{"name":"category","type":"string","doc":"What the money was for, such as salary or rent; empty if unsaid.","default":""},{"name":"counterparty","type":"string","doc":"Who stands on the other side, such as a bank and account number; empty if unsaid.","default":""}]}`

const freezeAccountSchema = `{"type":"record","name":"FreezeAccount","namespace":"ledgerline.account","doc":"FreezeAccount stops all deposits and withdrawals until the account is unfrozen.","fields":[{"name":"reason","type":"string","doc":"Why, for the audit trail; empty if unsaid.","default":""}]}`

const openAccountSchema = `{"type":"record","name":"OpenAccount","namespace":"ledgerline.account","doc":"OpenAccount opens an account for an owner. The account's id is the record key.","fields":[{"name":"owner","type":"string","doc":"Who owns the account: a name or a customer number."},{"name":"currency","type":"string","doc":"ISO 4217 code of every amount on this account, such as EUR. It never changes."},{"name":"initial_deposit_minor","type":"long","doc":"First deposit in minor units of the currency, such as cents; 0 for none. When above 0 a MoneyDeposited follows the AccountOpened.","default":0}]}`

const unfreezeAccountSchema = `{"type":"record","name":"UnfreezeAccount","namespace":"ledgerline.account","doc":"UnfreezeAccount lets money move again on a frozen account.","fields":[{"name":"reason","type":"string","doc":"Why, for the audit trail; empty if unsaid.","default":""}]}`

const withdrawMoneySchema = `{"type":"record","name":"WithdrawMoney","namespace":"ledgerline.account","doc":"WithdrawMoney takes money out of an open account, never more than is there.","fields":[{"name":"amount_minor","type":"long","doc":"Amount in minor units of the currency, such as cents; above 0."},{"name":"currency","type":"string","doc":"ISO 4217 code the sender believes the account is in; empty means the account's own.","default":""},{"name":"operation","type":"string","doc":"How the money moved, in the bank's own words, such as cash or transfer; empty if unsaid.","default":""},{"name":"category","type":"string","doc":"What the money was for, such as salary or rent; empty if unsaid.","default":""},{"name":"counterparty","type":"string","doc":"Who stands on the other side, such as a bank and account number; empty if unsaid.","default":""}]}`

const accountClosedSchema = `{"type":"record","name":"AccountClosed","namespace":"ledgerline.account","doc":"AccountClosed is the last event of an account.","fields":[{"name":"reason","type":"string","doc":"Why, as the command said; empty if it did not.","default":""}]}`

const accountFrozenSchema = `{"type":"record","name":"AccountFrozen","namespace":"ledgerline.account","doc":"AccountFrozen says that no money moves on the account until it is unfrozen.","fields":[{"name":"reason","type":"string","doc":"Why, as the command said; empty if it did not.","default":""}]}`

const accountOpenedSchema = `{"type":"record","name":"AccountOpened","namespace":"ledgerline.account","doc":"AccountOpened says that an account began, with a balance of 0.","fields":[{"name":"owner","type":"string","doc":"Who owns the account: a name or a customer number."},{"name":"currency","type":"string","doc":"ISO 4217 code of every amount on this account, such as EUR."}]}`

const accountUnfrozenSchema = `{"type":"record","name":"AccountUnfrozen","namespace":"ledgerline.account","doc":"AccountUnfrozen says that money moves on the account again.","fields":[{"name":"reason","type":"string","doc":"Why, as the command said; empty if it did not.","default":""}]}`

const moneyDepositedSchema = `{"type":"record","name":"MoneyDeposited","namespace":"ledgerline.account","doc":"MoneyDeposited says that money came into the account.","fields":[{"name":"amount_minor","type":"long","doc":"Amount deposited in minor units of the currency, such as cents; always above 0, the event's name gives the direction."},{"name":"balance_minor","type":"long","doc":"Balance after this event, in minor units of the currency."},{"name":"currency","type":"string","doc":"ISO 4217 code of both amounts."},{"name":"operation","type":"string","doc":"How the money moved, in the bank's own words, such as cash or transfer; empty if unsaid.","default":""},{"name":"category","type":"string","doc":"What the money was for, such as salary or rent; empty if unsaid.","default":""},{"name":"counterparty","type":"string","doc":"Who stands on the other side, such as a bank and account number; empty if unsaid.","default":""}]}`

const moneyWithdrawnSchema = `{"type":"record","name":"MoneyWithdrawn","namespace":"ledgerline.account","doc":"MoneyWithdrawn says that money left the account.","fields":[{"name":"amount_minor","type":"long","doc":"Amount withdrawn in minor units of the currency, such as cents; always above 0, the event's name gives the direction."},{"name":"balance_minor","type":"long","doc":"Balance after this event, in minor units of the currency."},{"name":"currency","type":"string","doc":"ISO 4217 code of both amounts."},{"name":"operation","type":"string","doc":"How the money moved, in the bank's own words, such as cash or transfer; empty if unsaid.","default":""},{"name":"category","type":"string","doc":"What the money was for, such as salary or rent; empty if unsaid.","default":""},{"name":"counterparty","type":"string","doc":"Who stands on the other side, such as a bank and account number; empty if unsaid.","default":""}]}`
