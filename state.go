package ledgerline

import (
	"errors"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/ledgerline-es/ledgerline/internal/cli"
	"github.com/ledgerline-es/ledgerline/producer"
)

func (a *App) stateCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "state", Short: "Look at producers' local state, or drop it",
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.stateInspectCommand(), a.stateDropCommand())
	return cmd
}

var stateSettings = []cli.Setting{
	{Key: "producer.state-dir", Default: "", Help: "folder of local state; of a demo it is .ledgerline/state"},
}

func (a *App) stateInspectCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "inspect",
		Short: "Show what each partition's local state holds, and whether it will be believed",
		Long: `Looks at the folder of local state, which is a copy of the log that makes a restart fast: how far it has the snapshots and the
events, how many aggregates, how large. Of a partition that a running producer has open only the size can be told.`,
		Example: fmt.Sprintf("  %[1]s state inspect --producer-state-dir /var/lib/ledgerline\n  %[1]s state inspect --producer-state-dir .ledgerline/state --json | jq '.[].aggregates'", a.Domain.Name),
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON document")
	cmd.RunE = func(*cobra.Command, []string) error {
		all, err := a.localState()
		if err != nil {
			return err
		}
		if asJSON {
			return a.JSON(all)
		}
		w := tabwriter.NewWriter(a.Out, 0, 0, 2, ' ', 0)
		errs := []error{nil}
		say := func(cells ...any) {
			for _, c := range cells {
				_, err := fmt.Fprint(w, c, "\t")
				errs = append(errs, err)
			}
			_, err := fmt.Fprintln(w)
			errs = append(errs, err)
		}
		say("GROUP", "PARTITION", "AGGREGATES", "SNAPSHOTS", "EVENTS", "REVISION", "SAVED", "BYTES", "")
		for _, s := range all {
			switch {
			case s.InUse:
				say(s.Group, s.Partition, "-", "-", "-", "-", "-", s.Bytes, "in use")
			case s.Damaged != "":
				say(s.Group, s.Partition, "-", "-", "-", "-", "-", s.Bytes, "to be built anew: "+s.Damaged)
			default:
				say(s.Group, s.Partition, s.Aggregates, s.Snapshots, s.Events, s.Revision, s.SavedAt.Format(time.RFC3339), s.Bytes, "")
			}
		}
		return errors.Join(append(errs, w.Flush())...)
	}
	return a.withSettings(cmd, stateSettings)
}

func (a *App) stateDropCommand() *cobra.Command {
	var (
		group     string
		partition int32
		everyone  bool
	)
	cmd := &cobra.Command{
		Use:   "drop",
		Short: "Remove local state: the next producer builds it anew from the log",
		Long: `Removes the local state of one partition of a group, or all of it. Nothing is lost: it is a copy of the log, and the next producer
that owns the partition reads all snapshots again. What a running producer has open is left alone, and is an error.`,
		Example: fmt.Sprintf("  %[1]s state drop --producer-state-dir /var/lib/ledgerline --group account.producer --partition 3\n  %[1]s state drop --producer-state-dir /var/lib/ledgerline --all", a.Domain.Name),
	}
	cmd.Flags().StringVar(&group, "group", "", "group of producers")
	cmd.Flags().Int32Var(&partition, "partition", -1, "partition of it")
	cmd.Flags().BoolVar(&everyone, "all", false, "of all groups and partitions in the folder")
	cmd.RunE = func(*cobra.Command, []string) error {
		if everyone == (group != "" && partition >= 0) || everyone && (group != "" || partition >= 0) {
			return cli.Usage(errors.New("state drop wants --group and --partition, or --all"))
		}
		all, err := a.localState()
		if err != nil {
			return err
		}
		dropped := 0
		var errs []error
		for _, s := range all {
			if !everyone && (s.Group != group || s.Partition != partition) {
				continue
			}
			if err := producer.DropState(s); err != nil {
				errs = append(errs, err)
				continue
			}
			dropped++
			_, err := fmt.Fprintf(a.Out, "dropped %s partition %d, %d bytes\n", s.Group, s.Partition, s.Bytes)
			errs = append(errs, err)
		}
		if err := errors.Join(errs...); err != nil {
			return err
		}
		if dropped == 0 && !everyone {
			return fmt.Errorf("there is no local state of group %s partition %d in %s: `%s state inspect` lists what there is", group, partition, a.values.String("producer.state-dir"), a.Domain.Name)
		}
		return nil
	}
	return a.withSettings(cmd, stateSettings)
}

func (a *App) localState() ([]producer.LocalState, error) {
	dir := a.values.String("producer.state-dir")
	if dir == "" {
		return nil, cli.Usage(errors.New("--producer-state-dir is empty: give the folder that the producers use; of a demo it is .ledgerline/state"))
	}
	return producer.InspectState(dir)
}
