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
		{Name: "ledgerline.account.CancelTransfer", Schema: cancelTransferSchema, New: func() Command { return new(CancelTransfer) }},
		{Name: "ledgerline.account.CheckTransfer", Schema: checkTransferSchema, New: func() Command { return new(CheckTransfer) }},
		{Name: "ledgerline.account.CloseAccount", Schema: closeAccountSchema, New: func() Command { return new(CloseAccount) }},
		{Name: "ledgerline.account.CreditTransfer", Schema: creditTransferSchema, New: func() Command { return new(CreditTransfer) }},
		{Name: "ledgerline.account.DepositMoney", Schema: depositMoneySchema, New: func() Command { return new(DepositMoney) }},
		{Name: "ledgerline.account.ForgetTransfer", Schema: forgetTransferSchema, New: func() Command { return new(ForgetTransfer) }},
		{Name: "ledgerline.account.FreezeAccount", Schema: freezeAccountSchema, New: func() Command { return new(FreezeAccount) }},
		{Name: "ledgerline.account.OpenAccount", Schema: openAccountSchema, New: func() Command { return new(OpenAccount) }},
		{Name: "ledgerline.account.TransferMoney", Schema: transferMoneySchema, New: func() Command { return new(TransferMoney) }},
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
		{Name: "ledgerline.account.TransferCompleted", Schema: transferCompletedSchema, New: func() Event { return new(TransferCompleted) }},
		{Name: "ledgerline.account.TransferForgotten", Schema: transferForgottenSchema, New: func() Event { return new(TransferForgotten) }},
		{Name: "ledgerline.account.TransferLegCancelled", Schema: transferLegCancelledSchema, New: func() Event { return new(TransferLegCancelled) }},
		{Name: "ledgerline.account.TransferRefunded", Schema: transferRefundedSchema, New: func() Event { return new(TransferRefunded) }},
		{Name: "ledgerline.account.TransferStalled", Schema: transferStalledSchema, New: func() Event { return new(TransferStalled) }},
		{Name: "ledgerline.account.TransferStarted", Schema: transferStartedSchema, New: func() Event { return new(TransferStarted) }},
	},
}

// Command is one command of this kind: *CancelTransfer, *CheckTransfer, *CloseAccount, *CreditTransfer,
// *DepositMoney, *ForgetTransfer, *FreezeAccount, *OpenAccount, *TransferMoney, *UnfreezeAccount or *WithdrawMoney.
type Command interface {
	schemas.Record
	isCommand()
}

// Event is one event of this kind: *AccountClosed, *AccountFrozen, *AccountOpened, *AccountUnfrozen,
// *MoneyDeposited, *MoneyWithdrawn, *TransferCompleted, *TransferForgotten, *TransferLegCancelled,
// *TransferRefunded, *TransferStalled or *TransferStarted.
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
	// The day of the last transfer from here, in days since 1970-01-01.
	Day int32 `avro:"day"`
	// What transfers of that day come to that were not refunded, in minor units of the currency.
	TransferredMinor int64 `avro:"transferred_minor"`
	// Transfers from here that have not ended.
	Outgoing []OutgoingTransfer `avro:"outgoing"`
	// Transfers to here that paid and have not ended, and those that were cancelled.
	Incoming []IncomingTransfer `avro:"incoming"`
}

// AvroName is ledgerline.account.State.
func (*State) AvroName() string { return "ledgerline.account.State" }

// CancelTransfer asks the target of a transfer whose leg has no answer not to be paid any more: it is accepted, for
// ever, or rejected with transfer_applied. Only the source account sends it.
type CancelTransfer struct {
	// The transfer: <source account>:<sequence of its TransferStarted>.
	TransferID string `avro:"transfer_id"`
}

// AvroName is ledgerline.account.CancelTransfer.
func (*CancelTransfer) AvroName() string { return "ledgerline.account.CancelTransfer" }

func (*CancelTransfer) isCommand() {}

