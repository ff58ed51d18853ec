package producer_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ledgerline-es/ledgerline/producer"
	"github.com/ledgerline-es/ledgerline/schemas"
	"github.com/ledgerline-es/ledgerline/schemas/account"
	"github.com/ledgerline-es/ledgerline/schemas/ledgerline"
)

func open(id string, deposit int64) producer.Command {
	return producer.Command{AggregateID: id, Record: &account.OpenAccount{Owner: "ann", Currency: "EUR", InitialDepositMinor: deposit}}
}

func deposit(id string, amount int64) producer.Command {
	return producer.Command{AggregateID: id, Record: &account.DepositMoney{AmountMinor: amount}}
}

func withdraw(id string, amount int64) producer.Command {
	return producer.Command{AggregateID: id, Record: &account.WithdrawMoney{AmountMinor: amount}}
}

func TestCommandBecomesEventsAndReply(t *testing.T) {
	s := newSystem(t)
	s.start()
	c := s.client()
	cmd := open("acc-1", 500)
	cmd.CommandID, cmd.Principal, cmd.CorrelationID = "cmd-1", "ann@example.org", "order-7"
	cmd.Time = time.Date(2024, 5, 6, 7, 8, 9, 123456000, time.UTC)
	r := s.publish(c, cmd)
	expect(t, r, producer.Accepted, "")
	if r.CommandID != "cmd-1" || r.FirstSequence != 1 || r.LastSequence != 2 || r.Version != 2 || r.Duplicate {
		t.Errorf("reply %+v", r)
	}
	events := s.records(s.topics.Events)
	if len(events) != 2 {
		t.Fatalf("%d events, wanted 2", len(events))
	}
	for i, want := range []map[string]string{
		{schemas.HeaderID: "account/acc-1/1", schemas.HeaderType: "ledgerline.account.AccountOpened", schemas.HeaderCommandHash: "*"},
		{schemas.HeaderID: "account/acc-1/2", schemas.HeaderType: "ledgerline.account.MoneyDeposited", schemas.HeaderCommandHash: ""},
	} {
		want[schemas.HeaderSpecVersion], want[schemas.HeaderContentType] = "1.0", "application/avro"
		want[schemas.HeaderSource], want[schemas.HeaderTime] = "/ledgerline/account", "2024-05-06T07:08:09.123456Z"
		want[schemas.HeaderCausationID], want[schemas.HeaderCorrelationID], want[schemas.HeaderAuthID] = "cmd-1", "order-7", "ann@example.org"
		for key, value := range want {
			if got, ok := schemas.Header(events[i], key); got != value && (value != "*" || !ok) {
				t.Errorf("event %d: header %s is %q, wanted %q", i+1, key, got, value)
			}
		}
		if got, want := string(events[i].Key), fmt.Sprintf("acc-1/%d", i+1); got != want {
			t.Errorf("event key %s, wanted %s", got, want)
		}
		if !events[i].Attrs.IsTransactional() {
			t.Errorf("event %d was written outside a transaction", i+1)
		}
	}
	r = s.publish(c, withdraw("acc-1", 501))
	expect(t, r, producer.Rejected, "insufficient_funds")
	if r.Version != 2 || r.FirstSequence != 0 {
		t.Errorf("reply %+v", r)
	}
}

func TestP1_ExpectedVersionDiffers_Conflict(t *testing.T) {
	s := newSystem(t)
	s.start()
	c := s.client()
	s.publish(c, open("acc-1", 0))
	cmd := deposit("acc-1", 5)
	for version, outcome := range map[int64]string{0: producer.Conflict, 7: producer.Conflict} {
		cmd.ExpectedVersion = &version
		r := s.publish(c, cmd)
		if r.Outcome != outcome || r.Version != 1 {
			t.Errorf("expected version %d: %+v", version, r)
		}
	}
	one := int64(1)
	cmd.ExpectedVersion = &one
	expect(t, s.publish(c, cmd), producer.Accepted, "")
	if n := len(s.history()["acc-1"]); n != 2 {
		t.Errorf("%d events, wanted 2", n)
	}
}

