package schemas

import (
	"fmt"
	"strconv"
	"strings"
)

// Headers of the CloudEvents 1.0 Kafka binding and of the platform itself. Header values are UTF-8 text.
const (
	HeaderSpecVersion   = "ce_specversion" // always SpecVersion
	HeaderID            = "ce_id"          // of a command its idempotency key; of an event "<kind>/<aggregate id>/<sequence>"
	HeaderType          = "ce_type"        // full Avro name
	HeaderSource        = "ce_source"
	HeaderTime          = "ce_time" // RFC 3339, UTC, microseconds; the business time of an event
	HeaderSubject       = "ce_subject"
	HeaderSequence      = "ce_sequence" // 20 digits, zero-padded: the CloudEvents extension orders as strings
	HeaderCorrelationID = "ce_correlationid"
	HeaderCausationID   = "ce_causationid" // of an event: the id of the command that caused it
	HeaderAuthType      = "ce_authtype"
	HeaderAuthID        = "ce_authid"
	HeaderContentType   = "content-type" // always ContentType
	HeaderTraceParent   = "traceparent"

	HeaderExpectedVersion = "expected-version" // decimal; absent means no check
	HeaderStreamSource    = "source"           // who numbers its commands per aggregate …
	HeaderStreamSequence  = "source-sequence"  // … and the number: 1, 2, 3 …
	HeaderDeliverAt       = "deliver-at"       // RFC 3339: decide the command then, not now
	HeaderTimer           = "timer"            // of a command that had to wait: the name under which it waited
	HeaderSent            = "sent"             // of what an aggregate sends: "<kind>/<partition>/<number>", numbers in order
	HeaderReplyTopic      = "reply-topic"
	HeaderReplyPartition  = "reply-partition"
	HeaderReplyKey        = "reply-key"
	HeaderOrigin          = "origin"       // "topic/partition/offset" where a forwarded or dead record was first published
	HeaderCommandHash     = "command-hash" // first event of a command, and its reply: 16 hex digits over the command's bytes and who asked for it

	DeadPrefix         = "dead-"         // begins all headers that are the platform's own about dead letters
	HeaderDeadReason   = "dead-reason"   // dead letters: a stable code
	HeaderDeadError    = "dead-error"    // dead letters: the error in words
	HeaderDeadTopic    = "dead-topic"    // dead letters: which input it was read from, whatever its origin says
	HeaderDeadStack    = "dead-stack"    // dead letters: where the rules panicked
	HeaderDeadAttempts = "dead-attempts" // how often the command died: of a dead letter, and of a command that is tried again
	HeaderDeadSize     = "dead-size"     // dead letters: bytes of a record that was too large to be kept
	HeaderSettled      = "dead-settled"  // beside dead letters: what became of one, "retried" or "dropped" …
	HeaderSettles      = "dead-settles"  // … and which: "topic/partition/offset"

	SpecVersion = "1.0"
	ContentType = "application/avro"
)

// Topics names the topics of one kind.
type Topics struct {
	Commands, Internal, Events, Snapshots, Replies, DeadLetters string
}

// TopicsOf gives the topics of a kind under an optional prefix that stands before all names.
func TopicsOf(prefix, kind string) Topics {
	base := prefix + kind
	return Topics{
		Commands:    base + ".commands",
		Internal:    base + ".internal",
		Events:      base + ".events",
		Snapshots:   base + ".snapshots",
		Replies:     base + ".replies",
		DeadLetters: base + ".commands.dlq",
	}
}

// PinsTopic holds the platform's own record of which cluster, topic ids and partition counts it writes to.
func PinsTopic(prefix string) string { return prefix + "ledgerline.pins" }

// EventKey is the record key of an event: "<aggregate id>/<sequence>".
func EventKey(id string, sequence int64) string { return id + "/" + strconv.FormatInt(sequence, 10) }

// MaxIDLength is the longest aggregate id, in bytes.
const MaxIDLength = 128

// ValidateID reports whether id may name an aggregate: 1 to 128 bytes of [A-Za-z0-9._:-].
func ValidateID(id string) error {
	if id == "" {
		return fmt.Errorf("aggregate id is empty: give 1 to %d characters of A-Z a-z 0-9 . _ : -", MaxIDLength)
	}
	if len(id) > MaxIDLength {
		return fmt.Errorf("aggregate id of %d bytes is too long: at most %d", len(id), MaxIDLength)
	}
	if i := strings.IndexFunc(id, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '.' || r == '_' || r == ':' || r == '-')
	}); i >= 0 {
		return fmt.Errorf("aggregate id %q holds %q at byte %d: allowed are A-Z a-z 0-9 . _ : -", id, id[i], i)
	}
	return nil
}