// CheckTransfer is what the source account tells itself some time after a transfer began: if no answer has come,
// somebody should know, and the leg is to be cancelled.
type CheckTransfer struct {
	// The transfer: <source account>:<sequence of its TransferStarted>.
	TransferID string `avro:"transfer_id"`
}

// AvroName is ledgerline.account.CheckTransfer.
func (*CheckTransfer) AvroName() string { return "ledgerline.account.CheckTransfer" }

func (*CheckTransfer) isCommand() {}

// CloseAccount ends an account whose balance is 0. Nothing follows it.
type CloseAccount struct {
	// Why, for the audit trail; empty if unsaid.
	Reason string `avro:"reason"`
}

// AvroName is ledgerline.account.CloseAccount.
func (*CloseAccount) AvroName() string { return "ledgerline.account.CloseAccount" }

func (*CloseAccount) isCommand() {}

// CreditTransfer is the leg of a transfer that pays the target. Only the source account sends it.
type CreditTransfer struct {
	// The transfer: <source account>:<sequence of its TransferStarted>.
	TransferID string `avro:"transfer_id"`
	// Amount in minor units of the currency, such as cents; above 0.
	AmountMinor int64 `avro:"amount_minor"`
	// ISO 4217 code of the amount.
	Currency string `avro:"currency"`
	// What the money is for; empty if unsaid.
	Category string `avro:"category"`
}

// AvroName is ledgerline.account.CreditTransfer.
func (*CreditTransfer) AvroName() string { return "ledgerline.account.CreditTransfer" }

func (*CreditTransfer) isCommand() {}

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

// ForgetTransfer tells the target of a transfer that it has ended: no leg of it comes any more. Only the source
// account sends it.
type ForgetTransfer struct {
	// The transfer: <source account>:<sequence of its TransferStarted>.
	TransferID string `avro:"transfer_id"`
}

// AvroName is ledgerline.account.ForgetTransfer.
func (*ForgetTransfer) AvroName() string { return "ledgerline.account.ForgetTransfer" }

func (*ForgetTransfer) isCommand() {}

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

// TransferMoney pays another account of the bank out of this one. Its reply says that the transfer has begun; what
// becomes of it, its events say.
type TransferMoney struct {
	// Id of the account that is paid.
	Target string `avro:"target"`
	// Amount in minor units of the currency, such as cents; above 0.
	AmountMinor int64 `avro:"amount_minor"`
	// ISO 4217 code the sender believes the account is in; empty means the account's own. Both accounts must be in it.
	Currency string `avro:"currency"`
	// What the money is for, such as salary or rent; empty if unsaid.
	Category string `avro:"category"`
}

// AvroName is ledgerline.account.TransferMoney.
func (*TransferMoney) AvroName() string { return "ledgerline.account.TransferMoney" }

func (*TransferMoney) isCommand() {}

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
	// The transfer that moved the money; empty if none did.
	TransferID string `avro:"transfer_id"`
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
	// The transfer that moved the money; empty if none did.
	TransferID string `avro:"transfer_id"`
}

// AvroName is ledgerline.account.MoneyWithdrawn.
func (*MoneyWithdrawn) AvroName() string { return "ledgerline.account.MoneyWithdrawn" }

func (*MoneyWithdrawn) isEvent() {}

// TransferCompleted says that the target of a transfer was paid.
type TransferCompleted struct {
	// The transfer: <source account>:<sequence of its TransferStarted>.
	TransferID string `avro:"transfer_id"`
}

// AvroName is ledgerline.account.TransferCompleted.
func (*TransferCompleted) AvroName() string { return "ledgerline.account.TransferCompleted" }

func (*TransferCompleted) isEvent() {}

// TransferForgotten says that this account, which was paid by a transfer, need not know it any more: it has ended.
type TransferForgotten struct {
	// The transfer: <source account>:<sequence of its TransferStarted>.
	TransferID string `avro:"transfer_id"`
}

// AvroName is ledgerline.account.TransferForgotten.
func (*TransferForgotten) AvroName() string { return "ledgerline.account.TransferForgotten" }

func (*TransferForgotten) isEvent() {}

