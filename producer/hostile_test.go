package producer_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sr"

	"github.com/ledgerline-es/ledgerline/internal/embedded/registry"
	"github.com/ledgerline-es/ledgerline/internal/kit"
	"github.com/ledgerline-es/ledgerline/producer"
	"github.com/ledgerline-es/ledgerline/schemas"
	"github.com/ledgerline-es/ledgerline/schemas/account"
	"github.com/ledgerline-es/ledgerline/schemas/ledgerline"
)

// What a stranger may send who may publish commands. Whatever it is, it is answered, and neighbours go on.

func head(key, value string) kgo.RecordHeader {
	return kgo.RecordHeader{Key: key, Value: []byte(value)}
}

// place is the id of a command without one.
func place(rec *kgo.Record) string {
	return fmt.Sprintf("%s/%d/%d", rec.Topic, rec.Partition, rec.Offset)
}

// elsewhere is a partition that is not the aggregate's.
func elsewhere(id string) int32 { return (schemas.Partition(id, 4) + 1) % 4 }

// A reply is copied to allowed topics alone, however the command asks and whatever else is wrong with it.
func TestP1_NobodyHasRepliesWrittenIntoOurTopics(t *testing.T) {
	s := newSystem(t)
	s.change = func(c *producer.Config) { c.ReplyTopics = []string{"*"} } // even then
	p := s.start()
	c := s.client()
	s.publish(c, open("acc-1", 0))
	good, owner := s.encode(&account.DepositMoney{AmountMinor: 1}), schemas.Partition("acc-1", 4)
	before := len(s.records(s.topics.Snapshots))
	for _, topic := range []string{s.topics.Events, s.topics.Snapshots, s.topics.Commands, s.topics.Internal, s.topics.DeadLetters, schemas.PinsTopic(s.prefix), "other.events", "nosuch"} {
		for name, more := range map[string][]kgo.RecordHeader{
			"asked for":              nil,
			"with a partition":       {head(schemas.HeaderReplyPartition, "1")},
			"with a key":             {head(schemas.HeaderReplyKey, "/position/account.commands")},
			"of a bad command":       {head(schemas.HeaderExpectedVersion, "x"), head(schemas.HeaderReplyPartition, "1")},
			"with a partition of … ": {head(schemas.HeaderReplyPartition, "99")},
		} {
			rec := s.foreign(owner, "acc-1", good, append(more, head(schemas.HeaderReplyTopic, topic))...)
			r, _ := s.replyTo(place(rec))
			if r.Outcome != producer.Error || r.Code != producer.CodeReplyTopic && r.Code != producer.CodeBadHeader {
				t.Errorf("%s, %s: reply %+v", topic, name, r)
			}
		}
	}
	expect(t, s.publish(c, deposit("acc-1", 1)), producer.Accepted, "")
	p.stop()
	s.start() // restores from what was written
	expect(t, s.publish(c, deposit("acc-1", 1)), producer.Accepted, "")
	if n := len(s.history()["acc-1"]); n != 3 {
		t.Errorf("%d events, wanted 3", n)
	}
	for _, rec := range s.records(s.topics.Snapshots)[before:] {
		if !strings.HasPrefix(string(rec.Key), "/position/") || rec.Headers != nil {
			t.Errorf("a stranger wrote %q into %s", rec.Key, rec.Topic)
		}
	}
}

// Who asks for a copy gets it also of an error.
func TestReplyTopic_HasErrorsToo(t *testing.T) {
	s := newSystem(t)
	s.change = func(c *producer.Config) { c.ReplyTopics = []string{"mine.*"} }
	s.start()
	if _, err := kadm.NewClient(s.kafka()).CreateTopic(t.Context(), 3, 1, nil, "mine.replies"); err != nil {
		t.Fatal(err)
	}
	s.publish(s.client(), open("acc-1", 0))
	for _, headers := range [][]kgo.RecordHeader{nil, {head(schemas.HeaderExpectedVersion, "x")}} {
		s.foreign(schemas.Partition("acc-1", 4), "acc-1", s.encode(&account.DepositMoney{AmountMinor: 1}),
			append(headers, head(schemas.HeaderReplyTopic, "mine.replies"), head(schemas.HeaderReplyPartition, "2"), head(schemas.HeaderReplyKey, "me"))...)
	}
	s.await("both replies", func() error {
		if n := len(s.records("mine.replies")); n != 2 {
			return fmt.Errorf("there are %d", n)
		}
		return nil
	})
	for _, rec := range s.records("mine.replies") {
		if rec.Partition != 2 || string(rec.Key) != "me" {
			t.Errorf("a copy is in partition %d under %q", rec.Partition, rec.Key)
		}
	}
}

