// Command pack packs examples/orders into a txtar file, for package scaffold, and writes the example's go.mod and go.sum.
//
//	pack EXAMPLE CHECKOUT FILE
package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/ledgerline-es/ledgerline/internal/scaffold"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "pack:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 3 {
		return errors.New("usage: pack EXAMPLE CHECKOUT FILE")
	}
	if err := scaffold.ExampleModule(args[0], args[1]); err != nil {
		return err
	}
	content, err := scaffold.Pack(args[0])
	if err != nil {
		return err
	}
	return os.WriteFile(args[2], content, 0o644)
}
