// Package producertest tests an aggregate's rules without a server: given events, when a command comes, then events or a
// refusal.
//
//	producertest.Given(bank.Account, &account.AccountOpened{Owner: "ann", Currency: "EUR"}).
//		When(&account.WithdrawMoney{AmountMinor: 5}).
//		Rejected(t, "insufficient_funds")
package producertest

import (
	"reflect"
	"testing"
	"time"

	"github.com/ledgerline-es/ledgerline/producer"
	"github.com/ledgerline-es/ledgerline/schemas"
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
	command  C
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
	return Outcome[S, C, E]{scenario: s, command: c, decision: s.aggregate.Decide(s.state, c, m)}
}

// Then fails the test unless the command was accepted with exactly these events. It returns the aggregate as it is after
// them, for the next When.
func (o Outcome[S, C, E]) Then(t testing.TB, want ...E) Scenario[S, C, E] {
	t.Helper()
	if code, message, rejected := o.decision.Rejection(); rejected {
		t.Fatalf("%s was rejected: %s: %s", o.command.AvroName(), code, message)
	}
	got := o.decision.Events()
	if len(got) != len(want) {
		t.Fatalf("%s led to %d events, wanted %d: %s", o.command.AvroName(), len(got), len(want), names(got))
	}
	for i := range want {
		if !reflect.DeepEqual(got[i], want[i]) {
			t.Fatalf("event %d of %s is %s %+v, wanted %s %+v", i+1, o.command.AvroName(), got[i].AvroName(), got[i], want[i].AvroName(), want[i])
		}
	}
	return o.scenario.evolve(got)
}

// Rejected fails the test unless the command was refused with the code.
func (o Outcome[S, C, E]) Rejected(t testing.TB, code string) {
	t.Helper()
	got, message, rejected := o.decision.Rejection()
	if !rejected {
		t.Fatalf("%s was accepted with %s, wanted the rejection %s", o.command.AvroName(), names(o.decision.Events()), code)
	}
	if got != code {
		t.Fatalf("%s was rejected with %s (%s), wanted %s", o.command.AvroName(), got, message, code)
	}
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
