//go:build mutant_polled

package mutant

const built = Polled
