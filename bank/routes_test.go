package bank_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ledgerline-es/ledgerline/api"
	"github.com/ledgerline-es/ledgerline/internal/kit"
	"github.com/ledgerline-es/ledgerline/producer"
	"github.com/ledgerline-es/ledgerline/schemas"
)

// The life of an account over HTTP: every route, and what each refuses.
func TestRoutes_TheLifeOfAnAccount(t *testing.T) {
	d := fullHouse(t)
	var o openedBody
	first := d.post("/accounts", `{"owner":"test owner","currency":"EUR","initial_deposit_minor":10000}`).is(201, "").as(&o)
	if o.Version != 2 || o.BalanceMinor != 10000 || len(o.AccountID) != 36 || first.header.Get("ETag") != `"2"` || first.header.Get("Location") != "/accounts/summary/"+o.AccountID {
		t.Fatalf("opened: %s", first)
	}
	var s summaryBody
	read := d.get("/accounts/summary/"+o.AccountID+"?wait=1m&position="+first.position()).is(200, "").as(&s)
	if s.AccountID != o.AccountID || s.Owner != "test owner" || s.Currency != "EUR" || s.Status != "open" || s.BalanceMinor != 10000 || s.Version != 2 || s.TransactionCount != 1 ||
		len(s.OpenedAt) != len("2006-01-02T15:04:05.000000Z") || s.LastTransactionAt == nil || len(*s.LastTransactionAt) != len(s.OpenedAt) || read.header.Get("ETag") != `"2"` {
		t.Fatalf("summary: %s", read)
	}
	if again := d.get("/accounts/summary/"+o.AccountID, "If-None-Match", `"2"`); again.status != 304 || len(again.body) != 0 || again.position() == "" {
		t.Errorf("with the ETag it has: %s", again)
	}
	at := "/accounts/" + o.AccountID
	steps := []struct {
		path, body string
		headers    []string
		status     int
		code       string
		version    int64
	}{
		{"/deposits", `{"amount_minor":2500,"operation":"cash_deposit","category":"gift","counterparty":"AB/1"}`, nil, 200, "", 3},
		{"/withdrawals", `{"amount_minor":500,"currency":"EUR"}`, nil, 200, "", 4},
		{"/withdrawals", `{"amount_minor":99999999}`, nil, 422, "insufficient_funds", 0},
		{"/deposits", `{"amount_minor":0}`, nil, 422, "amount_invalid", 0},
		{"/deposits", `{"amount_minor":1,"currency":"CZK"}`, nil, 422, "currency_mismatch", 0},
		{"/deposits", `{"amount_minor":1}`, []string{"If-Match", `"3"`}, 409, "version_conflict", 0},
		{"/deposits", `{"amount_minor":1}`, []string{"If-Match", `"4"`}, 200, "", 5},
		{"/deposits", `{"amount_minor":1}`, []string{"If-Match", `*`}, 422, "invalid_request", 0},
		{"/deposits?expected_version=4", `{"amount_minor":1}`, nil, 409, "version_conflict", 0},
		{"/deposits?expected_version=5&wait=5s", `{"amount_minor":1}`, nil, 200, "", 6},
		{"/deposits?wait=soon", `{"amount_minor":1}`, nil, 422, "invalid_request", 0},
		{"/deposits", `{"amount_minor":1.5}`, nil, 422, "invalid_request", 0},
		{"/deposits", `{"amount_minor":1}`, []string{"Idempotency-Key", "a b"}, 422, "invalid_request", 0},
		{"/freeze", `{"reason":"court"}`, nil, 200, "", 7},
		{"/deposits", `{"amount_minor":1}`, nil, 422, "account_frozen", 0},
		{"/unfreeze", ``, nil, 200, "", 8},
		{"/unfreeze", `{}`, nil, 422, "account_not_frozen", 0},
		{"/close", ``, nil, 422, "balance_not_zero", 0},
		{"/withdrawals", `{"amount_minor":12002}`, nil, 200, "", 9},
		{"/close", `{"reason":"moved"}`, nil, 200, "", 10},
		{"/close", ``, nil, 422, "account_closed", 0},
	}
	var last said
	for _, c := range steps {
		got := d.post(at+c.path, c.body, c.headers...).is(c.status, c.code)
		if c.code == "" {
			var b doneBody
			got.as(&b)
			if b.AccountID != o.AccountID || b.Version != c.version || b.CommandID == "" || got.header.Get("ETag") != fmt.Sprintf(`"%d"`, c.version) {
				t.Errorf("%s %s: %s", c.path, c.body, got)
			}
			last = got
		}
	}
	d.get("/accounts/summary/"+o.AccountID+"?wait=1m&min_version=10").is(200, "").as(&s)
	if s.Status != "closed" || s.BalanceMinor != 0 || s.TransactionCount != 6 {
		t.Errorf("at the end: %+v", s)
	}
	d.post("/accounts", `{"owner":"","currency":"EUR"}`).is(422, "owner_missing")
	d.post("/accounts", `{"owner":"x","currency":"euro"}`).is(422, "currency_invalid")
	d.post("/accounts", `{"owner":"x","currency":"EUR","account_id":"a/b"}`).is(422, "invalid_request")
	d.post("/accounts", `{"owner":"x","currency":"EUR","account_id":".."}`).is(422, "invalid_request")
	d.post("/accounts", `{"owner":"x"}`).is(422, "invalid_request")
	d.open("mine", 0)
	d.post("/accounts", `{"account_id":"mine","owner":"ann","currency":"EUR"}`).is(422, "account_exists")
	d.post("/accounts/nobody/deposits", `{"amount_minor":1}`).is(422, "account_not_found")
	d.get("/accounts/summary/nobody").is(404, "account_not_found")
	d.get("/accounts/summary/nobody?position=nonsense").is(422, "invalid_request")
	d.get("/accounts/nobody/transactions").is(404, "account_not_found")

	// What became of a command, and of one that there never was.
	var done doneBody
	last.as(&done)
	var r replyBody
	d.get(at+"/commands/"+done.CommandID).is(200, "").as(&r)
	if r.CommandID != done.CommandID || r.Outcome != producer.Accepted || r.Version != 10 {
		t.Errorf("the reply is %+v", r)
	}
	d.get(at+"/commands/nothing").is(404, "command_unknown")
	pages(t, d, o.AccountID, last.position())
}

