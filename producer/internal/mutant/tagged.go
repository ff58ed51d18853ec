//go:build mutant

package mutant

import "os"

var lacks = chosen()

// chosen is the rule that this process is to go without. Which one must be said: a mutant that lacks none would pass as one that is not caught.
func chosen() Kind {
	kind, ok := map[string]Kind{
		"generation": Generation, "written": Written, "polled": Polled, "unknown": Unknown, "wait": Wait,
		"rollback": Rollback, "forward": Forward, "timer": Timer, "scheduler": Scheduler, "asked": Asked,
	}[os.Getenv(Variable)]
	if !ok {
		panic("built with mutants, and " + Variable + " names none")
	}
	return kind
}

// Is reports whether this process lacks that rule.
func Is(k Kind) bool { return k == lacks }
