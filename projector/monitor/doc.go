// Package monitor measures from outside how far consumer groups and projections are behind the log. It shares nothing with
// what it watches: it asks brokers and stores where positions and ends are, and reads single records to learn their age. So
// it is right about a projector that is dead, frozen, or was never started.
//
//	config.go    what to watch, and how often
//	monitor.go   the loop: one look after another
//	broker.go    what Kafka knows: topics, first, stable and end offsets, the groups' offsets
//	oldest.go    how old the oldest unprocessed record is, with few fetches
//	metrics.go   what a scrape gets
//
// # What the figures mean
//
//   - kafka_consumergroup_group_lag is what kafka-consumer-groups prints: the end offset less the group's offset. The marker
//     of a transaction counts as a record there, so a consumer that has everything may show 1. Where the tool prints "-",
//     because the group has no offset, there is no series.
//   - kafka_consumergroup_group_lag_seconds is the age of the oldest record that the group has not processed and that a
//     read_committed consumer can see. Markers, aborted records and records of open transactions have no age: when nothing
//     else is left it is 0. A group without an offset is behind by the whole log: that is where it would begin.
//   - kafka_partition_open_transaction_seconds is for how long this monitor has seen the last stable offset stand still with records behind
//     it. All that is behind it is invisible and so has no age: where a transaction hangs, lag in time is 0.
//   - projection_lag is the same in milliseconds, the largest of all partitions, by the position that the store itself keeps:
//     the group's offsets are a copy, up to a second old. While the store does not answer, the copy is used.
//   - Ages are the difference of two clocks: of this machine, and of whoever stamped the record (the producer's for events,
//     the broker's for commands).
//
// # What is not obvious
//
//   - Positions are read before ends, and ages are told as of the answer that gave the position. Otherwise a system at rest
//     would show as lag what was written between the two answers.
//   - What was not measured is not shown. A reading that is older than [Config.Stale] disappears from the scrape, and monitor_up
//     is 0 from the first look that failed: an alert on absence says more than an old figure.
//   - A position beyond the end of the log means that the log has lost records, or is another one. The lag in records is then
//     negative, as Kafka's tool shows it, and there is no age.
package monitor
