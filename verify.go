package ledgerline

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/ledgerline-es/ledgerline/internal/cli"
	"github.com/ledgerline-es/ledgerline/projector/verify"
)

// Exit codes of verify.
const (
	exitDiffers     = 1
	exitCannotCheck = 2
)

func (a *App) verifyCommand() *cobra.Command {
	var asJSON bool
	var most int
	cmd := &cobra.Command{
		Use:   "verify [PROJECTION…]",
		Short: "Settle doubt: check the log, and every row against it",
		Long: `Reads the whole log and checks it: no gap and no fork in any aggregate's history, all of it decodable, written by a
producer, caused by a command. Then it compares every row and column of the projections with what the log says, as of
the position that the rows stand at. It may run while everything else does.

Rows that the log is ahead of are no difference: how many events each projection is behind is said beside it.

Exit codes: 0 equal as far as the projections have come, 1 something differs, 2 it could not be checked.`,
		Example: fmt.Sprintf("  %[1]s verify\n  %[1]s verify account-summary --json", a.Domain.Name),
		Args:    cobra.ArbitraryArgs,
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the report as one JSON document")
	cmd.Flags().IntVar(&most, "findings", 100, "how many differences to print; all are counted")
	cmd.RunE = func(cmd *cobra.Command, names []string) error {
		report, err := a.verify(cmd.Context(), names, most)
		if err != nil {
			if asJSON {
				err = errors.Join(err, a.JSON(failedVerification{report, err.Error()}))
			}
			return cli.Exit(exitCannotCheck, fmt.Errorf("could not verify: %w", err))
		}
		if asJSON {
			err = a.JSON(report)
		} else {
			err = a.printVerification(report)
		}
		if err != nil {
			return err
		}
		if !report.Equal {
			return cli.Exit(exitDiffers, nil)
		}
		return nil
	}
	return a.withSettings(cmd, kafkaSettings, storeSettings)
}

// failedVerification is the report of what could be checked, with what could not.
type failedVerification struct {
	verify.Report
	Error string `json:"error"`
}

func (a *App) verify(ctx context.Context, names []string, most int) (verify.Report, error) {
	projections, err := a.Domain.projections(names)
	if err != nil {
		return verify.Report{}, err
	}
	sinks, err := a.stores(projections)
	if err != nil {
		return verify.Report{}, err
	}
	defer sinks.Close()
	registry, err := a.registry()
	if err != nil {
		return verify.Report{}, err
	}
	show := &verifyProgress{app: a, bars: map[string]*shown{}}
	defer show.end()
	return verify.Verify(ctx, verify.Config{
		Client: a.kafkaOptions(), Registry: registry, TopicPrefix: a.values.String("topic-prefix"), Sinks: sinks.sinks,
		MaxFindings: most, Progress: show.show, Logger: a.log,
	}, projections...)
}

// verifyProgress shows one progress a kind.
type verifyProgress struct {
	app  *App
	mu   sync.Mutex
	bars map[string]*shown
}

type shown struct {
	bar  *cli.Progress
	done int64
}

func (v *verifyProgress) show(kind string, done, total int64) {
	v.mu.Lock()
	defer v.mu.Unlock()
	s := v.bars[kind]
	if s == nil {
		s = &shown{bar: v.app.Progress("verifying "+kind, "records", total)}
		v.bars[kind] = s
	}
	s.bar.Add(done - s.done)
	s.done = done
}

func (v *verifyProgress) end() {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, s := range v.bars {
		s.bar.End()
	}
}

func (a *App) printVerification(r verify.Report) error {
	var errs []error
	var behind []string
	say := func(format string, args ...any) {
		_, err := fmt.Fprintf(a.Out, format+"\n", args...)
		errs = append(errs, err)
	}
	for _, l := range r.Logs {
		say("log %-22s %d events of %d aggregates in %s, %.1f MB/s; causes looked up: %d; findings: %d",
			l.Topic, l.Events, l.Aggregates, (time.Duration(l.Seconds * float64(time.Second))).Round(time.Millisecond), l.MBPerSecond, l.Judged, l.Findings)
	}
	for _, p := range r.Projections {
		say("%s %-22s %d rows compared, %d events behind the log; findings: %d", p.Store, p.Table, p.Rows, p.EventsBehind, p.Findings)
		if p.EventsBehind > 0 {
			behind = append(behind, fmt.Sprintf("%s by %d events", p.Projection, p.EventsBehind))
		}
		for _, u := range p.Unfinished {
			say("  unfinished: partition %d offsets %d-%d: %d of %d rows are there", u.Partition, u.FirstOffset, u.NextOffset-1, u.Stored, u.Rows)
		}
	}
	for _, f := range r.Findings {
		say("DIFFERS %s", f)
	}
	if more := r.Found - int64(len(r.Findings)); more > 0 {
		say("… and %d more", more)
	}
	switch {
	case !r.Equal:
		say("NOT equal: %d findings", r.Found)
	case len(behind) > 0:
		say("equal as far as they have come; behind: %s", strings.Join(behind, ", "))
	default:
		say("equal: every row is what the log says")
	}
	return errors.Join(errs...)
}
