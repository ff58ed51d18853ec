//go:build mutant_forward

package mutant

const built = Forward
