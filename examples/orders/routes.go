package main

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/jackc/pgx/v5"

	"github.com/ledgerline-es/ledgerline/api"
	"github.com/ledgerline-es/ledgerline/producer"

	"github.com/ledgerline-es/ledgerline/examples/orders/schemas/order"
)

// routes registers the HTTP operations: one that writes for each command, and one that reads.
func routes(a *api.API) error {
	summary, err := a.Projection(Summary.Name)
	if err != nil {
		return err
	}
	cache := api.NewCache(summary, "summaries", summaryQuery, readSummary, func(s summaryBody) int64 { return s.Version })
	a.CommandsAt(order.Kind.Name, "/orders/{id}/commands/{command_id}")

	place := huma.Operation{
		OperationID: "place", Method: http.MethodPost, Path: "/orders", DefaultStatus: http.StatusCreated, Summary: "Place one",
		Description: "The id is made from the Idempotency-Key when there is one: the same request meets the same order.",
	}
	huma.Register(a.Huma(), place, func(ctx context.Context, in *placeInput) (*placeOutput, error) {
		id := in.NewID(ctx)
		command := &order.PlaceOrder{Customer: in.Body.Customer, Currency: in.Body.Currency}
		for _, l := range in.Body.Lines {
			command.Lines = append(command.Lines, order.Line{Sku: l.Sku, Quantity: l.Quantity, UnitPriceMinor: l.UnitPriceMinor})
		}
		receipt, err := a.Submit(ctx, order.Kind.Name, in.Write, producer.Command{AggregateID: id, Record: command})
		if err != nil {
			return nil, err
		}
		out := &placeOutput{Location: "/orders/" + id}
		out.Body.OrderID, out.Body.Version = id, receipt.Version
		return out, nil
	})

	change(a, "pay", "Pay all of it", func(b payBody) order.Command {
		return &order.PayOrder{AmountMinor: b.AmountMinor, Reference: b.Reference}
	})
	change(a, "ship", "Hand it to a carrier", func(b shipBody) order.Command {
		return &order.ShipOrder{Carrier: b.Carrier, Tracking: b.Tracking}
	})
	change(a, "cancel", "Call it off", func(b cancelBody) order.Command {
		return &order.CancelOrder{Reason: b.Reason}
	})

	look := huma.Operation{OperationID: "summary", Method: http.MethodGet, Path: "/orders/{id}", Summary: "Where it stands"}
	huma.Register(a.Huma(), look, func(ctx context.Context, in *summaryInput) (*summaryOutput, error) {
		found, ok, err := cache.Get(ctx, in.ID, in.Read)
		switch {
		case err != nil:
			return nil, err
		case !ok:
			return nil, api.NewProblem(http.StatusNotFound, "not_found", "there is no order %s", in.ID)
		}
		return &summaryOutput{found.Value}, nil
	})
	return nil
}

// change registers the operation of a command to one that was placed: POST /orders/{id}/VERB.
func change[Body any](a *api.API, verb, summary string, command func(Body) order.Command) {
	operation := huma.Operation{OperationID: verb, Method: http.MethodPost, Path: "/orders/{id}/" + verb, Summary: summary}
	huma.Register(a.Huma(), operation, func(ctx context.Context, in *changeInput[Body]) (*changeOutput, error) {
		receipt, err := a.Submit(ctx, order.Kind.Name, in.Write, producer.Command{AggregateID: in.ID, Record: command(in.Body)})
		if err != nil {
			return nil, err
		}
		out := &changeOutput{}
		out.Body.OrderID, out.Body.Version = in.ID, receipt.Version
		return out, nil
	})
}

type changeInput[Body any] struct {
	api.Write

	ID   string `path:"id" maxLength:"128"`
	Body Body
}

type changeOutput struct {
	Body struct {
		OrderID string `json:"order_id"`
		Version int64  `json:"version"`
	}
}

type payBody struct {
	AmountMinor int64  `json:"amount_minor" example:"900" doc:"what it costs, in minor units of its currency"`
	Reference   string `json:"reference,omitempty" doc:"of the payment"`
}

type shipBody struct {
	Carrier  string `json:"carrier" example:"post"`
	Tracking string `json:"tracking,omitempty"`
}

type cancelBody struct {
	Reason string `json:"reason,omitempty"`
}

type placeInput struct {
	api.Write

	Body struct {
		Customer string `json:"customer" example:"ann"`
		Currency string `json:"currency" example:"EUR" doc:"ISO 4217"`
		Lines    []struct {
			Sku            string `json:"sku" example:"tea"`
			Quantity       int64  `json:"quantity" example:"2"`
			UnitPriceMinor int64  `json:"unit_price_minor" example:"450" doc:"in minor units of the currency"`
		} `json:"lines"`
	}
}

type placeOutput struct {
	Location string `header:"Location"`
	Body     struct {
		OrderID string `json:"order_id"`
		Version int64  `json:"version"`
	}
}

type summaryInput struct {
	api.Read

	ID string `path:"id" maxLength:"128"`
}

type summaryOutput struct{ Body summaryBody }

const summaryQuery = `SELECT order_id, customer, status, currency, total_minor, version, placed_at FROM orders.order_summary WHERE order_id = $1`

type summaryBody struct {
	OrderID    string   `json:"order_id"`
	Customer   string   `json:"customer"`
	Status     string   `json:"status" enum:"placed,paid,shipped,cancelled"`
	Currency   string   `json:"currency"`
	TotalMinor int64    `json:"total_minor"`
	Version    int64    `json:"version"`
	PlacedAt   api.Time `json:"placed_at"`
}

func readSummary(row pgx.CollectableRow) (s summaryBody, err error) {
	var at time.Time
	err = row.Scan(&s.OrderID, &s.Customer, &s.Status, &s.Currency, &s.TotalMinor, &s.Version, &at)
	s.PlacedAt = api.Time(at)
	return s, err
}
