package bank

import (
	_ "embed"
	"time"

	"github.com/ledgerline-es/ledgerline/projector"
	"github.com/ledgerline-es/ledgerline/projector/clickhouse"
	"github.com/ledgerline-es/ledgerline/schemas/account"
)

//go:embed analytics.sql
var analyticsTable string

// Analytics keeps bank.account_events in ClickHouse: one row an event, to ask questions of.
var Analytics = projector.Append[accountEventRow, account.Event]{
	Name: "analytics",
	From: account.Kind,
	Into: clickhouse.Table("bank", "account_events", analyticsTable,
		projector.Col("aggregate_id", func(r *accountEventRow) *string { return &r.AggregateID }),
		projector.Col("sequence", func(r *accountEventRow) *int64 { return &r.Sequence }),
		projector.Col("type", func(r *accountEventRow) *string { return &r.Type }),
		projector.Col("amount_minor", func(r *accountEventRow) *int64 { return &r.AmountMinor }),
		projector.Col("balance_minor", func(r *accountEventRow) *int64 { return &r.BalanceMinor }),
		projector.Col("currency", func(r *accountEventRow) *string { return &r.Currency }),
		projector.Col("operation", func(r *accountEventRow) *string { return &r.Operation }),
		projector.Col("category", func(r *accountEventRow) *string { return &r.Category }),
		projector.Col("counterparty", func(r *accountEventRow) *string { return &r.Counterparty }),
		projector.Col("business_time", func(r *accountEventRow) *time.Time { return &r.BusinessTime }),
		projector.Col("recorded_at", func(r *accountEventRow) *time.Time { return &r.RecordedAt }),
	),
	Apply: func(e projector.Event[account.Event], emit func(accountEventRow)) {
		row := accountEventRow{AggregateID: e.AggregateID, Sequence: e.Sequence, Type: e.Type, BusinessTime: e.Time, RecordedAt: e.RecordedAt}
		if m, moved := moneyOf(e.Data); moved {
			row.money = m
		} else if opened, ok := e.Data.(*account.AccountOpened); ok {
			row.Currency = opened.Currency
		}
		emit(row)
	},
}

type accountEventRow struct {
	AggregateID string
	Sequence    int64
	Type        string
	money
	BusinessTime time.Time
	RecordedAt   time.Time
}
