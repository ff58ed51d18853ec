// Code generated from this folder's .avsc files by ledgerline generate; DO NOT EDIT.

// Package ledgerline holds the records of namespace ledgerline.
package ledgerline

import (
	"github.com/ledgerline-es/ledgerline/schemas"
)

// CancelScheduled is a command that every aggregate takes: a command that was published with deliver-at, and has
// not had its time, is not decided any more.
type CancelScheduled struct {
	// The ce_id of the command that is to be cancelled.
	CommandID string `avro:"command_id"`
}

// AvroName is ledgerline.CancelScheduled.
func (*CancelScheduled) AvroName() string { return "ledgerline.CancelScheduled" }

// CancelScheduledType describes CancelScheduled to the codec.
var CancelScheduledType = schemas.Type[*CancelScheduled]{
	Name:   "ledgerline.CancelScheduled",
	Schema: cancelScheduledSchema,
	New:    func() *CancelScheduled { return new(CancelScheduled) },
}

// Checkpoint says what a partition's snapshots hold, under the key /checkpoint in the same partition of the
// snapshots topic: of each aggregate with an event below the offset, the snapshot is at that event or a later one.
type Checkpoint struct {
	// Offset in the events topic from which events must be read.
	EventsOffset int64 `avro:"events_offset"`
}

// AvroName is ledgerline.Checkpoint.
func (*Checkpoint) AvroName() string { return "ledgerline.Checkpoint" }

// CheckpointType describes Checkpoint to the codec.
var CheckpointType = schemas.Type[*Checkpoint]{
	Name:   "ledgerline.Checkpoint",
	Schema: checkpointSchema,
	New:    func() *Checkpoint { return new(Checkpoint) },
}

// Pin is the platform's own note of the cluster and the topics it writes to. A difference stops writing.
type Pin struct {
	// The Kafka cluster's id.
	ClusterID string `avro:"cluster_id"`
	// The topics, in order of their names.
	Topics []PinnedTopic `avro:"topics"`
}

// AvroName is ledgerline.Pin.
func (*Pin) AvroName() string { return "ledgerline.Pin" }

// PinType describes Pin to the codec.
var PinType = schemas.Type[*Pin]{
	Name:   "ledgerline.Pin",
	Schema: pinSchema,
	New:    func() *Pin { return new(Pin) },
}

// Position says how far one partition of an input topic is processed, under the key /position/<topic> in the same
// partition of the snapshots topic. It is written in the transaction that processed the commands, so that a group
// whose offsets were deleted or set back makes no command count twice.
type Position struct {
	// Offset of the first record that is not processed yet.
	NextOffset int64 `avro:"next_offset"`
	// How many commands and answers the partition's aggregates have sent to others: each has its number.
	Sent int64 `avro:"sent"`
}

// AvroName is ledgerline.Position.
func (*Position) AvroName() string { return "ledgerline.Position" }

// PositionType describes Position to the codec.
var PositionType = schemas.Type[*Position]{
	Name:   "ledgerline.Position",
	Schema: positionSchema,
	New:    func() *Position { return new(Position) },
}

// Received says which commands and answers of other aggregates a partition has processed, under the key /received
// in the same partition of the snapshots topic: of each partition that sends, those up to a number. So a record
// that is published again is recognised for ever.
type Received struct {
	// The partitions that send, in order of their names.
	Senders []ReceivedFrom `avro:"senders"`
}

// AvroName is ledgerline.Received.
func (*Received) AvroName() string { return "ledgerline.Received" }

// ReceivedType describes Received to the codec.
var ReceivedType = schemas.Type[*Received]{
	Name:   "ledgerline.Received",
	Schema: receivedSchema,
	New:    func() *Received { return new(Received) },
}

// Reply is the answer to one command, on the kind's replies topic and, when asked for, on the command's
// reply-topic.
type Reply struct {
	// The command's ce_id; without one, topic/partition/offset of the record first published.
	CommandID string `avro:"command_id"`
	// accepted, rejected (by a business rule), conflict (expected-version did not hold) or error (could not be
	// processed).
	Outcome string `avro:"outcome"`
	// True when the command had been answered before: outcome, code and sequences are then those of the first answer.
	Duplicate bool `avro:"duplicate"`
	// Stable code of the rule or fault, such as insufficient_funds; empty when accepted.
	Code string `avro:"code"`
	// The same in words, for people; empty when accepted.
	Message string `avro:"message"`
	// Sequence of the first event the command caused; 0 when it caused none.
	FirstSequence int64 `avro:"first_sequence"`
	// Sequence of the last event the command caused; 0 when it caused none.
	LastSequence int64 `avro:"last_sequence"`
	// Version of the aggregate after the command: the sequence of its last event, 0 when it does not exist.
	Version int64 `avro:"version"`
}

