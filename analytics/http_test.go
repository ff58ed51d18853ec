package analytics_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humachi"
	"github.com/go-chi/chi/v5"

	"github.com/ledgerline-es/ledgerline/analytics"
	"github.com/ledgerline-es/ledgerline/internal/bankrows"
	"github.com/ledgerline-es/ledgerline/internal/process"
	"github.com/ledgerline-es/ledgerline/projector/clickhouse"
	"github.com/ledgerline-es/ledgerline/schemas"
)

// served is a catalogue behind HTTP.
type served struct {
	t   *testing.T
	url string
	api huma.API
}

func serve(t *testing.T, r *bankrows.Rows, files map[string]string) *served {
	t.Helper()
	c, err := open(t, files)
	must(t, err)
	router := chi.NewMux()
	on := humachi.New(router, huma.DefaultConfig("test", "1"))
	c.Register(on, r.Conn)
	server := httptest.NewServer(router)
	t.Cleanup(server.Close)
	return &served{t, server.URL, on}
}

func (s *served) get(path, accept string) (status int, contentType, body string) {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, s.url+path, http.NoBody)
	must(s.t, err)
	if accept != "" {
		req.Header.Set("Accept", accept)
	}
	resp, err := http.DefaultClient.Do(req)
	must(s.t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	must(s.t, err)
	return resp.StatusCode, resp.Header.Get("Content-Type"), string(text)
}

const byAccount = goodHeader + "-- param: least Int64 = 0 [-5..1000], the least balance\n-- param: id String = '', one account\n-- notes: Note.\n" +
	"SELECT aggregate_id, sum(amount_minor) AS balance FROM bank.account_events GROUP BY aggregate_id HAVING balance >= {least:Int64} AND ({id:String} = '' OR aggregate_id = {id:String}) ORDER BY aggregate_id"

func TestHTTP_ListsAndAnswersInTheFormAskedFor(t *testing.T) {
	r := bankrows.New(t)
	s := serve(t, r, map[string]string{"by-account.sql": byAccount, "another.sql": goodHeader + "SELECT 1 AS one FROM bank.account_events"})
	if status, _, body := s.get("/analytics/by-account", ""); status != http.StatusServiceUnavailable || !strings.Contains(body, "start a projector") {
		t.Errorf("before a projector has run: %d %s", status, body)
	}
	r.Account("ann", "EUR", noon(1))
	r.Move("ann", "EUR", noon(2), 70, "")
	r.Account("bob", "EUR", noon(1))
	r.Write()

	var list struct {
		Items []struct {
			Name, Title, Answers, Notes, Href string
			Params                            []analytics.Param
		}
	}
	status, kind, body := s.get("/analytics", "")
	if err := json.Unmarshal([]byte(body), &list); err != nil || status != 200 || kind != "application/json" || len(list.Items) != 2 || list.Items[1].Href != "/analytics/by-account" ||
		list.Items[1].Notes != "Note." || list.Items[1].Params[0].Max != "1000" {
		t.Errorf("the list is %d %s %s", status, kind, body)
	}
	for _, test := range []struct {
		path, accept, kind, want string
	}{
		{"/analytics/by-account", "", "application/json", `"exact": true`},
		{"/analytics/by-account?least=1", "application/json", "application/json", `"ann",`},
		{"/analytics/by-account", "text/csv", "text/csv", "aggregate_id,balance\nann,70\nbob,0\n"},
		{"/analytics/by-account?least=1", "text/html;q=0.9, text/csv;q=0.5", "text/csv", "aggregate_id,balance\nann,70\n"},
		{"/analytics/by-account?format=csv&id=bob", "application/json", "text/csv", "aggregate_id,balance\nbob,0\n"},
		{"/analytics/by-account?format=csv&id=%27%20OR%20%271%27%3D%271", "", "text/csv", "aggregate_id,balance\n"},
		{"/analytics/by-account?format=json", "text/csv", "application/json", `"truncated": false`},
	} {
		status, kind, body := s.get(test.path, test.accept)
		if status != 200 || kind != test.kind || !strings.Contains(body, test.want) || kind == "text/csv" && body != test.want {
			t.Errorf("%s, %s: %d %s\n%s", test.path, test.accept, status, kind, body)
		}
	}
	doc, err := json.Marshal(s.api.OpenAPI())
	must(t, err)
	for _, want := range []string{`"/analytics/by-account"`, `"maximum":1000`, `"text/csv"`, "how far in the log it reaches"} {
		if !strings.Contains(string(doc), want) {
			t.Errorf("the API's description lacks %s", want)
		}
	}
}

func TestHTTP_WhatCannotBeAnsweredSaysWhy(t *testing.T) {
	r := bankrows.New(t)
	r.Account("ann", "EUR", noon(1))
	r.Write()
	s := serve(t, r, map[string]string{"by-account.sql": byAccount, "slow.sql": goodHeader + "-- limit: 3 rows, 1s\nSELECT count() FROM numbers(100000000000) WHERE sipHash64(number) = 1"})
	for path, test := range map[string]struct {
		status int
		want   []string
	}{
		"/analytics/nothing":                     {404, []string{"not_found", "there are by-account, slow"}},
		"/analytics/by-account?least=x":          {422, []string{"invalid_request", "query.least", `\"x\": give a whole number`}},
		"/analytics/by-account?least=9999&who=1": {422, []string{"query.least", "give -5 to 1000", "query.who", "there are least, id"}},
		"/analytics/by-account?id=a&id=b":        {422, []string{"query.id", "more than once"}},
		"/analytics/by-account?format=xml":       {422, []string{"give json or csv"}},
		"/analytics/by-account?id=%zz":           {422, []string{"percent-encode"}},
		"/analytics/by-account?position=x":       {422, []string{"query.position", "is not log/partition:offset"}},
		"/analytics/by-account?wait=1h":          {422, []string{"query.wait", `\"1h\": give a duration from 0s to 30s`}},
		"/analytics/slow":                        {504, []string{"too_long", "took too long", "raise the limit"}},
	} {
		status, kind, body := s.get(path, "")
		if status != test.status || kind != "application/problem+json" {
			t.Errorf("%s: %d %s %s", path, status, kind, body)
		}
		for _, want := range test.want {
			if !strings.Contains(body, want) {
				t.Errorf("%s does not say %q: %s", path, want, body)
			}
		}
	}
}

