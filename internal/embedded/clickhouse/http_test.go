package clickhouse

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestHTTP_AsCurlWould(t *testing.T) {
	s := sharedServer(t)
	db := database(t, s)
	post(t, s, "", "CREATE TABLE "+db+".t (n UInt64, s String) ENGINE = MergeTree ORDER BY n")
	in := "database=" + db
	for _, c := range []struct{ name, method, params, body, want string }{
		{"get", "GET", "query=SELECT+1", "", "1\n"},
		{"root", "GET", "", "", "Ok.\n"},
		{"post", "POST", "", "SELECT 1, 'a'", "1\ta\n"},
		{"half in the URL, half in the body", "POST", "query=SELECT+2,", "3", "2\t3\n"},
		{"format of the statement", "GET", query("SELECT 1 AS a FORMAT JSONEachRow"), "", "{\"a\":1}\n"},
		{"format of the URL", "GET", "default_format=CSV&query=SELECT+1,+'x'", "", "1,\"x\"\n"},
		{"trailing semicolon", "POST", "", "SELECT 1;\n", "1\n"},
		{"comment first", "POST", "", "-- hi\nSELECT 1", "1\n"},
		{"values", "POST", in, "INSERT INTO t VALUES (1,'a'), (2, concat('b','b'))", ""},
		{"rows in the body", "POST", in + "&" + query("INSERT INTO t FORMAT CSV"), "3,c\n4,d\n", ""},
		{"rows behind the statement", "POST", in, "INSERT INTO t (s, n) FORMAT TSV\ne\t5\n", ""},
		{"JSON", "POST", in + "&" + query("INSERT INTO t FORMAT JSONEachRow"), `{"n":6,"s":"f"}`, ""},
		{"insert select", "POST", in, "INSERT INTO t SELECT number + 7, toString(number) FROM numbers(2)", ""},
		{"all of them", "POST", in, "SELECT n, s FROM t ORDER BY n", "1\ta\n2\tbb\n3\tc\n4\td\n5\te\n6\tf\n7\t0\n8\t1\n"},
		{"parameters", "GET", in + "&param_n=3&param_s=%5B'c','d'%5D&" + query("SELECT n FROM t WHERE n >= {n:UInt64} AND has({s:Array(String)}, s) ORDER BY n"), "", "3\n4\n"},
		{"parameter of an insert", "POST", in + "&param_s=it's", "INSERT INTO t VALUES (9, {s:String})", ""},
		{"… was stored", "GET", in + "&" + query("SELECT s FROM t WHERE n = 9"), "", "it\\'s\n"},
		{"setting", "GET", "max_block_size=77&" + query("SELECT getSetting('max_block_size')"), "", "77\n"},
		{"setting gone", "GET", query("SELECT getSetting('max_block_size') = 77"), "", "0\n"},
		{"limit by setting", "GET", "limit=2&" + query("SELECT number FROM numbers(10)"), "", "0\n1\n"},
		{"USE ends with the request", "POST", "", "USE " + db, ""},
		{"…", "GET", query("SELECT currentDatabase()"), "", "default\n"},
		{"zone", "GET", query("SELECT toDateTime(0), timezone()"), "", "1970-01-01 00:00:00\tUTC\n"},
		{"totals", "GET", query("SELECT number % 2 AS k, count() FROM numbers(4) GROUP BY k WITH TOTALS ORDER BY k"), "", "0\t2\n1\t2\n\n0\t4\n"},
		{"view", "POST", in, "CREATE OR REPLACE VIEW v AS SELECT n FROM t WHERE n > {low:UInt64}", ""},
		{"view with a parameter", "GET", in + "&" + query("SELECT count() FROM v(low = 6)"), "", "3\n"},
	} {
		a := ask(t, s, c.method, c.params, c.body)
		if a.status != http.StatusOK || a.body != c.want {
			t.Errorf("%s: %d %q, want %q", c.name, a.status, a.body, c.want)
		}
	}
	if a := send(t, mustRequest(t, s.URL()+"/ping")); a.body != "Ok.\n" {
		t.Errorf("ping: %+v", a)
	}
}

