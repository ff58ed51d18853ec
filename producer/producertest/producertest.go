// Package producertest tests an aggregate's rules without a server: given events, when a command comes, then events or a
// refusal.
//
//	producertest.Given(bank.Account, &account.AccountOpened{Owner: "ann", Currency: "EUR"}).
//		When(&account.WithdrawMoney{AmountMinor: 5}).
//		Rejected(t, "insufficient_funds")
package producertest

import (
	"cmp"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ledgerline-es/ledgerline/producer"
	"github.com/ledgerline-es/ledgerline/schemas"
	"github.com/ledgerline-es/ledgerline/schemas/ledgerline"
)

// Scenario is an aggregate with a past.
type Scenario[S any, C, E schemas.Record] struct {
	aggregate producer.Aggregate[S, C, E]
	state     S
	version   int64
	meta      producer.Meta
}

// Outcome is what the rules answered.
type Outcome[S any, C, E schemas.Record] struct {
	scenario Scenario[S, C, E]
	asked    string // what was decided, for messages
	decision producer.Decision[E]
}

// Given starts from an aggregate with these events; none: it does not exist yet. The command's Meta has the id "test-1", the
// command id "command-1" and the time 2026-01-02T03:04:05Z unless With changes it. Given panics on an event of another kind.
func Given[S any, C, E schemas.Record](a producer.Aggregate[S, C, E], events ...schemas.Record) Scenario[S, C, E] {
	s := Scenario[S, C, E]{aggregate: a, meta: producer.Meta{
		ID: "test-1", CommandID: "command-1", CorrelationID: "command-1", Time: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
	}}
	for _, e := range events { // not ...E: the compiler infers no interface from its implementations
		own, ok := e.(E)
		if !ok {
			panic("producertest: " + e.AvroName() + " is no event of " + a.Kind.Name)
		}
		s = s.evolve([]E{own})
	}
	return s
}

func (s Scenario[S, C, E]) evolve(events []E) Scenario[S, C, E] {
	for _, e := range events {
		s.state = s.aggregate.Evolve(s.state, e)
		s.version++
	}
	return s
}

// With changes what the command carries beside its fields. Version is set from the events given.
func (s Scenario[S, C, E]) With(change func(*producer.Meta)) Scenario[S, C, E] {
	change(&s.meta)
	return s
}

// When asks the rules.
func (s Scenario[S, C, E]) When(c C) Outcome[S, C, E] {
	m := s.meta
	m.Version = s.version
	return Outcome[S, C, E]{scenario: s, asked: c.AvroName(), decision: s.aggregate.Decide(s.state, c, m)}
}

// Then fails the test unless the command was accepted with exactly these events. It returns the aggregate as it is after
// them, for the next When.
func (o Outcome[S, C, E]) Then(t testing.TB, want ...E) Scenario[S, C, E] {
	t.Helper()
	o.accepted(t)
	got := o.decision.Events()
	if len(got) != len(want) {
		t.Fatalf("%s led to %d events, wanted %d: %s", o.asked, len(got), len(want), names(got))
	}
	for i := range want {
		if !reflect.DeepEqual(got[i], want[i]) {
			t.Fatalf("event %d of %s is %s %+v, wanted %s %+v", i+1, o.asked, got[i].AvroName(), got[i], want[i].AvroName(), want[i])
		}
	}
	return o.scenario.evolve(got)
}

func (o Outcome[S, C, E]) accepted(t testing.TB) {
	t.Helper()
	if code, message, rejected := o.decision.Rejection(); rejected {
		t.Fatalf("%s was rejected: %s: %s", o.asked, code, message)
	}
}

// Rejected fails the test unless the command was refused with the code.
func (o Outcome[S, C, E]) Rejected(t testing.TB, code string) {
	t.Helper()
	got, message, rejected := o.decision.Rejection()
	if !rejected {
		t.Fatalf("%s was accepted with %s, wanted the rejection %s", o.asked, names(o.decision.Events()), code)
	}
	if got != code {
		t.Fatalf("%s was rejected with %s (%s), wanted %s", o.asked, got, message, code)
	}
}

