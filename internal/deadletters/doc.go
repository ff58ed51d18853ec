// Package deadletters reads a kind's dead letters and settles them.
//
// A dead letter stays where it is until the topic's retention ends. That it was retried or dropped is a record of its own beside it,
// in the same partition: no value, and headers that name the letter and what became of it. Letter and record go in that order when
// the retention ends, so what is open can be told at any time from the topic alone.
//
// To retry is one transaction: the command and the record about it. Operators take turns: each begins by taking over the kind's one
// transactional id, which aborts what another one had not finished, and then reads what is settled.
//
//	letter.go   a dead letter, read
//	box.go      those of a kind, and which are settled
//	settle.go   retry and drop
package deadletters
