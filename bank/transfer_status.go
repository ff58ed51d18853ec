package bank

import (
	_ "embed"
	"time"

	"github.com/ledgerline-es/ledgerline/projector"
	"github.com/ledgerline-es/ledgerline/projector/postgres"
	"github.com/ledgerline-es/ledgerline/schemas/account"
)

//go:embed transfer_status.sql
var transferStatusTable string

// TransferStatus keeps bank.transfers in Postgres: one row a transfer. All events of one are its source account's.
var TransferStatus = projector.Fold[transferRow, account.Event]{
	Name: "transfer-status",
	From: account.Kind,
	Into: postgres.Table("bank", "transfers", transferStatusTable,
		projector.Col("transfer_id", func(r *transferRow) *string { return &r.TransferID }),
		projector.Col("source", func(r *transferRow) *string { return &r.Source }),
		projector.Col("target", func(r *transferRow) *string { return &r.Target }),
		projector.Col("amount_minor", func(r *transferRow) *int64 { return &r.AmountMinor }),
		projector.Col("currency", func(r *transferRow) *string { return &r.Currency }),
		projector.Col("status", func(r *transferRow) *string { return &r.Status }),
		projector.Col("reason", func(r *transferRow) *string { return &r.Reason }),
		projector.Col("started_at", func(r *transferRow) *time.Time { return &r.StartedAt }),
		projector.Col("stalled_at", func(r *transferRow) **time.Time { return &r.StalledAt }),
		projector.Col("ended_at", func(r *transferRow) **time.Time { return &r.EndedAt }),
	),
	Ignore: []string{
		(*account.AccountOpened)(nil).AvroName(), (*account.AccountClosed)(nil).AvroName(), (*account.AccountFrozen)(nil).AvroName(), (*account.AccountUnfrozen)(nil).AvroName(),
		(*account.MoneyDeposited)(nil).AvroName(), (*account.MoneyWithdrawn)(nil).AvroName(),
		(*account.TransferForgotten)(nil).AvroName(), (*account.TransferLegCancelled)(nil).AvroName(), // the target's
	},
	Key: func(e projector.Event[account.Event]) string {
		switch d := e.Data.(type) {
		case *account.TransferStarted:
			return transferID(e.AggregateID, e.Sequence)
		case *account.TransferStalled:
			return d.TransferID
		case *account.TransferCompleted:
			return d.TransferID
		case *account.TransferRefunded:
			return d.TransferID
		}
		return ""
	},
	Apply: func(r *transferRow, e projector.Event[account.Event]) {
		switch d := e.Data.(type) {
		case *account.TransferStarted:
			r.Source, r.Target, r.AmountMinor, r.Currency, r.Status, r.StartedAt = e.AggregateID, d.Target, d.AmountMinor, d.Currency, transferPending, e.Time
		case *account.TransferStalled:
			r.StalledAt = &e.Time
		case *account.TransferCompleted:
			r.Status, r.EndedAt = transferCompleted, &e.Time
		case *account.TransferRefunded:
			r.Status, r.Reason, r.EndedAt = transferRefunded, d.Reason, &e.Time
		}
	},
}

// How far a transfer has come.
const (
	transferPending   = "pending"
	transferCompleted = "completed"
	transferRefunded  = "refunded"
)

type transferRow struct {
	TransferID  string
	Source      string
	Target      string
	AmountMinor int64
	Currency    string
	Status      string
	Reason      string
	StartedAt   time.Time
	StalledAt   *time.Time
	EndedAt     *time.Time
}
