package bank_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"

	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ledgerline-es/ledgerline/api"
	"github.com/ledgerline-es/ledgerline/bank"
	"github.com/ledgerline-es/ledgerline/internal/kit"
	"github.com/ledgerline-es/ledgerline/producer"
	"github.com/ledgerline-es/ledgerline/projector"
	"github.com/ledgerline-es/ledgerline/projector/postgres"
	"github.com/ledgerline-es/ledgerline/schemas"
)

// patience is how long a test waits for what must come: machines are slow and busy.
const patience = 2 * time.Minute

// house is the bank on Apache Kafka, Apicurio Registry and PostgreSQL, each part of it to be stopped and started.
type house struct {
	t        *testing.T
	brokers  []string
	registry *schemas.Registry
	prefix   string
	url      string // of Postgres
	log      *slog.Logger
}

func newHouse(t *testing.T) *house {
	t.Helper()
	kit.Start(t, kit.UseKafka, kit.UseRegistry, kit.UsePostgres)
	return &house{
		t: t, brokers: kit.Kafka(t).Brokers(), registry: schemas.NewRegistry(kit.Registry(t).Client(t)), prefix: kit.Prefix(t),
		url: kit.Postgres(t).URL(), log: slog.New(slog.NewTextHandler(testLog{t}, nil)),
	}
}

type testLog struct{ t *testing.T }

func (l testLog) Write(b []byte) (int, error) {
	l.t.Logf("%s", strings.TrimSpace(string(b)))
	return len(b), nil
}

// run runs a part until the test ends or stop is called, once it is ready.
func (h *house) run(name string, ready func() error, run func(context.Context) error) (stop func()) {
	h.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			h.t.Errorf("%s: %v", name, err)
		}
	})
	h.t.Cleanup(stop)
	h.await(name+" to be ready", ready)
	return stop
}

func (h *house) await(what string, check func() error) {
	h.t.Helper()
	deadline := time.Now().Add(patience)
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			h.t.Fatalf("waited %v for %s: %v", patience, what, err)
		}
		<-time.After(5 * time.Millisecond)
	}
}

func (h *house) producer() (stop func()) {
	h.t.Helper()
	p := producer.New(producer.Config{
		Brokers: h.brokers, Registry: h.registry, TopicPrefix: h.prefix, Partitions: 4, Replication: 1, MinInsync: 1,
		SessionTimeout: 6 * time.Second, TransactionTimeout: 10 * time.Second, Logger: h.log,
	}, bank.Account)
	return h.run("producer", p.Ready, p.Run)
}

func (h *house) projector(p projector.Projection) (stop func()) {
	h.t.Helper()
	sink := postgres.New(postgres.Config{URL: h.url})
	h.t.Cleanup(sink.Close)
	worker := projector.New(projector.Config{Client: []kgo.Opt{kgo.SeedBrokers(h.brokers...)}, Registry: h.registry, TopicPrefix: h.prefix, Logger: h.log}, p, sink)
	return h.run("projector "+p.ProjectionName(), worker.Ready, worker.Run)
}

// projectors starts both.
func (h *house) projectors() {
	h.t.Helper()
	h.projector(bank.AccountSummary)
	h.projector(bank.TransactionHistory)
}

// door is one instance of the API.
type door struct {
	*house
	stop    func()
	url     string
	api     *api.API
	token   string
	metrics *prometheus.Registry
}

func (h *house) door(change func(*api.Config)) *door {
	h.t.Helper()
	pool, err := pgxpool.New(context.Background(), h.url)
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(pool.Close)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		h.t.Fatal(err)
	}
	d := &door{house: h, url: "http://" + l.Addr().String(), metrics: prometheus.NewRegistry()}
	domain := bank.Domain()
	cfg := api.Config{
		Listen: l.Addr().String(), Aggregates: domain.Aggregates, Projections: domain.Projections, Postgres: pool, Logger: h.log, Metrics: d.metrics,
		Client: producer.ClientConfig{Brokers: h.brokers, Registry: h.registry, TopicPrefix: h.prefix}, WriteWait: patience, MaxWait: patience,
	}
	if change != nil {
		change(&cfg)
	}
	if d.api, err = api.New(cfg); err != nil {
		h.t.Fatal(err)
	}
	if err := domain.Routes(d.api); err != nil {
		h.t.Fatal(err)
	}
	d.stop = h.run("api", d.api.Ready, func(ctx context.Context) error { return d.api.Run(ctx, l) })
	return d
}

// fullHouse is a house at work, and a door to it.
func fullHouse(t *testing.T) *door {
	t.Helper()
	h := newHouse(t)
	h.producer()
	h.projectors()
	return h.door(nil)
}

