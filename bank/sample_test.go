package bank

import (
	"bytes"
	"strings"
	"testing"

	"github.com/ledgerline-es/ledgerline/producer/producertest"
	"github.com/ledgerline-es/ledgerline/schemas/account"
)

func sampleText(t *testing.T) string {
	t.Helper()
	var b bytes.Buffer
	if err := writeSample(&b, sampleRows()); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestSample_IsLargeEnoughAndTheSameEachTime(t *testing.T) {
	text := sampleText(t)
	if text != sampleText(t) {
		t.Error("two samples differ: loading it again would change something")
	}
	good, bad := readAll(t, text)
	if len(bad) > 0 {
		t.Errorf("%d of its rows are bad, the first: %+v", len(bad), bad[0])
	}
	accounts := map[string]producertest.Scenario[account.State, account.Command, account.Event]{}
	rejected := 0
	for _, row := range good {
		if !strings.HasPrefix(row.account, "test-account-") {
			t.Fatalf("line %d is of account %s", row.line, row.account)
		}
		s, known := accounts[row.account]
		if !known {
			s = producertest.Given(Account, &account.AccountOpened{Owner: row.account, Currency: sampleCurrency})
		}
		var c account.Command = &account.DepositMoney{AmountMinor: row.amount}
		if row.direction == "debit" {
			c = &account.WithdrawMoney{AmountMinor: row.amount}
		}
		o := s.When(c)
		if len(o.Events()) == 0 {
			rejected++
		}
		accounts[row.account] = o.After()
	}
	if len(good) < 20_000 || len(accounts) != 500 || rejected == 0 {
		t.Errorf("it has %d rows on %d accounts, %d of them rejected; wanted 20,000 or more on 500, and some rejected", len(good), len(accounts), rejected)
	}
	if _, ok := accounts["test-account-001"]; !ok {
		t.Error("test-account-001 is not among its accounts")
	}
}
