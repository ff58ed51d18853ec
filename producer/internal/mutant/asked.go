//go:build mutant_asked

package mutant

const built = Asked
