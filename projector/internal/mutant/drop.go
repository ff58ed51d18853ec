//go:build mutant_drop

package mutant

const built = Drop
