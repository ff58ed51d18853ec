package producer

import (
	"slices"
	"strconv"
	"strings"
	"time"

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
	source     []byte // ce_source
	topics     schemas.Topics
	partitions int32
	replies    *schemas.Serde[*ledgerline.Reply]
	marks      *schemas.Serde[*ledgerline.SourceMark]
	positions  *schemas.Serde[*ledgerline.Position]
	trials     *schemas.Serde[*ledgerline.Trial]
	timers     *schemas.Serde[*ledgerline.Timer]
	received   *schemas.Serde[*ledgerline.Received]
	cancels    *schemas.Serde[*ledgerline.CancelScheduled]

	receivers receivers

	snapshots   *schemas.Serde[*ledgerline.Snapshot]
	checkpoints *schemas.Serde[*ledgerline.Checkpoint]

	// Each book has a writer of its own, since these are not shared.
	slab     slab
	time     time.Time // written last, and …
	timeText []byte    // … how: many commands have one time
}

func header(key, value string) kgo.RecordHeader {
	return kgo.RecordHeader{Key: key, Value: []byte(value)}
}

// What never changes in a header.
var (
	specVersion = []byte(schemas.SpecVersion)
	contentType = []byte(schemas.ContentType)
)

// envelope starts the headers that every record of the CloudEvents binding carries.
func envelope(headers []kgo.RecordHeader, id, typ, source []byte) []kgo.RecordHeader {
	return append(headers,
		kgo.RecordHeader{Key: schemas.HeaderSpecVersion, Value: specVersion},
		kgo.RecordHeader{Key: schemas.HeaderID, Value: id},
		kgo.RecordHeader{Key: schemas.HeaderType, Value: typ},
		kgo.RecordHeader{Key: schemas.HeaderSource, Value: source},
		kgo.RecordHeader{Key: schemas.HeaderContentType, Value: contentType},
	)
}

// own is a writer for one book.
func (w *writer) own() *writer {
	own := *w
	own.slab, own.timeText = slab{pools: w.slab.pools}, nil
	return &own
}

func (w *writer) timeOf(t time.Time) []byte {
	if w.timeText == nil || !t.Equal(w.time) {
		w.time, w.timeText = t, []byte(schemas.FormatTime(t))
	}
	return w.timeText
}

// inherited are the headers that a command's events take over.
var inherited = []string{schemas.HeaderCorrelationID, schemas.HeaderAuthType, schemas.HeaderAuthID, schemas.HeaderTraceParent}

// event makes the record of one event of a command.
func (w *writer) event(c *command, sequence int64, first bool, e encodedEvent) *kgo.Record {
	name := w.slab.room(len(w.kind) + len(c.id) + 22)
	name = append(append(append(name, w.kind...), '/'), c.id...)
	name = w.slab.keep(strconv.AppendInt(append(name, '/'), sequence, 10)) // <kind>/<id>/<sequence>, which ends in the key
	h := envelope(w.slab.headerRoom(14), name, w.slab.text(e.name), w.source)
	h = append(h,
		kgo.RecordHeader{Key: schemas.HeaderTime, Value: w.timeOf(c.meta.Time)},
		w.slab.header(schemas.HeaderCausationID, c.meta.CommandID),
	)
	if first {
		h = append(h, w.hash(c))
	}
	if c.source != "" {
		h = append(h, w.slab.header(schemas.HeaderStreamSource, c.source), w.slab.header(schemas.HeaderStreamSequence, strconv.FormatInt(c.sequence, 10)))
	}
	if len(c.rec.Headers) > 0 {
		for _, key := range inherited { // who did it, and to what it belongs
			if value, ok := schemas.Header(c.rec, key); ok {
				h = append(h, w.slab.header(key, value))
			}
		}
	}
	rec := w.slab.record()
	rec.Topic, rec.Partition, rec.Key, rec.Value, rec.Headers = w.topics.Events, c.rec.Partition, name[len(w.kind)+1:], e.data, h
	return rec
}

func (w *writer) hash(c *command) kgo.RecordHeader {
	return kgo.RecordHeader{Key: schemas.HeaderCommandHash, Value: w.slab.keep(appendHash(w.slab.room(16), c.hash))}
}

