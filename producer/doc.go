// Package producer is the write side: commands in, events out.
//
// An Aggregate is declared by two pure functions, Decide and Evolve. A Producer runs it: it polls the kind's command
// topics as a member of a consumer group, decides each command on the state it holds in memory, and writes events, reply,
// forwarded commands, dead letters and input offsets in one Kafka transaction. The events topic is the only truth; all
// state is rebuilt from it, by way of snapshots, whenever a partition is assigned.
//
// File map, in the order a command travels:
//
//	aggregate.go   what a team writes: Aggregate, Meta, Decision
//	topics.go      the topics of a kind: created;  problems.go: what they and the brokers have to be;  pins.go: which cluster and which topics these are
//	client.go      publish a command and wait for its reply
//	producer.go    Run: one member of the group or more;  member.go: its sessions, one after another, until told to stop
//	session.go     one transactional session: poll, adopt, begin, decide, commit
//	assignment.go  which partitions are ours;  fence.go: what a commit must prove;  settle.go: what became of one
//	takeover.go    what a dead owner left open is ended;  holders.go: what a stranger holds is named
//	restore.go     a partition's state from its topics;  span.go: what has to be read for that
//	store.go       local state: a copy of the partition's snapshots;  state.go: looked at, dropped;  checkpoint.go: what becomes a snapshot, and when
//	book.go        one partition: its aggregates, who was answered what, and how to take a transaction back
//	machine.go     the generic half: decode, encode;  shelf.go: states, Decide, Evolve
//	command.go     a record's headers read;  records.go: events, replies, forwards and dead letters written, out of slab.go
//	send.go        commands that aggregates send to each other
//	trial.go       commands that end the process: counted, decided alone, given up
//	waiting.go     what Kafka lacks while it takes nothing, told
//	purge.go       old commands are deleted
//	window.go      command ids seen lately;  recall.go: their replies, read again
package producer