func TestHTTP_Headers(t *testing.T) {
	s := sharedServer(t)
	db := database(t, s)
	post(t, s, "", "CREATE TABLE "+db+".t (n UInt64) ENGINE = MergeTree ORDER BY n")
	a := ask(t, s, "POST", "query_id=mine&"+query("INSERT INTO "+db+".t FORMAT CSV"), "1\n2\n3\n")
	if got := a.header.Get("X-ClickHouse-Query-Id"); got != "mine" {
		t.Errorf("query id %q", got)
	}
	if got := a.header.Get("X-ClickHouse-Summary"); !strings.Contains(got, `"written_rows":"3"`) {
		t.Errorf("summary of an insert: %s", got)
	}
	a = ask(t, s, "GET", "query=SELECT+n+FROM+"+db+".t&default_format=JSON", "")
	for name, want := range map[string]string{"X-ClickHouse-Format": "JSON", "X-ClickHouse-Timezone": "UTC", "Content-Type": "application/json; charset=UTF-8"} {
		if got := a.header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if got := a.header.Get("X-ClickHouse-Summary"); !strings.Contains(got, `"read_rows":"3"`) || !strings.Contains(got, `"result_rows":"3"`) {
		t.Errorf("summary of a query: %s", got)
	}
	if a.header.Get("X-ClickHouse-Query-Id") == "" || a.header.Get("X-ClickHouse-Server-Display-Name") == "" {
		t.Errorf("no query id or name: %v", a.header)
	}
}

func TestHTTP_ErrorsHaveCodeStatusAndText(t *testing.T) {
	s := sharedServer(t)
	db := database(t, s)
	post(t, s, "", "CREATE TABLE "+db+".t (n UInt64) ENGINE = MergeTree ORDER BY n")
	for _, c := range []struct {
		name, method, params, body string
		status                     int
		code, text                 string
	}{
		{"syntax", "POST", "", "SELEC", 400, "62", "SYNTAX_ERROR"},
		{"no such table", "POST", "", "SELECT * FROM " + db + ".nope", 404, "60", "UNKNOWN_TABLE"},
		{"no such table to insert", "POST", query("INSERT INTO " + db + ".nope FORMAT CSV"), "1\n", 404, "60", "UNKNOWN_TABLE"},
		{"no such database", "POST", "database=nope", "SELECT 1", 404, "81", "UNKNOWN_DATABASE"},
		{"no such setting", "POST", "nosuch=1", "SELECT 1", 404, "115", "UNKNOWN_SETTING"},
		{"hostile setting", "POST", "a%3D1,readonly=1", "SELECT 1", 404, "115", "UNKNOWN_SETTING"},
		{"bad setting", "POST", "max_threads=many", "SELECT 1", 400, "27", "CANNOT_PARSE"},
		{"bad rows", "POST", query("INSERT INTO " + db + ".t FORMAT CSV"), "1\nx\n", 400, "117", "INCORRECT_DATA"},
		{"torn block", "POST", query("INSERT INTO " + db + ".t FORMAT Native"), "\x01\x02\x01n\x06UInt64\x01", 400, "33", "CANNOT_READ_ALL_DATA"},
		{"throws midway", "POST", "", "SELECT throwIf(number = 100) FROM numbers(200) SETTINGS max_block_size = 1", 500, "395", "throwIf"},
		{"time limit", "POST", "max_execution_time=0.2", "SELECT count() FROM numbers_mt(100000000000) WHERE cityHash64(number) = 1", 408, "159", "TIMEOUT_EXCEEDED"},
		{"two statements", "POST", "", "SELECT 1; SELECT 2", 400, "62", "Multi-statements"},
		{"to a file", "POST", "", "SELECT 1 INTO OUTFILE '/tmp/x'", 400, "254", "INTO OUTFILE"},
		{"empty", "POST", "", "", 400, "62", "Empty query"},
		{"GET that writes", "GET", query("DROP TABLE " + db + ".t"), "", 500, "164", "READONLY"},
		{"GET that inserts", "GET", query("INSERT INTO " + db + ".t VALUES (1)"), "", 500, "164", "READONLY"},
		{"readonly that writes", "POST", "readonly=1", "DROP TABLE " + db + ".t", 500, "164", "READONLY"},
		{"readonly undone", "POST", "readonly=1", "SELECT 1 SETTINGS readonly = 0", 500, "164", "READONLY"},
		{"no session", "POST", "session_id=none&session_check=1", "SELECT 1", 404, "372", "SESSION_NOT_FOUND"},
		{"missing parameter", "POST", "", "SELECT {x:UInt8}", 500, "456", "x"},
	} {
		a := ask(t, s, c.method, c.params, c.body)
		if a.status != c.status || a.header.Get("X-ClickHouse-Exception-Code") != c.code || !strings.Contains(a.body, c.text) ||
			!strings.HasPrefix(a.body, "Code: "+c.code+". DB::Exception: ") || !strings.Contains(a.body, "(version ") {
			t.Errorf("%s: %d, code %s, %q; want %d, %s, %q", c.name, a.status, a.header.Get("X-ClickHouse-Exception-Code"), a.body, c.status, c.code, c.text)
		}
	}
	if got := post(t, s, "", "SELECT count() FROM "+db+".t"); got != "0\n" {
		t.Errorf("rows after refused inserts: %s", got)
	}
}

func TestHTTP_ReadOnlyUser(t *testing.T) {
	s := sharedServer(t)
	db := database(t, s)
	post(t, s, "", "CREATE TABLE "+db+".t (n UInt64) ENGINE = MergeTree ORDER BY n")
	as := func(sql string) answer {
		r := newRequest(t, s, "POST", "max_threads=1&database="+db, sql)
		r.SetBasicAuth(analyst, "any")
		return send(t, r)
	}
	if a := as("SELECT count() FROM t"); a.body != "0\n" {
		t.Fatalf("%+v", a)
	}
	for _, sql := range []string{
		"INSERT INTO t VALUES (1)", "INSERT INTO t SELECT 1", "DROP TABLE t", "CREATE TABLE u (n Int8) ENGINE = Memory", "SET readonly = 0",
		"SELECT 1 SETTINGS readonly = 0", "SELECT * FROM file('/etc/passwd', 'LineAsString')", "SELECT * FROM url('http://127.0.0.1:1/', 'LineAsString')",
		"INSERT INTO FUNCTION file('/tmp/x', 'CSV', 'n Int8') VALUES (1)",
	} {
		if a := as(sql); a.header.Get("X-ClickHouse-Exception-Code") != "164" {
			t.Errorf("%s: %+v", sql, a)
		}
	}
}

func TestHTTP_WebPagesAreRefused(t *testing.T) {
	s := sharedServer(t)
	for name, value := range map[string]string{"Origin": "http://evil.example", "Sec-Fetch-Site": "cross-site", "Host": "rebound.example:8123"} {
		r := newRequest(t, s, "POST", "", "SELECT 1")
		if r.Header.Set(name, value); name == "Host" {
			r.Host = value
		}
		if a := send(t, r); a.status != http.StatusForbidden {
			t.Errorf("%s %s: %d", name, value, a.status)
		}
	}
	r := newRequest(t, s, "POST", "", "SELECT 1")
	r.Host = "localhost:8123"
	r.Header.Set("Origin", "http://localhost:8123")
	if a := send(t, r); a.body != "1\n" {
		t.Errorf("its own page: %+v", a)
	}
}

func TestHTTP_Compression(t *testing.T) {
	s := sharedServer(t)
	db := database(t, s)
	post(t, s, "", "CREATE TABLE "+db+".t (n UInt64) ENGINE = MergeTree ORDER BY n")
	var body bytes.Buffer
	z := gzip.NewWriter(&body)
	for n := range 10_000 {
		fmt.Fprintln(z, n)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	r := newRequest(t, s, "POST", query("INSERT INTO "+db+".t FORMAT TSV"), body.String())
	r.Header.Set("Content-Encoding", "gzip")
	if a := send(t, r); a.status != http.StatusOK {
		t.Fatalf("%+v", a)
	}
	r = newRequest(t, s, "POST", "database="+db, "SELECT count(), sum(n) FROM t")
	r.Header.Set("Accept-Encoding", "gzip")
	a := send(t, r)
	if a.header.Get("Content-Encoding") != "gzip" {
		t.Fatalf("%+v", a)
	}
	u, err := gzip.NewReader(strings.NewReader(a.body))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(u); err != nil || string(got) != "10000\t49995000\n" {
		t.Errorf("%q, %v", got, err)
	}
	r = newRequest(t, s, "POST", query("INSERT INTO "+db+".t FORMAT TSV"), "not gzip at all")
	r.Header.Set("Content-Encoding", "gzip")
	if a := send(t, r); a.status == http.StatusOK {
		t.Error("a body that is not what it says was taken")
	}
}

func TestHTTP_FailureAfterTheFirstBytes(t *testing.T) {
	s := sharedServer(t)
	const sql = "SELECT number, repeat('x', 1000), throwIf(number = 9000) FROM numbers(10000) SETTINGS max_block_size = 100"
	a := ask(t, s, "POST", "", sql)
	tag := a.header.Get("X-ClickHouse-Exception-Tag")
	if a.status != http.StatusOK || len(tag) != 16 || !strings.HasSuffix(a.body, tag+"\r\n__exception__\r\n") || !strings.Contains(a.body, "Code: 395.") {
		t.Errorf("%d, tag %q, end %q", a.status, tag, a.body[max(0, len(a.body)-400):])
	}
	// Who wants to know for sure asks to wait.
	if a := ask(t, s, "POST", "wait_end_of_query=1", sql); a.header.Get("X-ClickHouse-Exception-Code") != "395" {
		t.Errorf("%d %v", a.status, a.header)
	}
	if got := post(t, s, "", "SELECT 1"); got != "1\n" {
		t.Errorf("the next query: %q", got)
	}
}

func TestHTTP_LargeAnswersAreStreamedWhole(t *testing.T) {
	s := sharedServer(t)
	body := post(t, s, "", "SELECT number FROM numbers(2000000)")
	if n := strings.Count(body, "\n"); n != 2_000_000 || !strings.HasSuffix(body, "\n1999999\n") {
		t.Errorf("%d lines, end %q", n, body[len(body)-20:])
	}
}

func TestHTTP_Sessions(t *testing.T) {
	s := sharedServer(t)
	in := "session_id=" + t.Name() + "&session_timeout=60"
	post(t, s, in, "CREATE TEMPORARY TABLE mine (n UInt8)")
	post(t, s, in, "INSERT INTO mine VALUES (5)")
	post(t, s, in, "SET max_block_size = 321")
	if a := ask(t, s, "POST", in, "SELECT throwIf(number = 3) FROM numbers(5) SETTINGS max_block_size = 1"); a.status == http.StatusOK {
		t.Error("did not throw")
	}
	if got := post(t, s, in, "SELECT n, getSetting('max_block_size') FROM mine"); got != "5\t321\n" {
		t.Errorf("got %q", got)
	}
	post(t, s, in+"&close_session=1", "SELECT 1")
	if a := ask(t, s, "POST", in+"&session_check=1", "SELECT 1"); a.header.Get("X-ClickHouse-Exception-Code") != "372" {
		t.Errorf("after its end: %+v", a)
	}
}

func TestHTTP_ClientGoneEndsTheQuery(t *testing.T) {
	s := sharedServer(t)
	const endless = "SELECT count() FROM numbers_mt(1000000000000) WHERE cityHash64(number) = 1"
	running := func() string {
		return post(t, s, "", "SELECT count() FROM system.processes WHERE query LIKE '%numbers_mt(10000000000' || '00)%'")
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r := newRequest(t, s, "POST", "", endless).WithContext(ctx)
	done := make(chan error, 1)
	go func() {
		_, err := http.DefaultTransport.RoundTrip(r) //nolint:bodyclose // it never answers
		done <- err
	}()
	eventually(t, "the query runs", func() bool { return running() == "1\n" })
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	eventually(t, "the query has ended", func() bool { return running() == "0\n" })
}

func TestHTTP_BrokenInsertStoresNothing(t *testing.T) {
	s := sharedServer(t)
	db := database(t, s)
	post(t, s, "", "CREATE TABLE "+db+".t (n UInt64) ENGINE = MergeTree ORDER BY n")
	rows, feed := io.Pipe()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL()+"/?"+query("INSERT INTO "+db+".t FORMAT TSV"), rows)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		_, err := http.DefaultTransport.RoundTrip(r) //nolint:bodyclose // it never answers
		done <- err
	}()
	for n := range 200_000 { // more than the front looks at before it begins
		if _, err := fmt.Fprintln(feed, n); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the insert runs", func() bool {
		return post(t, s, "", "SELECT count() FROM system.processes WHERE query LIKE 'INSERT INTO "+db+"%'") == "1\n"
	})
	feed.CloseWithError(errors.New("the client dies"))
	if err := <-done; err == nil {
		t.Error("a broken insert was acknowledged")
	}
	eventually(t, "the insert has ended", func() bool {
		return post(t, s, "", "SELECT count() FROM system.processes WHERE query LIKE 'INSERT INTO "+db+"%'") == "0\n"
	})
	if got := post(t, s, "", "SELECT count() FROM "+db+".t"); got != "0\n" {
		t.Errorf("%s rows of a broken insert are stored", got)
	}
}

