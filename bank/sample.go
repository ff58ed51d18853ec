package bank

import (
	"cmp"
	"context"
	"encoding/csv"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"github.com/ledgerline-es/ledgerline"
	"github.com/ledgerline-es/ledgerline/producer"
	"github.com/ledgerline-es/ledgerline/schemas/account"
)

const (
	sampleAccounts = 500
	sampleSeed     = 20250101
	sampleCurrency = "EUR"
	sampleSource   = "sample"
)

// loadSample imports a year of invented banking: the same one each time.
func loadSample(ctx context.Context, app *ledgerline.App) (ledgerline.SampleReport, error) {
	rows := sampleRows()
	progress := app.Progress("loading the sample", "rows", int64(len(rows)))
	defer progress.End()
	file, write := io.Pipe()
	go func() { write.CloseWithError(writeSample(write, rows)) }()
	defer file.Close()
	var report ImportReport
	err := app.Client(ctx, account.Kind.Name, func(ctx context.Context, client *producer.Client) error {
		im := newImporter(app, client, sampleCurrency, sampleSource)
		im.progress = func() { progress.Add(1) }
		im.bad = func(_ []string, row badRow) error {
			return fmt.Errorf("the sample's line %d is bad: %s", row.line, row.reason)
		}
		var err error
		report, err = im.run(ctx, file)
		return err
	})
	return ledgerline.SampleReport{
		Commands: report.Rows + report.Accounts,
		Accepted: report.Accepted + report.Accounts,
		Rejected: int64(len(report.Rejected)),
	}, err
}

// sampleRow is a transaction before it has its balance.
type sampleRow struct {
	account                           string
	day                               int
	credit                            bool
	amount                            int64
	operation, category, counterparty string
}

// sampleRows invents what 500 people do with their money in a year: wages, rent, shopping, cash, savings, interest; and now
// and then more than they have.
func sampleRows() []sampleRow {
	random := rand.New(rand.NewPCG(sampleSeed, 1)) //nolint:gosec // the same sample each time is the point
	var rows []sampleRow
	for a := range sampleAccounts {
		id := fmt.Sprintf("test-account-%03d", a+1)
		joined := random.IntN(200)
		wage := 150_000 + random.Int64N(350_000)
		employer, landlord := bankAccount(random), bankAccount(random)
		add := func(day int, credit bool, amount int64, operation, category, counterparty string) {
			if day < 365 {
				rows = append(rows, sampleRow{id, day, credit, max(amount, 1), operation, category, counterparty})
			}
		}
		add(joined, true, 5_000+random.Int64N(100_000), "cash_deposit", "", "")
		for month := joined / 30; month < 12; month++ {
			first := max(month*30, joined+1)
			add(first+1, true, wage, "transfer_in", "wages", employer)
			add(first+2, false, wage*3/10, "transfer_out", "household", landlord)
			add(first+28, false, 450, "", "statement_fee", "")
			for range 1 + random.IntN(4) {
				add(first+random.IntN(28), false, 500+random.Int64N(12_000), "card_withdrawal", "shopping", "")
			}
			if random.IntN(3) == 0 {
				add(first+random.IntN(28), false, 2_000+random.Int64N(30_000), "cash_withdrawal", "", "")
			}
			if random.IntN(4) == 0 {
				add(first+25, false, wage*2, "transfer_out", "savings", bankAccount(random)) // often more than there is
			}
			if month%3 == 2 {
				add(first+29, true, wage/400, "", "interest", "")
			}
		}
	}
	slices.SortStableFunc(rows, func(a, b sampleRow) int { return cmp.Compare(a.day, b.day) })
	return rows
}

func bankAccount(random *rand.Rand) string {
	return string([]byte{byte('A' + random.IntN(26)), byte('A' + random.IntN(26))}) + "/" + strconv.Itoa(10_000_000+random.IntN(90_000_000))
}

func writeSample(w io.Writer, rows []sampleRow) error {
	out := csv.NewWriter(w)
	if err := out.Write(importColumns); err != nil {
		return err
	}
	start := time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)
	balance := map[string]int64{}
	for i, r := range rows {
		direction, amount := "credit", r.amount
		if !r.credit {
			direction, amount = "debit", -r.amount
		}
		if balance[r.account]+amount >= 0 {
			balance[r.account] += amount
		}
		err := out.Write([]string{
			r.account, strconv.Itoa(i + 1), start.AddDate(0, 0, r.day).Format(time.DateOnly), direction, strconv.FormatInt(r.amount, 10),
			strconv.FormatInt(balance[r.account], 10), r.operation, r.category, r.counterparty,
		})
		if err != nil {
			return err
		}
	}
	out.Flush()
	return out.Error()
}
