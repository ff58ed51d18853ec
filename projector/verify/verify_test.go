package verify_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ledgerline-es/ledgerline/internal/kit"
	"github.com/ledgerline-es/ledgerline/internal/logread"
	"github.com/ledgerline-es/ledgerline/projector"
	"github.com/ledgerline-es/ledgerline/projector/internal/logtest"
	"github.com/ledgerline-es/ledgerline/projector/verify"
	"github.com/ledgerline-es/ledgerline/schemas"
	"github.com/ledgerline-es/ledgerline/schemas/ledgerline"
)

func TestMain(m *testing.M) { kit.Main(m, logtest.Role()) }

// run runs the world's projectors in this process until stop.
func run(t *testing.T, w *logtest.World) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- w.Setup.Run(ctx) }()
	ended := false
	stop = func() {
		if ended {
			return
		}
		ended = true
		cancel()
		if err := <-done; err != nil {
			t.Errorf("projectors ended: %v", err)
		}
	}
	t.Cleanup(stop)
	return stop
}

func config(w *logtest.World) (verify.Config, []projector.Projection) {
	projections, sinks := w.Projections()
	return verify.Config{
		Client: []kgo.Opt{kgo.SeedBrokers(w.Log.Brokers...)}, Registry: w.Registry, TopicPrefix: w.Log.Prefix, Sinks: sinks,
	}, projections
}

