// Command deps fetches the servers that the demo and the tests run on into the user's cache and says where they are.
//
//	deps [name …]         fetch all, or those named
//	deps -update-lock     fetch anew and write the lock (in internal/deps)
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
	update := flag.Bool("update-lock", false, "fetch every component anew and write its files' sha256 into the lock")
	lock := flag.String("lock", "internal/deps/deps.lock", "the lock to update")
	flag.Parse()
	if *update {
		return deps.UpdateLock(ctx, *lock, os.Stderr)
	}
	names := deps.Names()
	if flag.NArg() > 0 {
		names = nil
		for _, arg := range flag.Args() {
			names = append(names, deps.Name(arg))
		}
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
