package producer

import (
	"fmt"
	"slices"
	"time"

	"github.com/ledgerline-es/ledgerline/schemas"
	"github.com/ledgerline-es/ledgerline/schemas/ledgerline"
)

// Aggregate declares one kind of aggregate: the rules by which its commands become events. All functions are pure: no
// clock, no I/O, no randomness, no writing into a slice or map that the state shares; time and ids come with the command. They are called
// for several aggregates at the same time, for one aggregate never.
type Aggregate[S any, C, E schemas.Record] struct {
	// Kind names the kind and its records; the generated code of the kind's schema folder provides it.
	Kind schemas.Kind[S, C, E]

	// Evolve returns the state after an event. It must accept every event that was ever written: it never refuses.
	Evolve func(S, E) S

	// Decide answers a command with events or with a refusal. The zero State is that of an aggregate without events.
	Decide func(S, C, Meta) Decision[E]

	// Replied answers the reply to a command that this aggregate sent, as Decide answers a command: in the order of its partition, in a
	// transaction of its own, fenced the same way. Needed where Decide or Replied sends something. A command that was a dead letter and
	// is tried again is answered again, days later: what the first answer led to must show in the state.
	Replied func(S, *ledgerline.Reply, Meta) Decision[E]

	// SendsTo are the kinds that this aggregate sends commands to, beside its own.
	SendsTo []schemas.Receiver

	// Revision of Evolve: raise it when the same events lead to another state than before. States that were kept under another
	// revision are then evolved anew from events.
	Revision int
}

// Meta is what a command carries beside its own fields.
type Meta struct {
	ID            string    // the aggregate's id: the record key
	CommandID     string    // ce_id, or "topic/partition/offset" of the record first published
	CorrelationID string    // ce_correlationid, or the command id
	Principal     string    // ce_authid: who asked for it; "" when unknown
	Sender        string    // "<kind>/<id>" of the aggregate that sent it; "": it was published by a client, whatever that calls itself
	Time          time.Time // business time, UTC: ce_time, or when the command was appended to its topic
	Version       int64     // sequence of the aggregate's last event; 0: it does not exist yet
}

// Decision is the answer of Decide: Accept or Reject. The zero Decision accepts and changes nothing.
type Decision[E schemas.Record] struct {
	events   []E
	sent     []schemas.Message
	delayed  []Delayed
	rejected bool

	cancelled []string
	code      string
	message   string
}

// Accept answers a command with the events that it causes, in order. Without events the command is accepted and changes
// nothing.
func Accept[E schemas.Record](events ...E) Decision[E] { return Decision[E]{events: events} }

// Reject refuses a command by a business rule. The code is stable and for programs (such as "insufficient_funds"), the
// message for people.
func Reject[E schemas.Record](code, format string, args ...any) Decision[E] {
	return Decision[E]{rejected: true, code: code, message: fmt.Sprintf(format, args...)}
}

// Send sends commands to other aggregates, or to this one, in the transaction that the events are written in: they are on their way when
// the command is answered, and not before. Each is answered to Aggregate.Replied, but for those that want no reply (Message.WithoutReply). It carries the command's correlation id, principal and
// trace on, and names the command as its cause. A rejection sends nothing: Send panics.
//
//	return producer.Accept[account.Event](&account.MoneyWithdrawn{…}).Send(account.Kind.To(c.Target, &account.DepositMoney{…}).As(c.TransferID))
func (d Decision[E]) Send(messages ...schemas.Message) Decision[E] {
	if d.rejected {
		panic("producer: a rejection sends nothing")
	}
	d.sent = append(slices.Clip(d.sent), messages...)
	return d
}

// Delayed is a command that an aggregate puts off.
type Delayed struct {
	Delay   time.Duration
	Message schemas.Message
}