// TransferLegCancelled says that this account is not paid by a transfer, and never will be, whatever comes late.
type TransferLegCancelled struct {
	// The transfer: <source account>:<sequence of its TransferStarted>.
	TransferID string `avro:"transfer_id"`
}

// AvroName is ledgerline.account.TransferLegCancelled.
func (*TransferLegCancelled) AvroName() string { return "ledgerline.account.TransferLegCancelled" }

func (*TransferLegCancelled) isEvent() {}

// TransferRefunded says that the target of a transfer was not paid and never will be. The account's MoneyDeposited
// follows it.
type TransferRefunded struct {
	// The transfer: <source account>:<sequence of its TransferStarted>.
	TransferID string `avro:"transfer_id"`
	// Stable code of the rule by which the target refused, such as account_closed; cancelled when it gave no answer in
	// time.
	Reason string `avro:"reason"`
}

// AvroName is ledgerline.account.TransferRefunded.
func (*TransferRefunded) AvroName() string { return "ledgerline.account.TransferRefunded" }

func (*TransferRefunded) isEvent() {}

// TransferStalled says that no answer of a transfer's target has come for some time. The transfer goes on: its leg
// is being cancelled.
type TransferStalled struct {
	// The transfer: <source account>:<sequence of its TransferStarted>.
	TransferID string `avro:"transfer_id"`
}

// AvroName is ledgerline.account.TransferStalled.
func (*TransferStalled) AvroName() string { return "ledgerline.account.TransferStalled" }

func (*TransferStalled) isEvent() {}

// TransferStarted says that a transfer to another account has begun. The account's MoneyWithdrawn follows it. The
// transfer's id is <account>:<sequence of this event>.
type TransferStarted struct {
	// Id of the account that is to be paid.
	Target string `avro:"target"`
	// Amount in minor units of the currency, such as cents; always above 0.
	AmountMinor int64 `avro:"amount_minor"`
	// ISO 4217 code of the amount.
	Currency string `avro:"currency"`
	// The day of the transfer's business time, UTC, in days since 1970-01-01: the daily limit counts by it.
	Day int32 `avro:"day"`
	// What transfers of that day come to, this one included, in minor units of the currency.
	TransferredMinor int64 `avro:"transferred_minor"`
}

// AvroName is ledgerline.account.TransferStarted.
func (*TransferStarted) AvroName() string { return "ledgerline.account.TransferStarted" }

func (*TransferStarted) isEvent() {}

// OutgoingTransfer is a transfer from here that has not ended.
type OutgoingTransfer struct {
	// The transfer.
	TransferID string `avro:"transfer_id"`
	// Who is to be paid.
	Target string `avro:"target"`
	// Amount in minor units of the currency.
	AmountMinor int64 `avro:"amount_minor"`
	// The day to whose limit it counts.
	Day int32 `avro:"day"`
	// No answer came in time.
	Stalled bool `avro:"stalled"`
}

// IncomingTransfer is a transfer to here whose leg could come again.
type IncomingTransfer struct {
	// The transfer.
	TransferID string `avro:"transfer_id"`
	// It was cancelled before it could pay; else it has paid.
	Cancelled bool `avro:"cancelled"`
}

const stateSchema = `{"type":"record","name":"State","namespace":"ledgerline.account","doc":"State is what an account's rules need to know of its past. The empty state is an account that does not exist yet.","fields":[{"name":"status","type":"string","doc":"Where the account stands: empty (never opened), open, frozen or closed.","default":""},{"name":"owner","type":"string","doc":"Who owns the account.","default":""},{"name":"currency","type":"string","doc":"ISO 4217 code of the account; empty before it is opened.","default":""},{"name":"balance_minor","type":"long","doc":"Balance in minor units of the currency.","default":0},{"name":"day","type":"int","doc":"The day of the last transfer from here, in days since 1970-01-01.","default":0},{"name":"transferred_minor","type":"long","doc":"What transfers of that day come to that were not refunded, in minor units of the currency.","default":0},{"name":"outgoing","type":{"type":"array","items":{"type":"record","name":"OutgoingTransfer","doc":"OutgoingTransfer is a transfer from here that has not ended.","fields":[{"name":"transfer_id","type":"string","doc":"The transfer."},{"name":"target","type":"string","doc":"Who is to be paid."},{"name":"amount_minor","type":"long","doc":"Amount in minor units of the currency."},{"name":"day","type":"int","doc":"The day to whose limit it counts."},{"name":"stalled","type":"boolean","doc":"No answer came in time."}]}},"doc":"Transfers from here that have not ended.","default":[]},{"name":"incoming","type":{"type":"array","items":{"type":"record","name":"IncomingTransfer","doc":"IncomingTransfer is a transfer to here whose leg could come again.","fields":[{"name":"transfer_id","type":"string","doc":"The transfer."},{"name":"cancelled","type":"boolean","doc":"It was cancelled before it could pay; else it has paid."}]}},"doc":"Transfers to here that paid and have not ended, and those that were cancelled.","default":[]}]}`

