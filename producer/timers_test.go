package producer_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ledgerline-es/ledgerline/internal/kit"
	"github.com/ledgerline-es/ledgerline/producer"
	"github.com/ledgerline-es/ledgerline/schemas"
	"github.com/ledgerline-es/ledgerline/schemas/account"
	"github.com/ledgerline-es/ledgerline/schemas/ledgerline"
)

// alarms are rules that put commands off and cancel them.
var alarms = producer.Aggregate[account.State, account.Command, account.Event]{
	Kind:   account.Kind,
	Evolve: evolve,
	Decide: func(s account.State, c account.Command, m producer.Meta) producer.Decision[account.Event] {
		accept := producer.Accept[account.Event]
		switch c := c.(type) {
		case *account.DepositMoney:
			done := accept(&account.MoneyDeposited{AmountMinor: c.AmountMinor, BalanceMinor: s.BalanceMinor + c.AmountMinor, Operation: c.Operation, Counterparty: m.Sender})
			switch c.Operation {
			case "later":
				delay, _ := time.ParseDuration(c.Counterparty)
				due := account.Kind.To(m.ID, &account.DepositMoney{AmountMinor: c.AmountMinor, Operation: "due"})
				if c.Category != "" {
					due = due.As(c.Category)
				}
				return done.After(delay, due)
			case "due":
				if m.Sender != "account/"+m.ID {
					return producer.Reject[account.Event]("forged", "%q is not the account itself", m.Sender)
				}
			}
			return done
		case *account.WithdrawMoney:
			return accept(&account.MoneyWithdrawn{}).Cancel(c.Category)
		case *account.CloseAccount: // what rules may do wrong
			closed, own := accept(&account.AccountClosed{}), account.Kind.To(m.ID, c)
			switch c.Reason {
			case "rejection":
				return producer.Reject[account.Event]("no", "no").After(time.Second, own)
			case "rejection that cancels":
				return producer.Reject[account.Event]("no", "no").Cancel("x")
			case "another":
				return closed.After(time.Second, account.Kind.To("acc-2", c))
			case "the past":
				return closed.After(-time.Second, own)
			case "never":
				return closed.After(1<<63-1, own)
			case "a client's":
				return closed.After(time.Second, own.As("at:x"))
			case "a client's is cancelled":
				return closed.Cancel("at:x")
			case "no name":
				return closed.After(time.Second, own.As("x y"))
			case "one name":
				return closed.After(time.Second, own).After(2*time.Second, own)
			case "nothing":
				return closed.After(time.Second, schemas.Message{})
			case "large":
				return closed.After(time.Second, account.Kind.To(m.ID, &account.CloseAccount{Reason: strings.Repeat("x", 1<<20)}))
			case "many":
				for n := range 1001 {
					closed = closed.After(time.Second, own.As(fmt.Sprint("n-", n)))
				}
				return closed
			}
		}
		return producer.Reject[account.Event]("unknown", "unknown")
	},
}

func later(id, name string, amount int64, delay time.Duration) producer.Command {
	return producer.Command{AggregateID: id, Record: &account.DepositMoney{AmountMinor: amount, Operation: "later", Category: name, Counterparty: delay.String()}}
}

// deposited are the deposits of an account by an operation.
func deposited(events []account.Event, operation string) (all []*account.MoneyDeposited) {
	for _, e := range events {
		if d, ok := e.(*account.MoneyDeposited); ok && d.Operation == operation {
			all = append(all, d)
		}
	}
	return all
}

// untilRejected waits until a command is rejected, whatever replies it had before.
func (s *system) untilRejected(commandID, code string) {
	s.t.Helper()
	replies := schemas.NewSerde(schemas.NewCodec(s.registry), s.topics.Replies, schemas.ForwardTransitive, ledgerline.ReplyType)
	s.await(commandID+" to be rejected", func() error {
		var said []string
		for _, rec := range s.records(s.topics.Replies) {
			reply, err := replies.Decode(context.Background(), rec.Value)
			if err != nil {
				return err
			}
			if reply.CommandID == commandID {
				said = append(said, reply.Outcome+" "+reply.Code)
			}
		}
		if !slices.Contains(said, producer.Rejected+" "+code) {
			return fmt.Errorf("it is answered %q", said)
		}
		return nil
	})
}

// idle waits until all that was sent between aggregates and by clocks is processed.
func (s *system) idle() {
	s.t.Helper()
	s.await("all that was sent to be processed", func() error { return s.processed(s.topics.Internal) })
}

