package schemas

import (
	"context"
	"fmt"
)

// Message is a command on its way to an aggregate. Kind.To makes it, so that what it holds is a command of that kind.
type Message struct {
	kind, id, commandID string
	record              Record
	withoutReply        bool
}

// To addresses a command to an aggregate of this kind.
func (k Kind[S, C, E]) To(id string, command C) Message {
	return Message{kind: k.Name, id: id, record: command}
}

// As gives the command an id of its sender's choosing: the reply names it, and a second message with it has no effect within the window.
// Without, the platform gives each message its own.
func (m Message) As(commandID string) Message {
	m.commandID = commandID
	return m
}

// WithoutReply has nobody told what becomes of the command.
func (m Message) WithoutReply() Message {
	m.withoutReply = true
	return m
}

// WantsReply reports whether the sender is to be told what becomes of the command.
func (m Message) WantsReply() bool { return !m.withoutReply }

// KindName is the kind of the aggregate that it is for.
func (m Message) KindName() string { return m.kind }

// ID is the aggregate that it is for.
func (m Message) ID() string { return m.id }

// CommandID is what As was given; "" without.
func (m Message) CommandID() string { return m.commandID }

// Record is the command.
func (m Message) Record() Record { return m.record }

// Receiver is a Kind, seen as the commands that it takes.
type Receiver interface {
	KindName() string
	CommandEncoder(c *Codec, topic string) CommandEncoder
}

// CommandEncoder encodes the commands of one kind, as they are published to one topic.
type CommandEncoder interface {
	// Register makes their schemas known to the registry; Encode needs it.
	Register(ctx context.Context) error
	// Encode appends a command in Confluent wire format. One of another kind is an error.
	Encode(dst []byte, command Record) ([]byte, error)
}

// CommandEncoder implements Receiver; it does no I/O.
func (k Kind[S, C, E]) CommandEncoder(c *Codec, topic string) CommandEncoder {
	return commandEncoder[C]{NewSerde(c, topic, BackwardTransitive, k.Commands...)}
}

type commandEncoder[C Record] struct{ *Serde[C] }

func (e commandEncoder[C]) Encode(dst []byte, command Record) ([]byte, error) {
	c, ok := command.(C)
	if !ok {
		return dst, fmt.Errorf("%s is no command of topic %s", command.AvroName(), e.Topic())
	}
	return e.Append(dst, c)
}