// reply makes the record of a reply, and of its copy when one was asked for. Remembered replies carry the command's hash, so
// that a restore can tell a repetition from another command under the same id.
func (w *writer) reply(c *command, r *ledgerline.Reply, remember bool) (own, copied *kgo.Record, err error) {
	data, err := w.replies.Append(w.slab.room(256), r)
	if err != nil {
		return nil, nil, err
	}
	data = w.slab.keep(data)
	h := envelope(w.slab.headerRoom(7), w.slab.keep(appendOrigin(w.slab.room(64), c.rec)), replyType, w.source)
	if remember {
		h = append(h, w.hash(c))
	}
	if value, ok := schemas.Header(c.rec, schemas.HeaderCorrelationID); ok {
		h = append(h, w.slab.header(schemas.HeaderCorrelationID, clip(value, maxText)))
	}
	own = w.slab.record()
	own.Topic, own.Partition, own.Key, own.Value, own.Headers = w.topics.Replies, c.rec.Partition, w.slab.text(clip(c.id, schemas.MaxIDLength)), data, h
	if to := c.replyCopy; to != nil {
		if c.internal { // its sender is told whose answer it is
			h = append(w.slab.headerRoom(len(h)+1), h...) // and numbered
			h[slices.IndexFunc(h, func(h kgo.RecordHeader) bool { return h.Key == schemas.HeaderSource })].Value = w.slab.text(senderPath, w.kind, "/", c.id)
		}
		copied = w.slab.record()
		copied.Topic, copied.Partition, copied.Key, copied.Value, copied.Headers = to.topic, to.partition, to.key, data, h
		if to.key == nil {
			copied.Key = own.Key
		}
	}
	return own, copied, nil
}

var replyType = []byte((*ledgerline.Reply)(nil).AvroName())

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
	if _, timed := schemas.Header(c.rec, schemas.HeaderTime); !timed && c.deliverAt == 0 { // one that waits has the time at which it is decided
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
		header(schemas.HeaderDeadTopic, w.inputOf(c)), // a stranger can write an origin, and this decides where it is retried
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
		switch {
		case copied.Key == schemas.HeaderOrigin, copied.Key == schemas.HeaderSent, strings.HasPrefix(copied.Key, schemas.DeadPrefix):
		case c.timer != "" && (copied.Key == schemas.HeaderTimer || copied.Key == schemas.HeaderDeliverAt): // it has waited
		default:
			dead.Headers = append(dead.Headers, copied)
		}
	}
	if _, timed := schemas.Header(c.rec, schemas.HeaderTime); !timed {
		dead.Headers = append(dead.Headers, header(schemas.HeaderTime, schemas.FormatTime(c.meta.Time)))
	}
	dead.Headers = append(dead.Headers, reason...)
	return dead
}

// inputOf is the topic that a command belongs to. A client's command that had to wait came back through the internal one, and is a client's
// all the same.
func (w *writer) inputOf(c *command) string {
	if c.internal {
		return w.topics.Internal
	}
	return w.topics.Commands
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

// sourceMarkOf reads the key of a sender's mark.
func sourceMarkOf(key string) (id, source string, ok bool) {
	rest, ok := strings.CutPrefix(key, sourceMarkPrefix)
	if !ok {
		return "", "", false
	}
	return strings.Cut(rest, "/")
}

func (w *writer) position(partition int32, topic string, next, sent int64) (*kgo.Record, error) {
	data, err := w.positions.Append(nil, &ledgerline.Position{NextOffset: next, Sent: sent})
	if err != nil {
		return nil, err
	}
	return &kgo.Record{Topic: w.topics.Snapshots, Partition: partition, Key: []byte(positionPrefix + topic), Value: data}, nil
}

func appendHash(b []byte, h uint64) []byte {
	const digits = "0123456789abcdef"
	for shift := 60; shift >= 0; shift -= 4 {
		b = append(b, digits[h>>shift&15])
	}
	return b
}

func parseHash(s string) (uint64, bool) {
	if len(s) != 16 {
		return 0, false
	}
	h, err := strconv.ParseUint(s, 16, 64)
	return h, err == nil
}
