//go:build mutant_written

package mutant

const built = Written
