//go:build mutant_burnt

package mutant

const built = Burnt
