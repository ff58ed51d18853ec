// Code generated from this folder's .avsc files by ledgerline generate; DO NOT EDIT.

// Package order holds the records of the aggregate kind "order": the commands it takes, the events that are its
// history, and its state.
package order

import (
	"github.com/ledgerline-es/ledgerline/schemas"
)

// Kind describes the aggregate kind "order" to producer and projector.
var Kind = schemas.Kind[State, Command, Event]{
	Name: "order",
	State: schemas.StateType[State]{
		Name:   "orders.order.State",
		Schema: stateSchema,
		Record: func(s *State) schemas.Record { return s },
	},
	Commands: []schemas.Type[Command]{
		{Name: "orders.order.CancelOrder", Schema: cancelOrderSchema, New: func() Command { return new(CancelOrder) }},
		{Name: "orders.order.PayOrder", Schema: payOrderSchema, New: func() Command { return new(PayOrder) }},
		{Name: "orders.order.PlaceOrder", Schema: placeOrderSchema, New: func() Command { return new(PlaceOrder) }},
		{Name: "orders.order.ShipOrder", Schema: shipOrderSchema, New: func() Command { return new(ShipOrder) }},
	},
	Events: []schemas.Type[Event]{
		{Name: "orders.order.OrderCancelled", Schema: orderCancelledSchema, New: func() Event { return new(OrderCancelled) }},
		{Name: "orders.order.OrderPaid", Schema: orderPaidSchema, New: func() Event { return new(OrderPaid) }},
		{Name: "orders.order.OrderPlaced", Schema: orderPlacedSchema, New: func() Event { return new(OrderPlaced) }},
		{Name: "orders.order.OrderShipped", Schema: orderShippedSchema, New: func() Event { return new(OrderShipped) }},
	},
}

// Command is one command of this kind: *CancelOrder, *PayOrder, *PlaceOrder or *ShipOrder.
type Command interface {
	schemas.Record
	isCommand()
}

// Event is one event of this kind: *OrderCancelled, *OrderPaid, *OrderPlaced or *OrderShipped.
type Event interface {
	schemas.Record
	isEvent()
}

// State is what the rules need to know of the past. The empty state is that of an order never placed.
type State struct {
	// Where the order stands: empty (never placed), placed, paid, shipped or cancelled.
	Status string `avro:"status"`
	// ISO 4217 code of all its amounts.
	Currency string `avro:"currency"`
	// What it costs, in minor units of the currency.
	TotalMinor int64 `avro:"total_minor"`
}

// AvroName is orders.order.State.
func (*State) AvroName() string { return "orders.order.State" }

// CancelOrder takes back what was not shipped.
type CancelOrder struct {
	// Why.
	Reason string `avro:"reason"`
}

// AvroName is orders.order.CancelOrder.
func (*CancelOrder) AvroName() string { return "orders.order.CancelOrder" }

func (*CancelOrder) isCommand() {}

// PayOrder records that everything was paid.
type PayOrder struct {
	// What was paid, in minor units of the order's currency.
	AmountMinor int64 `avro:"amount_minor"`
	// The payment's own number, so that it can be found again.
	Reference string `avro:"reference"`
}

// AvroName is orders.order.PayOrder.
func (*PayOrder) AvroName() string { return "orders.order.PayOrder" }

func (*PayOrder) isCommand() {}

// PlaceOrder asks for articles in the name of a customer.
type PlaceOrder struct {
	// Who wants them.
	Customer string `avro:"customer"`
	// ISO 4217 code of the prices.
	Currency string `avro:"currency"`
	// What is wanted; at least one line.
	Lines []Line `avro:"lines"`
}

// AvroName is orders.order.PlaceOrder.
func (*PlaceOrder) AvroName() string { return "orders.order.PlaceOrder" }

func (*PlaceOrder) isCommand() {}

// ShipOrder sends what was paid on its way.
type ShipOrder struct {
	// Who carries it.
	Carrier string `avro:"carrier"`
	// The carrier's number of the parcel.
	Tracking string `avro:"tracking"`
}

// AvroName is orders.order.ShipOrder.
func (*ShipOrder) AvroName() string { return "orders.order.ShipOrder" }

func (*ShipOrder) isCommand() {}

// OrderCancelled says that the order was taken back.
type OrderCancelled struct {
	// What the customer gets back, in minor units: 0 unless it was paid.
	RefundMinor int64 `avro:"refund_minor"`
	// Why; empty if unsaid.
	Reason string `avro:"reason"`
}

// AvroName is orders.order.OrderCancelled.
func (*OrderCancelled) AvroName() string { return "orders.order.OrderCancelled" }

func (*OrderCancelled) isEvent() {}

// OrderPaid says that the order was paid in full.
type OrderPaid struct {
	// What was paid, in minor units.
	AmountMinor int64 `avro:"amount_minor"`
	// The payment's own number; empty if unsaid.
	Reference string `avro:"reference"`
}

// AvroName is orders.order.OrderPaid.
func (*OrderPaid) AvroName() string { return "orders.order.OrderPaid" }

func (*OrderPaid) isEvent() {}