// AvroName is ledgerline.Reply.
func (*Reply) AvroName() string { return "ledgerline.Reply" }

// ReplyType describes Reply to the codec.
var ReplyType = schemas.Type[*Reply]{
	Name:   "ledgerline.Reply",
	Schema: replySchema,
	New:    func() *Reply { return new(Reply) },
}

// Snapshot is an aggregate's state after one of its events, under the aggregate's id in the snapshots topic. It
// saves reading the events up to that one; whoever can't read it reads them.
type Snapshot struct {
	// Sequence of the last event that the state holds.
	Sequence int64 `avro:"sequence"`
	// Revision of the rules that evolved the state: another revision evolves its own.
	Revision int32 `avro:"revision"`
	// The kind's state record, in Confluent wire format.
	State []byte `avro:"state"`
}

// AvroName is ledgerline.Snapshot.
func (*Snapshot) AvroName() string { return "ledgerline.Snapshot" }

// SnapshotType describes Snapshot to the codec.
var SnapshotType = schemas.Type[*Snapshot]{
	Name:   "ledgerline.Snapshot",
	Schema: snapshotSchema,
	New:    func() *Snapshot { return new(Snapshot) },
}

// SourceMark says which numbers of one numbered sender were processed for one aggregate, under the key
// /source/<aggregate id>/<source> in the snapshots topic: sequence and all below it but for the holes, accepted or
// rejected.
type SourceMark struct {
	// The sender's highest number processed for the aggregate: the command's source-sequence header.
	Sequence int64 `avro:"sequence"`
	// What became of the command with that number: accepted or rejected.
	Outcome string `avro:"outcome"`
	// The rule that rejected it; empty when accepted.
	Code string `avro:"code"`
	// Numbers below sequence that were not processed: they were left out, or their commands had a conflict or an error.
	// The newest 64 ranges.
	Holes []NumberRange `avro:"holes"`
	// Numbers below sequence whose commands were rejected. The newest 64 ranges.
	Rejected []NumberRange `avro:"rejected"`
}

// AvroName is ledgerline.SourceMark.
func (*SourceMark) AvroName() string { return "ledgerline.SourceMark" }

// SourceMarkType describes SourceMark to the codec.
var SourceMarkType = schemas.Type[*SourceMark]{
	Name:   "ledgerline.SourceMark",
	Schema: sourceMarkSchema,
	New:    func() *SourceMark { return new(SourceMark) },
}

// Timer is a command that waits for its time, under the key /timer/<aggregate id>/<name> in the snapshots topic. It
// goes when the command is decided, or cancelled.
type Timer struct {
	// When the command is to be published, Unix milliseconds, by the clock of the brokers.
	Due int64 `avro:"due"`
	// The command is published, and not decided yet: the internal topic holds it.
	Fired bool `avro:"fired"`
	// The command, in Confluent wire format; empty when it is published.
	Command []byte `avro:"command"`
	// The record's headers, in order; none when it is published.
	Headers []TimerHeader `avro:"headers"`
}

// AvroName is ledgerline.Timer.
func (*Timer) AvroName() string { return "ledgerline.Timer" }

// TimerType describes Timer to the codec.
var TimerType = schemas.Type[*Timer]{
	Name:   "ledgerline.Timer",
	Schema: timerSchema,
	New:    func() *Timer { return new(Timer) },
}

// Trial counts what the commands of one partition do to the processes that decide them, under the key /trial in the
// same partition of the snapshots topic. It is written outside of the transactions that process commands: a process
// that dies has committed none.
type Trial struct {
	// The process that wrote it.
	Process string `avro:"process"`
	// Next offset of the commands topic when the process began.
	Commands int64 `avro:"commands"`
	// Next offset of the internal topic when the process began.
	Internal int64 `avro:"internal"`
	// Processes that began at these offsets, one after another, this one included.
	Starts int32 `avro:"starts"`
	// Topic of the command that was decided alone last; empty when none was.
	Topic string `avro:"topic"`
	// Offset of that command.
	Offset int64 `avro:"offset"`
	// How often it was begun alone.
	Tries int32 `avro:"tries"`
}