// WhenReplied gives the rules the reply to a command that the aggregate sent.
func (s Scenario[S, C, E]) WhenReplied(r *ledgerline.Reply) Outcome[S, C, E] {
	m := s.meta
	m.Version = s.version
	return Outcome[S, C, E]{scenario: s, asked: "the " + r.Outcome + " reply to " + r.CommandID, decision: s.aggregate.Replied(s.state, r, m)}
}

// Sent fails the test unless the command was accepted, and sends exactly these commands.
func (o Outcome[S, C, E]) Sent(t testing.TB, want ...schemas.Message) Outcome[S, C, E] {
	t.Helper()
	o.accepted(t)
	got := o.decision.Sent()
	if len(got) != len(want) {
		t.Fatalf("%s sends %d commands, wanted %d: %s", o.asked, len(got), len(want), told(got))
	}
	for i := range want {
		if !reflect.DeepEqual(got[i], want[i]) {
			t.Fatalf("command %d that %s sends is %s, wanted %s", i+1, o.asked, told(got[i:i+1]), told(want[i:i+1]))
		}
	}
	return o
}

// PutOff fails the test unless the command was accepted, and has exactly these commands wait.
func (o Outcome[S, C, E]) PutOff(t testing.TB, want ...producer.Delayed) Outcome[S, C, E] {
	t.Helper()
	o.accepted(t)
	if got := o.decision.Delayed(); !slices.EqualFunc(got, want, func(a, b producer.Delayed) bool { return reflect.DeepEqual(a, b) }) {
		t.Fatalf("%s puts off %s, wanted %s", o.asked, toldDelayed(got), toldDelayed(want))
	}
	return o
}

// Cancelled fails the test unless the command was accepted, and takes away what waits under exactly these names.
func (o Outcome[S, C, E]) Cancelled(t testing.TB, names ...string) Outcome[S, C, E] {
	t.Helper()
	o.accepted(t)
	if got := o.decision.Cancelled(); !slices.Equal(got, names) {
		t.Fatalf("%s cancels %q, wanted %q", o.asked, got, names)
	}
	return o
}

// WhenDue gives the rules a command whose time has come.
func (s Scenario[S, C, E]) WhenDue(c C) Outcome[S, C, E] {
	m := s.meta
	m.Version, m.Sender = s.version, s.aggregate.Kind.Name+"/"+m.ID
	return Outcome[S, C, E]{scenario: s, asked: c.AvroName() + ", which is due,", decision: s.aggregate.Decide(s.state, c, m)}
}

// EveryReply plays a saga to its end in every way: whatever it sends, and is not answered yet, is answered with each of the replies, in
// every order, and the answers lead on. What it puts off comes at every moment at which it waits, under each name once. At each end, when
// nothing is unanswered and nothing waits, it calls end with the aggregate as it is then, and with what happened on the way there. A saga
// that does not come to an end within 20 steps fails the test, and so does one that rejects what it sent for.
//
//	producertest.Given(Transfer).When(&transfer.Start{…}).EveryReply(t, producertest.Replies("account_closed", "account_frozen"),
//		func(t testing.TB, s producertest.Scenario[…], path []string) { … })
func (o Outcome[S, C, E]) EveryReply(t testing.TB, replies []ledgerline.Reply, end func(t testing.TB, s Scenario[S, C, E], path []string)) {
	t.Helper()
	play[S, C, E]{replies: replies, end: end}.on(t, o)
}

// longest is how many steps a saga may take.
const longest = 20

// play is a saga on one of its ways.
type play[S any, C, E schemas.Record] struct {
	replies []ledgerline.Reply
	end     func(testing.TB, Scenario[S, C, E], []string)
	path    []string          // what happened
	open    []schemas.Message // unanswered
	waiting []schemas.Message // put off
}