// said is an answer.
type said struct {
	t      testing.TB
	status int
	header http.Header
	body   []byte
}

func (s said) String() string { return fmt.Sprintf("%d %v %s", s.status, s.header, s.body) }

func (s said) position() string { return s.header.Get(api.HeaderPosition) }

// as reads the body.
func (s said) as(v any) said {
	s.t.Helper()
	if err := json.Unmarshal(s.body, v); err != nil {
		s.t.Errorf("%s: %v", s, err)
	}
	return s
}

// is fails the test unless the answer has the status and, if it is a problem, the code.
func (s said) is(status int, code string) said {
	s.t.Helper()
	if s.status != status {
		s.t.Errorf("wanted %d, got %s", status, s)
	}
	if s.position() == "" {
		s.t.Errorf("no position: %s", s)
	}
	if code != "" {
		var p api.Problem
		s.as(&p)
		if p.Code != code || p.Detail == "" || s.header.Get("Content-Type") != "application/problem+json" {
			s.t.Errorf("wanted code %s, got %s", code, s)
		}
	}
	return s
}

// ask sends a request; headers are pairs.
func (d *door) ask(method, path, body string, headers ...string) said {
	d.t.Helper()
	s, err := d.try(method, path, body, headers...)
	if err != nil {
		d.t.Error(err) // not Fatal: tests ask from goroutines, too
	}
	return s
}

func (d *door) try(method, path, body string, headers ...string) (said, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, d.url+path, strings.NewReader(body))
	if err != nil {
		return said{t: d.t}, err
	}
	if method == http.MethodPost {
		req.Header.Set("Content-Type", "application/json")
	}
	if d.token != "" {
		req.Header.Set("Authorization", "Bearer "+d.token)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return said{t: d.t}, err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	return said{d.t, res.StatusCode, res.Header, text}, err
}

func (d *door) get(path string, headers ...string) said {
	d.t.Helper()
	return d.ask(http.MethodGet, path, "", headers...)
}

func (d *door) post(path, body string, headers ...string) said {
	d.t.Helper()
	return d.ask(http.MethodPost, path, body, headers...)
}

type openedBody struct {
	AccountID    string `json:"account_id"`
	Version      int64  `json:"version"`
	BalanceMinor int64  `json:"balance_minor"`
}

type doneBody struct {
	AccountID string `json:"account_id"`
	CommandID string `json:"command_id"`
	Version   int64  `json:"version"`
}

type summaryBody struct {
	AccountID         string  `json:"account_id"`
	Owner             string  `json:"owner"`
	Currency          string  `json:"currency"`
	Status            string  `json:"status"`
	BalanceMinor      int64   `json:"balance_minor"`
	Version           int64   `json:"version"`
	TransactionCount  int64   `json:"transaction_count"`
	OpenedAt          string  `json:"opened_at"`
	LastTransactionAt *string `json:"last_transaction_at"`
}

type replyBody struct {
	CommandID     string `json:"command_id"`
	Outcome, Code string
	Duplicate     bool
	Version       int64
}

func (d *door) open(id string, deposit int) said {
	d.t.Helper()
	return d.post("/accounts", fmt.Sprintf(`{"account_id":%q,"owner":"ann","currency":"EUR","initial_deposit_minor":%d}`, id, deposit)).is(201, "")
}

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
	d.get("/accounts/mine/transactions?min_version=1&wait=1m").is(200, "")
}

// Reading one's own writes: by position and by version, through the instance that wrote and through another one, while
// others write.
func TestP11_ReadYourWrites(t *testing.T) {
	d := fullHouse(t)
	other := d.house.door(nil)
	var group sync.WaitGroup
	for w := range 8 {
		group.Go(func() {
			id := fmt.Sprintf("acc-%d", w)
			d.open(id, 0)
			for i := range int64(40) {
				done := d.post("/accounts/"+id+"/deposits", `{"amount_minor":1}`)
				if done.status != 200 {
					t.Errorf("deposit: %s", done)
					return
				}
				from := []*door{d, other}[i%2]
				var path string
				if i%3 == 0 {
					path = fmt.Sprintf("?wait=1m&min_version=%d", i+2)
				} else {
					path = "?wait=1m&position=" + done.position()
				}
				var s summaryBody
				if got := from.get("/accounts/summary/" + id + path); got.status != 200 {
					t.Errorf("%s: %s", path, got)
					return
				} else if got.as(&s); s.Version < i+2 || s.BalanceMinor < i+1 {
					t.Errorf("after deposit %d with %s: %+v", i+1, path, s)
					return
				}
				var list struct{ Items []struct{ Sequence int64 } }
				if got := from.get("/accounts/" + id + "/transactions" + path + "&limit=1"); got.status != 200 {
					t.Errorf("%s: %s", path, got)
					return
				} else if got.as(&list); len(list.Items) != 1 || list.Items[0].Sequence < i+2 {
					t.Errorf("after deposit %d with %s: %+v", i+1, path, list)
					return
				}
			}
		})
	}
	group.Wait()
}