// repeat sends a command again and checks that it gets its first reply and causes nothing.
func repeat(s *system, c *producer.Client, cmd producer.Command, first *ledgerline.Reply) {
	s.t.Helper()
	r := s.publish(c, cmd)
	want := *first
	want.Duplicate = true
	if *r != want {
		s.t.Errorf("the repetition's reply is %+v, wanted %+v", *r, want)
	}
}

func TestP2_CommandTwice_OneEffect_AlsoAfterRestart(t *testing.T) {
	s := newSystem(t)
	p := s.start()
	c := s.client()
	opened, paid, refused := open("acc-1", 500), deposit("acc-1", 100), withdraw("acc-1", 10_000)
	opened.CommandID, paid.CommandID, refused.CommandID = "c1", "c2", "c3"
	first := map[string]*ledgerline.Reply{}
	for _, cmd := range []producer.Command{opened, paid, refused} {
		first[cmd.CommandID] = s.publish(c, cmd)
	}
	again := func() {
		for _, cmd := range []producer.Command{refused, opened, paid} {
			repeat(s, c, cmd, first[cmd.CommandID])
		}
		reused := deposit("acc-1", 101)
		reused.CommandID = "c2"
		expect(t, s.publish(c, reused), producer.Error, producer.CodeCommandIDReused)
	}
	again()
	p.stop()
	p = s.start()
	again()
	// What would have been refused then is refused still, though it could be granted now.
	expect(t, s.publish(c, deposit("acc-1", 100_000)), producer.Accepted, "")
	repeat(s, c, refused, first["c3"])
	p.stop()
	s.start()
	repeat(s, c, refused, first["c3"])
	if n := len(s.history()["acc-1"]); n != 4 {
		t.Errorf("%d events, wanted 4", n)
	}
}

func TestP2_SameCommandIDForAnotherAggregate_IsAnotherCommand(t *testing.T) {
	s := newSystem(t)
	s.start()
	c := s.client()
	for _, id := range []string{"acc-1", "acc-2"} {
		cmd := open(id, 0)
		cmd.CommandID = "same"
		if r := s.publish(c, cmd); r.Outcome != producer.Accepted || r.Duplicate {
			t.Errorf("%s: %+v", id, r)
		}
	}
}

func TestP2_RepetitionAfterTheWindow_IsANewCommand(t *testing.T) {
	s := newSystem(t)
	s.change = func(c *producer.Config) { c.Window = time.Millisecond }
	s.start()
	c := s.client()
	s.publish(c, open("acc-1", 0))
	cmd := deposit("acc-1", 1)
	cmd.CommandID = "again"
	s.publish(c, cmd)
	s.await("the window to pass", func() error {
		if r := s.publish(c, cmd); r.Duplicate {
			return errors.New("still a duplicate")
		}
		return nil
	})
}

