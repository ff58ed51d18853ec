// Command deps fetches the servers that the demo and the tests run on into the user's cache and says where they are.
//
//	deps [name …]                  fetch the servers, or those named
//	deps -update-lock [name …]     fetch all anew, or those named, and write the lock (in internal/deps)
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/ledgerline-es/ledgerline/internal/deps"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "deps:", err)
		os.Exit(1)
	}
}

func run() error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	update := flag.Bool("update-lock", false, "fetch every component anew, or those named, and write its files' sha256 into the lock")
	lock := flag.String("lock", "internal/deps/deps.lock", "the lock to update")
	flag.Parse()
	var names []deps.Name
	for _, arg := range flag.Args() {
		names = append(names, deps.Name(arg))
	}
	if *update {
		return deps.UpdateLock(ctx, *lock, os.Stderr, names...)
	}
	if names == nil {
		names = deps.Names()
	}
	for _, name := range names {
		dir, err := deps.Fetch(ctx, name, os.Stderr)
		if err != nil {
			return err
		}
		fmt.Printf("%-12s %s\n", name, dir)
	}
	return nil
}
