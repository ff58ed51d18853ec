package bank

import (
	"context"
	"encoding/json"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/jackc/pgx/v5"

	"github.com/ledgerline-es/ledgerline/api"
	"github.com/ledgerline-es/ledgerline/producer"
	"github.com/ledgerline-es/ledgerline/schemas/account"
)

// Routes are the bank's: accounts, what moves on them, and what they look like.
func Routes(a *api.API) error {
	summary, err := a.Projection(AccountSummary.Name)
	if err != nil {
		return err
	}
	history, err := a.Projection(TransactionHistory.Name)
	if err != nil {
		return err
	}
	transfers, err := a.Projection(TransferStatus.Name)
	if err != nil {
		return err
	}
	r := routes{
		api: a, history: history, transfers: transfers,
		summaries: api.NewCache(summary, "summaries", summaryQuery, readSummary, func(s Summary) int64 { return s.Version }),
	}
	a.CommandsAt(account.Kind.Name, "/accounts/{id}/commands/{command_id}")
	r.register(a.Huma())
	r.registerTransfers(a.Huma())
	return nil
}

type routes struct {
	api       *api.API
	summaries *api.Cache[Summary]
	history   *api.Projection
	transfers *api.Projection
}

// accountNotFound is the code of an account that does not exist: the rule's own.
const accountNotFound = "account_not_found"

func (r routes) register(h huma.API) {
	operation := func(id, method, path, summary, description string) huma.Operation {
		return huma.Operation{OperationID: id, Method: method, Path: path, Summary: summary, Description: description, Tags: []string{account.Kind.Name}}
	}
	open := operation("open-account", http.MethodPost, "/accounts", "Open an account",
		"Without account_id the server makes one: from the Idempotency-Key when there is one, so that the same request meets the same account.")
	open.DefaultStatus = http.StatusCreated
	huma.Register(h, open, r.open)
	huma.Register(h, operation("account-summary", http.MethodGet, "/accounts/summary/{id}", "What an account is worth now", ""), r.summary)
	huma.Register(h, operation("account-transactions", http.MethodGet, "/accounts/{id}/transactions", "Deposits and withdrawals of an account, latest first", ""), r.transactions)
	for path, c := range map[string]struct {
		summary string
		command func(movement) account.Command
	}{
		"deposits": {"Pay money in", func(m movement) account.Command {
			return &account.DepositMoney{AmountMinor: m.AmountMinor, Currency: m.Currency, Operation: m.Operation, Category: m.Category, Counterparty: m.Counterparty}
		}},
		"withdrawals": {"Draw money", func(m movement) account.Command {
			return &account.WithdrawMoney{AmountMinor: m.AmountMinor, Currency: m.Currency, Operation: m.Operation, Category: m.Category, Counterparty: m.Counterparty}
		}},
	} {
		huma.Register(h, operation(path, http.MethodPost, "/accounts/{id}/"+path, c.summary, ""), func(ctx context.Context, in *movementInput) (*receiptOutput, error) {
			return r.submit(ctx, in.ID, in.Write, c.command(in.Body))
		})
	}
	for path, c := range map[string]struct {
		summary string
		command func(reason string) account.Command
	}{
		"freeze":   {"Let no money move", func(why string) account.Command { return &account.FreezeAccount{Reason: why} }},
		"unfreeze": {"Let money move again", func(why string) account.Command { return &account.UnfreezeAccount{Reason: why} }},
		"close":    {"Close an account that holds nothing", func(why string) account.Command { return &account.CloseAccount{Reason: why} }},
	} {
		huma.Register(h, operation(path, http.MethodPost, "/accounts/{id}/"+path, c.summary, ""), func(ctx context.Context, in *reasonInput) (*receiptOutput, error) {
			why := ""
			if in.Body != nil {
				why = in.Body.Reason
			}
			return r.submit(ctx, in.ID, in.Write, c.command(why))
		})
	}
}

// PathID is the account in a path.
type PathID struct {
	ID string `path:"id" maxLength:"128" pattern:"^[A-Za-z0-9._:-]+$" doc:"the account's id" example:"test-account-001"`
}

type openInput struct {
	api.Write

	Body struct {
		AccountID           string `json:"account_id,omitempty" maxLength:"128" doc:"default: made by the server"`
		Owner               string `json:"owner" example:"test owner" doc:"a name, or a customer number"`
		Currency            string `json:"currency" example:"EUR" doc:"ISO 4217"`
		InitialDepositMinor int64  `json:"initial_deposit_minor,omitempty" example:"10000" doc:"in minor units of the currency"`
	}
}