func TestP2_SourceSequence_RecognisedForEver_RejectedToo(t *testing.T) {
	s := newSystem(t)
	s.change = func(c *producer.Config) { c.Window = time.Millisecond } // ids are forgotten: numbers must do
	p := s.start()
	c := s.client()
	numbered := func(cmd producer.Command, n int64) producer.Command {
		cmd.Source, cmd.SourceSequence, cmd.CommandID = "import", n, ""
		return cmd
	}
	expect(t, s.publish(c, numbered(open("acc-1", 0), 1)), producer.Accepted, "")
	expect(t, s.publish(c, numbered(deposit("acc-1", 100), 2)), producer.Accepted, "")
	expect(t, s.publish(c, numbered(withdraw("acc-1", 200), 3)), producer.Rejected, "insufficient_funds")
	expect(t, s.publish(c, deposit("acc-1", 1000)), producer.Accepted, "")
	for range 3 { // as it is, restarted, restarted again
		r := s.publish(c, numbered(withdraw("acc-1", 200), 3))
		if r.Outcome != producer.Rejected || r.Code != producer.CodeSourceSequenceSeen || !r.Duplicate {
			t.Fatalf("the last number again: %+v", r)
		}
		r = s.publish(c, numbered(deposit("acc-1", 100), 2))
		if r.Outcome != producer.Accepted || r.Code != producer.CodeSourceSequenceSeen || !r.Duplicate {
			t.Fatalf("an earlier number again: %+v", r)
		}
		p.stop()
		p = s.start()
	}
	expect(t, s.publish(c, numbered(withdraw("acc-1", 200), 4)), producer.Accepted, "")
	other := numbered(deposit("acc-1", 7), 1)
	other.Source = "another"
	expect(t, s.publish(c, other), producer.Accepted, "")
	if n := len(s.history()["acc-1"]); n != 5 {
		t.Errorf("%d events, wanted 5", n)
	}
}

// foreign publishes a record as a client of another language would: no headers, any partition.
func (s *system) foreign(partition int32, key string, value []byte, headers ...kgo.RecordHeader) *kgo.Record {
	s.t.Helper()
	rec := &kgo.Record{Topic: s.topics.Commands, Partition: partition, Key: []byte(key), Value: value, Headers: headers}
	if err := s.kafka().ProduceSync(context.Background(), rec).FirstErr(); err != nil {
		s.t.Fatal(err)
	}
	return rec
}

func (s *system) encode(c account.Command) []byte {
	s.t.Helper()
	serde := schemas.NewSerde(schemas.NewCodec(s.registry), s.topics.Commands, schemas.BackwardTransitive, account.Kind.Commands...)
	if err := serde.Register(context.Background()); err != nil {
		s.t.Fatal(err)
	}
	data, err := serde.Append(nil, c)
	if err != nil {
		s.t.Fatal(err)
	}
	return data
}

// replyTo waits for the reply to a command id.
func (s *system) replyTo(commandID string) (*ledgerline.Reply, *kgo.Record) {
	s.t.Helper()
	serde := schemas.NewSerde(schemas.NewCodec(s.registry), s.topics.Replies, schemas.ForwardTransitive, ledgerline.ReplyType)
	var found *ledgerline.Reply
	var at *kgo.Record
	s.await("a reply to "+commandID, func() error {
		for _, rec := range s.records(s.topics.Replies) {
			r, err := serde.Decode(context.Background(), rec.Value)
			if err != nil {
				return err
			}
			if r.CommandID == commandID {
				found, at = r, rec
				return nil
			}
		}
		return errors.New("none yet")
	})
	return found, at
}

func TestP3_ForeignClient_AnyPartition_NoHeaders(t *testing.T) {
	s := newSystem(t)
	s.start()
	s.client()
	owner := schemas.Partition("acc-1", 4)
	for p := range int32(4) {
		rec := s.foreign(p, "acc-1", s.encode(&account.OpenAccount{Owner: "ann", Currency: "EUR"}))
		r, at := s.replyTo(fmt.Sprintf("%s/%d/%d", rec.Topic, rec.Partition, rec.Offset))
		if at.Partition != owner {
			t.Errorf("the reply is in partition %d, wanted the owner's %d", at.Partition, owner)
		}
		if p == 0 {
			expect(t, r, producer.Accepted, "")
		} else {
			expect(t, r, producer.Rejected, "account_exists")
		}
	}
	if n := len(s.history()["acc-1"]); n != 1 {
		t.Errorf("%d events, wanted 1", n)
	}
}

