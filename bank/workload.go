package bank

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/ledgerline-es/ledgerline"
	"github.com/ledgerline-es/ledgerline/producer"
	"github.com/ledgerline-es/ledgerline/schemas/account"
)

// workAccounts is how many accounts a benchmark moves money on.
const workAccounts = 1000

// workload is what a benchmark asks of the bank: of accounts of its own, some of which it makes meanwhile.
var workload = &ledgerline.Workload{
	Requests: []ledgerline.WorkRequest{
		{
			Name: "account_summary", Target: 50 * time.Millisecond, Method: http.MethodGet,
			Path: func(run string, n int) string { return "/accounts/summary/" + workAccount(run, n) },
		},
		{
			Name: "transaction_history", Target: 100 * time.Millisecond, Method: http.MethodGet,
			Path: func(run string, n int) string { return "/accounts/" + workAccount(run, n) + "/transactions" },
		},
		{
			Name: "account_creation", Target: 200 * time.Millisecond, Method: http.MethodPost,
			Path: func(string, int) string { return "/accounts" },
			Body: func(run string, n int) any {
				return map[string]any{"account_id": fmt.Sprintf("%s-new-%d", run, n), "owner": "benchmark", "currency": "EUR", "initial_deposit_minor": 10_000}
			},
		},
		{
			Name: "money_transfer", Target: 300 * time.Millisecond, Method: http.MethodPost,
			Path: func(string, int) string { return "/transfers" },
			Body: func(run string, n int) any {
				return map[string]any{"source": workAccount(run, n), "target": workAccount(run, n+1), "amount_minor": 1}
			},
			Then: func(answer []byte) (string, error) {
				var begun transferReceipt
				err := json.Unmarshal(answer, &begun)
				return "/transfers/" + begun.TransferID + "?ended=true&wait=10s", err
			},
			Came: func(answer []byte) error {
				var came struct{ Status, Reason string }
				if err := json.Unmarshal(answer, &came); err != nil {
					return err
				}
				if came.Status != transferCompleted {
					return fmt.Errorf("the transfer is %s %s", came.Status, came.Reason)
				}
				return nil
			},
		},
	},
	Kind: account.Kind.Name,
	Prepare: func(run string) (all []producer.Command) {
		for n := range workAccounts {
			id := workAccount(run, n)
			all = append(all, producer.Command{AggregateID: id, Record: &account.OpenAccount{Owner: "benchmark", Currency: "EUR", InitialDepositMinor: 10_000}})
		}
		return all
	},
	Command: func(run string, n int) producer.Command {
		return producer.Command{AggregateID: workAccount(run, n), Record: &account.DepositMoney{AmountMinor: 1, Operation: "benchmark"}}
	},
	Later: []ledgerline.LaterRow{
		{Name: "availability", Target: 99.99, Unit: "%", Why: "measured from recoveries, which this does not cause"},
	},
}

func workAccount(run string, n int) string { return fmt.Sprintf("%s-%d", run, n%workAccounts) }