type openOutput struct {
	Location string `header:"Location"`
	Body     struct {
		AccountID    string `json:"account_id"`
		Version      int64  `json:"version"`
		BalanceMinor int64  `json:"balance_minor"`
	}
}

func (r routes) open(ctx context.Context, in *openInput) (*openOutput, error) {
	id := in.Body.AccountID
	if id == "" {
		id = in.NewID(ctx)
	}
	receipt, err := r.api.Submit(ctx, account.Kind.Name, in.Write, producer.Command{
		AggregateID: id, Record: &account.OpenAccount{Owner: in.Body.Owner, Currency: in.Body.Currency, InitialDepositMinor: in.Body.InitialDepositMinor},
	})
	if err != nil {
		return nil, err
	}
	out := &openOutput{Location: "/accounts/summary/" + id}
	out.Body.AccountID, out.Body.Version, out.Body.BalanceMinor = id, receipt.Version, in.Body.InitialDepositMinor
	return out, nil
}

type movement struct {
	AmountMinor  int64  `json:"amount_minor" example:"2500" doc:"above 0, in minor units of the currency"`
	Currency     string `json:"currency,omitempty" doc:"default: the account's"`
	Operation    string `json:"operation,omitempty" doc:"how the money moves"`
	Category     string `json:"category,omitempty" doc:"what it is for"`
	Counterparty string `json:"counterparty,omitempty" doc:"who stands on the other side"`
}

type movementInput struct {
	PathID
	api.Write

	Body movement
}

type reasonInput struct {
	PathID
	api.Write

	Body *struct {
		Reason string `json:"reason,omitempty"`
	}
}

// receipt is the answer to a command that was accepted.
type receipt struct {
	AccountID string `json:"account_id"`
	CommandID string `json:"command_id" doc:"the Idempotency-Key, or what stood in for it"`
	Version   int64  `json:"version" doc:"of the account after it"`
}

// Width is that of the longest version.
func (r receipt) Width() int {
	return len(`{"account_id":"","command_id":"","version":}`+"\n") + len(r.AccountID) + quoted(r.CommandID) + api.WidthOfInt
}

type receiptOutput struct{ Body receipt }

func (r routes) submit(ctx context.Context, id string, in api.Write, c account.Command) (*receiptOutput, error) {
	done, err := r.api.Submit(ctx, account.Kind.Name, in, producer.Command{AggregateID: id, Record: c})
	if err != nil {
		return nil, err
	}
	return &receiptOutput{receipt{AccountID: id, CommandID: done.CommandID, Version: done.Version}}, nil
}

const summaryQuery = `SELECT account_id, owner, currency, status, balance_minor, version, transaction_count, opened_at, last_transaction_at
	FROM bank.account_summary WHERE account_id = $1`

// Summary is a row of bank.account_summary.
type Summary struct {
	AccountID         string    `json:"account_id"`
	Owner             string    `json:"owner"`
	Currency          string    `json:"currency"`
	Status            string    `json:"status" enum:"open,frozen,closed"`
	BalanceMinor      int64     `json:"balance_minor"`
	Version           int64     `json:"version"`
	TransactionCount  int64     `json:"transaction_count"`
	OpenedAt          api.Time  `json:"opened_at"`
	LastTransactionAt *api.Time `json:"last_transaction_at" nullable:"true" doc:"null before the first"`
}

const widthOfTime = len("2006-01-02T15:04:05.000000Z")

// Width is the same whatever happens on the account.
func (s Summary) Width() int {
	const fixed = len(`{"account_id":"","owner":"","currency":"","status":"","balance_minor":,"version":,"transaction_count":,"opened_at":"","last_transaction_at":""}` + "\n")
	return fixed + len(s.AccountID) + quoted(s.Owner) + len(s.Currency) + len(statusFrozen) + 3*api.WidthOfInt + 2*widthOfTime
}

// quoted is the length of a text in JSON, without its quotes.
func quoted(s string) int {
	text, err := json.Marshal(s)
	if err != nil { // a text always has one
		return len(s)
	}
	return len(text) - len(`""`)
}

