//go:build mutant_timer

package mutant

const built = Timer
