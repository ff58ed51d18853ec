package bank

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/ledgerline-es/ledgerline"
	"github.com/ledgerline-es/ledgerline/producer"
	"github.com/ledgerline-es/ledgerline/schemas"
	"github.com/ledgerline-es/ledgerline/schemas/account"
)

// exitBadRows is the exit code of an import that met rows which are no transactions.
const exitBadRows = 2

func importCommand(app *ledgerline.App) *cobra.Command {
	var currency, source, rejects string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "import FILE",
		Short: "Import account transactions from a CSV file",
		Long: `Imports a CSV file, plain or gzip, "-" for standard input, with the columns account_id, transaction_id, date
(YYYY-MM-DD), direction (credit or debit), amount_minor, balance_minor, operation, category and counterparty, in any order.
A row is one line: a quoted field must end in the line in which it begins.

An account is opened at its first row, in the given currency, owned by its id; each row is a deposit or a withdrawal at its
date. Rows of an account keep their order in the file. Importing again changes nothing, whenever: each account's commands
are numbered by place, and the producer knows the last number of each --source. So a file may grow at its end: never reorder
its rows, nor insert or remove any. For as long as command ids are recognised (--producer-window, 1h) such rows are known by
source, account and transaction_id all the same, and new ones among the old are reported as moved and not applied; later, rows
that change places would count twice or be lost. Files whose accounts overlap need sources of their own.

Rows that are no transactions, or whose transaction_id stands twice for an account, go with line and reason to the rejects file;
mend them there and import that file with another --source, or mend them in their places and import the whole again, never
both. Rows that a rule refuses are listed in the report.

Exit codes: 0 every row was answered (refused ones included), 2 with bad rows or wrong usage, 1 failure.`,
		Example: "  ledgerline import transactions.csv.gz --currency CZK\n  ledgerline import - --json < transactions.csv",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return app.Usage(errors.New("import wants one FILE, or - for standard input"))
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&currency, "currency", "CZK", "ISO 4217 code of all amounts")
	cmd.Flags().StringVar(&source, "source", "import", "who numbers the commands; never the file's name")
	cmd.Flags().StringVar(&rejects, "rejects", "", "file for bad rows (default FILE.rejects.csv in this folder)")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the report as one JSON document")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if !isCurrency(currency) {
			return app.Usage(fmt.Errorf("--currency is %q: give the three capital letters of ISO 4217, such as CZK", currency))
		}
		if err := schemas.ValidateID(source); err != nil {
			return app.Usage(fmt.Errorf("--source: %w", err))
		}
		file, total, err := openImport(cmd.InOrStdin(), args[0])
		if err != nil {
			return app.Usage(err)
		}
		defer file.Close()
		if rejects == "" {
			rejects = filepath.Base(args[0]) + ".rejects.csv"
			if args[0] == "-" {
				rejects = "import.rejects.csv"
			}
		}
		bad := &rejectsFile{path: rejects}
		progress := app.Progress("importing", "rows", total)
		var report ImportReport
		err = app.Client(cmd.Context(), account.Kind.Name, func(ctx context.Context, client *producer.Client) error {
			im := newImporter(app, client, currency, source)
			im.bad, im.progress = bad.add, func() { progress.Add(1) }
			var err error
			report, err = im.run(ctx, file)
			return err
		})
		progress.End()
		if err = errors.Join(err, bad.close()); err != nil {
			return fmt.Errorf("import %s: %w; what was taken is taken: import again to go on", args[0], err)
		}
		if len(report.Moved) > 0 {
			app.Log().Warn("rows were not applied: an earlier import had other rows of their accounts in their places. A file may grow at its end only; "+
				"put these rows into a file of their own and import it with another --source", "rows", len(report.Moved), "first_line", report.Moved[0].Line)
		}
		if asJSON {
			err = app.JSON(report)
		} else {
			err = report.print(app.Out, rejects)
		}
		switch {
		case err != nil:
			return err
		case len(report.Errors) > 0:
			return fmt.Errorf("%d commands could not be processed: the report says which and why; what could not be read is kept in the topic account.commands.dlq", len(report.Errors))
		case report.Bad > 0:
			return app.Exit(exitBadRows, nil)
		}
		return nil
	}
	return app.WithClient(cmd)
}

// openImport opens the file and counts its rows, for the progress; -1 when they can't be counted beforehand.
func openImport(stdin io.Reader, path string) (io.ReadCloser, int64, error) {
	if path == "-" {
		return io.NopCloser(stdin), -1, nil
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, 0, err
	}
	total := int64(-1)
	if rows, err := readRows(file); err == nil {
		for total = 0; ; total++ {
			if _, _, err := rows.next(); err != nil {
				break
			}
		}
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return nil, 0, errors.Join(err, file.Close())
	}
	return file, total, nil
}

// rejectsFile keeps bad rows. It is made when there is one.
type rejectsFile struct {
	path string
	file *os.File
	csv  *csv.Writer
}

func (r *rejectsFile) add(header []string, row badRow) error {
	if r.file == nil {
		file, err := os.Create(r.path)
		if err != nil {
			return err
		}
		r.file, r.csv = file, csv.NewWriter(file)
		if err := r.csv.Write(append([]string{"line", "reason"}, header...)); err != nil {
			return err
		}
	}
	return r.csv.Write(append([]string{strconv.Itoa(row.line), row.reason}, row.fields...))
}

func (r *rejectsFile) close() error {
	if r.file == nil {
		return nil
	}
	r.csv.Flush()
	return errors.Join(r.csv.Error(), r.file.Close())
}

func (r ImportReport) print(w io.Writer, rejects string) error {
	var errs []error
	say := func(format string, args ...any) {
		_, err := fmt.Fprintf(w, format+"\n", args...)
		errs = append(errs, err)
	}
	took := time.Duration(r.Seconds * float64(time.Second))
	say("%s on %s in %v (%.0f rows/s)", counted(r.Rows, "row"), counted(r.Accounts, "account"), took.Round(time.Millisecond), float64(r.Rows)/max(r.Seconds, 1e-9))
	say("  accepted    %8d", r.Accepted)
	say("  rejected    %8d", len(r.Rejected))
	say("  duplicates  %8d", r.Duplicates)
	say("  moved       %8d", len(r.Moved))
	say("  bad         %8d", r.Bad)
	for _, row := range r.Rejected {
		say("rejected: line %d, transaction %s: %s", row.Line, row.TransactionID, row.Code)
	}
	for _, row := range r.Moved {
		say("moved, not applied: line %d, transaction %s: its place was another row's", row.Line, row.TransactionID)
	}
	for _, row := range r.Errors {
		say("error: line %d, transaction %s: %s", row.Line, row.TransactionID, row.Code)
	}
	if r.Bad > 0 {
		say("bad rows, with line and reason: %s", rejects)
	}
	return errors.Join(errs...)
}

func counted(n int64, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