func readSummary(row pgx.CollectableRow) (s Summary, err error) {
	var opened time.Time
	var last *time.Time
	err = row.Scan(&s.AccountID, &s.Owner, &s.Currency, &s.Status, &s.BalanceMinor, &s.Version, &s.TransactionCount, &opened, &last)
	s.OpenedAt = api.Time(opened)
	if last != nil {
		at := api.Time(*last)
		s.LastTransactionAt = &at
	}
	return s, err
}

type summaryInput struct {
	PathID
	api.Read

	IfNoneMatch string `header:"If-None-Match" doc:"the ETag of an earlier answer: 304 when it still holds"`
}

type summaryOutput struct {
	Status int
	ETag   string `header:"ETag" doc:"the version: for If-Match and If-None-Match"`
	Body   Summary
}

func (r routes) summary(ctx context.Context, in *summaryInput) (*summaryOutput, error) {
	e, found, err := r.summaries.Get(ctx, in.ID, in.Read)
	switch {
	case err != nil:
		return nil, err
	case !found, e.Value.Status == "": // a transfer to it was cancelled before it was ever opened
		return nil, notFound(in.ID)
	}
	out := &summaryOutput{Status: http.StatusOK, ETag: api.ETag(e.Version), Body: e.Value}
	if api.HasETag(in.IfNoneMatch, e.Version) {
		out.Status = http.StatusNotModified
	}
	return out, nil
}

func notFound(id string) error {
	return api.NewProblem(http.StatusNotFound, accountNotFound, "there is no account %s; right after it was opened, ask with ?position= of that answer, or ?min_version=1", id)
}

const transactionsQuery = `SELECT account_id, sequence, type, amount_minor, balance_minor, currency, operation, category, counterparty, business_time
	FROM bank.account_transactions WHERE account_id = $1 AND sequence < $2 ORDER BY sequence DESC LIMIT $3`

// Transaction is a row of bank.account_transactions.
type Transaction struct {
	AccountID    string   `json:"account_id"`
	Sequence     int64    `json:"sequence" doc:"of the event in the account"`
	Type         string   `json:"type" enum:"MoneyDeposited,MoneyWithdrawn"`
	AmountMinor  int64    `json:"amount_minor" doc:"above 0 in, below 0 out"`
	BalanceMinor int64    `json:"balance_minor" doc:"after it"`
	Currency     string   `json:"currency"`
	Operation    string   `json:"operation"`
	Category     string   `json:"category"`
	Counterparty string   `json:"counterparty"`
	BusinessTime api.Time `json:"business_time"`
}

func readTransaction(row pgx.CollectableRow) (t Transaction, err error) {
	var at time.Time
	err = row.Scan(&t.AccountID, &t.Sequence, &t.Type, &t.AmountMinor, &t.BalanceMinor, &t.Currency, &t.Operation, &t.Category, &t.Counterparty, &at)
	t.BusinessTime = api.Time(at)
	return t, err
}

type transactionsInput struct {
	PathID
	api.Read
	api.Page
}

type transactionsOutput struct{ Body api.List[Transaction] }

func (r routes) transactions(ctx context.Context, in *transactionsInput) (*transactionsOutput, error) {
	before := int64(math.MaxInt64)
	cursor, err := in.After(in.ID)
	if err != nil {
		return nil, err
	}
	if cursor != "" {
		if before, err = strconv.ParseInt(cursor, 10, 64); err != nil {
			return nil, in.BadCursor()
		}
	}
	if err := r.history.Await(ctx, in.ID, in.Read); err != nil {
		return nil, err
	}
	if in.MinVersion > 0 { // not every event moves money: the summary knows how far a version reaches
		e, _, err := r.summaries.Find(ctx, in.ID, in.Read)
		if err != nil {
			return nil, err
		}
		if err := r.history.Await(ctx, in.ID, api.Read{Position: e.Position().String(), Wait: in.Wait}); err != nil {
			return nil, err
		}
	}
	rows, err := api.Select(ctx, r.history, in.ID, transactionsQuery, readTransaction, in.ID, before, in.Limit+1)
	if err != nil {
		return nil, err
	}
	if len(rows) == 0 && cursor == "" {
		if _, found, err := r.summaries.Find(ctx, in.ID, api.Read{}); err != nil {
			return nil, err
		} else if !found {
			return nil, notFound(in.ID)
		}
	}
	list := api.NewList(rows, in.Limit, in.ID, func(t Transaction) string { return strconv.FormatInt(t.Sequence, 10) })
	return &transactionsOutput{list}, nil
}
