package main

import (
	"embed"
	"fmt"
	"io/fs"

	"github.com/ledgerline-es/ledgerline"
	"github.com/ledgerline-es/ledgerline/producer"
	"github.com/ledgerline-es/ledgerline/projector"
)

//go:embed questions/*.sql
var questions embed.FS

// domain is all that Ledgerline needs to know of this business.
func domain() ledgerline.Domain {
	queries, err := fs.Sub(questions, "questions")
	if err != nil {
		panic(err) // the folder is embedded above
	}
	return ledgerline.Domain{
		Name:        "orders",
		Aggregates:  []producer.Definition{Order},
		Projections: []projector.Projection{Summary, Lines},
		Queries:     queries,
		Routes:      routes,
		Sample:      sample,
		TryIt:       tryIt,
	}
}

// tryIt is what a demo suggests when it is ready.
func tryIt(at ledgerline.Addresses) []ledgerline.Suggestion {
	return []ledgerline.Suggestion{
		{
			What: "publish a command and see its reply",
			Command: fmt.Sprintf(`./orders publish order PlaceOrder --id order-1 '{"customer":"ann","currency":"EUR","lines":[{"sku":"tea","quantity":2,"unit_price_minor":450}]}' --kafka-brokers %s --registry-url %s`,
				at.Kafka, at.Registry),
		},
		{
			What:    "where it stands, in Postgres",
			Command: fmt.Sprintf(`psql '%s' -c "SELECT * FROM orders.order_summary WHERE order_id = 'order-1'"`, at.Postgres),
		},
		{
			What:    "what sells, in ClickHouse: a question from questions/",
			Command: fmt.Sprintf(`./orders query best-sellers --clickhouse-url %s`, at.ClickHouse),
		},
		{
			What:    "the same over HTTP, with a page that explains it",
			Command: fmt.Sprintf(`curl %[1]s/analytics/best-sellers; curl %[1]s/docs`, at.API),
		},
	}
}
