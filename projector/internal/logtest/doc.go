// Package logtest writes logs of accounts for the read side's tests, as the producer writes them: commands, and events
// with their headers, in transactions. It also writes what a producer never would.
package logtest
