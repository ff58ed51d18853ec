// Package projector is the read side: it follows a kind's events and keeps rows of them in a store.
//
// A projection is declared as an [Append] (an event gives new rows) or a [Fold] (the events of one key give one row), over
// a table of a store: postgres.Table or clickhouse.Table. [New] and [Projector.Run] keep it up to date:
//
//	consume (read_committed) → decode (in parallel) → write (in order of each partition)
//
// The three overlap, memory is bounded by [Config.MaxBuffered], and whatever happens each event has its effect once,
// because the store itself says where a partition stands: a [Store] writes rows and position as one, or settles the doubt
// when it cannot. The consumer group only shares the partitions out; the offsets in it are a mirror for Kafka's tools.
//
// # What is not obvious
//
//   - Start offsets come from the store alone. A group that was deleted, reset or restored changes nothing.
//   - Nothing is flushed when a partition is taken away: what is not stored is dropped, its next owner reads it again.
//   - Control records (the markers of transactions) are read too, so that a position can move past the marker that ends a
//     partition, and lag comes down to 0.
//   - A poll holds rebalances back until its records are queued. Without that, records of a partition that was taken away
//     and given back could be queued behind a gap.
package projector
