// Command dashboard writes the Grafana dashboard of the bank's questions to a file.
package main

import (
	"fmt"
	"os"

	"github.com/ledgerline-es/ledgerline/analytics"
	questions "github.com/ledgerline-es/ledgerline/analytics/bank"
	"github.com/ledgerline-es/ledgerline/internal/dashboard"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "dashboard:", err)
		os.Exit(1)
	}
}

func run() error {
	if len(os.Args) != 2 {
		return fmt.Errorf("give the file to write, got %q", os.Args[1:])
	}
	c, err := analytics.Open(questions.FS)
	if err != nil {
		return err
	}
	text, err := dashboard.JSON(c)
	if err != nil {
		return err
	}
	return os.WriteFile(os.Args[1], text, 0o600)
}
