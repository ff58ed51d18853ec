//go:build mutant_generation || mutant_written || mutant_polled || mutant_unknown || mutant_wait || mutant_rollback || mutant_forward || mutant_timer || mutant_asked

package mutant

// Is reports whether this build lacks that rule.
func Is(k Kind) bool { return k == built }
