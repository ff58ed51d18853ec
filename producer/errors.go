package producer

import (
	"errors"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ledgerline-es/ledgerline/schemas"
)

// Outcomes of a command, as its reply names them.
const (
	Accepted = "accepted" // its events are committed
	Rejected = "rejected" // refused by a business rule; nothing changed
	Conflict = "conflict" // expected-version differs from the aggregate's version; nothing changed
	Error    = "error"    // could not be processed; the only failure
)

// Codes of replies that the platform itself gives. Codes of business rules belong to the domain.
const (
	CodeVersionConflict    = "version_conflict"
	CodeCommandIDReused    = "command_id_reused"    // the id is known with another content, or from another principal
	CodeSourceSequenceSeen = "source_sequence_seen" // the sender's number for this aggregate was seen before
	CodeUndecodable        = "undecodable"          // the value is no record in Confluent wire format, or is damaged
	CodeUnknownSchema      = "unknown_schema"       // the registry has no schema of that id
	CodeUnknownCommand     = "unknown_command"      // a record, but no command of this kind
	CodeBadKey             = "bad_key"              // the record key is no aggregate id
	CodeBadHeader          = "bad_header"           // a header that the platform reads is malformed
	CodeReplyTopic         = "reply_topic_refused"  // the reply topic is not allowed or does not exist
	CodeMisrouted          = "misrouted"            // a forwarded command is on the wrong partition again
	CodeFatal              = "fatal"                // each process that decided it ended
	CodePanic              = "panic"                // Decide or Evolve panicked
	CodeEventTooLarge      = "event_too_large"      // an event is over the size limit
	CodeTooManyEvents      = "too_many_events"      // a command caused more events than the limit
	CodeBadMessage         = "bad_message"          // the rules send something that can't be sent
	CodeScheduled          = "scheduled"            // accepted: it waits for its time (deliver-at)
	CodeNotScheduled       = "not_scheduled"        // there is no such command to cancel
	CodeTooLarge           = "command_too_large"
	CodeTooManySources     = "too_many_sources" // an aggregate has as many numbered senders as it may
)

var (
	// ErrFenced means that this member may not commit what it decided: the partitions or the offsets are no longer its own.
	// The transaction was aborted and nothing of it is visible.
	ErrFenced = errors.New("fenced: the group gave the partitions to another member before the commit")

	// ErrUnknownCommit means that the broker did not say whether the transaction is committed. All state is dropped and
	// rebuilt from the log, which knows.
	ErrUnknownCommit = errors.New("outcome of the commit is unknown")

	// ErrPinned means that the cluster or a topic is not the one that was written to before.
	ErrPinned = errors.New("not the cluster and topics that were written before")

	// ErrTopic means that a topic is missing or set up such that events could be lost.
	ErrTopic = errors.New("topic unfit to hold events")

	// ErrBroker means that brokers are set up such that no producer can work.
	ErrBroker = errors.New("brokers unfit for producers")

	// ErrInstance means that another process has this one's InstanceID, and has taken its place in the group.
	ErrInstance = errors.New("another producer runs under the same instance id")

	// ErrClosed means that the client has stopped.
	ErrClosed = errors.New("producer client is closed")
)

// decodeCode names the reason why a command's value could not be decoded.
func decodeCode(err error) string {
	switch {
	case errors.Is(err, schemas.ErrUnknownSchema):
		return CodeUnknownSchema
	case errors.Is(err, schemas.ErrUnknownType):
		return CodeUnknownCommand
	default:
		return CodeUndecodable
	}
}

// unrecoverable tells an answer of the broker that stays the same from a connection that failed or a broker that is busy,
// which the client tries again by itself.
func unrecoverable(err error) bool {
	var answer *kerr.Error
	var lost *kgo.ErrDataLoss
	return errors.As(err, &lost) || errors.Is(err, kgo.ErrClientClosed) || errors.As(err, &answer) && !answer.Retriable
}
