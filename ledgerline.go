// Package ledgerline is the front door: a Domain says what is to run, Main gives it a command line.
//
//	func main() { ledgerline.Main(bank.Domain()) }
//
// Every domain gets every subcommand: demo runs the whole platform in one process on loopback; producer and projector are
// its roles in production; publish, verify and the rest are for people and scripts.
package ledgerline

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/ledgerline-es/ledgerline/analytics"
	"github.com/ledgerline-es/ledgerline/api"
	"github.com/ledgerline-es/ledgerline/internal/cli"
	"github.com/ledgerline-es/ledgerline/internal/embedded/clickhouse"
	"github.com/ledgerline-es/ledgerline/internal/embedded/kafka"
	"github.com/ledgerline-es/ledgerline/internal/process"
	"github.com/ledgerline-es/ledgerline/producer"
	"github.com/ledgerline-es/ledgerline/projector"
)

// Domain is everything that Ledgerline needs to know of a business.
type Domain struct {
	Name        string                 // of the program, for its help
	Aggregates  []producer.Definition  // what commands are sent to
	Projections []projector.Projection // what is derived from their events
	Queries     fs.FS                  // questions to ask of the projections in ClickHouse: .sql files, see package analytics

	// Routes registers the domain's HTTP operations. nil: there are those of the platform alone.
	Routes func(*api.API) error
	// Commands are subcommands of this domain alone, such as the bank's import.
	Commands []func(*App) *cobra.Command
	// Sample loads data of the domain's own making when a demo starts for the first time. Loading it again must change
	// nothing. nil: there is none.
	Sample func(ctx context.Context, app *App) (SampleReport, error)
	// Workload is what benchmark sends. nil: there is nothing to measure.
	Workload *Workload
	// TryIt are commands that the demo suggests, given the addresses that it listens on.
	TryIt func(Addresses) []Suggestion
}

// SampleReport counts what a sample did.
type SampleReport struct {
	Commands int64 // published
	Accepted int64
	Rejected int64
}

// Addresses are those that a running demo listens on.
type Addresses struct{ Kafka, Registry, Postgres, ClickHouse, API, Admin string }

// Suggestion is a command to try, and what it shows.
type Suggestion struct{ What, Command string }

