//go:build mutant_drop || mutant_double || mutant_alter || mutant_skip_partition || mutant_burnt

package mutant

import "sync/atomic"

var rows atomic.Int64 // a mutant may keep count: there is one in a process, and no test runs in it

// Is reports whether this build is wrong in that way.
func Is(k Kind) bool { return k == built }

// Hit reports whether the row at hand is to be harmed: each Every-th.
func Hit() bool { return rows.Add(1)%Every == 0 }
