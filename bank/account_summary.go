package bank

import (
	_ "embed"
	"time"

	"github.com/ledgerline-es/ledgerline/projector"
	"github.com/ledgerline-es/ledgerline/projector/postgres"
	"github.com/ledgerline-es/ledgerline/schemas/account"
)

//go:embed account_summary.sql
var accountSummaryTable string

// AccountSummary keeps bank.account_summary in Postgres: one row an account.
var AccountSummary = projector.Fold[accountSummaryRow, account.Event]{
	Name: "account-summary",
	From: account.Kind,
	Into: postgres.Table("bank", "account_summary", accountSummaryTable,
		projector.Col("account_id", func(r *accountSummaryRow) *string { return &r.AccountID }),
		projector.Col("owner", func(r *accountSummaryRow) *string { return &r.Owner }),
		projector.Col("currency", func(r *accountSummaryRow) *string { return &r.Currency }),
		projector.Col("status", func(r *accountSummaryRow) *string { return &r.Status }),
		projector.Col("balance_minor", func(r *accountSummaryRow) *int64 { return &r.BalanceMinor }),
		projector.Col("version", func(r *accountSummaryRow) *int64 { return &r.Version }),
		projector.Col("transaction_count", func(r *accountSummaryRow) *int64 { return &r.TransactionCount }),
		projector.Col("opened_at", func(r *accountSummaryRow) *time.Time { return &r.OpenedAt }),
		projector.Col("last_transaction_at", func(r *accountSummaryRow) **time.Time { return &r.LastTransactionAt }),
	),
	Apply: summarize,
}

type accountSummaryRow struct {
	AccountID         string
	Owner             string
	Currency          string
	Status            string
	BalanceMinor      int64
	Version           int64
	TransactionCount  int64
	OpenedAt          time.Time
	LastTransactionAt *time.Time
}

func summarize(r *accountSummaryRow, e projector.Event[account.Event]) {
	r.Version = e.Sequence
	switch d := e.Data.(type) {
	case *account.AccountOpened:
		r.Owner, r.Currency, r.Status, r.OpenedAt = d.Owner, d.Currency, statusOpen, e.Time
	case *account.MoneyDeposited:
		r.transaction(d.BalanceMinor, e.Time)
	case *account.MoneyWithdrawn:
		r.transaction(d.BalanceMinor, e.Time)
	case *account.AccountFrozen:
		r.Status = statusFrozen
	case *account.AccountUnfrozen:
		r.Status = statusOpen
	case *account.AccountClosed:
		r.Status = statusClosed
	}
}

func (r *accountSummaryRow) transaction(balanceMinor int64, at time.Time) {
	r.BalanceMinor = balanceMinor
	r.TransactionCount++
	r.LastTransactionAt = &at
}
