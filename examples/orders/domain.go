package main

import (
	"fmt"

	"github.com/ledgerline-es/ledgerline"
	"github.com/ledgerline-es/ledgerline/producer"
	"github.com/ledgerline-es/ledgerline/projector"
)

// domain is all that Ledgerline needs to know of this business.
func domain() ledgerline.Domain {
	return ledgerline.Domain{
		Name:        "orders",
		Aggregates:  []producer.Definition{Order},
		Projections: []projector.Projection{Summary, Lines},
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
			What:    "what sells, in ClickHouse",
			Command: fmt.Sprintf(`curl '%s' --data-binary "SELECT sku, sum(quantity) AS sold FROM orders.order_lines GROUP BY sku ORDER BY sold DESC FORMAT PrettyCompact"`, at.ClickHouse),
		},
	}
}
