package main

import (
	"math"

	"github.com/ledgerline-es/ledgerline/producer"

	"github.com/ledgerline-es/ledgerline/examples/orders/schemas/order"
)

// Order is the aggregate. Its rules are pure: what they need beside the state comes with the command.
var Order = producer.Aggregate[order.State, order.Command, order.Event]{
	Kind:   order.Kind,
	Evolve: evolve,
	Decide: decide,
}

// Where each order stands. The empty status is that of one that was never placed.
const (
	placed    = "placed"
	paid      = "paid"
	shipped   = "shipped"
	cancelled = "cancelled"
)

// evolve says what the state is after an event.
func evolve(s order.State, e order.Event) order.State {
	switch e := e.(type) {
	case *order.OrderPlaced:
		s.Status, s.Currency, s.TotalMinor = placed, e.Currency, e.TotalMinor
	case *order.OrderPaid:
		s.Status = paid
	case *order.OrderShipped:
		s.Status = shipped
	case *order.OrderCancelled:
		s.Status = cancelled
	}
	return s
}

type decision = producer.Decision[order.Event]

func accept(events ...order.Event) decision { return producer.Accept(events...) }

func reject(code, format string, args ...any) decision {
	return producer.Reject[order.Event](code, format, args...)
}

// decide says what a command leads to: events, or a refusal with a code that programs can rely on.
func decide(s order.State, c order.Command, m producer.Meta) decision {
	if place, ok := c.(*order.PlaceOrder); ok {
		if s.Status != "" {
			return reject("already_placed", "%s was placed before", m.ID)
		}
		return decidePlace(place)
	}
	if s.Status == "" {
		return reject("not_found", "%s was never placed", m.ID)
	}
	switch c := c.(type) {
	case *order.PayOrder:
		switch {
		case s.Status != placed:
			return reject("not_payable", "%s is %s", m.ID, s.Status)
		case c.AmountMinor != s.TotalMinor:
			return reject("amount_differs", "%s costs %d minor units of %s, %d were paid", m.ID, s.TotalMinor, s.Currency, c.AmountMinor)
		}
		return accept(&order.OrderPaid{AmountMinor: c.AmountMinor, Reference: c.Reference})
	case *order.ShipOrder:
		switch {
		case s.Status != paid:
			return reject("not_shippable", "%s is %s: only what is paid is shipped", m.ID, s.Status)
		case c.Carrier == "":
			return reject("carrier_missing", "say who carries %s", m.ID)
		}
		return accept(&order.OrderShipped{Carrier: c.Carrier, Tracking: c.Tracking})
	case *order.CancelOrder:
		switch s.Status {
		case placed:
			return accept(&order.OrderCancelled{Reason: c.Reason})
		case paid:
			return accept(&order.OrderCancelled{RefundMinor: s.TotalMinor, Reason: c.Reason})
		}
		return reject("not_cancellable", "%s is %s", m.ID, s.Status)
	}
	return reject("unknown_command", "there is no rule for %s", c.AvroName())
}

func decidePlace(c *order.PlaceOrder) decision {
	switch {
	case c.Customer == "":
		return reject("customer_missing", "say who the customer is")
	case len(c.Currency) != 3:
		return reject("currency_invalid", "%q is no ISO 4217 code: give three capital letters", c.Currency)
	case len(c.Lines) == 0:
		return reject("nothing_wanted", "give at least one line")
	}
	var total int64
	for i, l := range c.Lines {
		if l.Sku == "" || l.Quantity < 1 || l.UnitPriceMinor < 0 {
			return reject("line_invalid", "line %d needs a sku, a quantity above 0 and a price of 0 or more", i+1)
		}
		if l.UnitPriceMinor > 0 && l.Quantity > (math.MaxInt64-total)/l.UnitPriceMinor {
			return reject("line_invalid", "line %d makes the total larger than any amount", i+1)
		}
		total += l.Quantity * l.UnitPriceMinor
	}
	return accept(&order.OrderPlaced{Customer: c.Customer, Currency: c.Currency, Lines: c.Lines, TotalMinor: total})
}