func TestP5_BadCommand_DeadLetterAndReply_NeighboursUnharmed(t *testing.T) {
	s := newSystem(t)
	s.start()
	c := s.client()
	s.publish(c, open("acc-1", 0))
	p := schemas.Partition("acc-1", 4)
	good := s.encode(&account.DepositMoney{AmountMinor: 1})
	h := func(key, value string) kgo.RecordHeader { return kgo.RecordHeader{Key: key, Value: []byte(value)} }
	for _, bad := range []struct {
		name, key, code string
		value           []byte
		headers         []kgo.RecordHeader
	}{
		{"text", "acc-1", producer.CodeUndecodable, []byte("hello"), nil},
		{"empty", "acc-1", producer.CodeUndecodable, nil, nil},
		{"cut short", "acc-1", producer.CodeUndecodable, good[:len(good)-2], nil},
		{"trailing bytes", "acc-1", producer.CodeUndecodable, append(slices.Clone(good), 1, 2), nil},
		{"unknown schema", "acc-1", producer.CodeUnknownSchema, []byte{0, 0, 9, 9, 9, 1}, nil},
		{"no key", "", producer.CodeBadKey, good, nil},
		{"key is no id", "a/b", producer.CodeBadKey, good, nil},
		{"huge key", strings.Repeat("x", 5000), producer.CodeBadKey, good, nil},
		{"version", "acc-1", producer.CodeBadHeader, good, []kgo.RecordHeader{h(schemas.HeaderExpectedVersion, "two")}},
		{"time", "acc-1", producer.CodeBadHeader, good, []kgo.RecordHeader{h(schemas.HeaderTime, "yesterday")}},
		{"half a source", "acc-1", producer.CodeBadHeader, good, []kgo.RecordHeader{h(schemas.HeaderStreamSource, "x")}},
		{"reply topic", "acc-1", producer.CodeReplyTopic, good, []kgo.RecordHeader{h(schemas.HeaderReplyTopic, s.topics.Events)}},
		{"panic", "acc-1", producer.CodePanic, s.encode(&account.DepositMoney{Operation: "panic"}), nil},
		{"large event", "acc-1", producer.CodeEventTooLarge, s.encode(&account.DepositMoney{Operation: "large"}), nil},
		{"many events", "acc-1", producer.CodeTooManyEvents, s.encode(&account.DepositMoney{Operation: "many"}), nil},
		{"too large", "acc-1", producer.CodeTooLarge, append(slices.Clone(good), make([]byte, 600<<10)...), nil},
	} {
		rec := s.foreign(p, bad.key, bad.value, bad.headers...)
		r, _ := s.replyTo(fmt.Sprintf("%s/%d/%d", rec.Topic, rec.Partition, rec.Offset))
		if r.Outcome != producer.Error || r.Code != bad.code {
			t.Errorf("%s: reply %+v, wanted error %s", bad.name, r, bad.code)
		}
		expect(t, s.publish(c, deposit("acc-1", 1)), producer.Accepted, "")
		dead := s.records(s.topics.DeadLetters)
		last := dead[len(dead)-1]
		reason, _ := schemas.Header(last, schemas.HeaderDeadReason)
		from, _ := schemas.Header(last, schemas.HeaderOrigin)
		if reason != bad.code || from != r.CommandID || !bytes.Equal(last.Value, bad.value) || string(last.Key) != bad.key {
			t.Errorf("%s: dead letter with reason %q from %q", bad.name, reason, from)
		}
	}
}

func TestP2_GroupDeletedOrSetBack_NothingTwice(t *testing.T) {
	s := newSystem(t)
	p := s.start()
	c := s.client()
	s.publish(c, open("acc-1", 0))
	for range 5 {
		expect(t, s.publish(c, deposit("acc-1", 1)), producer.Accepted, "")
	}
	p.stop()
	adm := kadm.NewClient(s.kafka())
	s.await("the group to be empty and gone", func() error {
		resp, err := adm.DeleteGroup(context.Background(), "account.producer")
		return errors.Join(err, resp.Err)
	})
	s.change = func(c *producer.Config) { c.Window = time.Millisecond } // not by their ids: by their place in the log
	s.start()
	expect(t, s.publish(c, deposit("acc-1", 1)), producer.Accepted, "")
	if n := len(s.history()["acc-1"]); n != 7 {
		t.Errorf("%d events, wanted 7", n)
	}
}

