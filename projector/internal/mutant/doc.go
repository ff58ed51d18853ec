// Package mutant makes builds of the read side that are wrong on purpose, so that a test can show that verify sees it.
//
// In a normal build [Is] is always false and its callers' branches are compiled away. Under one of the build tags
// mutant_drop, mutant_double, mutant_alter and mutant_skip_partition one row in [Every] is dropped, written twice or
// changed, or the events of one partition are passed over. Under mutant_burnt a check of the sink for ClickHouse is missing.
package mutant

// Kind is a way to be wrong.
type Kind int

const (
	None          Kind = iota
	Drop               // a row is not written
	Double             // a row is written twice, or an event folded twice
	Alter              // a number in a row is off by one
	SkipPartition      // the events of one partition are passed over
	Burnt              // a block whose token somebody else may have used is believed to be stored
)

// Every is how many rows pass unharmed for each that does not, itself included.
const Every = 1000

// SkippedPartition is the partition that SkipPartition passes over.
const SkippedPartition = 1
