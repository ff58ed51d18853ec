// Package transactions finds the transactions that are open in partitions, and ends those that nobody else will.
//
//	open.go    what is open, since when, and whose it is
//	abort.go   ended: by its coordinator where that knows it, by a marker in the partition where it does not
//
// # What is not obvious
//
//   - A partition knows that a transaction is open by the producer id; only the coordinator knows the transactional id, and only it
//     tells those who may describe it. So that no coordinator is seen to know a transaction says nothing by itself: it may be one that
//     is not shown. [Look] asks for an id that nobody uses, and so learns whether everything is shown.
//   - A transaction that a coordinator knows must be ended by it. A marker written past it would end the transaction in one partition
//     alone, and a commit that comes later would show the others.
//   - A transaction that hangs is one that no coordinator knows as open: nothing ends it, whatever its timeout was.
package transactions
