package bank

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/jackc/pgx/v5"

	"github.com/ledgerline-es/ledgerline/api"
	"github.com/ledgerline-es/ledgerline/producer"
	"github.com/ledgerline-es/ledgerline/schemas/account"
)

func (r routes) registerTransfers(h huma.API) {
	begin := huma.Operation{
		OperationID: "transfer-money", Method: http.MethodPost, Path: "/transfers", Tags: []string{"transfer"}, DefaultStatus: http.StatusCreated,
		Summary: "Transfer money from one account to another",
		Description: "The answer says that the transfer has begun: the money has left the source. It is completed when it has arrived, mostly some " +
			"milliseconds later, or comes back when the target refuses it. GET /transfers/{id}?ended=true&wait=2s waits for that.",
	}
	huma.Register(h, begin, r.transfer)
	huma.Register(h, huma.Operation{
		OperationID: "transfer", Method: http.MethodGet, Path: "/transfers/{id}", Tags: []string{"transfer"},
		Summary: "How far a transfer has come, and its history",
	}, r.transferStatus)
}

type transferInput struct {
	api.Write

	Body struct {
		Source      string `json:"source" maxLength:"128" example:"test-account-001" doc:"the account that pays"`
		Target      string `json:"target" maxLength:"128" example:"test-account-002" doc:"the account that is paid"`
		AmountMinor int64  `json:"amount_minor" example:"2500" doc:"above 0, in minor units of the currency"`
		Currency    string `json:"currency,omitempty" doc:"default: the source's; the target must be in it too"`
		Category    string `json:"category,omitempty" doc:"what it is for"`
	}
}

type transferOutput struct {
	Location string `header:"Location"`
	Body     transferReceipt
}

type transferReceipt struct {
	TransferID string `json:"transfer_id"`
	CommandID  string `json:"command_id" doc:"the Idempotency-Key, or what stood in for it"`
	Status     string `json:"status" enum:"pending" doc:"it has begun"`
	Version    int64  `json:"version" doc:"of the source after it"`
}

func (r routes) transfer(ctx context.Context, in *transferInput) (*transferOutput, error) {
	done, err := r.api.Submit(ctx, account.Kind.Name, in.Write, producer.Command{
		AggregateID: in.Body.Source, Record: &account.TransferMoney{
			Target: in.Body.Target, AmountMinor: in.Body.AmountMinor, Currency: in.Body.Currency, Category: in.Body.Category,
		},
	})
	if err != nil {
		return nil, err
	}
	id := transferID(in.Body.Source, done.FirstSequence)
	return &transferOutput{
		Location: "/transfers/" + id,
		Body:     transferReceipt{TransferID: id, CommandID: done.CommandID, Status: transferPending, Version: done.Version},
	}, nil
}

const transferQuery = `SELECT transfer_id, source, target, amount_minor, currency, status, reason, started_at, stalled_at, ended_at
	FROM bank.transfers WHERE transfer_id = $1`

// Transfer is a row of bank.transfers.
type Transfer struct {
	TransferID  string         `json:"transfer_id"`
	Source      string         `json:"source"`
	Target      string         `json:"target"`
	AmountMinor int64          `json:"amount_minor"`
	Currency    string         `json:"currency"`
	Status      string         `json:"status" enum:"pending,completed,refunded"`
	Reason      string         `json:"reason" doc:"why it was refunded: the rule by which the target refused"`
	StartedAt   api.Time       `json:"started_at"`
	EndedAt     *api.Time      `json:"ended_at" nullable:"true" doc:"null while it is pending"`
	History     []transferStep `json:"history"`
}

type transferStep struct {
	Step string   `json:"step" enum:"started,stalled,completed,refunded" doc:"stalled: no answer of the target had come in time, and its leg is being cancelled"`
	At   api.Time `json:"at"`
}

func readTransfer(row pgx.CollectableRow) (t Transfer, err error) {
	var started time.Time
	var stalled, ended *time.Time
	if err := row.Scan(&t.TransferID, &t.Source, &t.Target, &t.AmountMinor, &t.Currency, &t.Status, &t.Reason, &started, &stalled, &ended); err != nil {
		return t, err
	}
	t.StartedAt = api.Time(started)
	t.History = []transferStep{{"started", t.StartedAt}}
	if stalled != nil {
		t.History = append(t.History, transferStep{"stalled", api.Time(*stalled)})
	}
	if ended != nil {
		at := api.Time(*ended)
		t.EndedAt = &at
		t.History = append(t.History, transferStep{t.Status, at})
	}
	return t, nil
}

type transferStatusInput struct {
	ID       string `path:"id" maxLength:"160" pattern:"^[A-Za-z0-9._:-]+$" doc:"the transfer's id" example:"test-account-001:17"`
	Position string `query:"position" maxLength:"4096" doc:"The Ledgerline-Position of an earlier answer: wait until the row is at least of then."`
	Ended    bool   `query:"ended" doc:"Wait until the transfer has ended; the answer says whether it has."`
	Wait     string `query:"wait" doc:"How long to wait, such as 2s. Default 1s." example:"2s"`
}

type transferStatusOutput struct{ Body Transfer }

func (r routes) transferStatus(ctx context.Context, in *transferStatusInput) (*transferStatusOutput, error) {
	ended := func(rows []Transfer) bool { return !in.Ended || len(rows) > 0 && rows[0].EndedAt != nil }
	rows, err := api.SelectUntil(ctx, r.transfers, sourceOf(in.ID), api.Read{Position: in.Position, Wait: in.Wait}, ended, transferQuery, readTransfer, in.ID)
	if err != nil {
		return nil, err
	}
	if len(rows) == 0 {
		return nil, api.NewProblem(http.StatusNotFound, "transfer_not_found", "there is no transfer %s; right after it has begun, ask with ?position= of that answer", in.ID)
	}
	return &transferStatusOutput{rows[0]}, nil
}