func TestP1_MembersComeAndGo_OneHistory(t *testing.T) {
	s := newSystem(t)
	s.start()
	c := s.client()
	const accounts, rounds = 20, 60
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var sent []*producer.Pending
	send := func(cmd producer.Command) {
		p, err := c.Send(ctx, cmd)
		if err != nil {
			t.Fatal(err)
		}
		sent = append(sent, p)
	}
	for a := range accounts {
		send(open(fmt.Sprintf("acc-%d", a), 0))
	}
	for round := range rounds {
		for a := range accounts {
			send(deposit(fmt.Sprintf("acc-%d", a), 1))
		}
		if round%15 == 5 {
			other := s.start() // ends with the test, or at once
			if round > 30 {
				other.stop()
			}
		}
	}
	for _, p := range sent {
		r, err := p.Wait(ctx)
		if err != nil {
			t.Fatal(err)
		}
		expect(t, r, producer.Accepted, "")
	}
	for id, events := range s.history() {
		if len(events) != rounds+1 {
			t.Errorf("%s has %d events, wanted %d", id, len(events), rounds+1)
		}
		if last := events[len(events)-1].(*account.MoneyDeposited); last.BalanceMinor != rounds {
			t.Errorf("%s holds %d, wanted %d", id, last.BalanceMinor, rounds)
		}
	}
}

func TestTopicMadeAnew_StopsWriting(t *testing.T) {
	s := newSystem(t)
	p := s.start()
	p.stop()
	adm := kadm.NewClient(s.kafka())
	ctx := context.Background()
	if _, err := adm.DeleteTopic(ctx, s.topics.Events); err != nil {
		t.Fatal(err)
	}
	err := <-s.launch().done
	if !errors.Is(err, producer.ErrPinned) || !strings.Contains(err.Error(), s.topics.Events) {
		t.Errorf("got %v, wanted ErrPinned naming %s", err, s.topics.Events)
	}
}

func TestPartitionAddedByHand_StopsWriting(t *testing.T) {
	s := newSystem(t)
	p := s.start()
	adm := kadm.NewClient(s.kafka())
	if _, err := adm.CreatePartitions(context.Background(), 1, s.topics.Events); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-p.done:
		if !errors.Is(err, producer.ErrPinned) {
			t.Errorf("got %v, wanted ErrPinned", err)
		}
	case <-time.After(patience):
		t.Fatal("the producer goes on")
	}
	if err := <-s.launch().done; !errors.Is(err, producer.ErrTopic) {
		t.Errorf("the next start: %v, wanted ErrTopic", err)
	}
}

func TestDangerousTopic_Refused(t *testing.T) {
	s := newSystem(t)
	adm := kadm.NewClient(s.kafka())
	retention := "86400000"
	if _, err := adm.CreateTopic(context.Background(), 4, 1, map[string]*string{"cleanup.policy": new("delete"), "retention.ms": &retention}, s.topics.Events); err != nil {
		t.Fatal(err)
	}
	err := <-s.launch().done
	if !errors.Is(err, producer.ErrTopic) || !strings.Contains(err.Error(), "cleanup.policy=delete") {
		t.Errorf("got %v, wanted ErrTopic naming cleanup.policy=delete", err)
	}
}

func TestTooFewBrokers_NamesTheFlag(t *testing.T) {
	s := newSystem(t)
	s.change = func(c *producer.Config) { c.Replication, c.MinInsync = 3, 2 }
	err := <-s.launch().done
	if !errors.Is(err, producer.ErrTopic) || !strings.Contains(err.Error(), "--kafka-replication") {
		t.Errorf("got %v, wanted ErrTopic naming --kafka-replication", err)
	}
}
