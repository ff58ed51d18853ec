// Command generate makes Go code from folders of Avro schemas; see package generate.
//
//	generate [-check] [DIR...]
//
// DIR is by default the current folder. With -check it writes nothing, and exits 1 when code is missing or stale.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"

	"github.com/ledgerline-es/ledgerline/internal/generate"
)

func main() {
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

func run(args []string, out, errs io.Writer) int {
	flags := flag.NewFlagSet("generate", flag.ContinueOnError)
	flags.SetOutput(errs)
	check := flags.Bool("check", false, "write nothing; exit 1 when generated code is missing or stale")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	dirs := flags.Args()
	if len(dirs) == 0 {
		dirs = []string{"."}
	}
	failed := false
	for _, dir := range dirs {
		if err := one(dir, *check, out); err != nil {
			fmt.Fprintln(errs, "generate:", err)
			failed = true
		}
	}
	if failed {
		return 1
	}
	return 0
}

func one(dir string, check bool, out io.Writer) error {
	if check {
		return generate.Check(dir)
	}
	changed, err := generate.Write(dir)
	for _, path := range changed {
		fmt.Fprintln(out, "wrote", path)
	}
	return err
}