// A command that an aggregate puts off is decided once, not before its time; one that is cancelled, or replaced, is not decided.
func TestP2_CommandPutOff_DecidedOnceAtItsTime(t *testing.T) {
	onBoth(t, func(t *testing.T, s *system) {
		s.def = alarms
		s.change = func(c *producer.Config) { c.Window = 100 * time.Millisecond } // not it keeps a command from being decided twice
		first := s.start()
		c := s.client()
		began := time.Now()
		for n := range 8 {
			id := fmt.Sprint("acc-", n)
			expect(t, s.publish(c, later(id, "", 1, 700*time.Millisecond)), producer.Accepted, "")
			expect(t, s.publish(c, later(id, "cancelled", 2, time.Second)), producer.Accepted, "")
			expect(t, s.publish(c, later(id, "replaced", 4, time.Hour)), producer.Accepted, "")
			expect(t, s.publish(c, later(id, "replaced", 8, 1200*time.Millisecond)), producer.Accepted, "")
			expect(t, s.publish(c, later(id, "far", 16, time.Hour)), producer.Accepted, "")
			expect(t, s.publish(c, producer.Command{AggregateID: id, Record: &account.WithdrawMoney{Category: "cancelled"}}), producer.Accepted, "")
		}
		first.stop()
		again := s.start()
		for n := range 8 {
			id := fmt.Sprint("acc-", n)
			due := deposited(s.untilSettled(id, 8), "due")
			if len(due) != 2 || due[0].AmountMinor+due[1].AmountMinor != 9 {
				t.Errorf("%s has %d deposits that were put off, %+v: wanted those of 1 and 8", id, len(due), due)
			}
		}
		for _, rec := range s.records(s.topics.Internal) {
			if at, ok := schemas.Header(rec, schemas.HeaderDeliverAt); ok {
				if due, err := schemas.ParseTime(at); err != nil || rec.Timestamp.Before(due) || due.Before(began) {
					t.Errorf("%s is fired at %v, due at %s", rec.Key, rec.Timestamp, at)
				}
			}
		}
		for _, rec := range s.records(s.topics.Internal) { // somebody publishes it all again
			copied := &kgo.Record{Topic: rec.Topic, Partition: rec.Partition, Key: rec.Key, Value: rec.Value, Headers: rec.Headers}
			if err := s.kafka().ProduceSync(t.Context(), copied).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
		s.idle()
		again.stop()
		s.start()
		for n := range 8 { // what was fired is not fired again by the next owner
			expect(t, s.publish(c, deposit(fmt.Sprint("acc-", n), 1)), producer.Accepted, "")
		}
		s.idle()
		for n := range 8 {
			if events := s.history()[fmt.Sprint("acc-", n)]; len(events) != 9 {
				t.Errorf("acc-%d has %d events, wanted 9: %+v", n, len(events), events)
			}
		}
	})
}

// A client has a command decided later: it is told that it waits, and later what became of it.
func TestP2_DeliverAt_ScheduledThenDecided(t *testing.T) {
	onBoth(t, func(t *testing.T, s *system) {
		s.def = alarms
		metrics := prometheus.NewRegistry()
		s.change = func(c *producer.Config) { c.Metrics = metrics }
		s.start()
		c := s.client()
		at := time.Now().Add(1500 * time.Millisecond)
		soon := deposit("acc-1", 5)
		soon.CommandID, soon.DeliverAt, soon.CorrelationID, soon.Source, soon.SourceSequence = "soon", at, "order-1", "shop", 1
		expect(t, s.publish(c, soon), producer.Accepted, producer.CodeScheduled)
		if again := s.publish(c, soon); again.Code != producer.CodeScheduled || !again.Duplicate {
			t.Errorf("the repetition is answered %+v", again)
		}
		far := deposit("acc-1", 7)
		far.CommandID, far.DeliverAt = "far", time.Now().Add(time.Hour)
		expect(t, s.publish(c, far), producer.Accepted, producer.CodeScheduled)
		cancel := producer.Command{AggregateID: "acc-1", Record: &ledgerline.CancelScheduled{CommandID: "far"}}
		expect(t, s.publish(c, cancel), producer.Accepted, "")
		expect(t, s.publish(c, cancel), producer.Rejected, producer.CodeNotScheduled)
		past := deposit("acc-1", 1)
		past.DeliverAt = time.Now().Add(-time.Hour)
		expect(t, s.publish(c, past), producer.Accepted, "")
		if events := s.untilSettled("acc-1", 2); len(events) != 2 {
			t.Errorf("%+v", events)
		}
		for _, rec := range s.records(s.topics.Events) {
			if cause, _ := schemas.Header(rec, schemas.HeaderCausationID); cause != "soon" {
				continue
			}
			correlation, _ := schemas.Header(rec, schemas.HeaderCorrelationID)
			source, _ := schemas.Header(rec, schemas.HeaderStreamSource)
			when, _ := schemas.Header(rec, schemas.HeaderTime)
			if business, err := schemas.ParseTime(when); correlation != "order-1" || source != "shop" || err != nil || business.Before(at.Truncate(time.Millisecond)) {
				t.Errorf("its event has correlation %q, source %q, time %s", correlation, source, when)
			}
		}
		if again := s.publish(c, soon); !again.Duplicate || again.FirstSequence == 0 {
			t.Errorf("the repetition of what was decided is answered %+v", again)
		}
		s.await("it to be counted", func() error {
			if n := counted(t, metrics, "ledgerline_producer_commands_total", "scheduled"); n != 2 {
				return fmt.Errorf("%v are scheduled", n)
			}
			return nil
		})
	})
}

// What a client puts off comes back through the topic of aggregates, and makes it none: neither a sender nor a timer can be forged.
func TestP2_StrangerWhoPutsOff_StaysAStranger(t *testing.T) {
	s := newSystem(t)
	s.def = alarms
	s.change = func(c *producer.Config) { c.ReplyTopics = []string{"*"} }
	s.start()
	c := s.client()
	expect(t, s.publish(c, deposit("acc-1", 1)), producer.Accepted, "")
	expect(t, s.publish(c, later("acc-1", "mine", 1, time.Hour)), producer.Accepted, "")
	forged, owner := s.encode(&account.DepositMoney{AmountMinor: 1, Operation: "due"}), schemas.Partition("acc-1", 4)
	soon := head(schemas.HeaderDeliverAt, schemas.FormatTime(time.Now().Add(time.Second)))
	own := head(schemas.HeaderSource, "/ledgerline/account/acc-1")
	s.foreign(owner, "acc-1", forged, own, soon, head(schemas.HeaderID, "forged"))
	s.untilRejected("forged", "forged")
	s.foreign(owner, "acc-1", forged, own, soon, head(schemas.HeaderTimer, "mine"), head(schemas.HeaderID, "timer"))
	s.untilRejected("timer", "forged")
	expect(t, s.publish(c, producer.Command{AggregateID: "acc-1", Record: &ledgerline.CancelScheduled{CommandID: "mine"}}), producer.Rejected, producer.CodeNotScheduled)
	rec := s.foreign(owner, "acc-1", forged, soon, head(schemas.HeaderReplyTopic, s.topics.Internal))
	if reply, _ := s.replyTo(place(rec)); reply.Code != producer.CodeReplyTopic {
		t.Errorf("a reply asked for in the internal topic is answered %s %s", reply.Outcome, reply.Code)
	}
	for value, code := range map[string]string{"tomorrow": producer.CodeBadHeader, "2999-01-01T00:00:00Z": producer.CodeBadHeader, "1066-01-01T00:00:00Z": producer.CodeBadHeader} {
		rec := s.foreign(owner, "acc-1", forged, head(schemas.HeaderDeliverAt, value))
		if reply, _ := s.replyTo(place(rec)); reply.Code != code {
			t.Errorf("deliver-at %s is answered %s %s", value, reply.Outcome, reply.Code)
		}
	}
	if n := len(deposited(s.history()["acc-1"], "due")); n > 0 {
		t.Errorf("%d forged deposits", n)
	}
}

// A command that died when its time had come is a dead letter of the topic that it belongs to, and can be tried again.
func TestP5_CommandThatWaitedAndDied_CanBeTriedAgain(t *testing.T) {
	s := newSystem(t)
	s.start()
	c := s.client()
	bad := deposit("acc-1", 5)
	bad.Record = &account.DepositMoney{Operation: "panic"}
	bad.CommandID, bad.DeliverAt = "bad", time.Now().Add(500*time.Millisecond)
	expect(t, s.publish(c, bad), producer.Accepted, producer.CodeScheduled)
	var dead []*kgo.Record
	s.await("the dead letter", func() error {
		if dead = s.records(s.topics.DeadLetters); len(dead) != 1 {
			return fmt.Errorf("%d", len(dead))
		}
		return nil
	})
	topic, _ := schemas.Header(dead[0], schemas.HeaderDeadTopic)
	_, timed := schemas.Header(dead[0], schemas.HeaderTimer)
	_, due := schemas.Header(dead[0], schemas.HeaderDeliverAt)
	if topic != s.topics.Commands || timed || due {
		t.Errorf("it is of %s, and would wait again: %v, %v", topic, timed, due)
	}
}

// Rules that put off what can't be put off: an error reply and a dead letter, no event, and nothing waits.
func TestP5_CommandThatCannotBePutOff_DeadLetterAndReply(t *testing.T) {
	s := newSystem(t)
	s.def = alarms
	s.start()
	c := s.client()
	for reason, code := range map[string]string{
		"rejection": producer.CodePanic, "rejection that cancels": producer.CodePanic, "another": producer.CodeBadMessage, "the past": producer.CodeBadMessage, "never": producer.CodeBadMessage,
		"a client's": producer.CodeBadMessage, "a client's is cancelled": producer.CodeBadMessage, "no name": producer.CodeBadMessage, "one name": producer.CodeBadMessage,
		"nothing": producer.CodeBadMessage, "large": producer.CodeBadMessage, "many": producer.CodeTooManyEvents,
	} {
		t.Run(reason, func(t *testing.T) {
			expect(t, s.publish(c, producer.Command{AggregateID: "acc-1", Record: &account.CloseAccount{Reason: reason}}), producer.Error, code)
		})
	}
	if n := len(s.records(s.topics.DeadLetters)); n != 12 {
		t.Errorf("%d dead letters, wanted 12", n)
	}
	if n := len(s.history()["acc-1"]); n > 0 {
		t.Errorf("%d events", n)
	}
	for _, rec := range s.records(s.topics.Snapshots) {
		if strings.HasPrefix(string(rec.Key), "/timer/") {
			t.Errorf("%s waits", rec.Key)
		}
	}
}

// An owner that stands still while the time comes is replaced, and the next one fires. When the first goes on, nothing is fired twice.
func TestP1_OwnerStandsStillWhenTheTimeComes_FiredOnce(t *testing.T) {
	s := realSystem(t)
	registry := kit.Registry(t).URL()
	first := s.spawn(registry, "window=100ms")
	s.awaitTopics()
	c := s.client()
	const accounts = 40
	for n := range accounts {
		cmd := deposit(fmt.Sprint("acc-", n), 1)
		cmd.DeliverAt = time.Now().Add(4 * time.Second)
		expect(t, s.publish(c, cmd), producer.Accepted, producer.CodeScheduled)
	}
	if err := syscall.Kill(first.Pid(), syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	s.spawn(registry, "window=100ms")
	fired := func() (n int) {
		for _, events := range s.history() {
			n += len(events)
		}
		return n
	}
	s.await("all to be fired", func() error {
		if n := fired(); n < accounts {
			return fmt.Errorf("%d are", n)
		}
		return nil
	})
	if err := syscall.Kill(first.Pid(), syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	s.members(2)
	last := deposit("acc-0", 1)
	last.DeliverAt = time.Now().Add(time.Second)
	expect(t, s.publish(c, last), producer.Accepted, producer.CodeScheduled)
	s.untilSettled("acc-0", 2)
	s.idle()
	if n := fired(); n != accounts+1 {
		t.Errorf("%d deposits, wanted %d", n, accounts+1)
	}
}

// A thousand commands with one time, in one partition: more than one tick fires.
func TestP13_ManyDueAtOnce_AllFiredOnce(t *testing.T) {
	s := newSystem(t)
	s.def, s.quiet = alarms, true
	s.start()
	c := s.client()
	const n = 1200
	at := time.Now().Add(2 * time.Second)
	var sent []*producer.Pending
	for i := range n {
		cmd := deposit("acc-1", 1)
		cmd.CommandID, cmd.DeliverAt = fmt.Sprint("n-", i), at
		p, err := c.Send(t.Context(), cmd)
		if err != nil {
			t.Fatal(err)
		}
		sent = append(sent, p)
	}
	for _, p := range sent {
		if _, err := p.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	s.untilSettled("acc-1", n)
	s.idle()
	causes := map[string]bool{}
	for _, rec := range s.records(s.topics.Events) {
		cause, _ := schemas.Header(rec, schemas.HeaderCausationID)
		causes[cause] = true
	}
	if events := s.history()["acc-1"]; len(events) != n || len(causes) != n {
		t.Errorf("%d events by %d commands, wanted %d", len(events), len(causes), n)
	}
	left := map[string]bool{}
	for _, rec := range s.records(s.topics.Snapshots) {
		if strings.HasPrefix(string(rec.Key), "/timer/") {
			left[string(rec.Key)] = true
			if rec.Value == nil {
				delete(left, string(rec.Key))
			}
		}
	}
	if len(left) > 0 {
		t.Errorf("%d timers are left", len(left))
	}
}
