package producer

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ledgerline-es/ledgerline/schemas"
)

// Aggregates send commands to each other through topics that only producers may write: a kind's internal topic, beside its commands. The
// records are part of the sender's transaction, and so is the reply of the receiver's, which comes back through the sender's own internal
// topic. Nothing has to be sent again, and nobody else can forge either.

// receiver is where commands for one kind go.
type receiver struct {
	topic      string
	partitions int32
	encoder    schemas.CommandEncoder
}

// receivers are those that an aggregate may send to, by kind.
type receivers map[string]receiver

// newReceivers registers the commands of all kinds and looks up their topics, which their own producers make.
func newReceivers(ctx context.Context, all []schemas.Receiver, codec *schemas.Codec, prefix string, adm *kadm.Client) (receivers, error) {
	to := receivers{}
	for _, kind := range all {
		topics := schemas.TopicsOf(prefix, kind.KindName())
		r := receiver{topic: topics.Internal, encoder: kind.CommandEncoder(codec, topics.Commands)}
		if err := r.encoder.Register(ctx); err != nil {
			return nil, err
		}
		details, err := adm.ListTopics(ctx, r.topic)
		if err == nil {
			err = details[r.topic].Err
		}
		if errors.Is(err, kerr.UnknownTopicOrPartition) {
			err = fmt.Errorf("commands are sent to %s, and there is no topic %s: a producer of that kind makes it: %w", kind.KindName(), r.topic, err)
		}
		if err != nil {
			return nil, err
		}
		r.partitions = int32(len(details[r.topic].Partitions))
		to[kind.KindName()] = r
	}
	return to, nil
}

// senderPath begins the source of a command that an aggregate sent.
const senderPath = "/ledgerline/"

// senderOf is the aggregate that sent a record of an internal topic, as "<kind>/<id>"; "" when it does not say.
func senderOf(rec *kgo.Record) string {
	source, _ := schemas.Header(rec, schemas.HeaderSource)
	sender, _ := strings.CutPrefix(source, senderPath)
	return clip(sender, maxText)
}

// send makes the record of a command that a decision sends, the nth. An error says what is wrong with the message.
func (w *writer) send(c *command, n int, m schemas.Message) (*kgo.Record, error) {
	to, ok := w.receivers[m.KindName()]
	switch {
	case m.Record() == nil:
		return nil, errors.New("it holds no command")
	case !ok:
		return nil, fmt.Errorf("it is sent to kind %q, which is not among SendsTo", m.KindName())
	}
	if err := schemas.ValidateID(m.ID()); err != nil {
		return nil, err
	}
	id := m.CommandID()
	if id == "" {
		id = origin(c.rec) + "/" + strconv.Itoa(n)
		id = id[max(0, len(id)-maxText):] // the end is what differs
	}
	if !isText(id) {
		return nil, fmt.Errorf("its command id has %d bytes, wanted %s", len(id), wantedText)
	}
	data, err := to.encoder.Encode(w.slab.room(256), m.Record())
	if err != nil {
		return nil, err
	}
	data = w.slab.keep(data)
	h := append(w.message(c, id, m), kgo.RecordHeader{Key: schemas.HeaderTime, Value: w.timeOf(c.meta.Time)})
	if m.WantsReply() {
		h = append(h,
			w.slab.header(schemas.HeaderReplyTopic, w.topics.Internal),
			w.slab.header(schemas.HeaderReplyPartition, strconv.Itoa(int(c.rec.Partition))),
			w.slab.header(schemas.HeaderReplyKey, c.id),
		)
	}
	rec := w.slab.record()
	rec.Topic, rec.Partition, rec.Key, rec.Value, rec.Headers = to.topic, schemas.Partition(m.ID(), to.partitions), w.slab.text(m.ID()), data, h
	return rec, nil
}

// message gives the headers that every command of an aggregate has: whose it is, what caused it, and to what it belongs. There is room for more.
func (w *writer) message(c *command, id string, m schemas.Message) []kgo.RecordHeader {
	h := envelope(w.slab.headerRoom(16), w.slab.text(id), w.slab.text(m.Record().AvroName()), w.slab.text(senderPath, w.kind, "/", c.id))
	h = append(h, w.slab.header(schemas.HeaderCorrelationID, c.meta.CorrelationID), w.slab.header(schemas.HeaderCausationID, c.meta.CommandID))
	for _, key := range inherited {
		if value, ok := schemas.Header(c.rec, key); ok && key != schemas.HeaderCorrelationID {
			h = append(h, w.slab.header(key, value))
		}
	}
	return h
}