// Texts that are no UTF-8, far too long or cut in the middle of a character; numbers with a sign; times out of this world. The
// reply stands where the aggregate's replies stand, also when the command was published elsewhere.
func TestP5_BadTextInHeaders(t *testing.T) {
	s := newSystem(t)
	s.start()
	c := s.client()
	s.publish(c, open("acc-1", 0))
	good := s.encode(&account.DepositMoney{AmountMinor: 1})
	for name, bad := range map[string]kgo.RecordHeader{
		"id, no UTF-8":          head(schemas.HeaderID, "\xff\xfe"),
		"id, long":              head(schemas.HeaderID, "a"+strings.Repeat("é", 200)),
		"id with NUL":           head(schemas.HeaderID, "a\x00b"),
		"correlation, no UTF-8": head(schemas.HeaderCorrelationID, "\xc3"),
		"correlation, long":     head(schemas.HeaderCorrelationID, strings.Repeat("x", 10_000)),
		"principal, no UTF-8":   head(schemas.HeaderAuthID, "\xff"),
		"traceparent, long":     head(schemas.HeaderTraceParent, strings.Repeat("x", 10_000)),
		"version with a sign":   head(schemas.HeaderExpectedVersion, "+1"),
		"year 10000":            head(schemas.HeaderTime, "9999-12-31T23:59:59-23:00"),
		"year -1":               head(schemas.HeaderTime, "0000-01-01T00:00:00+23:00"),
	} {
		for _, partition := range []int32{schemas.Partition("acc-1", 4), elsewhere("acc-1")} {
			known := len(s.records(s.topics.DeadLetters))
			s.foreign(partition, "acc-1", good, bad)
			s.await(name+": a dead letter", func() error {
				if len(s.records(s.topics.DeadLetters)) == known {
					return errors.New("none yet")
				}
				return nil
			})
			expect(t, s.publish(c, deposit("acc-1", 1)), producer.Accepted, "")
		}
	}
	serde := schemas.NewSerde(schemas.NewCodec(s.registry), s.topics.Replies, schemas.ForwardTransitive, ledgerline.ReplyType)
	for _, rec := range s.records(s.topics.Replies) {
		if rec.Partition != schemas.Partition("acc-1", 4) {
			t.Errorf("a reply is in partition %d, wanted the owner's", rec.Partition)
		}
		if _, err := serde.Decode(t.Context(), rec.Value); err != nil {
			t.Error(err)
		}
	}
	s.history() // all events can be read
}

// Records that are larger than what we would make of them, in any of their parts.
func TestP5_TooLargeInAnyPart(t *testing.T) {
	s := newSystem(t)
	s.start()
	c := s.client()
	s.publish(c, open("acc-1", 0))
	good := s.encode(&account.DepositMoney{AmountMinor: 1})
	many := make([]kgo.RecordHeader, 100_000)
	for i := range many {
		many[i] = head(schemas.HeaderCorrelationID, "x")
	}
	mega := strings.Repeat("x", 5<<20)
	writer := s.kafka(kgo.ProducerBatchMaxBytes(20<<20), kgo.BrokerMaxWriteBytes(40<<20), kgo.ProducerBatchCompression(kgo.ZstdCompression()))
	for name, rec := range map[string]*kgo.Record{
		"value":                  {Key: []byte("acc-1"), Value: append(good, mega...)},
		"value, to be forwarded": {Key: []byte("acc-1"), Value: append(good, mega...), Partition: elsewhere("acc-1")},
		"header we copy":         {Key: []byte("acc-1"), Value: good, Headers: []kgo.RecordHeader{head(schemas.HeaderCorrelationID, strings.Repeat("x", 900_000))}},
		"header we don't know":   {Key: []byte("acc-1"), Value: good, Headers: []kgo.RecordHeader{head("mine", mega)}},
		"… to be forwarded":      {Key: []byte("acc-1"), Value: good, Headers: []kgo.RecordHeader{head("mine", mega)}, Partition: elsewhere("acc-1")},
		"many headers":           {Key: []byte("acc-1"), Value: good, Headers: many},
		"key":                    {Key: []byte(mega), Value: good},
	} {
		rec.Topic = s.topics.Commands
		if rec.Partition == 0 {
			rec.Partition = schemas.Partition("acc-1", 4)
		}
		if err := writer.ProduceSync(t.Context(), rec).FirstErr(); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		r, _ := s.replyTo(place(rec))
		if r.Outcome != producer.Error || r.Code != producer.CodeTooLarge && r.Code != producer.CodeBadKey {
			t.Errorf("%s: reply %+v", name, r)
		}
		expect(t, s.publish(c, deposit("acc-1", 1)), producer.Accepted, "")
		if !slices.ContainsFunc(s.records(s.topics.DeadLetters), func(dead *kgo.Record) bool {
			from, _ := schemas.Header(dead, schemas.HeaderOrigin)
			return from == place(rec)
		}) {
			t.Errorf("%s: no dead letter", name)
		}
	}
}

