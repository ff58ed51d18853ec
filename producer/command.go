package producer

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/cespare/xxhash/v2"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ledgerline-es/ledgerline/schemas"
)

// command is a polled record, read but not decided.
type command struct {
	rec      *kgo.Record
	id       string // aggregate id; the raw key when it is none
	meta     Meta
	windowID commandID // set before it is decided, as is …
	hash     uint64    // of the value's bytes, and of who asks for it
	at       int64     // append time, Unix milliseconds

	deliverAt  int64  // when it is to be decided, Unix milliseconds; 0: at once
	from       string // the partition whose aggregate sent it, as "<kind>/<partition>" …
	number     int64  // … and which of its messages it is
	timer      string // the name under which it waited; "": it did not
	tick       bool   // it is none: somebody is to look what is due
	unanswered bool   // … that the window knows of no reply to it from before the transaction
	internal   bool   // an aggregate sent it: only producers write what it was read from
	explicitID bool   // the sender gave a ce_id
	expected   int64  // expected-version; -1: none
	source     string
	sequence   int64    // source-sequence; 0: none
	reply      replyTo  // what was asked for
	replyCopy  *replyTo // where a copy of the reply goes: only what replyTopics.resolve has allowed

	record  schemas.Record // the decoded value; nil when refused
	refused *refusal       // why the command can't be processed
}

// replyTo is where a copy of the reply is to go.
type replyTo struct {
	topic     string
	partition int32 // -1: by the key
	key       []byte
}

// refusal is the reason of an error reply.
type refusal struct {
	code    string
	message string
	stack   string // where the rules panicked; for the dead letter alone
	dead    bool   // the record goes to the dead letters

	elsewhere bool // it is the aggregate's owner that refuses it: a reply stands in the partition of its aggregate
}

func refuse(code, format string, args ...any) *refusal {
	return &refusal{code: code, message: fmt.Sprintf(format, args...), dead: true}
}

// readCommand reads a record's key and headers. What is malformed makes a refusal; the rest is read all the same, since
// the reply needs it.
func readCommand(rec *kgo.Record) command {
	c := command{
		rec:      rec,
		id:       string(rec.Key),
		hash:     xxhash.Sum64(rec.Value),
		at:       rec.Timestamp.UnixMilli(),
		expected: -1,
		reply:    replyTo{partition: -1},
	}
	c.meta.ID = c.id
	c.meta.Time = rec.Timestamp.UTC().Truncate(time.Microsecond)
	bad := func(header, value, wanted string) {
		if c.refused == nil {
			c.refused = refuse(CodeBadHeader, "header %s is %q, wanted %s", header, clip(value, 100), wanted)
			c.refused.elsewhere = true
		}
	}
	for _, h := range rec.Headers {
		value := string(h.Value)
		switch h.Key {
		case schemas.HeaderID:
			c.meta.CommandID, c.explicitID = clip(value, maxText), value != ""
			if !isText(value) {
				bad(h.Key, value, wantedText)
			}
		case schemas.HeaderCorrelationID:
			c.meta.CorrelationID = clip(value, maxText)
			if !isText(value) {
				bad(h.Key, value, wantedText)
			}
		case schemas.HeaderAuthID:
			c.meta.Principal = clip(value, maxText)
			if !isText(value) {
				bad(h.Key, value, wantedText)
			}
		case schemas.HeaderAuthType, schemas.HeaderTraceParent: // copied to the events
			if !isText(value) {
				bad(h.Key, value, wantedText)
			}
		case schemas.HeaderTime:
			t, err := schemas.ParseTime(value)
			if err != nil {
				bad(h.Key, value, "a time as RFC 3339 writes it")
				continue
			}
			c.meta.Time = t
		case schemas.HeaderExpectedVersion:
			n, ok := wholeNumber(value)
			if !ok {
				bad(h.Key, value, "a whole number from 0")
				continue
			}
			c.expected = n
		case schemas.HeaderStreamSource:
			c.source = value
			if value == "" || len(value) > schemas.MaxIDLength || schemas.ValidateID(value) != nil {
				bad(h.Key, value, "1 to 128 of A-Z a-z 0-9 . _ : -")
			}
		case schemas.HeaderStreamSequence:
			n, ok := wholeNumber(value)
			if !ok || n < 1 {
				bad(h.Key, value, "a whole number from 1")
				continue
			}
			c.sequence = n
		case schemas.HeaderDeliverAt:
			t, err := schemas.ParseTime(value)
			if err != nil || t.Sub(rec.Timestamp) > maxDelay || t.UnixMilli() <= 0 {
				bad(h.Key, value, "a time as RFC 3339 writes it, after 1970 and at most 100 years away")
				continue
			}
			c.deliverAt = t.UnixMilli()
		case schemas.HeaderSent:
			c.from, c.number, _ = readNumber(value)
		case schemas.HeaderTimer:
			c.timer = value
		case schemas.HeaderReplyTopic:
			c.reply.topic = value
		case schemas.HeaderReplyPartition:
			n, ok := wholeNumber(value)
			if !ok || n > math.MaxInt32 {
				bad(h.Key, value, "a partition number")
				continue
			}
			c.reply.partition = int32(n)
		case schemas.HeaderReplyKey:
			c.reply.key = h.Value
		}
	}
	if c.meta.Principal != "" { // two callers who count from 1 must not take each other's answers for their own
		d := xxhash.New()
		_, _ = d.Write(rec.Value) // it has no error to give
		_, _ = d.WriteString("\x00" + c.meta.Principal)
		c.hash = d.Sum64()
	}
	if !c.explicitID {
		c.meta.CommandID = origin(rec)
	}
	if c.meta.CorrelationID == "" {
		c.meta.CorrelationID = c.meta.CommandID
	}
	if (c.source != "") != (c.sequence != 0) && c.refused == nil {
		c.refused = refuse(CodeBadHeader, "headers %s and %s belong together: give both or none", schemas.HeaderStreamSource, schemas.HeaderStreamSequence)
		c.refused.elsewhere = true
	}
	if err := schemas.ValidateID(c.id); err != nil {
		c.refused = refuse(CodeBadKey, "record key: %v", err)
	}
	return c
}

// maxText bounds, in bytes, the texts in headers that a stranger can make every member remember, and every event carry.
const maxText = 256

var wantedText = fmt.Sprintf("at most %d bytes of UTF-8 without U+0000", maxText)

func isText(s string) bool {
	return len(s) <= maxText && utf8.ValidString(s) && !strings.ContainsRune(s, 0)
}

// wholeNumber reads decimal digits and nothing else.
func wholeNumber(s string) (int64, bool) {
	n, err := strconv.ParseUint(s, 10, 63)
	return int64(n), err == nil && s[0] != '+'
}

// origin names where a record stands: the id of a command that came without one.
func origin(rec *kgo.Record) string { return string(appendOrigin(make([]byte, 0, 64), rec)) }

func appendOrigin(b []byte, rec *kgo.Record) []byte {
	b = strconv.AppendInt(append(append(b, rec.Topic...), '/'), int64(rec.Partition), 10)
	return strconv.AppendInt(append(b, '/'), rec.Offset, 10)
}

// overhead is the size of a record beside its value, in bytes.
func overhead(rec *kgo.Record) int {
	n := len(rec.Key)
	for _, h := range rec.Headers {
		n += len(h.Key) + len(h.Value)
	}
	return n
}

// clip makes a text of at most n bytes of valid UTF-8.
func clip(s string, n int) string {
	return strings.ToValidUTF8(s[:min(len(s), n)], "")
}
