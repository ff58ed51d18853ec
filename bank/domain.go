package bank

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/ledgerline-es/ledgerline"
	questions "github.com/ledgerline-es/ledgerline/analytics/bank"
	"github.com/ledgerline-es/ledgerline/producer"
	"github.com/ledgerline-es/ledgerline/projector"
)

// Domain is the bank: what cmd/ledgerline runs.
func Domain() ledgerline.Domain {
	return ledgerline.Domain{
		Name:        "ledgerline",
		Aggregates:  []producer.Definition{Account},
		Projections: []projector.Projection{AccountSummary, TransactionHistory, TransferStatus, Analytics},
		Queries:     questions.FS,
		Routes:      Routes,
		Commands:    []func(*ledgerline.App) *cobra.Command{importCommand},
		Sample:      loadSample,
		Workload:    workload,
		TryIt:       tryIt,
	}
}

func tryIt(at ledgerline.Addresses) []ledgerline.Suggestion {
	return []ledgerline.Suggestion{
		{
			What:    "publish a command and see its reply",
			Command: fmt.Sprintf(`bin/ledgerline publish account DepositMoney --id test-account-001 '{"amount_minor":2500,"operation":"cash_deposit"}' --kafka-brokers %s --registry-url %s`, at.Kafka, at.Registry),
		},
		{
			What:    "the same over HTTP; what there is stands at /docs",
			Command: fmt.Sprintf(`curl -i --json '{"amount_minor":2500,"operation":"cash_deposit"}' %s/accounts/test-account-001/deposits`, at.API),
		},
		{
			What:    "and what the account is worth now",
			Command: fmt.Sprintf(`curl %s/accounts/summary/test-account-001`, at.API),
		},
		{
			What:    "money from one account to another: pending, then completed",
			Command: fmt.Sprintf(`curl --json '{"source":"test-account-001","target":"test-account-002","amount_minor":500}' %s/transfers`, at.API),
		},
		{
			What:    "the summary that it changed, in Postgres",
			Command: fmt.Sprintf(`psql '%s' -c "SELECT * FROM bank.account_summary WHERE account_id = 'test-account-001'"`, at.Postgres),
		},
		{
			What:    "where the money went, in ClickHouse",
			Command: fmt.Sprintf(`curl '%s' --data-binary "SELECT category, count(), -sum(amount_minor) / 100 AS spent FROM bank.account_events WHERE amount_minor < 0 GROUP BY category ORDER BY spent DESC FORMAT PrettyCompact"`, at.ClickHouse),
		},
		{
			What:    "what the bank wants to know: ledgerline query lists all questions",
			Command: fmt.Sprintf("bin/ledgerline query top-accounts --param top=5 --clickhouse-url %s", at.ClickHouse),
		},
		{
			What:    "settle doubt: the log against every row",
			Command: fmt.Sprintf(`bin/ledgerline verify --kafka-brokers %s --registry-url %s --postgres-url '%s' --clickhouse-url %s`, at.Kafka, at.Registry, at.Postgres, at.ClickHouse),
		},
	}
}
