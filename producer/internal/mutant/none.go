//go:build !mutant

package mutant

// Is reports whether this build lacks that rule: never.
func Is(Kind) bool { return false }