// AvroName is ledgerline.Trial.
func (*Trial) AvroName() string { return "ledgerline.Trial" }

// TrialType describes Trial to the codec.
var TrialType = schemas.Type[*Trial]{
	Name:   "ledgerline.Trial",
	Schema: trialSchema,
	New:    func() *Trial { return new(Trial) },
}

// PinnedTopic is one topic as it was when it was pinned.
type PinnedTopic struct {
	// Name of the topic, prefix included.
	Topic string `avro:"topic"`
	// The topic's id as Kafka's own tools print it: a topic deleted and made again has another.
	TopicID string `avro:"topic_id"`
	// Number of partitions; every history would start anew if it changed.
	Partitions int32 `avro:"partitions"`
}

// ReceivedFrom is how far one partition's messages are processed.
type ReceivedFrom struct {
	// Kind and partition, such as account/3.
	Sender string `avro:"sender"`
	// Number of the last message.
	Last int64 `avro:"last"`
}

// NumberRange is the numbers from first to last, both included.
type NumberRange struct {
	// The lowest number.
	First int64 `avro:"first"`
	// The highest number.
	Last int64 `avro:"last"`
}

// TimerHeader is one header of a command that waits.
type TimerHeader struct {
	// Its name.
	Key string `avro:"key"`
	// Its value.
	Value []byte `avro:"value"`
}

const cancelScheduledSchema = `{"type":"record","name":"CancelScheduled","namespace":"ledgerline","doc":"CancelScheduled is a command that every aggregate takes: a command that was published with deliver-at, and has not had its time, is not decided any more.","fields":[{"name":"command_id","type":"string","doc":"The ce_id of the command that is to be cancelled."}]}`

const checkpointSchema = `{"type":"record","name":"Checkpoint","namespace":"ledgerline","doc":"Checkpoint says what a partition's snapshots hold, under the key /checkpoint in the same partition of the snapshots topic: of each aggregate with an event below the offset, the snapshot is at that event or a later one.","fields":[{"name":"events_offset","type":"long","doc":"Offset in the events topic from which events must be read."}]}`

const pinSchema = `{"type":"record","name":"Pin","namespace":"ledgerline","doc":"Pin is the platform's own note of the cluster and the topics it writes to. A difference stops writing.","fields":[{"name":"cluster_id","type":"string","doc":"The Kafka cluster's id."},{"name":"topics","doc":"The topics, in order of their names.","default":[],"type":{"type":"array","items":{"type":"record","name":"PinnedTopic","doc":"PinnedTopic is one topic as it was when it was pinned.","fields":[{"name":"topic","type":"string","doc":"Name of the topic, prefix included."},{"name":"topic_id","type":"string","doc":"The topic's id as Kafka's own tools print it: a topic deleted and made again has another."},{"name":"partitions","type":"int","doc":"Number of partitions; every history would start anew if it changed."}]}}}]}`

const positionSchema = `{"type":"record","name":"Position","namespace":"ledgerline","doc":"Position says how far one partition of an input topic is processed, under the key /position/<topic> in the same partition of the snapshots topic. It is written in the transaction that processed the commands, so that a group whose offsets were deleted or set back makes no command count twice.","fields":[{"name":"next_offset","type":"long","doc":"Offset of the first record that is not processed yet."},{"name":"sent","type":"long","doc":"How many commands and answers the partition's aggregates have sent to others: each has its number.","default":0}]}`

const receivedSchema = `{"type":"record","name":"Received","namespace":"ledgerline","doc":"Received says which commands and answers of other aggregates a partition has processed, under the key /received in the same partition of the snapshots topic: of each partition that sends, those up to a number. So a record that is published again is recognised for ever.","fields":[{"name":"senders","type":{"type":"array","items":{"type":"record","name":"ReceivedFrom","doc":"ReceivedFrom is how far one partition's messages are processed.","fields":[{"name":"sender","type":"string","doc":"Kind and partition, such as account/3."},{"name":"last","type":"long","doc":"Number of the last message."}]}},"doc":"The partitions that send, in order of their names."}]}`