func TestHTTP_WithoutAServer_SaysSo(t *testing.T) {
	port, err := process.FreePort()
	must(t, err)
	conn, err := clickhouse.Connect(fmt.Sprintf("http://127.0.0.1:%d", port), 1)
	must(t, err)
	defer conn.Close()
	s := serve(t, &bankrows.Rows{Conn: conn}, map[string]string{"by-account.sql": byAccount})
	if status, kind, body := s.get("/analytics/by-account", ""); status != http.StatusServiceUnavailable || kind != "application/problem+json" || !strings.Contains(body, `"store_unavailable"`) ||
		strings.Contains(body, "127.0.0.1") || strings.Contains(body, "sendQuery") { // what the driver says is for the log
		t.Errorf("%d %s %s", status, kind, body)
	}
	if status, _, body := s.get("/analytics", ""); status != http.StatusOK || !strings.Contains(body, "by-account") {
		t.Errorf("the list needs no server: %d %s", status, body)
	}
}

// An answer waits until it holds what the asker knows of, or says that it gave up.
func TestHTTP_WaitsForAPosition(t *testing.T) {
	r := bankrows.New(t)
	r.Account("ann", "EUR", noon(1))
	r.Write()
	s := serve(t, r, map[string]string{"by-account.sql": byAccount})
	r.Move("ann", "EUR", noon(2), 7, "")
	partition := schemas.Partition("ann", bankrows.Partitions)
	want := fmt.Sprintf("account/%d:%d", partition, r.Offsets()[partition]+1)
	if status, _, body := s.get("/analytics/by-account?wait=50ms&position="+want, ""); status != http.StatusServiceUnavailable || !strings.Contains(body, `"behind"`) || !strings.Contains(body, want) {
		t.Errorf("before it is there: %d %s", status, body)
	}
	if status, _, body := s.get("/analytics/by-account?wait=0s&position=order/1:99", ""); status != http.StatusOK {
		t.Errorf("a position of another kind: %d %s", status, body)
	}
	told := make(chan string)
	go func() {
		_, _, body := s.get("/analytics/by-account?format=csv&wait=30s&position="+want, "")
		told <- body
	}()
	r.Write()
	if body := <-told; body != "aggregate_id,balance\nann,7\n" {
		t.Errorf("told %q", body)
	}
}

// Many ask the same at once and again; what they are told is never older than their question.
func TestHTTP_AnswersAreKeptAndNeverOld(t *testing.T) {
	r := bankrows.New(t)
	r.Account("ann", "EUR", noon(1))
	r.Write()
	s := serve(t, r, map[string]string{"by-account.sql": byAccount})
	first := ""
	for i := range 5 {
		r.Move("ann", "EUR", noon(2), 1, "")
		r.Write()
		var group sync.WaitGroup
		bodies := make([]string, 20)
		for j := range bodies {
			group.Go(func() { _, _, bodies[j] = s.get("/analytics/by-account", "") })
		}
		group.Wait()
		for _, body := range bodies {
			if body != bodies[0] {
				t.Fatalf("equal questions have different answers:\n%s\n%s", body, bodies[0])
			}
		}
		_, _, csv := s.get("/analytics/by-account?format=csv", "")
		if want := "aggregate_id,balance\nann," + string(rune('1'+i)) + "\n"; csv != want {
			t.Errorf("after %d deposits: %q", i+1, csv)
		}
		if bodies[0] == first {
			t.Error("the answer did not change")
		}
		first = bodies[0]
	}
	// What the ledger does not tell of is not looked for: that is what makes answers cheap.
	must(t, r.Conn.Exec(t.Context(), "ALTER TABLE bank.account_events__g1 DELETE WHERE 1 SETTINGS mutations_sync = 1"))
	if _, _, body := s.get("/analytics/by-account", ""); body != first {
		t.Error("an answer that is still good was asked for again")
	}
}

// A server that takes a question and says nothing is one that does not answer; a question that is too long is the asker's.
func TestHTTP_AServerThatHangs_SaysSo(t *testing.T) {
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close() // it accepts and never reads
	conn, err := clickhouse.Connect("http://"+l.Addr().String(), 1)
	must(t, err)
	defer conn.Close()
	s := serve(t, &bankrows.Rows{Conn: conn}, map[string]string{"hangs.sql": goodHeader + "-- limit: 3 rows, 1s\nSELECT 1"})
	if status, _, body := s.get("/analytics/hangs", ""); status != http.StatusServiceUnavailable || !strings.Contains(body, `"store_unavailable"`) || strings.Contains(body, "127.0.0.1") {
		t.Errorf("%d %s", status, body)
	}
	if _, err := catalogue(t, "-- limit: 3 rows, 1s\nSELECT 1").Run(t.Context(), conn, "q", nil); !errors.Is(err, analytics.ErrUnavailable) || strings.Contains(err.Error(), "sendQuery") {
		t.Errorf("%v", err)
	}
}
