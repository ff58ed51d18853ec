// Package mutant makes builds of the bank whose transfers are wrong on purpose, so that a test can show that the tests see it: as
// producer/internal/mutant does for the platform.
package mutant

// Variable is the environment variable that names what is wrong, in a build with the tag.
const Variable = "LEDGERLINE_MUTANT"

// Kind is what is wrong.
type Kind int

// What transfers must not do.
const (
	None    Kind = iota
	Timeout      // take the money back because no answer came in time
	Window       // know a leg by its id for a while only: by what the platform remembers of commands
)
