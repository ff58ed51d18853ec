package ledgerline_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/ledgerline-es/ledgerline"
	"github.com/ledgerline-es/ledgerline/analytics"
	"github.com/ledgerline-es/ledgerline/bank"
	"github.com/ledgerline-es/ledgerline/internal/bankrows"
)

func runDomain(t *testing.T, d ledgerline.Domain, args ...string) (code int, out, said string) {
	t.Helper()
	var o, e bytes.Buffer
	code = ledgerline.Run(t.Context(), d, args, &o, &e)
	return code, o.String(), e.String()
}

func TestQuery_ListsAsksAndSaysWhatIsWrong(t *testing.T) {
	r := bankrows.New(t)
	server := "--clickhouse-url=" + r.URL
	if code, _, said := runDomain(t, bank.Domain(), "query", "top-accounts", server); code != 1 || !strings.Contains(said, "has a projector run on this server?") {
		t.Errorf("an empty server: %d %s", code, said)
	}
	r.Account("ann", "EUR", time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))
	r.Move("ann", "EUR", time.Date(2026, 1, 3, 3, 4, 5, 0, time.UTC), 12_345, "wages")
	r.Write()
	notClickHouse := httptest.NewServer(http.NotFoundHandler())
	defer notClickHouse.Close()
	for _, test := range []struct {
		args      []string
		code      int
		out, said string
	}{
		{[]string{"query"}, 0, "unusual-transactions  Which recent", ""},
		{[]string{"query", "--json"}, 0, `"name": "daily-volume"`, ""},
		{[]string{"query", "top-accounts", server}, 0, "EUR       ann                  12345     12345          0          12345             1\n\nas of account.events offsets ", ""},
		{[]string{"query", "top-accounts", server, "--csv"}, 0, "EUR,ann,12345,12345,0,12345,1\n", "latest event 2026-01-03T03:04:05.000000Z"},
		{[]string{"query", "daily-volume", server, "--csv", "--param", "from=2026-01-04"}, 0, "day,currency,type,transactions,volume_minor\n", "as of"},
		{[]string{"query", "nothing", server}, 2, "", `no question "nothing": there are balance-distribution, bank-balance`},
		{[]string{"query", "top-accounts", server, "--param", "top=0"}, 2, "", `parameter top is "0": give 1 to 1000`},
		{[]string{"query", "top-accounts", server, "--param", "top"}, 2, "", "give name=value"},
		{[]string{"query", "top-accounts", server, "--param", "top=1", "--param", "top=2"}, 2, "", "given twice"},
		{[]string{"query", "top-accounts", "--json", "--csv"}, 2, "", "exclude each other"},
		{[]string{"query", "--csv"}, 2, "", "go with the NAME"},
		{[]string{"query", "a", "b"}, 2, "", "at most one NAME"},
		{[]string{"query", "top-accounts", "--clickhouse-url="}, 2, "", "--clickhouse-url"},
		{[]string{"query", "top-accounts", "--clickhouse-url=http://me:secret@127.0.0.1:1"}, 1, "", "ledgerline: ask top-accounts: ClickHouse does not answer: dial tcp 127.0.0.1:1: connect: connection refused (--clickhouse-url is http://me:xxxxx@127.0.0.1:1)"},
		{[]string{"query", "top-accounts", "--clickhouse-url=" + notClickHouse.URL}, 1, "", "what answers there is something else: HTTP 404"},
	} {
		code, out, said := runDomain(t, bank.Domain(), test.args...)
		if code != test.code || !strings.Contains(out, test.out) || !strings.Contains(said, test.said) {
			t.Errorf("%v: %d\n%s\n%s\nwant %d %q %q", test.args, code, out, said, test.code, test.out, test.said)
		}
	}
	_, out, _ := runDomain(t, bank.Domain(), "query", "bank-balance", server, "--json", "--param", "step=day")
	var a analytics.Answer
	if err := json.Unmarshal([]byte(out), &a); err != nil || len(a.Rows) != 1 || !a.AsOf.Exact || a.Params["step"] != "day" || a.Params["to"] != "2299-12-31" {
		t.Errorf("%v in\n%s", err, out)
	}
}

func TestDomain_QuestionsAreCheckedBeforeAnythingStarts(t *testing.T) {
	d := bank.Domain()
	d.Queries = fstest.MapFS{
		"broken.sql": &fstest.MapFile{Data: []byte("SELECT 1")},
		"worse.sql":  &fstest.MapFile{Data: []byte("-- title: T\n-- answers: Q?\n-- projection: analytics, event time t\nDROP TABLE x")},
	}
	if code, _, said := runDomain(t, d, "producer"); code == 0 || !strings.Contains(said, "broken.sql") || !strings.Contains(said, "worse.sql") {
		t.Errorf("%d %s", code, said)
	}
	d.Queries = fstest.MapFS{"q.sql": &fstest.MapFile{Data: []byte("-- title: T\n-- answers: Q?\n-- projection: another, event time t\nSELECT 1")}}
	if code, _, said := runDomain(t, d, "producer"); code == 0 || !strings.Contains(said, "projection another, which there is not: there are account-summary, analytics") {
		t.Errorf("%d %s", code, said)
	}
}
