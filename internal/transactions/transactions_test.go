package transactions_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ledgerline-es/ledgerline/internal/kit"
	"github.com/ledgerline-es/ledgerline/internal/transactions"
)

const patience = 2 * time.Minute

func TestMain(m *testing.M) { kit.Main(m) }

type log struct {
	t     *testing.T
	cl    *kgo.Client
	adm   *kadm.Client
	topic string
}

func newLog(t *testing.T) *log {
	t.Helper()
	l := &log{t: t, cl: kit.Kafka(t).Client(t, kgo.RecordPartitioner(kgo.ManualPartitioner())), topic: kit.Prefix(t) + "log"}
	l.adm = kadm.NewClient(l.cl)
	if _, err := l.adm.CreateTopic(t.Context(), 2, 1, nil, l.topic); err != nil {
		t.Fatal(err)
	}
	return l
}

func (l *log) look() []transactions.Open {
	l.t.Helper()
	var set kadm.TopicsSet
	set.Add(l.topic, 0, 1)
	found, err := transactions.Look(l.t.Context(), l.adm, set)
	if err != nil {
		l.t.Fatal(err)
	}
	return found
}

// begin leaves a transaction open in both partitions.
func (l *log) begin(id string, timeout time.Duration) *kgo.Client {
	l.t.Helper()
	cl := kit.Kafka(l.t).Client(l.t, kgo.TransactionalID(id), kgo.TransactionTimeout(timeout), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err := cl.BeginTransaction(); err != nil {
		l.t.Fatal(err)
	}
	if err := cl.ProduceSync(l.t.Context(), &kgo.Record{Topic: l.topic, Value: []byte("v")}, &kgo.Record{Topic: l.topic, Partition: 1, Value: []byte("v")}).FirstErr(); err != nil {
		l.t.Fatal(err)
	}
	return cl
}

// A transaction that no coordinator knows is told from one that its owner may still end, and is ended by a marker.
func TestHangingTransaction_IsToldAndEnded(t *testing.T) {
	l := newLog(t)
	producerID := kit.Kafka(t).Hang(t, l.topic, 1)
	if err := l.cl.ProduceSync(t.Context(), &kgo.Record{Topic: l.topic, Partition: 1, Value: []byte("waits")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	found := l.look()
	if len(found) != 1 {
		t.Fatalf("found %+v", found)
	}
	o := found[0]
	if o.Topic != l.topic || o.Partition != 1 || o.ProducerID != producerID || o.ProducerEpoch != 0 || o.Offset != 0 || o.Behind() != 2 || !o.Hangs() || o.Age() > patience {
		t.Errorf("found %+v, behind it %d", o, o.Behind())
	}
	if err := transactions.Judge(o); !errors.Is(err, transactions.ErrRefused) || !strings.Contains(err.Error(), "markers of its coordinator may be on their way") {
		t.Errorf("just written to: %v", err)
	}
	old := o
	old.LastWrite = time.Now().Add(-time.Minute)
	if err := transactions.Judge(old); err != nil {
		t.Errorf("a minute later: %v", err)
	}
	if err := transactions.Abort(t.Context(), l.cl, o); err != nil {
		t.Fatal(err)
	}
	if found := l.look(); len(found) != 0 {
		t.Errorf("still there: %+v", found)
	}
	stable, err := l.adm.ListCommittedOffsets(t.Context(), l.topic)
	if s, _ := stable.Lookup(l.topic, 1); err != nil || s.Offset != 3 {
		t.Errorf("the last stable offset is %d, %v: wanted 3, behind the marker", s.Offset, err)
	}
	if err := transactions.Abort(t.Context(), l.cl, o); !errors.Is(err, transactions.ErrRefused) || !strings.Contains(err.Error(), "it has ended meanwhile") {
		t.Errorf("a second time: %v", err)
	}
}

// A transaction that its coordinator knows is ended by that, in all partitions, and its owner can't commit the rest.
func TestOpenTransaction_IsRefused_OrEndedAsAWhole(t *testing.T) {
	l := newLog(t)
	owner := l.begin(l.topic+"-owner", 10*time.Minute)
	found := l.look()
	if len(found) != 2 {
		t.Fatalf("found %+v", found)
	}
	o := found[0]
	if o.ID != l.topic+"-owner" || o.State != "Ongoing" || o.Timeout != 10*time.Minute || o.Begun.IsZero() || o.Hangs() {
		t.Errorf("found %+v", o)
	}
	if err := transactions.Judge(o); !errors.Is(err, transactions.ErrRefused) || !strings.Contains(err.Error(), "with a timeout of 10m0s: it ends it by itself at ") {
		t.Errorf("within its timeout: %v", err)
	}
	late := o
	late.Begun = time.Now().Add(-11 * time.Minute)
	if err := transactions.Judge(late); err != nil {
		t.Errorf("past its timeout: %v", err)
	}
	if err := transactions.Abort(t.Context(), l.cl, o); err != nil {
		t.Fatal(err)
	}
	kit.Await(t, patience, func() error { // the marker of the other partition may come a moment later
		if found := l.look(); len(found) != 0 {
			return errors.New("still there: " + found[0].Name())
		}
		return nil
	})
	if err := owner.EndTransaction(t.Context(), kgo.TryCommit); err == nil {
		t.Error("its owner could commit after all")
	}
}

// What must not be touched, whoever asks; and what can't be known without the right to see it.
func TestJudge_WhatIsBetterLeftAlone(t *testing.T) {
	var here kadm.TopicsSet
	here.Add("log", 0)
	old := time.Now().Add(-time.Hour)
	for name, c := range map[string]struct {
		of   transactions.Open
		want string
	}{
		"decided":                      {transactions.Open{Topic: "log", ID: "a", State: "PrepareCommit", Touches: here, Shown: true, LastWrite: old}, "its outcome is decided (PrepareCommit)"},
		"not shown":                    {transactions.Open{Topic: "log", LastWrite: old}, "may not describe all transactional ids"},
		"the coordinator forgot it":    {transactions.Open{Topic: "log", ID: "a", State: "CompleteAbort", Shown: true, LastWrite: old}, ""},
		"it knows another partition's": {transactions.Open{Topic: "log", Partition: 1, ID: "a", State: "Ongoing", Touches: here, Shown: true, LastWrite: old}, ""},
	} {
		err := transactions.Judge(c.of)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, wanted %q", name, err, c.want)
		}
	}
	for _, o := range []transactions.Open{{Topic: "log", ID: "a", State: "PrepareCommit", Touches: here, Shown: true}, {Topic: "log"}} {
		if err := transactions.Abort(t.Context(), nil, o); !errors.Is(err, transactions.ErrRefused) {
			t.Errorf("%+v, whoever wants it: %v", o, err)
		}
	}
}