// Offsets that somebody set forward pass over commands that nobody answered. The log knows better.
func TestP13_GroupSetForward_NothingLost(t *testing.T) {
	s := newSystem(t)
	p := s.start()
	c := s.client()
	s.publish(c, open("acc-1", 0))
	s.publish(c, deposit("acc-1", 1))
	p.stop()
	cmd := deposit("acc-1", 5000)
	cmd.CommandID = "while nobody was there"
	first, err := c.Send(t.Context(), cmd)
	if err != nil {
		t.Fatal(err)
	}
	again, err := c.Send(t.Context(), cmd) // its repetition waits beside it
	if err != nil {
		t.Fatal(err)
	}
	adm := kadm.NewClient(s.kafka())
	s.await("the commands to be there and the group to be set", func() error {
		ends, err := adm.ListEndOffsets(context.Background(), s.topics.Commands)
		if err != nil {
			return err
		}
		var n int64
		ends.Each(func(o kadm.ListedOffset) { n += o.Offset })
		if n < 4 {
			return fmt.Errorf("%d of 4 commands", n)
		}
		return adm.CommitAllOffsets(context.Background(), producer.Group(s.prefix, "account"), ends.Offsets())
	})
	s.start()
	r, err := first.Wait(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	expect(t, r, producer.Accepted, "")
	if r, err = again.Wait(t.Context()); err != nil || r.Outcome != producer.Accepted {
		t.Fatalf("the repetition is answered %+v, %v", r, err)
	}
	expect(t, s.publish(c, deposit("acc-1", 1)), producer.Accepted, "")
	if n := len(s.history()["acc-1"]); n != 4 {
		t.Errorf("%d events, wanted 4", n)
	}
}

// A number is used up by what was processed alone: one that was passed over, or whose command had a conflict or an error, may
// still come.
func TestP2_SourceSequence_NumbersPassedOverMayCome(t *testing.T) {
	s := newSystem(t)
	s.change = func(c *producer.Config) { c.Window = time.Millisecond }
	p := s.start()
	c := s.client()
	numbered := func(cmd producer.Command, n int64) producer.Command {
		cmd.Source, cmd.SourceSequence, cmd.CommandID = "import", n, ""
		return cmd
	}
	s.publish(c, open("acc-1", 0))
	expect(t, s.publish(c, numbered(deposit("acc-1", 1), 5)), producer.Accepted, "")
	wrong := numbered(deposit("acc-1", 1), 6)
	wrong.ExpectedVersion = new(int64)
	expect(t, s.publish(c, wrong), producer.Conflict, producer.CodeVersionConflict)
	expect(t, s.publish(c, numbered(producer.Command{AggregateID: "acc-1", Record: &account.DepositMoney{Operation: "large"}}, 7)), producer.Error, producer.CodeEventTooLarge)
	expect(t, s.publish(c, numbered(withdraw("acc-1", 100), 8)), producer.Rejected, "insufficient_funds")
	expect(t, s.publish(c, numbered(deposit("acc-1", 1), 9)), producer.Accepted, "")
	p.stop()
	s.start()
	r := s.publish(c, numbered(withdraw("acc-1", 1), 8))
	if r.Outcome != producer.Rejected || !r.Duplicate || r.Code != producer.CodeSourceSequenceSeen {
		t.Errorf("a rejected number is answered %+v", r)
	}
	expect(t, s.publish(c, numbered(producer.Command{AggregateID: "acc-1", Record: &account.DepositMoney{Operation: "large"}}, 7)), producer.Error, producer.CodeEventTooLarge)
	for _, n := range []int64{6, 3} {
		if r := s.publish(c, numbered(deposit("acc-1", 1), n)); r.Outcome != producer.Accepted || r.Duplicate {
			t.Errorf("number %d, which was not processed, is answered %+v", n, r)
		}
		if r := s.publish(c, numbered(deposit("acc-1", 1), n)); r.Outcome != producer.Accepted || !r.Duplicate {
			t.Errorf("number %d, for the second time, is answered %+v", n, r)
		}
	}
	if n := len(s.history()["acc-1"]); n != 5 {
		t.Errorf("%d events, wanted 5", n)
	}
}

// A command that is known by its id uses up the number that it comes under, too: beyond the window that number is known.
func TestP2_RepetitionUnderAnotherNumber_UsesItUp(t *testing.T) {
	s := newSystem(t)
	p := s.start()
	c := s.client()
	s.publish(c, open("acc-1", 0))
	cmd := deposit("acc-1", 1)
	cmd.CommandID, cmd.Source, cmd.SourceSequence = "row-7", "import", 1
	expect(t, s.publish(c, cmd), producer.Accepted, "")
	cmd.SourceSequence = 2
	if r := s.publish(c, cmd); r.Outcome != producer.Accepted || !r.Duplicate {
		t.Fatalf("the same id under another number is answered %+v", r)
	}
	p.stop()
	s.change = func(c *producer.Config) { c.Window = time.Millisecond }
	s.start()
	if r := s.publish(c, cmd); !r.Duplicate || r.Code != producer.CodeSourceSequenceSeen {
		t.Errorf("that number, beyond the window, is answered %+v", r)
	}
	if n := len(s.history()["acc-1"]); n != 2 {
		t.Errorf("%d events, wanted 2", n)
	}
}

// While the registry is away, a command of a schema that nobody knows yet holds up its own partition and no other.
func TestP5_RegistryAway_OtherPartitionsGoOn(t *testing.T) {
	inner, err := registry.Start(t.Context(), registry.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = inner.Stop(context.WithoutCancel(t.Context())) })
	target, err := url.Parse(inner.URL())
	if err != nil {
		t.Fatal(err)
	}
	var away atomic.Bool
	proxy := httputil.NewSingleHostReverseProxy(target)
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if away.Load() {
			panic(http.ErrAbortHandler)
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(front.Close)
	cl, err := sr.NewClient(sr.URLs(front.URL))
	if err != nil {
		t.Fatal(err)
	}
	s := systemOn(t, kit.FakeKafka(t).Brokers(), cl, "")
	p := s.start()
	c := s.client()
	other := "acc-2"
	for i := 3; schemas.Partition(other, 4) == schemas.Partition("acc-1", 4); i++ {
		other = fmt.Sprintf("acc-%d", i)
	}
	s.publish(c, open("acc-1", 0))
	s.publish(c, open(other, 0))
	good := s.encode(&account.DepositMoney{AmountMinor: 1})
	away.Store(true)
	unknown := s.foreign(schemas.Partition("acc-1", 4), "acc-1", []byte{0, 0, 9, 9, 9, 1})
	s.await("the producer to say what it waits for", func() error {
		if err := p.Ready(); err == nil || !strings.Contains(err.Error(), "schema registry") {
			return fmt.Errorf("it says %w", err)
		}
		return nil
	})
	behind := s.foreign(schemas.Partition("acc-1", 4), "acc-1", good)
	for range 3 {
		expect(t, s.publish(c, deposit(other, 1)), producer.Accepted, "")
	}
	away.Store(false)
	r, _ := s.replyTo(place(unknown))
	expect(t, r, producer.Error, producer.CodeUnknownSchema)
	r, _ = s.replyTo(place(behind))
	expect(t, r, producer.Accepted, "")
	s.await("the producer to be ready again", p.Ready)
}
