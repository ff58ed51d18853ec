package main

import (
	"context"
	"fmt"
	"time"

	"github.com/ledgerline-es/ledgerline"
	"github.com/ledgerline-es/ledgerline/producer"

	"github.com/ledgerline-es/ledgerline/examples/orders/schemas/order"
)

const sampleSize = 300

// sample places, pays and ships what a demo can show. Its command ids are always the same, and its commands are numbered: loading
// it again changes nothing.
func sample(ctx context.Context, app *ledgerline.App) (report ledgerline.SampleReport, err error) {
	progress := app.Progress("loading the sample", "commands", int64(len(sampleCommands())))
	defer progress.End()
	err = app.Client(ctx, order.Kind.Name, func(ctx context.Context, client *producer.Client) error {
		var replies []*producer.Pending
		for _, c := range sampleCommands() {
			p, err := client.Send(ctx, c)
			if err != nil {
				return err
			}
			replies = append(replies, p)
		}
		for _, p := range replies {
			reply, err := p.Wait(ctx)
			if err != nil {
				return err
			}
			report.Commands++
			switch reply.Outcome {
			case producer.Accepted:
				report.Accepted++
			case producer.Rejected:
				report.Rejected++
			default:
				return fmt.Errorf("command %s: %s: %s", reply.CommandID, reply.Code, reply.Message)
			}
			progress.Add(1)
		}
		return nil
	})
	return report, err
}

func sampleCommands() (all []producer.Command) {
	articles := []order.Line{{Sku: "tea", UnitPriceMinor: 450}, {Sku: "cup", UnitPriceMinor: 1290}, {Sku: "pot", UnitPriceMinor: 3900}, {Sku: "honey", UnitPriceMinor: 720}}
	first := time.Date(2026, 1, 5, 9, 0, 0, 0, time.UTC)
	for n := range sampleSize {
		id := fmt.Sprintf("sample-%03d", n+1)
		at := first.Add(time.Duration(n) * 97 * time.Minute)
		var lines []order.Line
		var total int64
		for i := range 1 + n%3 {
			l := articles[(n+i)%len(articles)]
			l.Quantity = int64(1 + (n*7+i)%4)
			total += l.Quantity * l.UnitPriceMinor
			lines = append(lines, l)
		}
		commands := []order.Command{&order.PlaceOrder{Customer: fmt.Sprintf("customer-%02d", n%40), Currency: "EUR", Lines: lines}}
		switch {
		case n%11 == 0:
			commands = append(commands, &order.CancelOrder{Reason: "changed their mind"})
		case n%17 == 0: // too little: refused
			commands = append(commands, &order.PayOrder{AmountMinor: total - 1})
		default:
			commands = append(commands, &order.PayOrder{AmountMinor: total, Reference: "bank-" + id}, &order.ShipOrder{Carrier: "post", Tracking: "P" + id})
		}
		for i, c := range commands {
			all = append(all, producer.Command{
				AggregateID: id, Record: c, Time: at.Add(time.Duration(i) * time.Hour), Source: "sample", SourceSequence: int64(i + 1),
			})
		}
	}
	return all
}
