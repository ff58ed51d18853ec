//go:build mutant_skip_partition

package mutant

const built = SkipPartition
