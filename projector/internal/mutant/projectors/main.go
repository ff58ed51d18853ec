// Command projectors runs projections of a test's log until it is told to stop. It is a program of its own so that a test
// can build it wrong: go build -tags mutant_drop.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/ledgerline-es/ledgerline/projector/internal/logtest"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	err := logtest.RunArgs(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
