package bank

import (
	"bufio"
	"compress/gzip"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ledgerline-es/ledgerline/producer"
	"github.com/ledgerline-es/ledgerline/schemas"
	"github.com/ledgerline-es/ledgerline/schemas/account"
)

// Columns of a file of transactions, in any order.
var importColumns = []string{
	"account_id", "transaction_id", "date", "direction", "amount_minor", "balance_minor", "operation", "category", "counterparty",
}

// importer turns the rows of a file into commands. An account is opened at its first row; each row is a deposit or a
// withdrawal. The commands of an account are numbered in file order, so that whatever was imported before, whenever, from
// whichever copy of the file, has no effect again.
type importer struct {
	client   *producer.Client
	currency string
	source   string
	bad      func(badRow) error // takes what can't be used
	progress func()             // a row is answered

	accounts map[string]*importedAccount
	report   ImportReport
	waiting  chan sent
}

type importedAccount struct {
	sequence int64 // last number used
	date     time.Time
	ofDay    int // rows of that day so far
}

// sent is a published command whose reply is awaited.
type sent struct {
	pending     *producer.Pending
	transaction string // "" for the opening of an account
	account     string
	line        int
}

// badRow is a row that is no transaction.
type badRow struct {
	line   int
	reason string
	fields []string
}

// ImportReport counts rows, not commands: the opening of an account is none.
type ImportReport struct {
	Rows       int64         `json:"rows"`       // in the file, bad ones included
	Accepted   int64         `json:"accepted"`   // now
	Rejected   []RejectedRow `json:"rejected"`   // refused by a rule, now
	Duplicates int64         `json:"duplicates"` // answered by an earlier import
	Bad        int64         `json:"bad"`        // no transaction; see the rejects file
	Errors     []RejectedRow `json:"errors"`     // could not be processed; see the dead letters
	Accounts   int64         `json:"accounts"`   // met in the file
	Seconds    float64       `json:"seconds"`
}

// RejectedRow is a row that was refused.
type RejectedRow struct {
	TransactionID string `json:"transaction_id"`
	Line          int    `json:"line"`
	Code          string `json:"code"`
}

// inFlight bounds the commands whose replies are awaited.
const inFlight = 20_000

// run imports a file. An error means that it could not be finished; what was taken is taken, and importing again goes on.
func (im *importer) run(ctx context.Context, file io.Reader) (ImportReport, error) {
	started := time.Now()
	im.accounts = map[string]*importedAccount{}
	im.report.Rejected, im.report.Errors = []RejectedRow{}, []RejectedRow{}
	im.waiting = make(chan sent, inFlight)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	answered := make(chan error, 1)
	go func() {
		err := im.settle(ctx)
		if err != nil {
			cancel(err)
		}
		answered <- err
	}()
	err := im.send(ctx, file)
	close(im.waiting)
	if settleErr := <-answered; settleErr != nil {
		err = settleErr
	}
	im.report.Accounts = int64(len(im.accounts))
	im.report.Seconds = time.Since(started).Seconds()
	return im.report, err
}

// settle takes the replies in the order in which the commands were sent.
func (im *importer) settle(ctx context.Context) error {
	for s := range im.waiting {
		r, err := s.pending.Wait(ctx)
		if err != nil {
			return fmt.Errorf("line %d, account %s: %w", s.line, s.account, err)
		}
		row := RejectedRow{TransactionID: s.transaction, Line: s.line, Code: r.Code}
		switch {
		case r.Outcome == producer.Error:
			im.report.Errors = append(im.report.Errors, row)
		case s.transaction == "": // the account was opened, now or before
			continue
		case r.Duplicate:
			im.report.Duplicates++
		case r.Outcome == producer.Accepted:
			im.report.Accepted++
		default:
			im.report.Rejected = append(im.report.Rejected, row)
		}
		if s.transaction != "" {
			im.progress()
		}
	}
	return nil
}

func (im *importer) send(ctx context.Context, file io.Reader) error {
	rows, err := readRows(file)
	if err != nil {
		return err
	}
	for {
		row, bad, err := rows.next()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
		im.report.Rows++
		if bad != nil {
			if a := im.accounts[bad.account]; a != nil {
				a.sequence++ // its number stays free: no later row may ever take another one's
			}
			im.report.Bad++
			if err := im.bad(bad.badRow); err != nil {
				return fmt.Errorf("rejects file: %w", err)
			}
			im.progress()
			continue
		}
		if err := im.sendRow(ctx, row); err != nil {
			return err
		}
	}
}

func (im *importer) sendRow(ctx context.Context, row importRow) error {
	a := im.accounts[row.account]
	if a == nil {
		a = &importedAccount{date: row.date}
		im.accounts[row.account] = a
		if err := im.publish(ctx, row, a, "", row.date, &account.OpenAccount{Owner: row.account, Currency: im.currency}); err != nil {
			return err
		}
	}
	if !a.date.Equal(row.date) {
		a.date, a.ofDay = row.date, 0
	}
	at := row.date.Add(time.Duration(a.ofDay) * time.Second)
	a.ofDay++
	var c account.Command = &account.DepositMoney{
		AmountMinor: row.amount, Currency: im.currency, Operation: row.operation, Category: row.category, Counterparty: row.counterparty,
	}
	if row.direction == "debit" {
		c = &account.WithdrawMoney{
			AmountMinor: row.amount, Currency: im.currency, Operation: row.operation, Category: row.category, Counterparty: row.counterparty,
		}
	}
	return im.publish(ctx, row, a, row.transaction, at, c)
}