const replySchema = `{"type":"record","name":"Reply","namespace":"ledgerline","doc":"Reply is the answer to one command, on the kind's replies topic and, when asked for, on the command's reply-topic.","fields":[{"name":"command_id","type":"string","doc":"The command's ce_id; without one, topic/partition/offset of the record first published."},{"name":"outcome","type":"string","doc":"accepted, rejected (by a business rule), conflict (expected-version did not hold) or error (could not be processed)."},{"name":"duplicate","type":"boolean","doc":"True when the command had been answered before: outcome, code and sequences are then those of the first answer.","default":false},{"name":"code","type":"string","doc":"Stable code of the rule or fault, such as insufficient_funds; empty when accepted.","default":""},{"name":"message","type":"string","doc":"The same in words, for people; empty when accepted.","default":""},{"name":"first_sequence","type":"long","doc":"Sequence of the first event the command caused; 0 when it caused none.","default":0},{"name":"last_sequence","type":"long","doc":"Sequence of the last event the command caused; 0 when it caused none.","default":0},{"name":"version","type":"long","doc":"Version of the aggregate after the command: the sequence of its last event, 0 when it does not exist.","default":0}]}`

const snapshotSchema = `{"type":"record","name":"Snapshot","namespace":"ledgerline","doc":"Snapshot is an aggregate's state after one of its events, under the aggregate's id in the snapshots topic. It saves reading the events up to that one; whoever can't read it reads them.","fields":[{"name":"sequence","type":"long","doc":"Sequence of the last event that the state holds."},{"name":"revision","type":"int","doc":"Revision of the rules that evolved the state: another revision evolves its own.","default":0},{"name":"state","type":"bytes","doc":"The kind's state record, in Confluent wire format."}]}`

const sourceMarkSchema = `{"type":"record","name":"SourceMark","namespace":"ledgerline","doc":"SourceMark says which numbers of one numbered sender were processed for one aggregate, under the key /source/<aggregate id>/<source> in the snapshots topic: sequence and all below it but for the holes, accepted or rejected.","fields":[{"name":"sequence","type":"long","doc":"The sender's highest number processed for the aggregate: the command's source-sequence header."},{"name":"outcome","type":"string","doc":"What became of the command with that number: accepted or rejected.","default":""},{"name":"code","type":"string","doc":"The rule that rejected it; empty when accepted.","default":""},{"name":"holes","type":{"type":"array","items":{"type":"record","name":"NumberRange","doc":"NumberRange is the numbers from first to last, both included.","fields":[{"name":"first","type":"long","doc":"The lowest number."},{"name":"last","type":"long","doc":"The highest number."}]}},"doc":"Numbers below sequence that were not processed: they were left out, or their commands had a conflict or an error. The newest 64 ranges.","default":[]},{"name":"rejected","type":{"type":"array","items":"NumberRange"},"doc":"Numbers below sequence whose commands were rejected. The newest 64 ranges.","default":[]}]}`

const timerSchema = `{"type":"record","name":"Timer","namespace":"ledgerline","doc":"Timer is a command that waits for its time, under the key /timer/<aggregate id>/<name> in the snapshots topic. It goes when the command is decided, or cancelled.","fields":[{"name":"due","type":"long","doc":"When the command is to be published, Unix milliseconds, by the clock of the brokers."},{"name":"fired","type":"boolean","doc":"The command is published, and not decided yet: the internal topic holds it.","default":false},{"name":"command","type":"bytes","doc":"The command, in Confluent wire format; empty when it is published.","default":""},{"name":"headers","type":{"type":"array","items":{"type":"record","name":"TimerHeader","doc":"TimerHeader is one header of a command that waits.","fields":[{"name":"key","type":"string","doc":"Its name."},{"name":"value","type":"bytes","doc":"Its value."}]}},"doc":"The record's headers, in order; none when it is published.","default":[]}]}`

const trialSchema = `{"type":"record","name":"Trial","namespace":"ledgerline","doc":"Trial counts what the commands of one partition do to the processes that decide them, under the key /trial in the same partition of the snapshots topic. It is written outside of the transactions that process commands: a process that dies has committed none.","fields":[{"name":"process","type":"string","doc":"The process that wrote it."},{"name":"commands","type":"long","doc":"Next offset of the commands topic when the process began."},{"name":"internal","type":"long","doc":"Next offset of the internal topic when the process began."},{"name":"starts","type":"int","doc":"Processes that began at these offsets, one after another, this one included."},{"name":"topic","type":"string","doc":"Topic of the command that was decided alone last; empty when none was."},{"name":"offset","type":"long","doc":"Offset of that command."},{"name":"tries","type":"int","doc":"How often it was begun alone."}]}`
