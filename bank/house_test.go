package bank_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
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
	return houseOn(t, kit.Kafka(t).Brokers())
}

// houseOn is a house on brokers of the test's own.
func houseOn(t *testing.T, brokers []string) *house {
	t.Helper()
	kit.Start(t, kit.UseRegistry, kit.UsePostgres)
	return &house{
		t: t, brokers: brokers, registry: schemas.NewRegistry(kit.Registry(t).Client(t)), prefix: kit.Prefix(t),
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

// client is one that runs until the test ends.
func (h *house) client() *producer.Client {
	h.t.Helper()
	c := producer.NewClient(producer.ClientConfig{Brokers: h.brokers, Registry: h.registry, TopicPrefix: h.prefix, Logger: h.log}, bank.Account)
	h.run("client", c.Ready, c.Run)
	return c
}

func (h *house) projector(p projector.Projection) (stop func()) {
	h.t.Helper()
	sink := postgres.New(postgres.Config{URL: h.url})
	h.t.Cleanup(sink.Close)
	worker := projector.New(projector.Config{Client: []kgo.Opt{kgo.SeedBrokers(h.brokers...)}, Registry: h.registry, TopicPrefix: h.prefix, Logger: h.log}, p, sink)
	return h.run("projector "+p.ProjectionName(), worker.Ready, worker.Run)
}

// projectors starts those of Postgres.
func (h *house) projectors() {
	h.t.Helper()
	h.projector(bank.AccountSummary)
	h.projector(bank.TransactionHistory)
	h.projector(bank.TransferStatus)
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
