//go:build mutant_rollback

package mutant

const built = Rollback
