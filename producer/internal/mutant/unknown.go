//go:build mutant_unknown

package mutant

const built = Unknown
