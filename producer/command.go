package producer

import (
	"fmt"
	"strconv"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ledgerline-es/ledgerline/schemas"
)

// command is a polled record, read but not decided.
type command struct {
	rec  *kgo.Record
	id   string // aggregate id; the raw key when it is none
	meta Meta
	hash uint64 // of the value's bytes
	at   int64  // append time, Unix milliseconds

	explicitID bool  // the sender gave a ce_id
	expected   int64 // expected-version; -1: none
	source     string
	sequence   int64 // source-sequence; 0: none
	reply      replyTo

	record  schemas.Record // the decoded value; nil when refused
	refused *refusal       // why the command can't be processed
}

// replyTo asks for a copy of the reply.
type replyTo struct {
	topic     string
	partition int32 // -1: by the key
	key       []byte
}

// refusal is the reason of an error reply.
type refusal struct {
	code    string
	message string
	dead    bool // the record goes to the dead letters
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
		}
	}
	for _, h := range rec.Headers {
		value := string(h.Value)
		switch h.Key {
		case schemas.HeaderID:
			c.meta.CommandID, c.explicitID = value, value != ""
			if len(value) > maxCommandID {
				c.meta.CommandID = clip(value, maxCommandID)
				bad(h.Key, value, fmt.Sprintf("at most %d bytes", maxCommandID))
			}
		case schemas.HeaderCorrelationID:
			c.meta.CorrelationID = value
		case schemas.HeaderAuthID:
			c.meta.Principal = value
		case schemas.HeaderTime:
			t, err := schemas.ParseTime(value)
			if err != nil {
				bad(h.Key, value, "a time as RFC 3339 writes it")
				continue
			}
			c.meta.Time = t
		case schemas.HeaderExpectedVersion:
			n, err := strconv.ParseInt(value, 10, 64)
			if err != nil || n < 0 {
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
			n, err := strconv.ParseInt(value, 10, 64)
			if err != nil || n < 1 {
				bad(h.Key, value, "a whole number from 1")
				continue
			}
			c.sequence = n
		case schemas.HeaderReplyTopic:
			c.reply.topic = value
		case schemas.HeaderReplyPartition:
			n, err := strconv.ParseInt(value, 10, 32)
			if err != nil || n < 0 {
				bad(h.Key, value, "a partition number")
				continue
			}
			c.reply.partition = int32(n)
		case schemas.HeaderReplyKey:
			c.reply.key = h.Value
		}
	}
	if !c.explicitID {
		c.meta.CommandID = origin(rec)
	}
	if c.meta.CorrelationID == "" {
		c.meta.CorrelationID = c.meta.CommandID
	}
	if (c.source != "") != (c.sequence != 0) && c.refused == nil {
		c.refused = refuse(CodeBadHeader, "headers %s and %s belong together: give both or none", schemas.HeaderStreamSource, schemas.HeaderStreamSequence)
	}
	if err := schemas.ValidateID(c.id); err != nil {
		c.refused = refuse(CodeBadKey, "record key: %v", err)
	}
	return c
}

// maxCommandID bounds what a stranger can make every member remember.
const maxCommandID = 256

// origin names where a record stands: the id of a command that came without one.
func origin(rec *kgo.Record) string {
	return rec.Topic + "/" + strconv.Itoa(int(rec.Partition)) + "/" + strconv.FormatInt(rec.Offset, 10)
}

func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return s[:n]
}
