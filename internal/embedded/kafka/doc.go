// Package kafka runs franz-go's broker kfake in a child process of ours, for the demo. It is no Kafka: one broker, one copy,
// and nothing is synced to the disk before it closes. Promises about crashes are proven on Apache Kafka.
//
// What is not obvious:
//   - The child closes cleanly when its parent is gone, also by kill -9: it sees the end of the parent's pipe.
//   - Killed itself, kfake leaves transactions open, or committed in one partition and open in the next. Each start mends
//     that on disk before kfake reads the data (recover.go). What remains is a kill between the last marker of a commit and
//     its last group offset: the transaction is whole then, and some of its input comes again.
//   - A start aborts every transaction that was open and forgets the members of groups: whoever they were, they are gone,
//     and would hold up readers and partitions until their timeouts. Offsets, topics, configurations and ids are kept.
//   - Its log cleaner must not run: it passes over the last stable offset and drops the markers of aborted transactions.
package kafka