// While an account changes all the time, each reader of one instance sees it go forward only, most reads come from memory,
// and in the end the last version is there without asking for it.
func TestP11_CachedReadsGoForwardUnderLoad(t *testing.T) {
	d := fullHouse(t)
	const deposits = 300
	ids := []string{"one", "two"}
	stop := make(chan struct{})
	var readers, writers sync.WaitGroup
	for _, id := range ids {
		d.get("/accounts/summary/"+id+"?wait=1m&position="+d.open(id, 0).position()).is(200, "")
		writers.Go(func() {
			for range deposits {
				if got := d.post("/accounts/"+id+"/deposits", `{"amount_minor":1}`); got.status != 200 {
					t.Errorf("deposit: %s", got)
				}
			}
		})
		for range 3 {
			readers.Go(func() {
				var before int64
				width := 0
				for {
					select {
					case <-stop:
						return
					default:
					}
					got := d.get("/accounts/summary/" + id)
					var s summaryBody
					got.is(200, "").as(&s)
					if s.Version < before || s.BalanceMinor != s.Version-1 {
						t.Errorf("%s was at %d and then at %+v", id, before, s)
						return
					}
					if width != 0 && len(got.body) != width {
						t.Errorf("bodies of %d and of %d bytes", width, len(got.body))
						return
					}
					before, width = s.Version, len(got.body)
				}
			})
		}
	}
	writers.Wait()
	close(stop)
	readers.Wait()
	for _, id := range ids {
		d.await("the last version of "+id, func() error {
			var s summaryBody
			if d.get("/accounts/summary/" + id).as(&s); s.Version != deposits+1 {
				return fmt.Errorf("%s is at %d", id, s.Version)
			}
			return nil
		})
	}
	var stats struct {
		ES struct {
			Queue struct {
				QueueName map[string]struct{ AvgItemsPerSecond float64 }
			}
			ReadIndex struct{ CachedRecord int }
		}
		Cache struct {
			Hits, Misses int64
			HitRate      float64 `json:"hit_rate"`
		}
	}
	d.get("/stats").is(200, "").as(&stats)
	if stats.ES.Queue.QueueName["$all"].AvgItemsPerSecond <= 0 || stats.ES.ReadIndex.CachedRecord != 2 || stats.Cache.Hits == 0 {
		t.Errorf("stats: %+v", stats)
	}
	t.Logf("hit rate %v of %d reads, %v events/s", stats.Cache.HitRate, stats.Cache.Hits+stats.Cache.Misses, stats.ES.Queue.QueueName["$all"].AvgItemsPerSecond)
}

// A projection that stands still: who asks for more than it has is told so, who does not is served.
func TestP11_BehindIsSaid(t *testing.T) {
	h := newHouse(t)
	h.producer()
	h.projector(bank.TransactionHistory)
	stop := h.projector(bank.AccountSummary)
	d := h.door(nil)
	d.get("/accounts/summary/acc?wait=1m&position="+d.open("acc", 5).position()).is(200, "")
	stop()
	done := d.post("/accounts/acc/deposits", `{"amount_minor":1}`).is(200, "")
	for _, query := range []string{"?wait=100ms&position=" + done.position(), "?wait=100ms&min_version=3", "?min_version=3"} {
		got := d.get("/accounts/summary/"+acc(query)).is(503, "behind")
		if got.header.Get("Retry-After") == "" {
			t.Errorf("no Retry-After: %s", got)
		}
	}
	var s summaryBody
	if d.get("/accounts/summary/acc").is(200, "").as(&s); s.Version != 2 {
		t.Errorf("without asking for more: %+v", s)
	}
	d.get("/accounts/acc/transactions?wait=1m&position="+done.position()).is(200, "")
	// Those who wait while it comes back are served.
	waiting := make(chan said, 1)
	go func() { waiting <- d.get("/accounts/summary/acc?wait=2m&position=" + done.position()) }()
	h.projector(bank.AccountSummary)
	if (<-waiting).is(200, "").as(&s); s.Version != 3 {
		t.Errorf("after it came back: %+v", s)
	}
}

