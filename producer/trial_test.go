package producer_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ledgerline-es/ledgerline/internal/kit"
	"github.com/ledgerline-es/ledgerline/producer"
	"github.com/ledgerline-es/ledgerline/schemas/account"
)

// A command ends every process that decides it. It becomes a dead letter after a few of them; those that wait with it are decided, and
// one that did nothing stays unharmed.
func TestP5_CommandThatEndsTheProcess_DeadLetter(t *testing.T) {
	for _, operation := range []string{"endless", "overflow"} {
		t.Run(operation, func(t *testing.T) {
			s := realSystem(t)
			registry := kit.Registry(t).URL()
			settings := []string{"instance=one", "decide=400ms"}
			p := s.spawn(registry, settings...)
			s.awaitTopics()
			c := s.client()
			const accounts = 40
			for n := range accounts {
				expect(t, s.publish(c, open(fmt.Sprint("acc-", n), 0)), producer.Accepted, "")
			}
			ctx, cancel := context.WithTimeout(t.Context(), 3*patience)
			defer cancel()
			send := func(id string, amount int64, what string) *producer.Pending {
				pending, err := c.Send(ctx, producer.Command{AggregateID: id, Record: &account.DepositMoney{AmountMinor: amount, Operation: what}})
				if err != nil {
					t.Fatal(err)
				}
				return pending
			}
			var good []*producer.Pending
			deposits := func(rounds int) {
				for n := range rounds * accounts {
					good = append(good, send(fmt.Sprint("acc-", n%accounts), 1, ""))
				}
			}
			deposits(3)
			bad := send("acc-7", 1, operation)
			deposits(1)
			answered := make(chan struct{})
			go func() {
				defer close(answered)
				r, err := bad.Wait(ctx)
				if err != nil || r.Outcome != producer.Error || r.Code != producer.CodeFatal {
					t.Errorf("the reply is %+v, %v", r, err)
				}
				for _, p := range good {
					if r, err := p.Wait(ctx); err != nil || r.Outcome != producer.Accepted {
						t.Errorf("the reply to a good command is %+v, %v", r, err)
						return
					}
				}
			}()
			ends := 0
			for waiting := true; waiting; {
				select {
				case <-answered:
					waiting = false
				case <-p.Done():
					if ends++; ends > 8 {
						t.Fatal("it ends one process after another")
					}
					p = s.spawn(registry, settings...)
				}
			}
			if ends < 3 {
				t.Errorf("it was given up after it had ended %d processes: fewer may have ended for another reason", ends)
			}
			if dead := s.records(s.topics.DeadLetters); len(dead) != 1 || string(dead[0].Key) != "acc-7" {
				t.Errorf("%d dead letters", len(dead))
			}
			for id, events := range s.history() {
				if len(events) != 5 {
					t.Errorf("%s has %d events, wanted one for its opening and four deposits", id, len(events))
				}
			}
			began := time.Now()
			expect(t, s.publish(c, deposit("acc-7", 1)), producer.Accepted, "")
			t.Logf("%d processes ended; a command afterwards took %v", ends, time.Since(began))
		})
	}
}

// Rules that can't take an event that they have led to: the command is a dead letter, its event is never committed, and whoever waits
// with it is decided.
func TestP5_EvolveDiesOfTheNewEvent_DeadLetter(t *testing.T) {
	s := newSystem(t)
	s.def = dyingOf(13)
	p := s.start()
	c := s.client()
	for _, id := range []string{"acc-1", "acc-2"} {
		expect(t, s.publish(c, open(id, 0)), producer.Accepted, "")
	}
	expect(t, s.publish(c, deposit("acc-1", 13)), producer.Error, producer.CodePanic)
	for _, id := range []string{"acc-1", "acc-2"} {
		expect(t, s.publish(c, deposit(id, 1)), producer.Accepted, "")
	}
	if dead := s.records(s.topics.DeadLetters); len(dead) != 1 || string(dead[0].Key) != "acc-1" {
		t.Errorf("%d dead letters", len(dead))
	}
	p.stop()
	s.start() // there is nothing that it can't restore
	for id, events := range s.history() {
		if len(events) != 2 {
			t.Errorf("%s has %d events, wanted 2", id, len(events))
		}
	}
}

// Rules were changed such that they can't take an event of the past: the producer stops with an error that names it and what to do, and
// passes over nothing. Mended, they go on.
func TestRestore_EvolvePanicsOnACommittedEvent_NamesIt(t *testing.T) {
	s := newSystem(t)
	p := s.start()
	c := s.client()
	expect(t, s.publish(c, open("acc-1", 0)), producer.Accepted, "")
	expect(t, s.publish(c, deposit("acc-1", 13)), producer.Accepted, "")
	p.stop()
	event := s.records(s.topics.Events)[1]
	s.def = dyingOf(13)
	select {
	case err := <-s.launch().done:
		for _, want := range []string{fmt.Sprintf("%s partition %d offset %d: event 2 of acc-1: Evolve panics", event.Topic, event.Partition, event.Offset), "events are never skipped", "start again", "panic: of 13"} {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("it stops with %v, without %q", err, want)
			}
		}
	case <-time.After(patience):
		t.Fatal("it does not stop")
	}
	s.def = rules
	s.start()
	expect(t, s.publish(c, deposit("acc-1", 1)), producer.Accepted, "")
	if n := len(s.history()["acc-1"]); n != 3 {
		t.Errorf("%d events, wanted 3", n)
	}
}

// dyingOf are rules whose Evolve panics on deposits of an amount.
func dyingOf(amount int64) producer.Definition {
	dying := rules
	dying.Evolve = func(s account.State, e account.Event) account.State {
		if d, ok := e.(*account.MoneyDeposited); ok && d.AmountMinor == amount {
			panic(fmt.Sprint("of ", amount))
		}
		return evolve(s, e)
	}
	return dying
}

// Kafka refuses what is written for a command, session after session: that says nothing of the command, which is decided when it may be.
func TestP5_TransactionsFail_NoDeadLetter(t *testing.T) {
	kafka := kit.FakeKafka(t)
	s := systemOn(t, kafka.Brokers(), kit.FakeRegistry(t), "")
	s.start()
	c := s.client()
	expect(t, s.publish(c, open("acc-1", 0)), producer.Accepted, "")
	var refused atomic.Int32
	kafka.ControlKey(int16(kmsg.Produce), func(req kmsg.Request) (kmsg.Response, error, bool) {
		kafka.KeepControl()
		produce, ok := req.(*kmsg.ProduceRequest)
		if !ok || produce.TransactionID == nil || refused.Load() == 4 {
			return nil, nil, false
		}
		refused.Add(1)
		resp, _ := produce.ResponseKind().(*kmsg.ProduceResponse)
		for _, topic := range produce.Topics {
			answer := kmsg.NewProduceResponseTopic()
			answer.Topic, answer.TopicID = topic.Topic, topic.TopicID
			for _, part := range topic.Partitions {
				p := kmsg.NewProduceResponseTopicPartition()
				p.Partition, p.ErrorCode = part.Partition, kerr.TopicAuthorizationFailed.Code
				answer.Partitions = append(answer.Partitions, p)
			}
			resp.Topics = append(resp.Topics, answer)
		}
		return resp, nil, true
	})
	expect(t, s.publish(c, deposit("acc-1", 1)), producer.Accepted, "")
	if n := refused.Load(); n != 4 {
		t.Errorf("%d transactions were refused", n)
	}
	if n := len(s.records(s.topics.DeadLetters)); n != 0 {
		t.Errorf("%d dead letters", n)
	}
}