// All places for queries are taken by sleepers; an insert does not wait for them.
func TestHTTP_InsertsDoNotWaitBehindQueries(t *testing.T) {
	s := sharedServer(t)
	db := database(t, s)
	post(t, s, "", "CREATE TABLE "+db+".t (n UInt64) ENGINE = MergeTree ORDER BY n")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var sleepers sync.WaitGroup
	const asleep = "SELECT sleepEachRow(1) FROM numbers(600) SETTINGS max_block_size = 1, function_sleep_max_microseconds_per_block = 0"
	for range sharedQueries {
		r := newRequest(t, s, "POST", "", asleep).WithContext(ctx)
		sleepers.Go(func() {
			if resp, err := http.DefaultTransport.RoundTrip(r); err == nil {
				_, _ = io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
			}
		})
	}
	eventually(t, "a query finds no place", func() bool {
		soon, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		resp, err := http.DefaultTransport.RoundTrip(newRequest(t, s, "POST", "", "SELECT 1").WithContext(soon))
		if err == nil {
			resp.Body.Close()
		}
		return errors.Is(err, context.DeadlineExceeded)
	})
	post(t, s, query("INSERT INTO "+db+".t FORMAT TSV"), "1\n")
	cancel()
	sleepers.Wait()
	if got := post(t, s, "", "SELECT count() FROM "+db+".t"); got != "1\n" {
		t.Errorf("got %q", got)
	}
}

func mustRequest(t *testing.T, url string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}
