//go:build mutant_wait

package mutant

const built = Wait
