package verify_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/ledgerline-es/ledgerline/projector"
	"github.com/ledgerline-es/ledgerline/projector/internal/logtest"
	"github.com/ledgerline-es/ledgerline/projector/verify"
	"github.com/ledgerline-es/ledgerline/schemas"
)

// A change by hand is named by projection, key, column and both values, and undone before the next.
func TestP9_RowsChangedByHand_AreNamed(t *testing.T) {
	w := logtest.NewWorld(t, 4, 3)
	w.Write(600, 30)
	stop := run(t, w)
	if r := caughtUp(t, w); !r.Equal {
		t.Fatalf("not equal before: %s", asJSON(t, r))
	}
	stop()
	a := w.Accounts()[7]
	key := schemas.EventKey(a.ID, 2)
	sql := func(s string) func() { return func() { w.SQL(strings.ReplaceAll(s, "ID", "'"+a.ID+"'")) } }
	ch := func(s string) func() {
		return func() { w.CH(strings.ReplaceAll(s, "ID", "'"+a.ID+"'")) }
	}
	balance := fmt.Sprint(a.Balance)
	for _, c := range []struct {
		name       string
		spoil      func()
		mend       func()
		projection string
		kind, key  string
		column     string
		want, have string
	}{
		{"Postgres, a fold's number", sql("UPDATE bank.balances__g1 SET balance = balance + 1 WHERE id = ID"), sql("UPDATE bank.balances__g1 SET balance = balance - 1 WHERE id = ID"),
			logtest.BalancesName, projector.Altered, a.ID, "balance", balance, fmt.Sprint(a.Balance + 1)},
		{"Postgres, a time to NULL", sql("UPDATE bank.balances__g1 SET last_at = NULL WHERE id = ID"), nil, logtest.BalancesName, projector.Altered, a.ID, "last_at", "", "NULL"},
		{"Postgres, a row taken away", sql("CREATE TABLE kept AS SELECT * FROM bank.entries__g1 WHERE id = ID AND seq = 2; DELETE FROM bank.entries__g1 WHERE id = ID AND seq = 2"),
			sql("INSERT INTO bank.entries__g1 SELECT * FROM kept"), logtest.EntriesName, projector.Missing, key, "", "", ""},
		{"Postgres, a row made up", sql("INSERT INTO bank.entries__g1 SELECT id, 100000, type, amount, at FROM bank.entries__g1 WHERE id = ID AND seq = 2"),
			sql("DELETE FROM bank.entries__g1 WHERE seq = 100000"), logtest.EntriesName, projector.Extra, schemas.EventKey(a.ID, 100000), "", "", ""},
		{"ClickHouse, a text", ch("ALTER TABLE DB_bank.entries__g1 UPDATE type = 'Nonsense' WHERE id = ID AND seq = 1 SETTINGS mutations_sync = 2"),
			ch("ALTER TABLE DB_bank.entries__g1 UPDATE type = 'AccountOpened' WHERE id = ID AND seq = 1 SETTINGS mutations_sync = 2"),
			logtest.FactsName, projector.Altered, schemas.EventKey(a.ID, 1), "type", "AccountOpened", "Nonsense"},
		{"ClickHouse, a row doubled", ch("INSERT INTO DB_bank.entries__g1 SELECT * FROM DB_bank.entries__g1 WHERE id = ID AND seq = 2"), nil,
			logtest.FactsName, projector.Doubled, key, "", "", ""},
		{"ClickHouse, a row taken away", ch("DELETE FROM DB_bank.entries__g1 WHERE id = ID AND seq = 3"), nil,
			logtest.FactsName, projector.Missing, schemas.EventKey(a.ID, 3), "", "", ""},
		{"ClickHouse, a row made up", ch("INSERT INTO DB_bank.entries__g1 SELECT * REPLACE (100000 AS seq, _offset + 1000000 AS _offset) FROM (SELECT * FROM DB_bank.entries__g1 WHERE id = ID AND seq = 1)"), nil,
			logtest.FactsName, projector.Extra, schemas.EventKey(a.ID, 100000), "", "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := verified(t, w).Found
			c.spoil()
			report := verified(t, w)
			var found *verify.Finding
			for _, f := range report.Findings {
				if f.Projection == c.projection && f.Kind == c.kind && f.Key == c.key && f.Column == c.column {
					found = &f
				}
			}
			if found == nil || report.Equal {
				t.Fatalf("equal %v, nothing found for %s: %s", report.Equal, c.key, asJSON(t, report))
			}
			if c.want != "" && found.Want != c.want || c.have != "" && found.Have != c.have {
				t.Errorf("found want %q have %q, expected %q and %q", found.Want, found.Have, c.want, c.have)
			}
			if c.kind != projector.Extra && (found.Topic != w.Topics.Events || found.Partition != schemas.Partition(a.ID, w.Partitions) || found.Offset < 0) {
				t.Errorf("found at %s/%d offset %d, the event is in partition %d", found.Topic, found.Partition, found.Offset, schemas.Partition(a.ID, w.Partitions))
			}
			if report.Found != before+1 {
				t.Errorf("%d findings after %d: %s", report.Found, before, asJSON(t, report))
			}
			if c.mend == nil {
				return
			}
			c.mend()
			if report := verified(t, w); report.Found != before {
				t.Errorf("%d findings once mended, want %d: %s", report.Found, before, asJSON(t, report))
			}
		})
	}
}