func acc(query string) string { return "acc" + query }

// Nobody decides: a write is kept and answered later, and when that goes on for long no more are taken.
func TestWrites_LateAndThenAnswered(t *testing.T) {
	h := newHouse(t)
	stop := h.producer()
	h.projectors()
	d := h.door(func(c *api.Config) { c.NoReplyAfter = time.Second })
	other := h.door(nil)
	d.open("acc", 5)
	stop()
	late := d.post("/accounts/acc/deposits?wait=50ms", `{"amount_minor":1}`, "Idempotency-Key", "pay/1")
	if late.status != 202 || late.header.Get("Location") != "/accounts/acc/commands/pay%2F1" || late.position() == "" || late.header.Get("Retry-After") == "" {
		t.Fatalf("late: %s", late)
	}
	var pending struct {
		CommandID string `json:"command_id"`
		Status    string
	}
	if late.as(&pending); pending.CommandID != "pay/1" || pending.Status != "pending" {
		t.Errorf("late: %s", late)
	}
	d.get(late.header.Get("Location")).is(202, "")
	d.await("writes to be refused", func() error {
		got := d.post("/accounts/acc/deposits?wait=50ms", `{"amount_minor":1}`, "Idempotency-Key", "pay/2")
		if got.status == 202 {
			return fmt.Errorf("still %s", got)
		}
		if got.is(503, "no_producer").header.Get("Retry-After") == "" {
			t.Errorf("no Retry-After: %s", got)
		}
		return nil
	})
	h.producer()
	var r replyBody
	h.await("the reply", func() error {
		got := d.get(late.header.Get("Location"))
		if got.status == 202 {
			return fmt.Errorf("still %s", got)
		}
		got.is(200, "").as(&r)
		return nil
	})
	if r.CommandID != "pay/1" || r.Outcome != producer.Accepted || r.Version != 3 {
		t.Errorf("the reply is %+v", r)
	}
	h.await("another instance to know of it", func() error { // which has read the replies since it was started
		if got := other.get(late.header.Get("Location")); got.status != 200 {
			return fmt.Errorf("it says %s", got)
		}
		return nil
	})
	var done doneBody
	d.post("/accounts/acc/deposits", `{"amount_minor":1}`, "Idempotency-Key", "pay/1").is(200, "").as(&done)
	if done.Version != 3 {
		t.Errorf("sent again it is %+v", done)
	}
}

// A write that waits longer than any deadline of the machinery gets its answer, and its connection goes on.
func TestWrites_WaitLong(t *testing.T) {
	h := newHouse(t)
	stop := h.producer()
	h.projectors()
	d := h.door(nil)
	d.open("acc", 5)
	stop()
	answer := make(chan said, 1)
	began := time.Now()
	go func() { answer <- d.post("/accounts/acc/deposits?wait=2m", `{"amount_minor":1}`) }()
	<-time.After(11 * time.Second)
	h.producer()
	got := (<-answer).is(200, "")
	if took := time.Since(began); took < 11*time.Second {
		t.Errorf("it took %v", took)
	}
	d.get("/accounts/summary/acc?wait=1m&position="+got.position()).is(200, "")
}