func (p play[S, C, E]) on(t testing.TB, o Outcome[S, C, E]) {
	t.Helper()
	if code, message, rejected := o.decision.Rejection(); rejected {
		t.Fatalf("%s was rejected: %s: %s. Before: %s", o.asked, code, message, strings.Join(p.path, ", "))
	}
	p.open = slices.Concat(p.open, slices.DeleteFunc(slices.Clone(o.decision.Sent()), func(m schemas.Message) bool { return !m.WantsReply() }))
	for i, m := range p.open {
		if m.CommandID() == "" {
			p.open[i] = m.As(fmt.Sprint("message-", len(p.path), "-", i))
		}
	}
	p.waiting = slices.Clone(p.waiting)
	without := func(name string) {
		p.waiting = slices.DeleteFunc(p.waiting, func(m schemas.Message) bool { return timerName(m) == name })
	}
	for _, name := range o.decision.Cancelled() {
		without(name)
	}
	for _, d := range o.decision.Delayed() {
		if name := timerName(d.Message); !slices.Contains(p.path, "due "+name) {
			without(name)
			p.waiting = append(p.waiting, d.Message)
		}
	}
	after := o.After()
	if len(p.open) == 0 && len(p.waiting) == 0 {
		p.end(t, after, p.path)
		return
	}
	if len(p.path) == longest {
		t.Fatalf("the saga is not at its end after %d steps: %s", longest, strings.Join(p.path, ", "))
	}
	for i, m := range p.open {
		for _, r := range p.replies {
			r.CommandID = m.CommandID()
			next := p
			next.open = slices.Delete(slices.Clone(p.open), i, i+1)
			next.path = append(slices.Clip(p.path), strings.TrimSpace(fmt.Sprintf("%s %s %s", m.CommandID(), r.Outcome, r.Code)))
			next.on(t, after.WhenReplied(&r))
		}
	}
	for i, m := range p.waiting {
		next := p
		next.waiting = slices.Delete(slices.Clone(p.waiting), i, i+1)
		next.path = append(slices.Clip(p.path), "due "+timerName(m))
		next.on(t, after.WhenDue(m.Record().(C)))
	}
}

// timerName is the name under which a command waits.
func timerName(m schemas.Message) string { return cmp.Or(m.CommandID(), m.Record().AvroName()) }

// Replies are an accepting reply, and a rejecting one of each code.
func Replies(rejections ...string) []ledgerline.Reply {
	all := []ledgerline.Reply{{Outcome: producer.Accepted}}
	for _, code := range rejections {
		all = append(all, ledgerline.Reply{Outcome: producer.Rejected, Code: code})
	}
	return all
}

func told(messages []schemas.Message) string {
	out := make([]string, len(messages))
	for i, m := range messages {
		out[i] = fmt.Sprintf("%T %+v to %s/%s as %q", m.Record(), m.Record(), m.KindName(), m.ID(), m.CommandID())
	}
	return strings.Join(out, ", ")
}

func toldDelayed(all []producer.Delayed) string {
	out := make([]string, len(all))
	for i, d := range all {
		out[i] = fmt.Sprintf("after %v %s", d.Delay, told([]schemas.Message{d.Message}))
	}
	return strings.Join(out, "; ")
}

// State is the aggregate's state, for tests of Evolve.
func (s Scenario[S, C, E]) State() S { return s.state }

func names[E schemas.Record](events []E) []string {
	out := make([]string, len(events))
	for i, e := range events {
		out[i] = e.AvroName()
	}
	return out
}

// Events are what the command led to; none when it was refused.
func (o Outcome[S, C, E]) Events() []E { return o.decision.Events() }

// After is the aggregate as it is after the command, accepted or not.
func (o Outcome[S, C, E]) After() Scenario[S, C, E] { return o.scenario.evolve(o.decision.Events()) }
