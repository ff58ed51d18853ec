package main

import (
	_ "embed"
	"time"

	"github.com/ledgerline-es/ledgerline/projector"
	"github.com/ledgerline-es/ledgerline/projector/clickhouse"

	"github.com/ledgerline-es/ledgerline/examples/orders/schemas/order"
)

//go:embed order_lines.sql
var linesTable string

// Lines keeps orders.order_lines in ClickHouse: appended to, one row for each line, to ask questions of.
var Lines = projector.Append[lineRow, order.Event]{
	Name: "order-lines",
	From: order.Kind,
	Into: clickhouse.Table("orders", "order_lines", linesTable,
		projector.Col("order_id", func(r *lineRow) *string { return &r.ID }),
		projector.Col("line", func(r *lineRow) *int64 { return &r.Line }),
		projector.Col("customer", func(r *lineRow) *string { return &r.Customer }),
		projector.Col("sku", func(r *lineRow) *string { return &r.Sku }),
		projector.Col("quantity", func(r *lineRow) *int64 { return &r.Quantity }),
		projector.Col("unit_price_minor", func(r *lineRow) *int64 { return &r.UnitPriceMinor }),
		projector.Col("currency", func(r *lineRow) *string { return &r.Currency }),
		projector.Col("placed_at", func(r *lineRow) *time.Time { return &r.PlacedAt }),
	),
	Apply: itemize,
}

type lineRow struct {
	ID             string
	Line           int64
	Customer, Sku  string
	Quantity       int64
	UnitPriceMinor int64
	Currency       string
	PlacedAt       time.Time
}

// itemize gives the rows of one event; most events have none.
func itemize(e projector.Event[order.Event], emit func(lineRow)) {
	d, ok := e.Data.(*order.OrderPlaced)
	if !ok {
		return
	}
	for i, l := range d.Lines {
		emit(lineRow{
			ID: e.AggregateID, Line: int64(i + 1), Customer: d.Customer, Sku: l.Sku, Quantity: l.Quantity,
			UnitPriceMinor: l.UnitPriceMinor, Currency: d.Currency, PlacedAt: e.Time,
		})
	}
}
