package bank_test

import (
	"context"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/ledgerline-es/ledgerline/api"
	"github.com/ledgerline-es/ledgerline/bank"
	"github.com/ledgerline-es/ledgerline/internal/kit"
	"github.com/ledgerline-es/ledgerline/producer"
)

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
	// Wherever the caller is sent, and whatever was started anew meanwhile.
	other.get(late.header.Get("Location")).is(202, "")
	h.door(nil).get(late.header.Get("Location")).is(202, "")
	other.get("/accounts/acc/commands/pay").is(404, "command_unknown")
	other.get("/accounts/nobody/commands/pay%2F1").is(404, "command_unknown")
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
	h.door(nil).get(late.header.Get("Location")).is(200, "").as(&r)
	if r.CommandID != "pay/1" || r.Outcome != producer.Accepted || r.Duplicate || r.Version != 3 {
		t.Errorf("one that was started since says the reply is %+v", r)
	}
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
