//go:build !mutant_drop && !mutant_double && !mutant_alter && !mutant_skip_partition && !mutant_burnt

package mutant

// Is reports whether this build is wrong in that way: never.
func Is(Kind) bool { return false }

// Hit reports whether the row at hand is to be harmed: never.
func Hit() bool { return false }