const cancelTransferSchema = `{"type":"record","name":"CancelTransfer","namespace":"ledgerline.account","doc":"CancelTransfer asks the target of a transfer whose leg has no answer not to be paid any more: it is accepted, for ever, or rejected with transfer_applied. Only the source account sends it.","fields":[{"name":"transfer_id","type":"string","doc":"The transfer: <source account>:<sequence of its TransferStarted>."}]}`

const checkTransferSchema = `{"type":"record","name":"CheckTransfer","namespace":"ledgerline.account","doc":"CheckTransfer is what the source account tells itself some time after a transfer began: if no answer has come, somebody should know, and the leg is to be cancelled.","fields":[{"name":"transfer_id","type":"string","doc":"The transfer: <source account>:<sequence of its TransferStarted>."}]}`

const closeAccountSchema = `{"type":"record","name":"CloseAccount","namespace":"ledgerline.account","doc":"CloseAccount ends an account whose balance is 0. Nothing follows it.","fields":[{"name":"reason","type":"string","doc":"Why, for the audit trail; empty if unsaid.","default":""}]}`

const creditTransferSchema = `{"type":"record","name":"CreditTransfer","namespace":"ledgerline.account","doc":"CreditTransfer is the leg of a transfer that pays the target. Only the source account sends it.","fields":[{"name":"transfer_id","type":"string","doc":"The transfer: <source account>:<sequence of its TransferStarted>."},{"name":"amount_minor","type":"long","doc":"Amount in minor units of the currency, such as cents; above 0."},{"name":"currency","type":"string","doc":"ISO 4217 code of the amount."},{"name":"category","type":"string","doc":"What the money is for; empty if unsaid.","default":""}]}`

const depositMoneySchema = `{"type":"record","name":"DepositMoney","namespace":"ledgerline.account","doc":"DepositMoney puts money into an open account.","fields":[{"name":"amount_minor","type":"long","doc":"Amount in minor units of the currency, such as cents; above 0."},{"name":"currency","type":"string","doc":"ISO 4217 code the sender believes the account is in; empty means the account's own.","default":""},{"name":"operation","type":"string","doc":"How the money moved, in the bank's own words, such as cash or transfer; empty if unsaid.","default":""},{"name":"category","type":"string","doc":"What the money was for, such as salary or rent; empty if unsaid.","default":""},{"name":"counterparty","type":"string","doc":"Who stands on the other side, such as a bank and account number; empty if unsaid.","default":""}]}`

const forgetTransferSchema = `{"type":"record","name":"ForgetTransfer","namespace":"ledgerline.account","doc":"ForgetTransfer tells the target of a transfer that it has ended: no leg of it comes any more. Only the source account sends it.","fields":[{"name":"transfer_id","type":"string","doc":"The transfer: <source account>:<sequence of its TransferStarted>."}]}`

const freezeAccountSchema = `{"type":"record","name":"FreezeAccount","namespace":"ledgerline.account","doc":"FreezeAccount stops all deposits and withdrawals until the account is unfrozen.","fields":[{"name":"reason","type":"string","doc":"Why, for the audit trail; empty if unsaid.","default":""}]}`

