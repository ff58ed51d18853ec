// Package producer is the write side: commands in, events out.
//
// An Aggregate is declared by pure functions: Decide, Evolve and, where it sends commands, Replied. A Producer runs it: it polls the kind's command
// topics as a member of a consumer group, decides each command on the state it holds in memory, and writes events, reply,
// forwarded commands, dead letters and input offsets in one Kafka transaction. The events topic is the only truth; all
// state is rebuilt from it, by way of snapshots, whenever a partition is assigned.
//
// # Rules across aggregates
//
// What must hold at every moment belongs into one aggregate: it alone decides commands one after another, on a state that is true. What may
// hold a moment later can span several. A decision sends commands (Decision.Send), Replied answers what came of them, and the aggregate
// whose events say how far it has come is a saga. Where one event merely leads to something elsewhere, and nothing can refuse it, neither is
// needed: a projection tells it.
//
// What a saga has to keep to:
//   - It takes back what it did only on a definite refusal (Rejected). That no answer has come yet says nothing: it may be on its way, for as
//     long as the receiver's partition has no owner.
//   - It says in its events what it waits for, so that another answer finds it settled: a dead letter that is tried again gives one.
//   - It gives each command it sends an id (Message.As), by which it knows the answer.
//   - It looks again after some time (Decision.After) where no answer may mean that somebody should know, and cancels that when it ends.
//   - Until it ends, people see what its events say: pending. A reply to the first command says that it began, not that it is over.
//
// producertest plays a saga without a server: every order of answers and of what it put off, every refusal. SAGAS.md beside this file says
// more: when to write one, the cancel pattern, what people see meanwhile.
//
// # Files
//
// In the order a command travels:
//
//	aggregate.go   what a team writes: Aggregate, Meta, Decision
//	topics.go      the topics of a kind: created;  problems.go: what they and the brokers have to be;  pins.go: which cluster and which topics these are
//	client.go      publish a command and wait for its reply
//	producer.go    Run: one member of the group or more;  member.go: its sessions, one after another, until told to stop
//	session.go     one transactional session: poll, adopt, begin, decide, commit
//	assignment.go  which partitions are ours;  fence.go: what a commit must prove;  settle.go: what became of one
//	takeover.go    what a dead owner left open is ended;  holders.go: what a stranger holds is named
//	restore.go     a partition's state from its topics;  open.go: with what it begins;  span.go: what has to be read
//	store.go       local state: a copy of the partition's snapshots;  state.go: looked at, dropped;  checkpoint.go: what becomes a snapshot, and when
//	book.go        one partition: its aggregates, who was answered what, and how to take a transaction back
//	machine.go     the generic half: decode, encode;  shelf.go: states, Decide, Evolve
//	command.go     a record's headers read;  records.go: events, replies, forwards and dead letters written, out of slab.go
//	overlooked.go  commands that the client does not fetch;  leaderless.go: partitions that wait for a leader
//	send.go        commands that aggregates send to each other;  received.go: each once, for ever;  timers.go: that wait for their time
//	recent.go      those of them that the local state does not have yet
//	trial.go       commands that end the process: counted, decided alone, given up
//	waiting.go     what Kafka lacks while it takes nothing, told
//	purge.go       old commands are deleted
//	window.go      command ids seen lately;  recall.go: their replies, read again
package producer
