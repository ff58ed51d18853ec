package bank

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/ledgerline-es/ledgerline"
	"github.com/ledgerline-es/ledgerline/producer"
	"github.com/ledgerline-es/ledgerline/schemas"
	"github.com/ledgerline-es/ledgerline/schemas/account"
)

// importer turns the rows of a file into commands. An account is opened at its first row; each row is a deposit or a
// withdrawal. The commands of an account are numbered in file order, so that whatever was imported before, whenever, from
// whichever copy of the file, has no effect again. Numbers know nothing of a file in which rows changed their places: for as
// long as the producer remembers ids, commandID tells such rows.
type importer struct {
	client   *producer.Client
	currency string
	source   string
	bad      func(header []string, row badRow) error // takes what can't be used
	progress func()                                  // a row is answered
	silence  time.Duration                           // after which, and each time again …
	silent   func(since time.Duration)               // … it is told that no reply comes

	header   []string
	accounts map[string]*importedAccount
	report   ImportReport
	rejects  sync.Mutex // bad rows are met while reading, and while replies are awaited
	waiting  chan sent
}

type importedAccount struct {
	sequence int64 // last number used; 1 is that of the opening
	opened   bool
	rows     map[time.Time]int // of each day, so far
	lines    map[string]int    // by transaction id: where the row stands
	known    bool              // a reply told of a command by its id: the producer still remembers this account's import
}

// sent is a published command whose reply is awaited.
type sent struct {
	pending *producer.Pending
	opening bool // of the row's account, before the row
	account *importedAccount
	row     importRow
}

// ImportReport counts rows, not commands: the opening of an account is none.
type ImportReport struct {
	Rows       int64         `json:"rows"`       // in the file, bad ones included
	Accepted   int64         `json:"accepted"`   // now
	Rejected   []RejectedRow `json:"rejected"`   // refused by a rule, now
	Duplicates int64         `json:"duplicates"` // answered by an earlier import
	Moved      []RejectedRow `json:"moved"`      // not applied: an earlier import had another row in this place of the account
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

// silence is how long an import waits for a reply before it says that none comes: longer than a producer takes over from one
// that was killed.
const silence = 15 * time.Second

func newImporter(app *ledgerline.App, client *producer.Client, currency, source string) *importer {
	return &importer{
		client: client, currency: currency, source: source, silence: silence,
		silent: func(since time.Duration) {
			app.Log().Warn("no reply comes: does a producer run? What was published waits for one", "for", since, "start_one", app.Domain.Name+" producer")
		},
	}
}

// inFlight bounds the commands whose replies are awaited.
const inFlight = 20_000

// run imports a file. An error means that it could not be finished; what was taken is taken, and importing again goes on.
func (im *importer) run(ctx context.Context, file io.Reader) (ImportReport, error) {
	started := time.Now()
	im.accounts = map[string]*importedAccount{}
	im.report.Rejected, im.report.Errors, im.report.Moved = []RejectedRow{}, []RejectedRow{}, []RejectedRow{}
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
		im.listen(ctx, s.pending)
		r, err := s.pending.Wait(ctx)
		if !s.opening && faultOfRow(err) {
			if err := im.reject(badRow{line: s.row.line, reason: err.Error(), fields: s.row.fields}); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return fmt.Errorf("line %d, account %s: %w", s.row.line, s.row.account, err)
		}
		byID := r.Duplicate && r.Code != producer.CodeSourceSequenceSeen
		s.account.known = s.account.known || byID
		row := RejectedRow{TransactionID: s.row.transaction, Line: s.row.line, Code: r.Code}
		if s.opening {
			row.TransactionID = ""
		}
		switch {
		case r.Outcome == producer.Error:
			im.report.Errors = append(im.report.Errors, row)
		case s.opening: // the account was opened, now or before
			continue
		case r.Duplicate && !byID && s.account.known:
			// The number is known and the id is not, though ids of smaller numbers are, and those are older.
			im.report.Moved = append(im.report.Moved, row)
		case r.Duplicate:
			im.report.Duplicates++
		case r.Outcome == producer.Accepted:
			im.report.Accepted++
		default:
			im.report.Rejected = append(im.report.Rejected, row)
		}
		if !s.opening {
			im.progress()
		}
	}
	return nil
}