const openAccountSchema = `{"type":"record","name":"OpenAccount","namespace":"ledgerline.account","doc":"OpenAccount opens an account for an owner. The account's id is the record key.","fields":[{"name":"owner","type":"string","doc":"Who owns the account: a name or a customer number."},{"name":"currency","type":"string","doc":"ISO 4217 code of every amount on this account, such as EUR. It never changes."},{"name":"initial_deposit_minor","type":"long","doc":"First deposit in minor units of the currency, such as cents; 0 for none. When above 0 a MoneyDeposited follows the AccountOpened.","default":0}]}`

const transferMoneySchema = `{"type":"record","name":"TransferMoney","namespace":"ledgerline.account","doc":"TransferMoney pays another account of the bank out of this one. Its reply says that the transfer has begun; what becomes of it, its events say.","fields":[{"name":"target","type":"string","doc":"Id of the account that is paid."},{"name":"amount_minor","type":"long","doc":"Amount in minor units of the currency, such as cents; above 0."},{"name":"currency","type":"string","doc":"ISO 4217 code the sender believes the account is in; empty means the account's own. Both accounts must be in it.","default":""},{"name":"category","type":"string","doc":"What the money is for, such as salary or rent; empty if unsaid.","default":""}]}`

const unfreezeAccountSchema = `{"type":"record","name":"UnfreezeAccount","namespace":"ledgerline.account","doc":"UnfreezeAccount lets money move again on a frozen account.","fields":[{"name":"reason","type":"string","doc":"Why, for the audit trail; empty if unsaid.","default":""}]}`

const withdrawMoneySchema = `{"type":"record","name":"WithdrawMoney","namespace":"ledgerline.account","doc":"WithdrawMoney takes money out of an open account, never more than is there.","fields":[{"name":"amount_minor","type":"long","doc":"Amount in minor units of the currency, such as cents; above 0."},{"name":"currency","type":"string","doc":"ISO 4217 code the sender believes the account is in; empty means the account's own.","default":""},{"name":"operation","type":"string","doc":"How the money moved, in the bank's own words, such as cash or transfer; empty if unsaid.","default":""},{"name":"category","type":"string","doc":"What the money was for, such as salary or rent; empty if unsaid.","default":""},{"name":"counterparty","type":"string","doc":"Who stands on the other side, such as a bank and account number; empty if unsaid.","default":""}]}`

const accountClosedSchema = `{"type":"record","name":"AccountClosed","namespace":"ledgerline.account","doc":"AccountClosed is the last event of an account.","fields":[{"name":"reason","type":"string","doc":"Why, as the command said; empty if it did not.","default":""}]}`

const accountFrozenSchema = `{"type":"record","name":"AccountFrozen","namespace":"ledgerline.account","doc":"AccountFrozen says that no money moves on the account until it is unfrozen.","fields":[{"name":"reason","type":"string","doc":"Why, as the command said; empty if it did not.","default":""}]}`

const accountOpenedSchema = `{"type":"record","name":"AccountOpened","namespace":"ledgerline.account","doc":"AccountOpened says that an account began, with a balance of 0.","fields":[{"name":"owner","type":"string","doc":"Who owns the account: a name or a customer number."},{"name":"currency","type":"string","doc":"ISO 4217 code of every amount on this account, such as EUR."}]}`

const accountUnfrozenSchema = `{"type":"record","name":"AccountUnfrozen","namespace":"ledgerline.account","doc":"AccountUnfrozen says that money moves on the account again.","fields":[{"name":"reason","type":"string","doc":"Why, as the command said; empty if it did not.","default":""}]}`

const moneyDepositedSchema = `{"type":"record","name":"MoneyDeposited","namespace":"ledgerline.account","doc":"MoneyDeposited says that money came into the account.","fields":[{"name":"amount_minor","type":"long","doc":"Amount deposited in minor units of the currency, such as cents; always above 0, the event's name gives the direction."},{"name":"balance_minor","type":"long","doc":"Balance after this event, in minor units of the currency."},{"name":"currency","type":"string","doc":"ISO 4217 code of both amounts."},{"name":"operation","type":"string","doc":"How the money moved, in the bank's own words, such as cash or transfer; empty if unsaid.","default":""},{"name":"category","type":"string","doc":"What the money was for, such as salary or rent; empty if unsaid.","default":""},{"name":"counterparty","type":"string","doc":"Who stands on the other side, such as a bank and account number; empty if unsaid.","default":""},{"name":"transfer_id","type":"string","doc":"The transfer that moved the money; empty if none did.","default":""}]}`

