package ledgerline

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/ledgerline-es/ledgerline/internal/generate"
)

func (a *App) generateCommand() *cobra.Command {
	var check bool
	cmd := &cobra.Command{
		Use:   "generate [DIR…]",
		Short: "Write the Go code of Avro schemas",
		Long: `Writes <folder>.gen.go into every folder of Avro schemas in and below each DIR (default: this folder).

A folder with commands/*.avsc, events/*.avsc and state.avsc is an aggregate kind, and its name is the kind's; a folder with
*.avsc at its top holds plain records. The same schemas always give the same bytes; a file that is up to date is not touched.
In a Go file of the folder above, for go generate:

  //go:generate go run github.com/ledgerline-es/ledgerline/cmd/ledgerline generate schemas`,
		Example: fmt.Sprintf("  %[1]s generate schemas\n  %[1]s generate --check    # in CI", a.Domain.Name),
		Args:    cobra.ArbitraryArgs,
	}
	cmd.Flags().BoolVar(&check, "check", false, "write nothing; fail when code is missing or stale")
	cmd.RunE = func(_ *cobra.Command, dirs []string) error {
		if len(dirs) == 0 {
			dirs = []string{"."}
		}
		var errs []error
		for _, dir := range dirs {
			folders, err := generate.Folders(dir)
			if err != nil {
				return err
			}
			for _, folder := range folders {
				errs = append(errs, a.generate(folder, check))
			}
		}
		return errors.Join(errs...)
	}
	return cmd
}

func (a *App) generate(folder string, check bool) error {
	if check {
		return generate.Check(folder)
	}
	changed, err := generate.Write(folder)
	for _, path := range changed {
		fmt.Fprintln(a.Out, "wrote", path)
	}
	return err
}