// OrderPlaced says that a customer asked for articles.
type OrderPlaced struct {
	// Who wants them.
	Customer string `avro:"customer"`
	// ISO 4217 code of all amounts.
	Currency string `avro:"currency"`
	// What is wanted.
	Lines []Line `avro:"lines"`
	// What it costs, in minor units.
	TotalMinor int64 `avro:"total_minor"`
}

// AvroName is orders.order.OrderPlaced.
func (*OrderPlaced) AvroName() string { return "orders.order.OrderPlaced" }

func (*OrderPlaced) isEvent() {}

// OrderShipped says that the order is on its way.
type OrderShipped struct {
	// Who carries it.
	Carrier string `avro:"carrier"`
	// The carrier's number of the parcel; empty if unsaid.
	Tracking string `avro:"tracking"`
}

// AvroName is orders.order.OrderShipped.
func (*OrderShipped) AvroName() string { return "orders.order.OrderShipped" }

func (*OrderShipped) isEvent() {}

// Line is one article and how many of it.
type Line struct {
	// The shop's number of the article.
	Sku string `avro:"sku"`
	// How many; above 0.
	Quantity int64 `avro:"quantity"`
	// Price of one, in minor units of the order's currency; 0 or more.
	UnitPriceMinor int64 `avro:"unit_price_minor"`
}

const stateSchema = `{"type":"record","name":"State","namespace":"orders.order","doc":"State is what the rules need to know of the past. The empty state is that of an order never placed.","fields":[{"name":"status","type":"string","doc":"Where the order stands: empty (never placed), placed, paid, shipped or cancelled.","default":""},{"name":"currency","type":"string","doc":"ISO 4217 code of all its amounts.","default":""},{"name":"total_minor","type":"long","doc":"What it costs, in minor units of the currency.","default":0}]}`

const cancelOrderSchema = `{"type":"record","name":"CancelOrder","namespace":"orders.order","doc":"CancelOrder takes back what was not shipped.","fields":[{"name":"reason","type":"string","doc":"Why.","default":""}]}`

const payOrderSchema = `{"type":"record","name":"PayOrder","namespace":"orders.order","doc":"PayOrder records that everything was paid.","fields":[{"name":"amount_minor","type":"long","doc":"What was paid, in minor units of the order's currency."},{"name":"reference","type":"string","doc":"The payment's own number, so that it can be found again.","default":""}]}`

const placeOrderSchema = `{"type":"record","name":"PlaceOrder","namespace":"orders.order","doc":"PlaceOrder asks for articles in the name of a customer.","fields":[{"name":"customer","type":"string","doc":"Who wants them."},{"name":"currency","type":"string","doc":"ISO 4217 code of the prices."},{"name":"lines","type":{"type":"array","items":{"type":"record","name":"Line","doc":"Line is one article and how many of it.","fields":[{"name":"sku","type":"string","doc":"The shop's number of the article."},{"name":"quantity","type":"long","doc":"How many; above 0."},{"name":"unit_price_minor","type":"long","doc":"Price of one, in minor units of the order's currency; 0 or more."}]}},"doc":"What is wanted; at least one line."}]}`

const shipOrderSchema = `{"type":"record","name":"ShipOrder","namespace":"orders.order","doc":"ShipOrder sends what was paid on its way.","fields":[{"name":"carrier","type":"string","doc":"Who carries it."},{"name":"tracking","type":"string","doc":"The carrier's number of the parcel.","default":""}]}`

const orderCancelledSchema = `{"type":"record","name":"OrderCancelled","namespace":"orders.order","doc":"OrderCancelled says that the order was taken back.","fields":[{"name":"refund_minor","type":"long","doc":"What the customer gets back, in minor units: 0 unless it was paid.","default":0},{"name":"reason","type":"string","doc":"Why; empty if unsaid.","default":""}]}`

const orderPaidSchema = `{"type":"record","name":"OrderPaid","namespace":"orders.order","doc":"OrderPaid says that the order was paid in full.","fields":[{"name":"amount_minor","type":"long","doc":"What was paid, in minor units."},{"name":"reference","type":"string","doc":"The payment's own number; empty if unsaid.","default":""}]}`

const orderPlacedSchema = `{"type":"record","name":"OrderPlaced","namespace":"orders.order","doc":"OrderPlaced says that a customer asked for articles.","fields":[{"name":"customer","type":"string","doc":"Who wants them."},{"name":"currency","type":"string","doc":"ISO 4217 code of all amounts."},{"name":"lines","type":{"type":"array","items":{"type":"record","name":"Line","doc":"Line is one article and how many of it.","fields":[{"name":"sku","type":"string","doc":"The shop's number of the article."},{"name":"quantity","type":"long","doc":"How many; above 0."},{"name":"unit_price_minor","type":"long","doc":"Price of one, in minor units of the order's currency; 0 or more."}]}},"doc":"What is wanted."},{"name":"total_minor","type":"long","doc":"What it costs, in minor units."}]}`

const orderShippedSchema = `{"type":"record","name":"OrderShipped","namespace":"orders.order","doc":"OrderShipped says that the order is on its way.","fields":[{"name":"carrier","type":"string","doc":"Who carries it."},{"name":"tracking","type":"string","doc":"The carrier's number of the parcel; empty if unsaid.","default":""}]}`