// Main runs the program and exits. It must be the first thing that main does: the demo's servers are the same program,
// started again.
func Main(d Domain) {
	process.Dispatch(kafka.Role(), clickhouse.Role())
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := Run(ctx, d, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// Run runs the program with arguments and gives its exit code. What is for programs goes to out, what is for people to err.
func Run(ctx context.Context, d Domain, args []string, out, err io.Writer) int {
	app := &App{Domain: d, Out: out, Err: err}
	root := app.command()
	root.SetArgs(args)
	code, failure := cli.Code(root.ExecuteContext(ctx))
	if failure != nil {
		fmt.Fprintf(err, "%s: %v\n", root.Name(), failure)
		if hint := app.hint(ctx, failure); hint != "" {
			fmt.Fprintln(err, hint)
		}
		if errors.Is(failure, syscall.ECONNREFUSED) {
			fmt.Fprintf(err, "Nothing listens there. Does it run? \"%s demo\" starts everything here; config check shows the addresses\n", root.Name())
		}
	}
	return code
}

// flagError is about a flag that a command does not have; or, of a command that there is not, about that.
func flagError(cmd *cobra.Command, err error) error {
	if args := cmd.Flags().Args(); !cmd.HasParent() && len(args) > 0 {
		return noArguments(cmd, args)
	}
	if name, ok := strings.CutPrefix(err.Error(), "unknown flag: --"); ok {
		var known []string
		cmd.Flags().VisitAll(func(f *pflag.Flag) { known = append(known, f.Name) })
		if near := cli.Nearest(name, known); near != "" {
			return cli.Usage(fmt.Errorf("%w; did you mean --%s?", err, near))
		}
		return cli.Usage(fmt.Errorf("%w; %s --help lists those that there are", err, cmd.CommandPath()))
	}
	return cli.Usage(err)
}

func (a *App) command() *cobra.Command {
	name := a.Domain.Name
	root := &cobra.Command{
		Use:   name,
		Short: "Event streaming on Kafka: commands become events, events become tables",
		Long: fmt.Sprintf(`%s runs on Ledgerline: commands published to Kafka become events in compacted topics, the
event store; projectors write what happened into Postgres and ClickHouse.

Start with:  %s demo
Every setting can be given as a flag, an environment variable or in a file (--config): --kafka-brokers is
LEDGERLINE_KAFKA_BROKERS and kafka.brokers.`, name, name),
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          noArguments,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.PersistentFlags().String(cli.ConfigFlag, "", "file of settings, YAML (LEDGERLINE_CONFIG)")
	cli.AddFlags(root.PersistentFlags(), logSettings...)
	root.SetFlagErrorFunc(flagError)
	root.AddCommand(
		a.demoCommand(),
		a.allCommand(),
		a.producerCommand(),
		a.projectorCommand(),
		a.apiCommand(),
		a.monitorCommand(),
		a.readyCommand(),
		a.publishCommand(),
		a.eventsCommand(),
		a.aggregateCommand(),
		a.stateCommand(),
		a.topicsCommand(),
		a.queryCommand(),
		a.traceCommand(),
		a.dlqCommand(),
		a.scheduleCommand(),
		a.sagaCommand(),
		a.doctorCommand(),
		a.verifyCommand(),
		a.benchmarkCommand(),
		a.newCommand(),
		a.generateCommand(),
		a.configCommand(),
		a.versionCommand(),
	)
	for _, command := range a.Domain.Commands {
		root.AddCommand(command(a))
	}
	root.SetOut(a.Out)
	root.SetErr(a.Err)
	root.InitDefaultCompletionCmd() // it keeps what it writes to
	for _, c := range root.Commands() {
		if c.Args == nil || !c.Runnable() {
			c.Args = noArguments
		}
		if !c.Runnable() { // else what is behind it is not looked at
			c.RunE = root.RunE
		}
	}
	return root
}

func noArguments(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	names := []string{}
	for _, c := range cmd.Commands() {
		names = append(names, c.Name())
	}
	if len(names) == 0 {
		return cli.Usage(fmt.Errorf("%s takes no arguments, got %q", cmd.CommandPath(), args))
	}
	if near := cli.Nearest(args[0], names); near != "" {
		return cli.Usage(fmt.Errorf("there is no command %q; did you mean %s?", args[0], near))
	}
	return cli.Usage(fmt.Errorf("there is no command %q: there are %s", args[0], strings.Join(names, ", ")))
}

// check finds mistakes in the domain before anything is started.
func (d Domain) check() error {
	var errs []error
	seen := map[string]bool{}
	for _, a := range d.Aggregates {
		if seen[a.KindName()] {
			errs = append(errs, fmt.Errorf("domain %s has two aggregates of kind %s", d.Name, a.KindName()))
		}
		seen[a.KindName()] = true
	}
	names := map[string]bool{}
	for _, p := range d.Projections {
		if names[p.ProjectionName()] {
			errs = append(errs, fmt.Errorf("domain %s has two projections named %s", d.Name, p.ProjectionName()))
		}
		names[p.ProjectionName()] = true
	}
	catalogue, err := analytics.Open(d.Queries)
	if err != nil {
		return errors.Join(append(errs, fmt.Errorf("domain %s: %w", d.Name, err))...)
	}
	for _, q := range catalogue.Queries() {
		if !names[q.Projection] {
			errs = append(errs, fmt.Errorf("domain %s: question %s reads projection %s, which there is not: there are %s", d.Name, q.Name, q.Projection, strings.Join(slices.Sorted(maps.Keys(names)), ", ")))
		}
	}
	return errors.Join(errs...)
}

// aggregate finds a kind; the error lists those that there are.
func (d Domain) aggregate(kind string) (producer.Definition, error) {
	var kinds []string
	for _, a := range d.Aggregates {
		if a.KindName() == kind {
			return a, nil
		}
		kinds = append(kinds, a.KindName())
	}
	return nil, cli.Usage(fmt.Errorf("there is no aggregate kind %q, only %s", kind, strings.Join(kinds, ", ")))
}

// projections finds projections by name; no names mean all.
func (d Domain) projections(names []string) ([]projector.Projection, error) {
	if len(names) == 0 {
		return d.Projections, nil
	}
	var found []projector.Projection
	for _, name := range names {
		i := slices.IndexFunc(d.Projections, func(p projector.Projection) bool { return p.ProjectionName() == name })
		if i < 0 {
			var all []string
			for _, p := range d.Projections {
				all = append(all, p.ProjectionName())
			}
			return nil, cli.Usage(fmt.Errorf("there is no projection %q, only %s", name, strings.Join(all, ", ")))
		}
		found = append(found, d.Projections[i])
	}
	return found, nil
}
