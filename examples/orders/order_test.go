package main

import (
	"testing"
	"time"

	"github.com/ledgerline-es/ledgerline/producer/producertest"
	"github.com/ledgerline-es/ledgerline/projector"

	"github.com/ledgerline-es/ledgerline/examples/orders/schemas/order"
)

func tea(quantity int64) []order.Line {
	return []order.Line{{Sku: "tea", Quantity: quantity, UnitPriceMinor: 450}}
}

var teaPlaced = &order.OrderPlaced{Customer: "ann", Currency: "EUR", Lines: tea(2), TotalMinor: 900}

func TestPlace(t *testing.T) {
	producertest.Given(Order).
		When(&order.PlaceOrder{Customer: "ann", Currency: "EUR", Lines: tea(2)}).
		Then(t, teaPlaced)
	producertest.Given(Order).
		When(&order.PlaceOrder{Customer: "ann", Currency: "EUR"}).
		Rejected(t, "nothing_wanted")
	producertest.Given(Order).
		When(&order.PlaceOrder{Customer: "ann", Currency: "EUR", Lines: tea(0)}).
		Rejected(t, "line_invalid")
	producertest.Given(Order, teaPlaced).
		When(&order.PlaceOrder{Customer: "ann", Currency: "EUR", Lines: tea(2)}).
		Rejected(t, "already_placed")
}

func TestPayAndShip(t *testing.T) {
	producertest.Given(Order, teaPlaced).
		When(&order.PayOrder{AmountMinor: 900}).
		Then(t, &order.OrderPaid{AmountMinor: 900})
	producertest.Given(Order, teaPlaced).
		When(&order.PayOrder{AmountMinor: 899}).
		Rejected(t, "amount_differs")
	producertest.Given(Order, teaPlaced).
		When(&order.ShipOrder{Carrier: "post"}).
		Rejected(t, "not_shippable")
	producertest.Given(Order, teaPlaced, &order.OrderPaid{AmountMinor: 900}).
		When(&order.ShipOrder{Carrier: "post"}).
		Then(t, &order.OrderShipped{Carrier: "post"})
	producertest.Given(Order).
		When(&order.PayOrder{AmountMinor: 900}).
		Rejected(t, "not_found")
}

func TestCancel(t *testing.T) {
	producertest.Given(Order, teaPlaced).
		When(&order.CancelOrder{}).
		Then(t, &order.OrderCancelled{})
	producertest.Given(Order, teaPlaced, &order.OrderPaid{AmountMinor: 900}).
		When(&order.CancelOrder{Reason: "late"}).
		Then(t, &order.OrderCancelled{RefundMinor: 900, Reason: "late"})
	producertest.Given(Order, teaPlaced, &order.OrderPaid{AmountMinor: 900}, &order.OrderShipped{Carrier: "post"}).
		When(&order.CancelOrder{}).
		Rejected(t, "not_cancellable")
}

func TestProjections(t *testing.T) {
	at := time.Date(2026, 1, 5, 9, 0, 0, 0, time.UTC)
	row := summaryRow{ID: "o1"}
	var lines []lineRow
	for i, e := range []order.Event{teaPlaced, &order.OrderPaid{AmountMinor: 900}} {
		event := projector.Event[order.Event]{AggregateID: "o1", Sequence: int64(i + 1), Time: at.Add(time.Duration(i) * time.Hour), Data: e}
		summarize(&row, event)
		itemize(event, func(r lineRow) { lines = append(lines, r) })
	}
	if want := (summaryRow{ID: "o1", Customer: "ann", Status: paid, Currency: "EUR", TotalMinor: 900, Version: 2, PlacedAt: at, ChangedAt: at.Add(time.Hour)}); row != want {
		t.Errorf("the summary is %+v, wanted %+v", row, want)
	}
	if want := (lineRow{ID: "o1", Line: 1, Customer: "ann", Sku: "tea", Quantity: 2, UnitPriceMinor: 450, Currency: "EUR", PlacedAt: at}); len(lines) != 1 || lines[0] != want {
		t.Errorf("the lines are %+v, wanted %+v", lines, want)
	}
}