const moneyWithdrawnSchema = `{"type":"record","name":"MoneyWithdrawn","namespace":"ledgerline.account","doc":"MoneyWithdrawn says that money left the account.","fields":[{"name":"amount_minor","type":"long","doc":"Amount withdrawn in minor units of the currency, such as cents; always above 0, the event's name gives the direction."},{"name":"balance_minor","type":"long","doc":"Balance after this event, in minor units of the currency."},{"name":"currency","type":"string","doc":"ISO 4217 code of both amounts."},{"name":"operation","type":"string","doc":"How the money moved, in the bank's own words, such as cash or transfer; empty if unsaid.","default":""},{"name":"category","type":"string","doc":"What the money was for, such as salary or rent; empty if unsaid.","default":""},{"name":"counterparty","type":"string","doc":"Who stands on the other side, such as a bank and account number; empty if unsaid.","default":""},{"name":"transfer_id","type":"string","doc":"The transfer that moved the money; empty if none did.","default":""}]}`

const transferCompletedSchema = `{"type":"record","name":"TransferCompleted","namespace":"ledgerline.account","doc":"TransferCompleted says that the target of a transfer was paid.","fields":[{"name":"transfer_id","type":"string","doc":"The transfer: <source account>:<sequence of its TransferStarted>."}]}`

const transferForgottenSchema = `{"type":"record","name":"TransferForgotten","namespace":"ledgerline.account","doc":"TransferForgotten says that this account, which was paid by a transfer, need not know it any more: it has ended.","fields":[{"name":"transfer_id","type":"string","doc":"The transfer: <source account>:<sequence of its TransferStarted>."}]}`

const transferLegCancelledSchema = `{"type":"record","name":"TransferLegCancelled","namespace":"ledgerline.account","doc":"TransferLegCancelled says that this account is not paid by a transfer, and never will be, whatever comes late.","fields":[{"name":"transfer_id","type":"string","doc":"The transfer: <source account>:<sequence of its TransferStarted>."}]}`

const transferRefundedSchema = `{"type":"record","name":"TransferRefunded","namespace":"ledgerline.account","doc":"TransferRefunded says that the target of a transfer was not paid and never will be. The account's MoneyDeposited follows it.","fields":[{"name":"transfer_id","type":"string","doc":"The transfer: <source account>:<sequence of its TransferStarted>."},{"name":"reason","type":"string","doc":"Stable code of the rule by which the target refused, such as account_closed; cancelled when it gave no answer in time."}]}`

const transferStalledSchema = `{"type":"record","name":"TransferStalled","namespace":"ledgerline.account","doc":"TransferStalled says that no answer of a transfer's target has come for some time. The transfer goes on: its leg is being cancelled.","fields":[{"name":"transfer_id","type":"string","doc":"The transfer: <source account>:<sequence of its TransferStarted>."}]}`

const transferStartedSchema = `{"type":"record","name":"TransferStarted","namespace":"ledgerline.account","doc":"TransferStarted says that a transfer to another account has begun. The account's MoneyWithdrawn follows it. The transfer's id is <account>:<sequence of this event>.","fields":[{"name":"target","type":"string","doc":"Id of the account that is to be paid."},{"name":"amount_minor","type":"long","doc":"Amount in minor units of the currency, such as cents; always above 0."},{"name":"currency","type":"string","doc":"ISO 4217 code of the amount."},{"name":"day","type":"int","doc":"The day of the transfer's business time, UTC, in days since 1970-01-01: the daily limit counts by it."},{"name":"transferred_minor","type":"long","doc":"What transfers of that day come to, this one included, in minor units of the currency."}]}`
