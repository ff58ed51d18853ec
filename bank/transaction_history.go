package bank

import (
	_ "embed"
	"time"

	"github.com/ledgerline-es/ledgerline/projector"
	"github.com/ledgerline-es/ledgerline/projector/postgres"
	"github.com/ledgerline-es/ledgerline/schemas/account"
)

//go:embed transaction_history.sql
var transactionHistoryTable string

// TransactionHistory keeps bank.account_transactions in Postgres: one row a deposit or withdrawal.
var TransactionHistory = projector.Append[transactionRow, account.Event]{
	Name: "transaction-history",
	From: account.Kind,
	Into: postgres.Table("bank", "account_transactions", transactionHistoryTable,
		projector.Col("account_id", func(r *transactionRow) *string { return &r.AccountID }),
		projector.Col("sequence", func(r *transactionRow) *int64 { return &r.Sequence }),
		projector.Col("type", func(r *transactionRow) *string { return &r.Type }),
		projector.Col("amount_minor", func(r *transactionRow) *int64 { return &r.AmountMinor }),
		projector.Col("balance_minor", func(r *transactionRow) *int64 { return &r.BalanceMinor }),
		projector.Col("currency", func(r *transactionRow) *string { return &r.Currency }),
		projector.Col("operation", func(r *transactionRow) *string { return &r.Operation }),
		projector.Col("category", func(r *transactionRow) *string { return &r.Category }),
		projector.Col("counterparty", func(r *transactionRow) *string { return &r.Counterparty }),
		projector.Col("business_time", func(r *transactionRow) *time.Time { return &r.BusinessTime }),
	),
	Apply: func(e projector.Event[account.Event], emit func(transactionRow)) {
		if m, moved := moneyOf(e.Data); moved {
			emit(transactionRow{AccountID: e.AggregateID, Sequence: e.Sequence, Type: e.Type, money: m, BusinessTime: e.Time})
		}
	},
}

type transactionRow struct {
	AccountID string
	Sequence  int64
	Type      string
	money
	BusinessTime time.Time
}

// money is what a deposit or a withdrawal says, as the stores keep it.
type money struct {
	AmountMinor  int64 // above 0 in, below 0 out
	BalanceMinor int64
	Currency     string
	Operation    string
	Category     string
	Counterparty string
}

// moneyOf is false for events that move none.
func moneyOf(e account.Event) (money, bool) {
	switch d := e.(type) {
	case *account.MoneyDeposited:
		return money{d.AmountMinor, d.BalanceMinor, d.Currency, d.Operation, d.Category, d.Counterparty}, true
	case *account.MoneyWithdrawn:
		return money{-d.AmountMinor, d.BalanceMinor, d.Currency, d.Operation, d.Category, d.Counterparty}, true
	default:
		return money{}, false
	}
}
