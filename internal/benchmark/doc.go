// Package benchmark measures a running system and holds what it finds against targets.
//
//	load.go     open loop and as fast as it goes: who sends, and how long answers take
//	request.go  requests over HTTP that are over when what came of them is known
//	report.go   rows, their status, and how they are printed
//
// Load is open-loop where answers are timed: requests begin when they are due, whatever became of those before, and the time
// of an answer is counted from then. A system that stalls is not asked less for it.
package benchmark
