package producer

import (
	"slices"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ledgerline-es/ledgerline/schemas"
	"github.com/ledgerline-es/ledgerline/schemas/ledgerline"
)

const (
	// maxHeaders and maxOverhead bound what a command may have beside its value: a record that carries on some of it must fit a
	// Kafka batch. maxOverhead is in bytes, the key counted.
	maxHeaders  = 1000
	maxOverhead = 64 << 10
	// maxDeadLetter is the largest command, in bytes, that is kept as a dead letter, with room for the reason.
	maxDeadLetter = deadLetterBatchBytes - 128<<10
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

	snapshots   *schemas.Serde[*ledgerline.Snapshot]
	checkpoints *schemas.Serde[*ledgerline.Checkpoint]
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

// inherited are the headers that a command's events take over.
var inherited = []string{schemas.HeaderCorrelationID, schemas.HeaderAuthType, schemas.HeaderAuthID, schemas.HeaderTraceParent}

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
	for _, key := range inherited { // who did it, and to what it belongs
		if value, ok := schemas.Header(c.rec, key); ok {
			h = append(h, header(key, value))
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
	if value, ok := schemas.Header(c.rec, schemas.HeaderCorrelationID); ok {
		h = append(h, header(schemas.HeaderCorrelationID, clip(value, maxText)))
	}
	out := []*kgo.Record{{Topic: w.topics.Replies, Partition: c.rec.Partition, Key: []byte(clip(c.id, schemas.MaxIDLength)), Value: data, Headers: h}}
	if to := c.replyCopy; to != nil {
		key := to.key
		if key == nil {
			key = out[0].Key
		}
		out = append(out, &kgo.Record{Topic: to.topic, Partition: to.partition, Key: key, Value: data, Headers: h})
	}
	return out, nil
}

// forward sends a command to the partition that its aggregate belongs to, under the id that it had where it was published.
func (w *writer) forward(c *command) *kgo.Record {
	h := make([]kgo.RecordHeader, 0, len(c.rec.Headers)+3)
	for _, copied := range c.rec.Headers {
		if c.explicitID || copied.Key != schemas.HeaderID {
			h = append(h, copied)
		}
	}
	if !c.explicitID {
		h = append(h, header(schemas.HeaderID, c.meta.CommandID))
	}
	h = append(h, header(schemas.HeaderOrigin, origin(c.rec)))
	if _, timed := schemas.Header(c.rec, schemas.HeaderTime); !timed {
		h = append(h, header(schemas.HeaderTime, schemas.FormatTime(c.meta.Time)))
	}
	return &kgo.Record{Topic: c.rec.Topic, Partition: schemas.Partition(c.id, w.partitions), Key: c.rec.Key, Value: c.rec.Value, Headers: h}
}

// deadLetter keeps the bytes of a command that can't be processed, with the reason. Of one that is too large to be kept it keeps
// where it stands and how large it was: the commands topic holds it for some days.
func (w *writer) deadLetter(c *command, r *refusal) *kgo.Record {
	from, forwarded := schemas.Header(c.rec, schemas.HeaderOrigin)
	if !forwarded {
		from = origin(c.rec)
	}
	before, _ := schemas.Header(c.rec, schemas.HeaderDeadAttempts)
	attempts, _ := strconv.ParseUint(before, 10, 31) // 0 unless it was tried again
	reason := []kgo.RecordHeader{
		header(schemas.HeaderOrigin, clip(from, maxText)),
		header(schemas.HeaderDeadReason, r.code),
		header(schemas.HeaderDeadError, clip(r.message, 8<<10)),
		header(schemas.HeaderDeadAttempts, strconv.FormatUint(attempts+1, 10)),
	}
	if r.stack != "" {
		reason = append(reason, header(schemas.HeaderDeadStack, clip(r.stack, 8<<10)))
	}
	dead := &kgo.Record{Topic: w.topics.DeadLetters, Partition: c.rec.Partition}
	if size := len(c.rec.Value) + overhead(c.rec); size > maxDeadLetter || len(c.rec.Headers) > maxHeaders {
		dead.Headers = slices.Concat(reason, []kgo.RecordHeader{header(schemas.HeaderDeadSize, strconv.Itoa(size))})
		return dead
	}
	dead.Key, dead.Value = c.rec.Key, c.rec.Value
	for _, copied := range c.rec.Headers {
		if copied.Key != schemas.HeaderOrigin && !strings.HasPrefix(copied.Key, schemas.DeadPrefix) {
			dead.Headers = append(dead.Headers, copied)
		}
	}
	if _, timed := schemas.Header(c.rec, schemas.HeaderTime); !timed {
		dead.Headers = append(dead.Headers, header(schemas.HeaderTime, schemas.FormatTime(c.meta.Time)))
	}
	dead.Headers = append(dead.Headers, reason...)
	return dead
}

// Keys of the platform's own records in the snapshots topic begin with a byte that no aggregate id may hold.
const (
	sourceMarkPrefix = "/source/"   // "/source/<aggregate id>/<source>"
	positionPrefix   = "/position/" // "/position/<topic>"
	checkpointKey    = "/checkpoint"
)

func (w *writer) sourceMark(partition int32, id string, s sourceSeen) (*kgo.Record, error) {
	data, err := w.marks.Append(nil, s.mark())
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
