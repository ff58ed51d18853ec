// Package cli is what every subcommand shares: settings from flags, environment and file, exit codes, output for people and
// for programs, and progress of what runs long. It knows no domain.
package cli