func (im *importer) publish(ctx context.Context, row importRow, a *importedAccount, transaction string, at time.Time, c account.Command) error {
	a.sequence++
	p, err := im.client.Send(ctx, producer.Command{
		AggregateID: row.account, Record: c, Time: at, Source: im.source, SourceSequence: a.sequence,
	})
	if err != nil {
		return fmt.Errorf("line %d, account %s: %w", row.line, row.account, err)
	}
	select {
	case im.waiting <- sent{pending: p, transaction: transaction, account: row.account, line: row.line}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// importRow is one good row.
type importRow struct {
	line                              int
	account, transaction, direction   string
	date                              time.Time
	amount                            int64
	operation, category, counterparty string
}

type badImportRow struct {
	badRow
	account string // as far as it could be read
}

// rowReader reads a file of transactions, compressed or not.
type rowReader struct {
	csv    *csv.Reader
	column map[string]int
}

// readRows reads the header. A file without the columns is refused before anything is published.
func readRows(file io.Reader) (*rowReader, error) {
	buffered := bufio.NewReaderSize(file, 1<<16)
	if magic, _ := buffered.Peek(2); len(magic) == 2 && magic[0] == 0x1f && magic[1] == 0x8b {
		plain, err := gzip.NewReader(buffered)
		if err != nil {
			return nil, fmt.Errorf("gzip: %w", err)
		}
		buffered = bufio.NewReaderSize(plain, 1<<16)
	}
	if bom, _ := buffered.Peek(3); string(bom) == "\xef\xbb\xbf" {
		_, _ = buffered.Discard(3) // it was just seen
	}
	r := &rowReader{csv: csv.NewReader(buffered), column: map[string]int{}}
	r.csv.FieldsPerRecord = -1 // counted by us, to say which line
	r.csv.ReuseRecord = true
	header, err := r.csv.Read()
	switch {
	case errors.Is(err, io.EOF):
		return nil, fmt.Errorf("the file is empty: its first line must name the columns %s", strings.Join(importColumns, ","))
	case err != nil:
		return nil, fmt.Errorf("header: %w", err)
	}
	for i, name := range header {
		name = strings.TrimSpace(name)
		if _, twice := r.column[name]; twice {
			return nil, fmt.Errorf("header names column %s twice", name)
		}
		r.column[name] = i
	}
	var missing []string
	for _, name := range importColumns {
		if _, ok := r.column[name]; !ok {
			missing = append(missing, name)
		}
	}
	if len(missing) > 0 {
		return nil, fmt.Errorf("header has no column %s: it must name %s", strings.Join(missing, ", "), strings.Join(importColumns, ","))
	}
	return r, nil
}

// next gives a good row or a bad one; io.EOF at the end.
func (r *rowReader) next() (importRow, *badImportRow, error) {
	fields, err := r.csv.Read()
	var broken *csv.ParseError
	switch {
	case errors.As(err, &broken):
		return importRow{}, &badImportRow{badRow: badRow{line: broken.StartLine, reason: broken.Err.Error(), fields: slices.Clone(fields)}}, nil
	case err != nil:
		return importRow{}, nil, err
	}
	line, _ := r.csv.FieldPos(0)
	bad := func(format string, args ...any) (importRow, *badImportRow, error) {
		b := &badImportRow{badRow: badRow{line: line, reason: fmt.Sprintf(format, args...), fields: slices.Clone(fields)}}
		if i := r.column["account_id"]; i < len(fields) {
			b.account = fields[i]
		}
		return importRow{}, b, nil
	}
	if len(fields) != len(r.column) {
		return bad("%d fields, the header has %d", len(fields), len(r.column))
	}
	get := func(name string) string { return fields[r.column[name]] }
	row := importRow{
		line: line, account: get("account_id"), transaction: get("transaction_id"), direction: get("direction"),
		operation: get("operation"), category: get("category"), counterparty: get("counterparty"),
	}
	if err := schemas.ValidateID(row.account); err != nil {
		return bad("account_id: %v", err)
	}
	if row.transaction == "" {
		return bad("transaction_id is empty")
	}
	if row.date, err = time.Parse(time.DateOnly, get("date")); err != nil {
		return bad("date is %q, wanted YYYY-MM-DD", get("date"))
	}
	if row.direction != "credit" && row.direction != "debit" {
		return bad("direction is %q, wanted credit or debit", row.direction)
	}
	if row.amount, err = strconv.ParseInt(get("amount_minor"), 10, 64); err != nil || row.amount <= 0 {
		return bad("amount_minor is %q, wanted a whole number above 0", get("amount_minor"))
	}
	if _, err := strconv.ParseInt(get("balance_minor"), 10, 64); err != nil {
		return bad("balance_minor is %q, wanted a whole number", get("balance_minor"))
	}
	return row, nil, nil
}