func verified(t *testing.T, w *logtest.World) verify.Report {
	t.Helper()
	cfg, projections := config(w)
	report, err := verify.Verify(t.Context(), cfg, projections...)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

// caughtUp waits until all projections stand at the end of the log, and gives the report of that moment.
func caughtUp(t *testing.T, w *logtest.World) (report verify.Report) {
	t.Helper()
	cfg, projections := config(w)
	logtest.Eventually(t, func() error {
		var err error
		if report, err = verify.Verify(t.Context(), cfg, projections...); err != nil {
			return err
		}
		// A commit is answered before its markers are in all partitions: the last events may not be readable yet.
		if events := report.Logs[0].Events; events < int64(w.Records()) {
			return fmt.Errorf("%d of %d events are in the log", events, w.Records())
		}
		for _, p := range report.Projections {
			if p.Behind > 0 || len(p.Unfinished) > 0 {
				return fmt.Errorf("%s is %d behind, unfinished %v", p.Projection, p.Behind, p.Unfinished)
			}
		}
		return nil
	})
	return report
}

func TestP9_WhileEverythingRuns_WhatIsRightIsEqual(t *testing.T) {
	w := logtest.NewWorld(t, 4, 1)
	stopProjectors := run(t, w)
	stop := w.Load(3000, 300)
	cfg, projections := config(w)
	looks := 0
	for begun := time.Now(); time.Since(begun) < 8*time.Second; {
		report, err := verify.Verify(t.Context(), cfg, projections...)
		if errors.Is(err, projector.ErrNotBuilt) || errors.Is(err, logread.ErrNoTopic) { // a broker may take a moment to know a topic
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if !report.Equal {
			t.Fatalf("not equal: %s", asJSON(t, report))
		}
		looks++
	}
	stop()
	report := caughtUp(t, w)
	if !report.Equal || report.Found != 0 {
		t.Errorf("not equal: %s", asJSON(t, report))
	}
	if looks < 3 {
		t.Errorf("verified %d times under load", looks)
	}
	events := int64(w.Written())
	if l := report.Logs[0]; l.Events != events || l.Commands < events || l.Judged != events || l.Aggregates != int64(len(w.Accounts())) {
		t.Errorf("wrote %d events on %d accounts, the report says %+v", events, len(w.Accounts()), l)
	}
	for _, p := range report.Projections {
		want := events
		if p.Projection == logtest.BalancesName {
			want = int64(len(w.Accounts()))
		}
		if p.Rows != want {
			t.Errorf("%s: %d rows compared, want %d", p.Projection, p.Rows, want)
		}
	}
	stopProjectors()
	w.Write(60, 10)
	logtest.Eventually(t, func() error { // a commit is answered before its markers are in all partitions
		report := verified(t, w)
		if !report.Equal {
			t.Fatalf("not equal without its projectors: %s", asJSON(t, report))
		}
		more := int64(w.Written()) - events
		for _, p := range report.Projections {
			if more == 0 || p.EventsBehind != more {
				return fmt.Errorf("%s is said to be %d events behind, it is %d", p.Projection, p.EventsBehind, more)
			}
		}
		return nil
	})
	t.Logf("%d looks under load; at the end %d events, %.0f events/s, %.1f MB/s", looks, events, report.Logs[0].EventsPerSecond, report.Logs[0].MBPerSecond)
}

// Partitions added by hand are one finding about the topic, and none about the events that stand where they belonged.
func TestP9_PartitionsAdded_IsOneFinding(t *testing.T) {
	w := logtest.NewWorld(t, 4, 3)
	w.Write(400, 40)
	run(t, w)
	before := caughtUp(t, w)
	topic := schemas.PinsTopic(w.Log.Prefix)
	serde := schemas.NewSerde(schemas.NewCodec(w.Registry), topic, schemas.FullTransitive, ledgerline.PinType)
	if err := serde.Register(t.Context()); err != nil {
		t.Fatal(err)
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(w.Log.Brokers...))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	if _, err := admin.CreateTopic(t.Context(), 1, 1, nil, topic); err != nil {
		t.Fatal(err)
	}
	events := before.Logs[0]
	value, err := serde.Append(nil, &ledgerline.Pin{ClusterID: "c", Topics: []ledgerline.PinnedTopic{{Topic: events.Topic, TopicID: events.TopicID, Partitions: 4}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := client.ProduceSync(t.Context(), &kgo.Record{Topic: topic, Key: []byte(events.Kind), Value: value}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	if r := verified(t, w); !r.Equal {
		t.Fatalf("not equal with pins: %s", asJSON(t, r))
	}
	if _, err := admin.UpdatePartitions(t.Context(), 6, events.Topic); err != nil {
		t.Fatal(err)
	}
	logtest.Eventually(t, func() error {
		r := verified(t, w)
		if r.Logs[0].Partitions != 6 {
			return fmt.Errorf("the topic still has %d partitions", r.Logs[0].Partitions)
		}
		if r.Found != 1 || r.Equal || !strings.Contains(r.Findings[0].String(), events.Topic+": the topic has 6 partitions, and its events were placed by 4") {
			t.Fatalf("the findings are %s", asJSON(t, r))
		}
		return nil
	})
}

func TestP9_WhatAProducerNeverWrites_IsNamed(t *testing.T) {
	w := logtest.NewWorld(t, 4, 2)
	w.Write(400, 40)
	stop := run(t, w)
	if r := caughtUp(t, w); !r.Equal {
		t.Fatalf("not equal before: %s", asJSON(t, r))
	}
	n := 0
	next := func() *logtest.Account { n++; return w.Accounts()[n] }
	repeated := next()
	for repeated.Sequence < 2 {
		repeated = next()
	}
	cases := []struct {
		name   string
		make   func() *kgo.Record
		plain  bool
		reason string
	}{
		{name: "not transactional", plain: true, make: func() *kgo.Record { return w.Deposit(next()) }, reason: "not transactional"},
		{name: "sequence skipped", make: func() *kgo.Record { a := *next(); a.Sequence++; return w.Deposit(&a) }, reason: "is missing before it"},
		{name: "several skipped", make: func() *kgo.Record { a := *next(); a.Sequence += 5; return w.Deposit(&a) }, reason: "are missing before it"},
		{name: "id disagrees with key", make: func() *kgo.Record {
			rec := w.Deposit(next())
			logtest.SetHeader(rec, schemas.HeaderID, "account/somebody-else/1")
			return rec
		}, reason: `ce_id is "account/somebody-else/1"`},
		{name: "sequence header disagrees", make: func() *kgo.Record {
			rec := w.Deposit(next())
			logtest.SetHeader(rec, schemas.HeaderSequence, fmt.Sprintf("%020d", 7777))
			return rec
		}, reason: "ce_sequence is"},
		{name: "type header disagrees", make: func() *kgo.Record {
			rec := w.Deposit(next())
			logtest.SetHeader(rec, schemas.HeaderType, "ledgerline.account.AccountClosed")
			return rec
		}, reason: "ce_type is"},
		{name: "wrong partition", make: func() *kgo.Record {
			rec := w.Deposit(next())
			rec.Partition = (rec.Partition + 1) % w.Partitions
			return rec
		}, reason: "wrong partition"},
		{name: "no cause", make: func() *kgo.Record {
			rec := w.Deposit(next())
			logtest.SetHeader(rec, schemas.HeaderCausationID, "")
			return rec
		}, reason: "ce_causationid is missing"},
		{name: "cause that is not there", make: func() *kgo.Record {
			rec := w.Deposit(next())
			logtest.SetHeader(rec, schemas.HeaderCausationID, "no-such-command")
			return rec
		}, reason: `names command "no-such-command"`},
	}
	total := int64(0)
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			rec := c.make()
			if c.plain {
				w.Plain(rec)
			} else {
				w.Commit(rec)
			}
			total++
			named(t, caughtUp(t, w), total, rec, c.reason)
		})
	}
	// The projections would stop at what follows; the log is checked without them.
	stop()
	for _, c := range []struct {
		name, reason string
		make         func() *kgo.Record
	}{
		{"sequence repeated", "is repeated", func() *kgo.Record { a := *repeated; a.Sequence = 1; return w.Deposit(&a) }},
		{"key without sequence", `is not "<aggregate id>/<sequence>"`, func() *kgo.Record { rec := w.Deposit(next()); rec.Key = []byte("nobody"); return rec }},
		{"not Avro", "cannot be decoded", func() *kgo.Record { rec := w.Deposit(next()); rec.Value = []byte("hello"); return rec }},
	} {
		t.Run(c.name, func(t *testing.T) {
			rec := c.make()
			w.Commit(rec)
			var report verify.Report
			logtest.Eventually(t, func() error {
				if report = verified(t, w); reasonFor(report, rec, c.reason) == nil {
					return fmt.Errorf("not named yet: %s", asJSON(t, report))
				}
				return nil
			})
		})
	}
}

// named checks that a report has so many findings about the log, and which is about rec.
func named(t *testing.T, report verify.Report, total int64, rec *kgo.Record, reason string) {
	t.Helper()
	// An event in the wrong partition leaves open in which order its account's row was made: that row may differ too.
	if found := report.Logs[0].Findings; report.Equal || found != total {
		t.Errorf("equal %v with %d findings about the log, want %d: %s", report.Equal, found, total, asJSON(t, report))
	}
	f := reasonFor(report, rec, reason)
	if f == nil {
		t.Fatalf("no finding for %s/%d offset %d with %q: %s", rec.Topic, rec.Partition, rec.Offset, reason, asJSON(t, report))
	}
	if f.Topic != rec.Topic || f.Key != string(rec.Key) {
		t.Errorf("finding %+v names another event than %s key %s", f, rec.Topic, rec.Key)
	}
}

func reasonFor(report verify.Report, rec *kgo.Record, reason string) *verify.Finding {
	for _, f := range report.Findings {
		if f.Projection == "" && f.Partition == rec.Partition && f.Offset == rec.Offset && strings.Contains(f.Reason, reason) {
			return &f
		}
	}
	return nil
}

func asJSON(t *testing.T, v any) string {
	t.Helper()
	b, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
