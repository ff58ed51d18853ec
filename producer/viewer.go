package producer

import (
	"cmp"
	"context"
	"encoding/json"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ledgerline-es/ledgerline/schemas"
	"github.com/ledgerline-es/ledgerline/schemas/ledgerline"
)

// Viewer turns the records of a kind's topics into what people and scripts read.
type Viewer struct {
	kind    string
	machine machine
	replies *schemas.Serde[*ledgerline.Reply]
	cancels *schemas.Serde[*ledgerline.CancelScheduled]
	timers  *schemas.Serde[*ledgerline.Timer]
}

// NewViewer makes a Viewer. It does no I/O.
func NewViewer(registry *schemas.Registry, topicPrefix string, def Definition) *Viewer {
	codec, topics := schemas.NewCodec(registry), schemas.TopicsOf(topicPrefix, def.KindName())
	return &Viewer{
		kind:    def.KindName(),
		machine: def.machine(codec, topics),
		replies: schemas.NewSerde(codec, topics.Replies, schemas.ForwardTransitive, ledgerline.ReplyType),
		cancels: schemas.NewSerde(codec, topics.Commands, schemas.BackwardTransitive, ledgerline.CancelScheduledType),
		timers:  schemas.NewSerde(codec, topics.Snapshots, schemas.FullTransitive, ledgerline.TimerType),
	}
}

// Command gives a command's full Avro name and its fields as plain JSON. Errors are those of schemas.Serde.Decode. What aggregates and
// clocks put beside commands, answers and ticks, is shown as well.
func (v *Viewer) Command(ctx context.Context, rec *kgo.Record) (name string, doc json.RawMessage, err error) {
	switch typ, _ := schemas.Header(rec, schemas.HeaderType); typ {
	case ledgerline.ReplyType.Name:
		return show(ctx, v.replies, rec.Value)
	case ledgerline.CancelScheduledType.Name:
		return show(ctx, v.cancels, rec.Value)
	case tickType:
		return tickType, json.RawMessage("{}"), nil
	}
	return v.machine.showCommand(ctx, rec.Value)
}

// Message is what an aggregate sent to another, or to itself for later: a record of an internal topic.
type Message struct {
	CorrelationID string // of the command that all began with; its own id when it has none
	CommandID     string // of an answer: of the command that it answers
	From          string // "<kind>/<id>" of the aggregate that sent it; "" when it does not say
	To            string // … and that it is for
	Type          string // full Avro name
	Data          json.RawMessage
	Answer        bool // it says what became of a command
	Timer         bool // it waited for its time
}

// Message reads a record of the kind's internal topic, or the dead letter of one. ok is false for a tick, which is nobody's message. With an
// error the message is not decoded, and what its headers say is there all the same.
func (v *Viewer) Message(ctx context.Context, rec *kgo.Record) (m Message, ok bool, err error) {
	text := func(key string) string {
		value, _ := schemas.Header(rec, key)
		return value
	}
	if m.Type = text(schemas.HeaderType); m.Type == tickType {
		return m, false, nil
	}
	m.CommandID, m.From, m.To = text(schemas.HeaderID), senderOf(rec), v.kind+"/"+string(rec.Key)
	m.CorrelationID = cmp.Or(text(schemas.HeaderCorrelationID), m.CommandID)
	m.Timer = text(schemas.HeaderTimer) != ""
	if m.Answer = m.Type == ledgerline.ReplyType.Name; m.Answer {
		reply, err := v.replies.Decode(ctx, rec.Value)
		if err != nil {
			return m, true, err
		}
		m.CommandID = reply.CommandID
	}
	name, data, err := v.Command(ctx, rec)
	if err == nil {
		m.Type, m.Data = name, data
	}
	return m, true, err
}

// Scheduled is a command that waits for its time.
type Scheduled struct {
	Kind          string
	AggregateID   string
	Name          string    // of an aggregate's own
	CommandID     string    // of one that a client put off
	CorrelationID string    // "" when it is fired
	Due           time.Time // UTC, by the brokers' clocks
	Fired         bool      // it is published, and not decided yet
	Type          string    // full Avro name; "" when it is fired
	Data          json.RawMessage
}

// Scheduled reads a record of the snapshots topic. ok is false for one that is not about a command that waits; of one that says that it waits
// no more, Due is zero.
func (v *Viewer) Scheduled(ctx context.Context, rec *kgo.Record) (s Scheduled, ok bool, err error) {
	key, ok := strings.CutPrefix(string(rec.Key), timerPrefix)
	if !ok {
		return s, false, nil
	}
	s.Kind = v.kind
	s.AggregateID, s.Name, _ = strings.Cut(key, "/")
	if id, client := strings.CutPrefix(s.Name, scheduledPrefix); client {
		s.Name, s.CommandID = "", id
	}
	if rec.Value == nil {
		return s, true, nil
	}
	timer, err := v.timers.Decode(ctx, rec.Value)
	if err != nil {
		return s, true, err
	}
	s.Due, s.Fired = time.UnixMilli(timer.Due).UTC(), timer.Fired
	if !s.Fired {
		headers := make([]kgo.RecordHeader, len(timer.Headers))
		for i, h := range timer.Headers {
			headers[i] = kgo.RecordHeader{Key: h.Key, Value: h.Value}
		}
		rec := &kgo.Record{Value: timer.Command, Headers: headers}
		s.CorrelationID, _ = schemas.Header(rec, schemas.HeaderCorrelationID)
		s.Type, s.Data, err = v.Command(ctx, rec)
	}
	return s, true, err
}

// Event gives an event's full Avro name and its fields as plain JSON.
func (v *Viewer) Event(ctx context.Context, rec *kgo.Record) (name string, doc json.RawMessage, err error) {
	return v.machine.showEvent(ctx, rec.Value)
}

// CheckEvent decodes an event, and gives the error of what can't be decoded.
func (v *Viewer) CheckEvent(ctx context.Context, rec *kgo.Record) error {
	return v.machine.checkEvent(ctx, rec.Value)
}

// Reply decodes a reply.
func (v *Viewer) Reply(ctx context.Context, rec *kgo.Record) (*ledgerline.Reply, error) {
	return v.replies.Decode(ctx, rec.Value)
}
