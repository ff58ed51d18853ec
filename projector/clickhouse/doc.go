// Package clickhouse is the sink that keeps projections in ClickHouse, effectively once: ClickHouse has no transactions,
// so what was begun is recorded first, and doubt is settled by what is stored, row by row.
//
// For a table T of a database D the sink makes the table D.T__g1 from the projection's CREATE text, the view D.T over it,
// and its bookkeeping in database ledgerline: the view generations(projection, generation, table_name, fingerprint, state)
// and the table ledger, in which a member records each range of a partition before it inserts it.
//
// # How a range is written
//
//  1. Its owner records it in the ledger: partition, first and next offset, number of rows, under the owner's epoch, and the
//     deduplication token under which it is about to insert it.
//  2. It reads the ledger back. A higher epoch means that another member has claimed the partition: nothing is inserted.
//  3. It inserts the rows of all the ranges that are due as one block under that token: parts cost more than rows do.
//  4. It reads the ledger once more. A claim since step 2 means that the block may have been dropped: all of it is in doubt.
//
// A member claims a partition by recording a higher epoch, and reads the ledger after that. So either the former owner
// sees the claim in step 2 and stops, or the claimant sees the range and the token that the former owner recorded in step 1. Then
// it writes what is lacking of exactly that range, first under the same token: afterwards an insert of the former owner that
// arrives late has no effect. The token may have been used for the block's other partitions, whose new owners do the same, and then
// the server has dropped the rows; so it looks again, and inserts what is still lacking under another token, which it records as well.
// How late an insert may be is the window: non_replicated_deduplication_window inserts into the table.
//
// # What is not obvious
//
//   - The ledger's order is (epoch, owner, next_offset): what a former owner records after it was driven out, and never
//     inserts, is behind what its successor recorded.
//   - A token names an insert, not its rows. Whoever settles a range makes sure that its token is used up before anything else.
//   - After a failure each range is settled alone: one that can't be stored does not hold up the others.
//   - A block that falls into several partitions of the table can be stored in part; settling by row mends that too.
//   - Who asks questions of the rows learns from ReadReach which events they hold, without a lock and without waiting.
//   - Rows carry _partition and _offset, and _row when an event can give several: declare them in the CREATE text.
package clickhouse