// Who waits while an instance is stopped is told where he stands, and soon.
func TestStop_AnswersWhoWaits(t *testing.T) {
	h := newHouse(t)
	stop := h.producer()
	h.projectors()
	d := h.door(nil)
	d.get("/accounts/acc/transactions?wait=1m&position="+d.open("acc", 5).position()).is(200, "")
	stop()
	var group sync.WaitGroup
	group.Go(func() {
		if got := d.post("/accounts/acc/deposits?wait=2m", `{"amount_minor":1}`); got.status != 202 || got.header.Get("Location") == "" {
			t.Errorf("the write: %s", got)
		}
	})
	group.Go(func() { d.get("/accounts/summary/acc?min_version=9&wait=2m").is(503, "stopping") })
	group.Go(func() { d.get("/accounts/acc/transactions?position=account/0:999999&wait=2m").is(200, "") }) // of another log
	group.Go(func() {
		d.get("/accounts/acc/transactions?position="+h.prefix+"account/0:999999,1:999999,2:999999,3:999999&wait=2m").is(503, "stopping")
	})
	d.await("both to wait", func() error {
		families, err := d.metrics.Gather()
		if err != nil {
			return err
		}
		waiting := map[string]float64{}
		for _, f := range families {
			waiting[f.GetName()] = f.GetMetric()[0].GetGauge().GetValue()
		}
		if waiting["api_waiting_reads"] != 2 || waiting["api_pending_writes"] != 1 {
			return fmt.Errorf("%v reads and %v writes wait", waiting["api_waiting_reads"], waiting["api_pending_writes"])
		}
		return nil
	})
	began := time.Now()
	d.stop()
	group.Wait()
	t.Logf("stopped in %v", time.Since(began))
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
	var alices, bobs openedBody
	answers[0].as(&alices)
	d.post("/accounts/"+alices.AccountID+"/deposits", `{"amount_minor":1}`, "Idempotency-Key", "k").is(422, "command_id_reused")
	d.token = "token of bob"
	d.post("/accounts", body, "Idempotency-Key", "k").is(201, "").as(&bobs)
	if alices.AccountID == bobs.AccountID {
		t.Error("two principals' keys met")
	}
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

// Kafka dies and comes back: reads go on, writes say why they can't, and then go on too.
func TestKafkaDown_WritesSaySoAndReadsGoOn(t *testing.T) {
	d := fullHouse(t)
	d.get("/accounts/summary/acc?wait=1m&position="+d.open("acc", 5).position()).is(200, "")
	kafka := kit.Kafka(t)
	kafka.Kill9()
	back := sync.OnceFunc(func() { kafka.Restart(t) })
	defer back()
	got := d.post("/accounts/acc/deposits?wait=100ms", `{"amount_minor":1}`, "Idempotency-Key", "in-the-dark").is(503, "log_unavailable")
	if got.header.Get("Retry-After") == "" {
		t.Errorf("no Retry-After: %s", got)
	}
	var s summaryBody
	for range 3 {
		if d.get("/accounts/summary/acc").is(200, "").as(&s); s.Version != 2 {
			t.Errorf("meanwhile: %+v", s)
		}
	}
	back()
	d.await("writes to go on", func() error {
		if got := d.post("/accounts/acc/deposits?wait=10s", `{"amount_minor":1}`, "Idempotency-Key", "in-the-dark"); got.status != 200 {
			return fmt.Errorf("%s", got)
		}
		return nil
	})
	if d.get("/accounts/summary/acc?min_version=3&wait=2m").is(200, "").as(&s); s.Version != 3 || s.BalanceMinor != 6 {
		t.Errorf("in the end: %+v", s)
	}
}

// Postgres dies and comes back: what is in memory is served, the rest says why not.
func TestPostgresDown_SaysSo(t *testing.T) {
	d := fullHouse(t)
	for _, id := range []string{"warm", "cold"} {
		done := d.open(id, 5)
		d.get("/accounts/"+id+"/transactions?wait=1m&position="+done.position()).is(200, "")
		if id == "warm" {
			d.get("/accounts/summary/warm?wait=1m&position="+done.position()).is(200, "")
		}
	}
	server := kit.Postgres(t)
	server.Kill9()
	back := sync.OnceFunc(func() { server.Restart(t) })
	defer back()
	d.get("/accounts/summary/cold").is(503, "store_unavailable")
	d.get("/accounts/warm/transactions").is(503, "store_unavailable")
	d.get("/accounts/summary/warm").is(200, "")
	back()
	d.await("reads to go on", func() error {
		if got := d.get("/accounts/summary/cold"); got.status != 200 {
			return fmt.Errorf("%s", got)
		}
		return nil
	})
}

// Nothing is there yet, neither topics nor tables: everything says so, and goes on by itself when they come.
func TestBeforeAnythingIsThere(t *testing.T) {
	h := newHouse(t)
	pool, err := pgxpool.New(t.Context(), h.url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	domain := bank.Domain()
	a, err := api.New(api.Config{
		Listen: l.Addr().String(), Aggregates: domain.Aggregates, Projections: domain.Projections, Postgres: pool, Logger: h.log,
		Client: producer.ClientConfig{Brokers: h.brokers, Registry: h.registry, TopicPrefix: h.prefix}, MaxWait: patience,
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := domain.Routes(a); err != nil {
		t.Fatal(err)
	}
	d := &door{house: h, url: "http://" + l.Addr().String(), api: a}
	h.run("api", func() error { return nil }, func(ctx context.Context) error { return a.Run(ctx, l) })
	d.post("/accounts", `{"owner":"ann","currency":"EUR"}`).is(503, "starting")
	d.get("/accounts/summary/acc").is(503, "projection_missing")
	if a.Ready() == nil {
		t.Error("it says that it is ready")
	}
	h.producer()
	h.projectors()
	h.await("the API to be ready", a.Ready)
	d.get("/accounts/summary/acc?wait=1m&position="+d.open("acc", 5).position()).is(200, "")
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
