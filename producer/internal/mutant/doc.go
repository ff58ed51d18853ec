// Package mutant makes builds of the write side that are wrong on purpose, so that a test can show that the tests see it.
//
// In a normal build [Is] is always false and its callers' branches are compiled away. A build with the tag mutant takes one rule of the
// fence away, the one that the environment names: all of them are one build.
package mutant

// Variable is the environment variable that names the rule, in a build with the tag.
const Variable = "LEDGERLINE_MUTANT"

// Kind is a rule that is missing.
type Kind int

// The rules.
const (
	None       Kind = iota
	Generation      // a transaction commits only in the generation of the group that it began in
	Written         // it writes only to partitions that are assigned when it commits
	Polled          // it commits exactly the offsets of what was processed
	Unknown         // an outcome that is not known ends the session
	Wait            // a restore reads to the high watermark, behind what is undecided
	Rollback        // what an aborted transaction changed is taken back in partitions that are kept
	Forward         // a command on the wrong partition is forwarded
	Timer           // nothing is written but in partitions of which commands were polled: a timer that writes is fenced by nothing
	Scheduler       // commands that had to wait are published in the transaction of a tick that was polled
	Asked           // under KIP-848 only that is owned which the coordinator says so of: some revocations are not told
)
