//go:build mutant_double

package mutant

const built = Double