// faultOfRow reports whether an error of publishing is of the command alone: the rows behind it can be published.
func faultOfRow(err error) bool {
	return errors.Is(err, schemas.ErrMalformed) || errors.Is(err, schemas.ErrTooLarge) || errors.Is(err, kerr.MessageTooLarge) || errors.Is(err, kerr.InvalidRecord)
}

// reject puts a row to the bad ones.
func (im *importer) reject(row badRow) error {
	im.rejects.Lock()
	defer im.rejects.Unlock()
	im.report.Bad++
	if err := im.bad(im.header, row); err != nil {
		return fmt.Errorf("rejects file: %w", err)
	}
	im.progress()
	return nil
}

// listen returns when there is a reply, or none will come; as long as there is none, it says so.
func (im *importer) listen(ctx context.Context, p *producer.Pending) {
	select {
	case <-p.Done(): // nearly always: that needs no clock
		return
	default:
	}
	began := time.Now()
	tick := time.NewTicker(im.silence)
	defer tick.Stop()
	for {
		select {
		case <-p.Done():
			return
		case <-ctx.Done():
			return
		case <-tick.C:
			im.silent(time.Since(began).Round(time.Second))
		}
	}
}

func (im *importer) send(ctx context.Context, file io.Reader) error {
	rows, err := readRows(file)
	if err != nil {
		return err
	}
	im.header = rows.header
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
			if schemas.ValidateID(bad.account) == nil {
				im.account(bad.account).sequence++ // its number stays free: no later row may ever take another one's
			}
			if err := im.reject(*bad); err != nil {
				return err
			}
			continue
		}
		a := im.account(row.account)
		a.sequence++
		if first, twice := a.lines[row.transaction]; twice {
			reason := fmt.Sprintf("transaction_id %.100q stands in line %d for this account", row.transaction, first)
			if err := im.reject(badRow{line: row.line, reason: reason, fields: row.fields}); err != nil {
				return err
			}
			continue
		}
		a.lines[strings.Clone(row.transaction)] = row.line
		if err := im.sendRow(ctx, a, row); err != nil {
			return err
		}
	}
}

// account is what the file says of an account so far.
func (im *importer) account(id string) *importedAccount {
	a := im.accounts[id]
	if a == nil {
		a = &importedAccount{sequence: 1, rows: map[time.Time]int{}, lines: map[string]int{}}
		im.accounts[id] = a
	}
	return a
}

func (im *importer) sendRow(ctx context.Context, a *importedAccount, row importRow) error {
	if !a.opened {
		a.opened = true
		if err := im.publish(ctx, sent{account: a, row: row, opening: true}, 1, row.date, &account.OpenAccount{Owner: row.account, Currency: im.currency}); err != nil {
			return err
		}
	}
	at := row.date.Add(time.Duration(a.rows[row.date]) * time.Second)
	a.rows[row.date]++
	var c account.Command = &account.DepositMoney{
		AmountMinor: row.amount, Currency: im.currency, Operation: row.operation, Category: row.category, Counterparty: row.counterparty,
	}
	if row.direction == "debit" {
		c = &account.WithdrawMoney{
			AmountMinor: row.amount, Currency: im.currency, Operation: row.operation, Category: row.category, Counterparty: row.counterparty,
		}
	}
	return im.publish(ctx, sent{account: a, row: row}, a.sequence, at, c)
}

// commandID is the id of a row's command, the same for every copy and order of the file: the UUID version 5 (RFC 9562) of
// "<source>/<account_id>/<transaction_id>" in a name space of our own. That of an opening ends in the slash; no row's does.
func commandID(source, id, transaction string) string {
	return uuid.NewSHA1(importNames, []byte(source+"/"+id+"/"+transaction)).String()
}

var importNames = uuid.MustParse("1c0c7d7e-5b5f-4ac5-9a41-6f3f2b1f0d5a")

func (im *importer) publish(ctx context.Context, s sent, number int64, at time.Time, c account.Command) (err error) {
	transaction := s.row.transaction
	if s.opening {
		transaction = ""
	}
	s.pending, err = im.client.Send(ctx, producer.Command{
		AggregateID: s.row.account, Record: c, Time: at, CommandID: commandID(im.source, s.row.account, transaction), Source: im.source, SourceSequence: number,
	})
	if !s.opening && faultOfRow(err) {
		return im.reject(badRow{line: s.row.line, reason: err.Error(), fields: s.row.fields})
	}
	if err != nil {
		return fmt.Errorf("line %d, account %s: %w", s.row.line, s.row.account, err)
	}
	select {
	case im.waiting <- s:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
