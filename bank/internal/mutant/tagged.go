//go:build mutant_bank

package mutant

import "os"

var wrong = chosen()

// chosen is what is wrong in this process. It must be said: a mutant of which nothing is wrong would pass as one that is not caught.
func chosen() Kind {
	kind, ok := map[string]Kind{"timeout": Timeout, "window": Window}[os.Getenv(Variable)]
	if !ok {
		panic("built with mutants, and " + Variable + " names none")
	}
	return kind
}

// Is reports whether that is wrong in this process.
func Is(k Kind) bool { return k == wrong }
