//go:build mutant_alter

package mutant

const built = Alter
