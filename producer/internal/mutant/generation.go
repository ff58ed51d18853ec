//go:build mutant_generation

package mutant

const built = Generation
