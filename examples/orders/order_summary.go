package main

import (
	_ "embed"
	"time"

	"github.com/ledgerline-es/ledgerline/projector"
	"github.com/ledgerline-es/ledgerline/projector/postgres"

	"github.com/ledgerline-es/ledgerline/examples/orders/schemas/order"
)

//go:embed order_summary.sql
var summaryTable string

// Summary keeps orders.order_summary in Postgres: a fold, one row for each order.
var Summary = projector.Fold[summaryRow, order.Event]{
	Name: "order-summary",
	From: order.Kind,
	Into: postgres.Table("orders", "order_summary", summaryTable,
		projector.Col("order_id", func(r *summaryRow) *string { return &r.ID }),
		projector.Col("customer", func(r *summaryRow) *string { return &r.Customer }),
		projector.Col("status", func(r *summaryRow) *string { return &r.Status }),
		projector.Col("currency", func(r *summaryRow) *string { return &r.Currency }),
		projector.Col("total_minor", func(r *summaryRow) *int64 { return &r.TotalMinor }),
		projector.Col("version", func(r *summaryRow) *int64 { return &r.Version }),
		projector.Col("placed_at", func(r *summaryRow) *time.Time { return &r.PlacedAt }),
		projector.Col("changed_at", func(r *summaryRow) *time.Time { return &r.ChangedAt }),
	),
	Apply: summarize,
}

type summaryRow struct {
	ID, Customer, Status, Currency string
	TotalMinor, Version            int64
	PlacedAt, ChangedAt            time.Time
}

// summarize brings a row up to date with one more event.
func summarize(r *summaryRow, e projector.Event[order.Event]) {
	r.Version, r.ChangedAt = e.Sequence, e.Time
	switch d := e.Data.(type) {
	case *order.OrderPlaced:
		r.Customer, r.Status, r.Currency, r.TotalMinor, r.PlacedAt = d.Customer, placed, d.Currency, d.TotalMinor, e.Time
	case *order.OrderPaid:
		r.Status = paid
	case *order.OrderShipped:
		r.Status = shipped
	case *order.OrderCancelled:
		r.Status = cancelled
	}
}
