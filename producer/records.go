package producer

import (
	"strconv"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ledgerline-es/ledgerline/schemas"
	"github.com/ledgerline-es/ledgerline/schemas/ledgerline"
)

// writer makes the records that one kind's transactions write. Partitions are always set by hand: the aggregate id decides,
// not the record key.
type writer struct {
	kind       string
	source     string // ce_source
	topics     schemas.Topics
	partitions int32
	replies    *schemas.Serde[*ledgerline.Reply]
	marks      *schemas.Serde[*ledgerline.SourceMark]
	positions  *schemas.Serde[*ledgerline.Position]
}

func header(key, value string) kgo.RecordHeader {
	return kgo.RecordHeader{Key: key, Value: []byte(value)}
}

// envelope starts the headers that every record of the CloudEvents binding carries.
func envelope(headers []kgo.RecordHeader, id, typ, source string) []kgo.RecordHeader {
	return append(headers,
		header(schemas.HeaderSpecVersion, schemas.SpecVersion),
		header(schemas.HeaderID, id),
		header(schemas.HeaderType, typ),
		header(schemas.HeaderSource, source),
		header(schemas.HeaderContentType, schemas.ContentType),
	)
}

// event makes the record of one event of a command.
func (w *writer) event(c *command, sequence int64, first bool, e encodedEvent) *kgo.Record {
	key := schemas.EventKey(c.id, sequence)
	h := envelope(make([]kgo.RecordHeader, 0, 12), w.kind+"/"+key, e.name, w.source)
	h = append(h,
		header(schemas.HeaderTime, schemas.FormatTime(c.meta.Time)),
		header(schemas.HeaderCausationID, c.meta.CommandID),
	)
	if first {
		h = append(h, header(schemas.HeaderCommandHash, formatHash(c.hash)))
	}
	if c.source != "" {
		h = append(h, header(schemas.HeaderStreamSource, c.source), header(schemas.HeaderStreamSequence, strconv.FormatInt(c.sequence, 10)))
	}
	for _, copied := range c.rec.Headers { // who did it, and to what it belongs
		switch copied.Key {
		case schemas.HeaderCorrelationID, schemas.HeaderAuthType, schemas.HeaderAuthID, schemas.HeaderTraceParent:
			h = append(h, copied)
		}
	}
	return &kgo.Record{Topic: w.topics.Events, Partition: c.rec.Partition, Key: []byte(key), Value: e.data, Headers: h}
}

// reply makes the record of a reply, and of its copy when one was asked for. Remembered replies carry the command's hash, so
// that a restore can tell a repetition from another command under the same id.
func (w *writer) reply(c *command, r *ledgerline.Reply, remember bool) ([]*kgo.Record, error) {
	data, err := w.replies.Append(nil, r)
	if err != nil {
		return nil, err
	}
	h := envelope(make([]kgo.RecordHeader, 0, 7), origin(c.rec), r.AvroName(), w.source)
	if remember {
		h = append(h, header(schemas.HeaderCommandHash, formatHash(c.hash)))
	}
	for _, copied := range c.rec.Headers {
		if copied.Key == schemas.HeaderCorrelationID {
			h = append(h, copied)
		}
	}
	out := []*kgo.Record{{Topic: w.topics.Replies, Partition: c.rec.Partition, Key: []byte(clip(c.id, schemas.MaxIDLength)), Value: data, Headers: h}}
	if c.reply.topic != "" && c.reply.partition >= 0 {
		key := c.reply.key
		if key == nil {
			key = out[0].Key
		}
		out = append(out, &kgo.Record{Topic: c.reply.topic, Partition: c.reply.partition, Key: key, Value: data, Headers: h})
	}
	return out, nil
}

// forward sends a command to the partition that its aggregate belongs to, under the id that it had where it was published.
func (w *writer) forward(c *command) *kgo.Record {
	h := make([]kgo.RecordHeader, 0, len(c.rec.Headers)+2)
	for _, copied := range c.rec.Headers {
		if copied.Key != schemas.HeaderID {
			h = append(h, copied)
		}
	}
	h = append(h, header(schemas.HeaderID, c.meta.CommandID), header(schemas.HeaderOrigin, origin(c.rec)))
	if _, timed := schemas.Header(c.rec, schemas.HeaderTime); !timed {
		h = append(h, header(schemas.HeaderTime, schemas.FormatTime(c.meta.Time)))
	}
	return &kgo.Record{Topic: c.rec.Topic, Partition: schemas.Partition(c.id, w.partitions), Key: c.rec.Key, Value: c.rec.Value, Headers: h}
}

// deadLetter keeps the bytes of a command that can't be processed, with the reason.
func (w *writer) deadLetter(c *command, r *refusal) *kgo.Record {
	h := make([]kgo.RecordHeader, 0, len(c.rec.Headers)+4)
	for _, copied := range c.rec.Headers {
		if copied.Key != schemas.HeaderOrigin {
			h = append(h, copied)
		}
	}
	from, forwarded := schemas.Header(c.rec, schemas.HeaderOrigin)
	if !forwarded {
		from = origin(c.rec)
	}
	h = append(h,
		header(schemas.HeaderOrigin, from),
		header(schemas.HeaderDeadReason, r.code),
		header(schemas.HeaderDeadError, clip(r.message, 8<<10)),
		header(schemas.HeaderDeadAttempts, "1"),
	)
	return &kgo.Record{Topic: w.topics.DeadLetters, Partition: c.rec.Partition, Key: c.rec.Key, Value: c.rec.Value, Headers: h}
}

// Keys of the platform's own records in the snapshots topic begin with a byte that no aggregate id may hold.
const (
	sourceMarkPrefix = "/source/"   // "/source/<aggregate id>/<source>"
	positionPrefix   = "/position/" // "/position/<topic>"
)

func (w *writer) sourceMark(partition int32, id string, s sourceSeen) (*kgo.Record, error) {
	data, err := w.marks.Append(nil, &ledgerline.SourceMark{Sequence: s.sequence, Outcome: s.outcome, Code: s.code})
	if err != nil {
		return nil, err
	}
	return &kgo.Record{Topic: w.topics.Snapshots, Partition: partition, Key: []byte(sourceMarkPrefix + id + "/" + s.source), Value: data}, nil
}

func (w *writer) position(partition int32, topic string, next int64) (*kgo.Record, error) {
	data, err := w.positions.Append(nil, &ledgerline.Position{NextOffset: next})
	if err != nil {
		return nil, err
	}
	return &kgo.Record{Topic: w.topics.Snapshots, Partition: partition, Key: []byte(positionPrefix + topic), Value: data}, nil
}

func formatHash(h uint64) string {
	const digits = "0123456789abcdef"
	var b [16]byte
	for i := 15; i >= 0; i-- {
		b[i] = digits[h&15]
		h >>= 4
	}
	return string(b[:])
}

func parseHash(s string) (uint64, bool) {
	if len(s) != 16 {
		return 0, false
	}
	h, err := strconv.ParseUint(s, 16, 64)
	return h, err == nil
}
