package producer

import (
	"context"
	"encoding/json"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ledgerline-es/ledgerline/schemas"
	"github.com/ledgerline-es/ledgerline/schemas/ledgerline"
)

// Viewer turns the records of a kind's topics into what people and scripts read.
type Viewer struct {
	machine machine
	replies *schemas.Serde[*ledgerline.Reply]
	cancels *schemas.Serde[*ledgerline.CancelScheduled]
}

// NewViewer makes a Viewer. It does no I/O.
func NewViewer(registry *schemas.Registry, topicPrefix string, def Definition) *Viewer {
	codec, topics := schemas.NewCodec(registry), schemas.TopicsOf(topicPrefix, def.KindName())
	return &Viewer{
		machine: def.machine(codec, topics),
		replies: schemas.NewSerde(codec, topics.Replies, schemas.ForwardTransitive, ledgerline.ReplyType),
		cancels: schemas.NewSerde(codec, topics.Commands, schemas.BackwardTransitive, ledgerline.CancelScheduledType),
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
