package ledgerline

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"golang.org/x/mod/modfile"

	"github.com/ledgerline-es/ledgerline/internal/cli"
	"github.com/ledgerline-es/ledgerline/internal/scaffold"
)

func (a *App) newCommand() *cobra.Command {
	var o scaffold.Options
	var dir string
	cmd := &cobra.Command{
		Use:   "new NAME",
		Short: "Write a domain of your own to start from",
		Long: `Writes a Go module that runs as it is: schemas of commands and events, an aggregate with its rules, a table in Postgres
and one in ClickHouse, a question in SQL, HTTP routes, tests, a sample, and a compose file. Change it file by file.

NAME is the program's name and that of its database schemas; --kind names what the commands are sent to. What is written is a
small shop, whatever the names: change it into yours.`,
		Example: fmt.Sprintf("  %[1]s new shop --dir ../shop    # from within Ledgerline's source\n  %[1]s new helpdesk --kind ticket --module example.com/helpdesk --ledgerline-dir ../ledgerline", a.Domain.Name),
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return cli.Usage(errors.New("new wants one NAME"))
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&o.Kind, "kind", "order", "kind of the aggregate: one thing that has a life of its own, in the singular")
	cmd.Flags().StringVar(&o.Module, "module", "", "path of the Go module (default NAME)")
	cmd.Flags().StringVar(&o.Checkout, "ledgerline-dir", "", "folder of Ledgerline's source; go.mod points to it (default: the one around this folder)")
	cmd.Flags().StringVar(&dir, "dir", "", "folder to write to (default ./NAME)")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		o.Name = args[0]
		if dir == "" {
			dir = o.Name
		}
		if err := o.Validate(); err != nil {
			return cli.Usage(err)
		}
		if o.Checkout == "" {
			var err error
			if o.Checkout, err = checkout(); err != nil {
				return cli.Usage(err)
			}
		}
		files, err := scaffold.Write(dir, o)
		if err != nil {
			return fmt.Errorf("new %s: %w", o.Name, err)
		}
		for _, f := range files {
			fmt.Fprintln(a.Err, "wrote", filepath.Join(dir, f))
		}
		_, err = fmt.Fprintf(a.Out, `
Next:
  cd %s
  go test ./...            # its rules, without a server
  go build -o %s . && ./%[2]s demo
`, dir, o.Name)
		if err == nil && cmd.Flags().Changed("kind") {
			_, err = fmt.Fprintf(a.Out, `
It begins as the order of a shop under your names: a customer places a %[1]s that has lines, pays for it, has it shipped or
cancels it. Say what can happen to yours in schemas/%[1]s, then what follows from it in %[1]s.go.
`, o.Kind)
		}
		return err
	}
	return cmd
}

// checkout looks for Ledgerline's source in this folder and those above it.
func checkout() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if text, err := os.ReadFile(filepath.Join(dir, "go.mod")); err == nil && modfile.ModulePath(text) == scaffold.Platform {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("this folder is not in Ledgerline's source, and no version is released yet: say where the source is by --ledgerline-dir")
		}
		dir = parent
	}
}
