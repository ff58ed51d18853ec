package producer_test

import (
	"context"
	"fmt"
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

// senders are rules by which an account pays another: it is debited, the other one is credited, and what is refused there comes back.
// While a payment is under way, the status says so.
var senders = producer.Aggregate[account.State, account.Command, account.Event]{
	Kind: account.Kind,
	Evolve: func(s account.State, e account.Event) account.State {
		switch e := e.(type) {
		case *account.AccountOpened:
			s.Status = "open"
		case *account.MoneyDeposited:
			s.BalanceMinor = e.BalanceMinor
			if e.Operation == "refund" {
				s.Status = "open"
			}
		case *account.MoneyWithdrawn:
			s.BalanceMinor = e.BalanceMinor
			if e.Counterparty != "" {
				s.Status = "paying"
			}
		case *account.AccountUnfrozen:
			s.Status = "open"
		}
		return s
	},
	Decide: func(s account.State, c account.Command, m producer.Meta) producer.Decision[account.Event] {
		switch c := c.(type) {
		case *account.OpenAccount:
			return producer.Accept[account.Event](
				&account.AccountOpened{Owner: c.Owner, Currency: c.Currency},
				&account.MoneyDeposited{AmountMinor: c.InitialDepositMinor, BalanceMinor: c.InitialDepositMinor},
			)
		case *account.DepositMoney:
			if s.Status == "" {
				return producer.Reject[account.Event]("account_not_found", "%s does not exist", m.ID)
			}
			if c.Operation == "credit" && m.Sender == "" {
				return producer.Reject[account.Event]("forged", "credits come from accounts")
			}
			return producer.Accept[account.Event](&account.MoneyDeposited{
				AmountMinor: c.AmountMinor, BalanceMinor: s.BalanceMinor + c.AmountMinor, Operation: c.Operation, Counterparty: m.Sender,
			})
		case *account.WithdrawMoney:
			paid := producer.Accept[account.Event](&account.MoneyWithdrawn{AmountMinor: c.AmountMinor, BalanceMinor: s.BalanceMinor - c.AmountMinor, Counterparty: c.Counterparty})
			credit := account.Kind.To(c.Counterparty, &account.DepositMoney{AmountMinor: c.AmountMinor, Operation: "credit"})
			if c.Operation == "named" {
				credit = credit.As("credit of " + m.CommandID)
			}
			return paid.Send(credit)
		case *account.CloseAccount: // what rules may do wrong
			switch c.Reason {
			case "rejection":
				return producer.Reject[account.Event]("no", "no").Send(account.Kind.To("acc-2", c))
			case "many":
				return producer.Accept[account.Event](&account.AccountClosed{}).Send(make([]schemas.Message, 1001)...)
			case "long id":
				return producer.Accept[account.Event](&account.AccountClosed{}).Send(account.Kind.To("acc-2", c).As(strings.Repeat("x", 300)))
			case "no id":
				return producer.Accept[account.Event](&account.AccountClosed{}).Send(account.Kind.To("acc 2", c))
			case "nothing":
				return producer.Accept[account.Event](&account.AccountClosed{}).Send(schemas.Message{})
			case "no command":
				return producer.Accept[account.Event](&account.AccountClosed{}).Send(account.Kind.To("acc-2", nil))
			case "another kind":
				other := account.Kind
				other.Name = "order"
				return producer.Accept[account.Event](&account.AccountClosed{}).Send(other.To("o-1", c))
			}
		}
		return producer.Reject[account.Event]("unknown", "unknown")
	},
	Replied: func(s account.State, r *ledgerline.Reply, m producer.Meta) producer.Decision[account.Event] {
		switch {
		case s.Status != "paying":
			return producer.Accept[account.Event]() // it is settled
		case r.Outcome == producer.Accepted:
			return producer.Accept[account.Event](&account.AccountUnfrozen{Reason: r.CommandID + " by " + m.Sender})
		case r.Outcome == producer.Rejected:
			return producer.Accept[account.Event](&account.MoneyDeposited{AmountMinor: 30, BalanceMinor: s.BalanceMinor + 30, Operation: "refund", Counterparty: r.Code})
		}
		return producer.Reject[account.Event]("unsettled", "%s: %s", r.Code, r.Message)
	},
}

func pay(from, to, operation string) producer.Command {
	return producer.Command{AggregateID: from, Record: &account.WithdrawMoney{AmountMinor: 30, Counterparty: to, Operation: operation}}
}

// untilSettled waits for as many events of an account, and gives them.
func (s *system) untilSettled(id string, n int) []account.Event {
	s.t.Helper()
	var events []account.Event
	s.await(fmt.Sprintf("%d events of %s", n, id), func() error {
		if events = s.history()[id]; len(events) < n {
			return fmt.Errorf("%d", len(events))
		}
		return nil
	})
	return events
}

// A command to another aggregate arrives once, and its answer comes back once; what caused what can be followed.
func TestP2_CommandsBetweenAggregates_OnceThereAndBack(t *testing.T) {
	onBoth(t, func(t *testing.T, s *system) {
		s.def = senders
		s.start()
		c := s.client()
		for n := range 8 { // partitions of every owner
			expect(t, s.publish(c, open(fmt.Sprint("acc-", n), 100)), producer.Accepted, "")
		}
		for n := range 8 {
			cmd := pay(fmt.Sprint("acc-", n), fmt.Sprint("acc-", (n+1)%8), "named")
			cmd.CommandID, cmd.CorrelationID, cmd.Principal = fmt.Sprint("payment-", n), fmt.Sprint("order-", n), "ann"
			expect(t, s.publish(c, cmd), producer.Accepted, "")
			expect(t, s.publish(c, cmd), producer.Accepted, "") // a repetition sends nothing again
		}
		for n := range 8 {
			from, to := fmt.Sprint("acc-", n), fmt.Sprint("acc-", (n+1)%8)
			events := s.untilSettled(from, 5) // opened, deposited, withdrawn, credited, settled
			settled, credited := 0, 0
			for _, e := range events {
				switch e := e.(type) {
				case *account.AccountUnfrozen:
					settled++
					if want := fmt.Sprintf("credit of payment-%d by account/%s", n, to); e.Reason != want {
						t.Errorf("%s is settled by %q, wanted %q", from, e.Reason, want)
					}
				case *account.MoneyDeposited:
					if e.Operation == "credit" {
						credited++
						if want := fmt.Sprint("account/acc-", (n+7)%8); e.Counterparty != want {
							t.Errorf("%s is credited by %q, wanted %q", from, e.Counterparty, want)
						}
					}
				}
			}
			if len(events) != 5 || settled != 1 || credited != 1 {
				t.Errorf("%s has %d events, is settled %d times and credited %d times: wanted 5, 1, 1", from, len(events), settled, credited)
			}
		}
		for _, rec := range s.records(s.topics.Events) {
			cause, _ := schemas.Header(rec, schemas.HeaderCausationID)
			correlation, _ := schemas.Header(rec, schemas.HeaderCorrelationID)
			who, _ := schemas.Header(rec, schemas.HeaderAuthID)
			n, isCredit := strings.CutPrefix(cause, "credit of payment-")
			if isCredit && (correlation != "order-"+n || who != "ann") {
				t.Errorf("%s was caused by %s: correlation %q, by %q", rec.Key, cause, correlation, who)
			}
		}
	})
}

// A kind sends to another, which has topics and a producer of its own. Until it has, the sender says what it waits for.
func TestP2_CommandsToAnotherKind(t *testing.T) {
	vault := account.Kind
	vault.Name = "vault"
	keeper := senders
	keeper.Kind = vault
	payer := senders
	payer.SendsTo = []schemas.Receiver{vault}
	payer.Decide = func(s account.State, c account.Command, m producer.Meta) producer.Decision[account.Event] {
		w, ok := c.(*account.WithdrawMoney)
		if !ok {
			return senders.Decide(s, c, m)
		}
		return producer.Accept[account.Event](&account.MoneyWithdrawn{AmountMinor: w.AmountMinor, BalanceMinor: s.BalanceMinor - w.AmountMinor, Counterparty: w.Counterparty}).
			Send(vault.To(w.Counterparty, &account.DepositMoney{AmountMinor: w.AmountMinor, Operation: "credit"}))
	}
	s := newSystem(t)
	s.def = payer
	p := s.launch()
	s.await("the sender to say what it lacks", func() error {
		if err := p.Ready(); err == nil || !strings.Contains(err.Error(), "there is no topic vault.internal: a producer of that kind makes it") {
			return fmt.Errorf("it says %w", err)
		}
		return nil
	})
	s.def = keeper
	s.change = func(c *producer.Config) { c.Partitions = 3 } // not those of the sender
	s.start()
	s.await("the sender to be ready", p.Ready)
	c := s.client()
	expect(t, s.publish(c, open("acc-1", 100)), producer.Accepted, "")
	expect(t, s.publish(c, pay("acc-1", "v-1", "")), producer.Accepted, "") // there is no v-1
	if refund, ok := s.untilSettled("acc-1", 4)[3].(*account.MoneyDeposited); !ok || refund.Counterparty != "account_not_found" {
		t.Errorf("the refusal led to %+v", refund)
	}
}

// What is refused comes back, once, though the refusal is published a second time long after.
func TestP2_CommandToAnother_Refused_ComesBackOnce(t *testing.T) {
	onBoth(t, func(t *testing.T, s *system) {
		s.def = senders
		s.change = func(c *producer.Config) { c.Window = 100 * time.Millisecond }
		s.start()
		c := s.client()
		expect(t, s.publish(c, open("acc-1", 100)), producer.Accepted, "")
		expect(t, s.publish(c, pay("acc-1", "acc-nobody", "")), producer.Accepted, "")
		events := s.untilSettled("acc-1", 4)
		if refund, ok := events[3].(*account.MoneyDeposited); !ok || refund.BalanceMinor != 100 || refund.Counterparty != "account_not_found" {
			t.Fatalf("the refusal led to %+v", events[3])
		}
		for _, rec := range s.records(s.topics.Internal) { // the leg and its reply
			again := &kgo.Record{Topic: rec.Topic, Partition: rec.Partition, Key: rec.Key, Value: rec.Value, Headers: rec.Headers}
			if err := s.kafka().ProduceSync(context.Background(), again).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
		expect(t, s.publish(c, deposit("acc-1", 1)), producer.Accepted, "") // behind them, most likely; read the internal topic to its end, to be sure
		s.await("all that was sent to be processed", func() error { return s.processed(s.topics.Internal) })
		if events := s.history()["acc-1"]; len(events) != 5 {
			t.Errorf("%d events, wanted 5: %+v", len(events), events)
		}
	})
}

// What aggregates have sent each other, published again by somebody who may, has no effect: long after the window, and whoever owns the partition.
func TestP2_MessagesPublishedAgain_NeverTwice(t *testing.T) {
	onBoth(t, func(t *testing.T, s *system) {
		s.def = senders
		s.change = func(c *producer.Config) { c.Window = 100 * time.Millisecond }
		owner := s.start()
		c := s.client()
		for n := range 4 {
			expect(t, s.publish(c, open(fmt.Sprint("acc-", n), 100)), producer.Accepted, "")
		}
		var sent []*kgo.Record
		again := func() {
			for _, rec := range sent {
				copied := &kgo.Record{Topic: rec.Topic, Partition: rec.Partition, Key: rec.Key, Value: rec.Value, Headers: rec.Headers}
				if err := s.kafka().ProduceSync(context.Background(), copied).FirstErr(); err != nil {
					t.Fatal(err)
				}
			}
		}
		for round := range 2 {
			for n := range 4 {
				expect(t, s.publish(c, pay(fmt.Sprint("acc-", n), fmt.Sprint("acc-", (n+1)%4), "")), producer.Accepted, "")
			}
			for n := range 4 {
				s.untilSettled(fmt.Sprint("acc-", n), 2+3*(round+1))
			}
			if sent == nil {
				sent = s.records(s.topics.Internal)
			}
			again()
			s.idle()
			owner.stop()
			owner = s.start() // who knows it from the log
			again()
			s.idle()
			for n := range 4 {
				if events := s.history()[fmt.Sprint("acc-", n)]; len(events) != 2+3*(round+1) {
					t.Fatalf("round %d: acc-%d has %d events, wanted %d: %+v", round, n, len(events), 2+3*(round+1), events)
				}
			}
		}
	})
}

// processed says what of a topic the group has not committed.
func (s *system) processed(topic string) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	last := map[int32]int64{}
	for _, rec := range s.records(topic) {
		last[rec.Partition] = rec.Offset
	}
	committed, err := kadm.NewClient(s.kafka()).FetchOffsets(ctx, producer.Group(s.prefix, "account"))
	if err != nil {
		return err
	}
	for p, offset := range last {
		if at, _ := committed.Lookup(topic, p); at.At <= offset {
			return fmt.Errorf("%s partition %d is processed to %d of %d", topic, p, at.At, offset)
		}
	}
	return nil
}

// Who may publish commands can be no aggregate, have no reply taken for one, and none sent to where aggregates read theirs.
func TestP2_StrangerCannotSpeakAsAnAggregate(t *testing.T) {
	s := newSystem(t)
	s.def = senders
	s.start()
	c := s.client()
	expect(t, s.publish(c, open("acc-1", 100)), producer.Accepted, "")
	expect(t, s.publish(c, open("acc-2", 100)), producer.Accepted, "")
	forged := s.encode(&account.DepositMoney{AmountMinor: 1, Operation: "credit"})
	owner := schemas.Partition("acc-2", 4)
	rec := s.foreign(owner, "acc-2", forged, head(schemas.HeaderSource, "/ledgerline/account/acc-1"))
	if reply, _ := s.replyTo(place(rec)); reply.Code != "forged" {
		t.Errorf("a forged credit is answered %s %s", reply.Outcome, reply.Code)
	}
	replies := schemas.NewSerde(schemas.NewCodec(s.registry), s.topics.Replies, schemas.ForwardTransitive, ledgerline.ReplyType)
	if err := replies.Register(t.Context()); err != nil {
		t.Fatal(err)
	}
	data, err := replies.Append(nil, &ledgerline.Reply{CommandID: "x", Outcome: producer.Rejected})
	if err != nil {
		t.Fatal(err)
	}
	rec = s.foreign(owner, "acc-2", data, head(schemas.HeaderType, (*ledgerline.Reply)(nil).AvroName()))
	if reply, _ := s.replyTo(place(rec)); reply.Code != producer.CodeUnknownCommand {
		t.Errorf("a forged reply is answered %s %s", reply.Outcome, reply.Code)
	}
	rec = s.foreign(owner, "acc-2", s.encode(&account.DepositMoney{AmountMinor: 1}), head(schemas.HeaderReplyTopic, s.topics.Internal))
	if reply, _ := s.replyTo(place(rec)); reply.Code != producer.CodeReplyTopic {
		t.Errorf("a reply asked for in the internal topic is answered %s %s", reply.Outcome, reply.Code)
	}
	if n := len(s.records(s.topics.Internal)); n > 0 {
		t.Errorf("%d records are in the internal topic", n)
	}
}

// Rules that send what can't be sent: an error reply and a dead letter, no event, nothing sent.
func TestP5_MessageThatCannotBeSent_DeadLetterAndReply(t *testing.T) {
	s := newSystem(t)
	s.def = senders
	s.start()
	c := s.client()
	expect(t, s.publish(c, open("acc-1", 100)), producer.Accepted, "")
	for reason, code := range map[string]string{
		"rejection": producer.CodePanic, "many": producer.CodeTooManyEvents, "long id": producer.CodeBadMessage, "no id": producer.CodeBadMessage,
		"another kind": producer.CodeBadMessage, "nothing": producer.CodeBadMessage, "no command": producer.CodeBadMessage,
	} {
		expect(t, s.publish(c, producer.Command{AggregateID: "acc-1", Record: &account.CloseAccount{Reason: reason}}), producer.Error, code)
	}
	if n := len(s.records(s.topics.DeadLetters)); n != 7 {
		t.Errorf("%d dead letters, wanted 7", n)
	}
	if n := len(s.history()["acc-1"]); n != 2 {
		t.Errorf("%d events, wanted 2", n)
	}
	if n := len(s.records(s.topics.Internal)); n > 0 {
		t.Errorf("%d messages were sent", n)
	}
}