// pages reads the six transactions two by two.
func pages(t *testing.T, d *door, id, position string) {
	t.Helper()
	type item struct {
		AccountID    string `json:"account_id"`
		Sequence     int64  `json:"sequence"`
		Type         string `json:"type"`
		AmountMinor  int64  `json:"amount_minor"`
		BalanceMinor int64  `json:"balance_minor"`
		Currency     string `json:"currency"`
		Operation    string `json:"operation"`
		Category     string `json:"category"`
		Counterparty string `json:"counterparty"`
		BusinessTime string `json:"business_time"`
	}
	var items []item
	path := "/accounts/" + id + "/transactions?limit=2&wait=1m&position=" + position
	for next := ""; ; {
		var page struct {
			Items      []item
			NextCursor *string `json:"next_cursor"`
		}
		d.get(path+next).is(200, "").as(&page)
		items = append(items, page.Items...)
		if page.NextCursor == nil {
			break
		}
		if len(page.Items) != 2 {
			t.Fatalf("a page of %d", len(page.Items))
		}
		next = "&cursor=" + *page.NextCursor
		d.get("/accounts/mine/transactions?cursor="+*page.NextCursor).is(422, "invalid_request")
	}
	var amounts []int64
	for _, i := range items {
		amounts = append(amounts, i.AmountMinor)
	}
	if !slices.Equal(amounts, []int64{-12002, 1, 1, -500, 2500, 10000}) {
		t.Errorf("the transactions are %+v", items)
	}
	if i := items[4]; i.AccountID != id || i.Sequence != 3 || i.Type != "MoneyDeposited" || i.BalanceMinor != 12500 || i.Currency != "EUR" || i.Operation != "cash_deposit" || i.Category != "gift" || i.Counterparty != "AB/1" || len(i.BusinessTime) != 27 {
		t.Errorf("one of them is %+v", i)
	}
	d.get("/accounts/"+id+"/transactions?min_version=10&wait=1m").is(200, "")
	d.get("/accounts/"+id+"/transactions?limit=0").is(422, "invalid_request")
	for _, at := range []string{"x", "-", "99999999999999999999", ""} { // of this list, and yet of no page
		d.get("/accounts/"+id+"/transactions?cursor="+base64.RawURLEncoding.EncodeToString([]byte(id+" "+at))).is(422, "invalid_request")
	}
	d.get("/accounts/mine/transactions?min_version=1&wait=1m").is(200, "")
}

