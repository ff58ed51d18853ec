package producer_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ledgerline-es/ledgerline/internal/kit"
	"github.com/ledgerline-es/ledgerline/producer"
	"github.com/ledgerline-es/ledgerline/schemas"
)

// Commands that are on their way under one id at the same time are told apart: each gets the reply to itself.
func TestP2_OneIDAtTheSameTime_EachGetsItsOwnReply(t *testing.T) {
	s := newSystem(t)
	s.start()
	clients := []*producer.Client{s.client(), s.client()}
	s.publish(clients[0], open("acc-1", 0))
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	const rounds = 20
	for round := range rounds {
		var sent []*producer.Pending
		for i := range 6 {
			cmd := deposit("acc-1", int64(i/2+1)) // each content twice
			cmd.CommandID = fmt.Sprint("pay-", round)
			p, err := clients[i%2].Send(ctx, cmd)
			if err != nil {
				t.Fatal(err)
			}
			sent = append(sent, p)
		}
		outcomes := map[string][]int{}
		for i, p := range sent {
			r, err := p.Wait(ctx)
			if err != nil {
				t.Fatal(err)
			}
			what := r.Outcome
			if r.Duplicate {
				what = "duplicate"
			}
			outcomes[what] = append(outcomes[what], i/2)
		}
		first, again := outcomes[producer.Accepted], outcomes["duplicate"]
		if len(first) != 1 || len(again) != 1 || first[0] != again[0] || len(outcomes[producer.Error]) != 4 {
			t.Errorf("round %d: of three contents under one id, twice each, the replies were %v", round, outcomes)
		}
	}
	if n := len(s.history()["acc-1"]); n != 1+rounds {
		t.Errorf("%d events, wanted %d", n, 1+rounds)
	}
}

// An id belongs to who uses it: another principal's command is not answered as if it had been done.
func TestP2_AnIDOfAnotherPrincipal_IsRefused(t *testing.T) {
	s := newSystem(t)
	p := s.start()
	c := s.client()
	s.publish(c, open("acc-1", 0))
	cmd := deposit("acc-1", 5)
	cmd.CommandID, cmd.Principal = "1", "alice"
	first := s.publish(c, cmd)
	expect(t, first, producer.Accepted, "")
	check := func() {
		for _, other := range []string{"bob", ""} {
			foreign := cmd
			foreign.Principal = other
			expect(t, s.publish(c, foreign), producer.Error, producer.CodeCommandIDReused)
		}
		repeat(s, c, cmd, first)
	}
	check()
	p.stop()
	s.start()
	check()
	if n := len(s.history()["acc-1"]); n != 2 {
		t.Errorf("%d events, wanted 2", n)
	}
}

// batchesRead counts the batches that a client has read.
type batchesRead struct{ atomic.Int64 }

func (b *batchesRead) OnFetchBatchRead(kgo.BrokerMetadata, string, int32, kgo.FetchBatchMetrics) {
	b.Add(1)
}

// The leader of replies changes while a transaction is open, so that its marker is the first record of the new leader; then it changes
// again. Nothing is lost, and who waits for replies goes on.
func TestP13_LeaderOfRepliesChanges_BeforeAMarker_TheClientGoesOn(t *testing.T) {
	kafka := kit.FakeKafka(t, kfake.NumBrokers(3))
	s := systemOn(t, kafka.Brokers(), kit.FakeRegistry(t), "")
	s.start()
	read := &batchesRead{}
	s.clientOptions = []kgo.Opt{kgo.WithHooks(read)}
	c := s.client()
	s.publish(c, open("acc-1", 0))
	s.markerFirst(kafka, s.topics.Replies, read)
	expect(t, s.publish(c, deposit("acc-1", 1)), producer.Accepted, "")
}

// The same of commands: the session goes on.
func TestP13_LeaderOfCommandsChanges_BeforeAMarker_TheSessionGoesOn(t *testing.T) {
	kafka := kit.FakeKafka(t, kfake.NumBrokers(3))
	s := systemOn(t, kafka.Brokers(), kit.FakeRegistry(t), "")
	read := &batchesRead{}
	w := s.writer(func(c *producer.Config) { c.Client = []kgo.Opt{kgo.WithHooks(read)} })
	c := s.client()
	s.publish(c, open("acc-1", 0))
	s.markerFirst(kafka, s.topics.Commands, read)
	expect(t, s.publish(c, deposit("acc-1", 1)), producer.Accepted, "")
	if n := counted(t, w.metrics, "ledgerline_producer_sessions_total", "account"); n != 1 {
		t.Errorf("%v sessions", n)
	}
}

// markerFirst has the leader of a topic change while a transaction is open in the partition of acc-1, so that the marker is what the new
// one writes first, and change again when that was read.
func (s *system) markerFirst(kafka *kit.FakeKafkaCluster, topic string, read *batchesRead) {
	s.t.Helper()
	partition := schemas.Partition("acc-1", 4)
	lead := func(broker int32) {
		s.t.Helper()
		if err := kafka.MoveTopicPartition(topic, partition, broker); err != nil {
			s.t.Fatal(err)
		}
	}
	other := s.kafka(kgo.TransactionalID("other"))
	if err := other.BeginTransaction(); err != nil {
		s.t.Fatal(err)
	}
	if err := other.ProduceSync(s.t.Context(), &kgo.Record{Topic: topic, Partition: partition, Value: []byte("none of ours")}).FirstErr(); err != nil {
		s.t.Fatal(err)
	}
	before := read.Load()
	lead(1)
	lead(2) // one of them is another than it was
	if err := other.EndTransaction(s.t.Context(), kgo.TryAbort); err != nil {
		s.t.Fatal(err)
	}
	s.await("the marker to be read", func() error {
		if n := read.Load(); n < before+2 {
			return fmt.Errorf("%d batches after %d", n, before)
		}
		return nil
	})
	lead(0)
}