// After has a command decided by this same aggregate after some time, counted from when the present command was appended: mostly to see
// whether what it waits for has come. It survives restarts and rebalances, is decided once, within a second of its time by the brokers' clocks,
// and Meta.Sender is then the aggregate itself. Its name (Message.As, or the command's full Avro name) stands for it: a second command under the
// name takes the place of the first, and Cancel takes it away. What can't be put off, such as a command to another aggregate, makes the command
// a dead letter. A rejection puts nothing off: After panics.
//
//	return producer.Accept[order.Event](&order.OrderPlaced{…}).After(24*time.Hour, order.Kind.To(m.ID, &order.ExpireOrder{}))
func (d Decision[E]) After(delay time.Duration, m schemas.Message) Decision[E] {
	if d.rejected {
		panic("producer: a rejection puts nothing off")
	}
	d.delayed = append(slices.Clip(d.delayed), Delayed{delay, m})
	return d
}

// Cancel takes away commands that wait under these names. One that does not wait is no error. A rejection cancels nothing: Cancel panics.
func (d Decision[E]) Cancel(names ...string) Decision[E] {
	if d.rejected {
		panic("producer: a rejection cancels nothing")
	}
	d.cancelled = append(slices.Clip(d.cancelled), names...)
	return d
}

// Delayed are the commands that an accepting decision puts off.
func (d Decision[E]) Delayed() []Delayed { return d.delayed }

// Cancelled are the names of the waiting commands that an accepting decision takes away.
func (d Decision[E]) Cancelled() []string { return d.cancelled }

// Sent are the commands that an accepting decision sends.
func (d Decision[E]) Sent() []schemas.Message { return d.sent }

// Events are the events of an accepting decision.
func (d Decision[E]) Events() []E { return d.events }

// Rejection gives the code and message of a refusal, and whether the decision is one.
func (d Decision[E]) Rejection() (code, message string, rejected bool) {
	return d.code, d.message, d.rejected
}

// Definition is an Aggregate of any state, command and event type. Only Aggregate implements it.
type Definition interface {
	// KindName is the kind's name, the first part of its topics' names.
	KindName() string
	// CommandNames are the full Avro names of the commands it takes.
	CommandNames() []string
	// EventNames are the full Avro names of the events it has.
	EventNames() []string
	// ReceiverNames are the kinds that it sends commands to, beside its own.
	ReceiverNames() []string

	machine(codec *schemas.Codec, topics schemas.Topics) machine
	check() error
}

// KindName implements Definition.
func (a Aggregate[S, C, E]) KindName() string { return a.Kind.Name }

// CommandNames implements Definition.
func (a Aggregate[S, C, E]) CommandNames() []string {
	names := make([]string, len(a.Kind.Commands))
	for i, t := range a.Kind.Commands {
		names[i] = t.Name
	}
	return names
}

// ReceiverNames implements Definition.
func (a Aggregate[S, C, E]) ReceiverNames() []string {
	names := make([]string, len(a.SendsTo))
	for i, r := range a.SendsTo {
		names[i] = r.KindName()
	}
	return names
}

// EventNames implements Definition.
func (a Aggregate[S, C, E]) EventNames() []string {
	names := make([]string, len(a.Kind.Events))
	for i, t := range a.Kind.Events {
		names[i] = t.Name
	}
	return names
}

func (a Aggregate[S, C, E]) check() error {
	switch {
	case a.Kind.Name == "":
		return fmt.Errorf("aggregate without a kind: set Kind to the Kind variable of its generated schema package")
	case a.Evolve == nil || a.Decide == nil:
		return fmt.Errorf("aggregate %s: Evolve and Decide must both be set", a.Kind.Name)
	case len(a.SendsTo) > 0 && a.Replied == nil:
		return fmt.Errorf("aggregate %s: it sends commands (SendsTo), and has no Replied for the answers", a.Kind.Name)
	case len(a.Kind.Commands) == 0 || len(a.Kind.Events) == 0:
		return fmt.Errorf("aggregate %s: its schema folder has no commands or no events", a.Kind.Name)
	}
	return nil
}

func (a Aggregate[S, C, E]) machine(codec *schemas.Codec, topics schemas.Topics) machine {
	return newTypedMachine(a, codec, topics)
}