// The same request again is the same account and the same answer, also at the same moment; another body under the same key
// is refused, and another principal's key is another key.
func TestCreate_Idempotent(t *testing.T) {
	h := newHouse(t)
	h.producer()
	h.projectors()
	tokens := filepath.Join(t.TempDir(), "tokens")
	var file bytes.Buffer
	for _, name := range []string{"alice", "bob"} {
		fmt.Fprintln(&file, name, "sha256:"+hashOf("token of "+name))
	}
	if err := os.WriteFile(tokens, file.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	d := h.door(func(c *api.Config) {
		var err error
		if c.Tokens, err = api.ReadTokens(tokens); err != nil {
			t.Fatal(err)
		}
	})
	const body = `{"owner":"test owner","currency":"EUR","initial_deposit_minor":10000}`
	d.post("/accounts", body, "Idempotency-Key", "k").is(401, "unauthorized")
	d.token = "token of alice"
	answers := make([]said, 8)
	var group sync.WaitGroup
	for i := range answers {
		group.Go(func() { answers[i] = d.post("/accounts", body, "Idempotency-Key", "k") })
	}
	group.Wait()
	for _, a := range answers {
		a.is(201, "")
		if !bytes.Equal(a.body, answers[0].body) {
			t.Errorf("%s and %s", answers[0].body, a.body)
		}
	}
	d.post("/accounts", `{"owner":"test owner","currency":"EUR","initial_deposit_minor":10001}`, "Idempotency-Key", "k").is(422, "command_id_reused")
	// Other bodies under one key at the same moment: one is done, and each is told what became of it, not of another.
	for round := range 10 {
		var group sync.WaitGroup
		for i := range answers {
			group.Go(func() {
				answers[i] = d.post("/accounts", fmt.Sprintf(`{"owner":"owner %d","currency":"EUR"}`, i), "Idempotency-Key", fmt.Sprint("at-once-", round))
			})
		}
		group.Wait()
		count := map[int]int{}
		for _, a := range answers {
			count[a.status]++
		}
		if count[201] != 1 || count[422] != len(answers)-1 {
			t.Errorf("%d bodies under one key: statuses %v", len(answers), count)
		}
	}
	answers[0] = d.post("/accounts", body, "Idempotency-Key", "k").is(201, "")
	var alices, bobs openedBody
	answers[0].as(&alices)
	d.post("/accounts/"+alices.AccountID+"/deposits", `{"amount_minor":1}`, "Idempotency-Key", "k").is(422, "command_id_reused")
	d.token = "token of bob"
	d.post("/accounts", body, "Idempotency-Key", "k").is(201, "").as(&bobs)
	if alices.AccountID == bobs.AccountID {
		t.Error("two principals' keys met")
	}
	// Also where both mean the same account: alice's is not taken for bob's, sent again.
	d.open("shared", 0)
	d.post("/accounts/shared/deposits", `{"amount_minor":1}`, "Idempotency-Key", "1").is(200, "")
	d.token = "token of alice"
	d.post("/accounts/shared/deposits", `{"amount_minor":1}`, "Idempotency-Key", "1").is(422, "command_id_reused")
	// Who asked stands in the log.
	for id, want := range map[string]string{alices.AccountID: "alice", bobs.AccountID: "bob"} {
		if got := h.principals(id); !slices.Equal(got, []string{want, want}) {
			t.Errorf("the events of %s were asked for by %v, wanted %s", id, got, want)
		}
	}
}

// principals are those who caused an account's events.
func (h *house) principals(id string) (names []string) {
	h.t.Helper()
	topic := schemas.TopicsOf(h.prefix, "account").Events
	cl := kit.Kafka(h.t).Client(h.t, kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	defer cl.Close()
	ctx, cancel := context.WithTimeout(h.t.Context(), patience)
	defer cancel()
	events, err := kadm.NewClient(cl).ListCommittedOffsets(ctx, topic)
	if err != nil || events.Error() != nil {
		h.t.Fatal(err, events.Error())
	}
	for len(names) < 2 {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			h.t.Fatal(err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			if strings.HasPrefix(string(r.Key), id+"/") {
				name, _ := schemas.Header(r, schemas.HeaderAuthID)
				names = append(names, name)
			}
		})
	}
	return names
}

// Equal requests have bodies of equal length, whatever the numbers.
func TestBodiesAreOfOneWidth(t *testing.T) {
	d := fullHouse(t)
	d.open("acc", 0)
	widths := map[int]bool{}
	for i := range 12 {
		done := d.post("/accounts/acc/deposits", `{"amount_minor":1`+strings.Repeat("0", i)+`}`).is(200, "")
		var s summaryBody
		got := d.get("/accounts/summary/acc?wait=1m&position="+done.position()).is(200, "").as(&s)
		widths[len(got.body)] = true
		if got, want := strconv.FormatInt(s.BalanceMinor, 10), strings.Repeat("1", i+1); got != want {
			t.Errorf("balance %s, wanted %s", got, want)
		}
	}
	if len(widths) != 1 {
		t.Errorf("bodies of %v bytes", widths)
	}
}

func hashOf(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:])
}
