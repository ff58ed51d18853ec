package ledgerline

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ledgerline-es/ledgerline/internal/cli"
	"github.com/ledgerline-es/ledgerline/internal/logread"
	"github.com/ledgerline-es/ledgerline/producer"
	"github.com/ledgerline-es/ledgerline/schemas"
	"github.com/ledgerline-es/ledgerline/schemas/ledgerline"
)

// scheduledDocument is a command that waits for its time, as schedule list prints it.
type scheduledDocument struct {
	Due       string          `json:"due"`
	Kind      string          `json:"kind"`
	Aggregate string          `json:"aggregate_id"`
	CommandID string          `json:"command_id,omitempty"` // of one that a client put off, …
	Name      string          `json:"name,omitempty"`       // … and of one of the aggregate's own
	State     string          `json:"state"`                // waiting, fired
	Type      string          `json:"type,omitempty"`
	Data      json.RawMessage `json:"data,omitempty"`
}

func (a *App) scheduleCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "schedule", Short: "Look at commands that wait for their time, or cancel one",
		Long: `A command that is published with a deliver-at header (publish --deliver-at) is decided then, and not now. Aggregates put commands to
themselves off in the same way. Both wait in Kafka, and are decided once, within a second of their time by the brokers' clocks.`,
		Example: fmt.Sprintf("  %[1]s schedule list\n  %[1]s schedule cancel account acc-1 rent-5", a.Domain.Name),
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.scheduleListCommand(), a.scheduleCancelCommand())
	return cmd
}

func (a *App) scheduleListCommand() *cobra.Command {
	var id string
	var limit int
	var asJSON bool
	cmd := &cobra.Command{
		Use: "list [KIND]", Short: "List commands that wait, those first that are due first",
		Long: `Lists the commands that wait for their time, of one kind or of all. It reads the snapshots topics, of one aggregate a partition.`,
		Example: fmt.Sprintf(`  %[1]s schedule list
  %[1]s schedule list account --id acc-1
  %[1]s schedule list --limit 0 --json | jq -r '.[] | [.due, .aggregate_id, .command_id] | @tsv'`, a.Domain.Name),
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 {
				return cli.Usage(errors.New("schedule list wants one KIND, or none"))
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&id, "id", "", "only those of this aggregate")
	f.IntVar(&limit, "limit", 100, "print at most so many; 0: all")
	f.BoolVar(&asJSON, "json", false, "print one JSON document")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if id != "" {
			if err := schemas.ValidateID(id); err != nil {
				return cli.Usage(fmt.Errorf("--id: %w", err))
			}
		}
		if limit < 0 {
			return cli.Usage(fmt.Errorf("--limit is %d: give a whole number from 0", limit))
		}
		defs := a.Domain.Aggregates
		if len(args) == 1 {
			def, err := a.Domain.aggregate(args[0])
			if err != nil {
				return err
			}
			defs = []producer.Definition{def}
		}
		log, err := a.look()
		if err != nil {
			return err
		}
		defer log.Close()
		all := []producer.Scheduled{}
		for _, def := range defs {
			some, err := log.scheduled(cmd.Context(), def, id)
			if err != nil {
				return err
			}
			all = append(all, some...)
		}
		slices.SortFunc(all, func(x, y producer.Scheduled) int {
			return cmp.Or(x.Due.Compare(y.Due), cmp.Compare(x.AggregateID, y.AggregateID), cmp.Compare(x.Name+x.CommandID, y.Name+y.CommandID))
		})
		if limit > 0 && len(all) > limit {
			fmt.Fprintf(a.Err, "%s: %d more are not shown: --limit 0 shows all\n", a.Domain.Name, len(all)-limit)
			all = all[:limit]
		}
		docs := make([]scheduledDocument, len(all))
		for i, s := range all {
			docs[i] = scheduledDocument{
				Due: schemas.FormatTime(s.Due), Kind: s.Kind, Aggregate: s.AggregateID, CommandID: s.CommandID, Name: s.Name,
				State: "waiting", Type: schemas.ShortName(s.Type), Data: s.Data,
			}
			if s.Fired {
				docs[i].State = "fired"
			}
		}
		if asJSON {
			return a.JSON(docs)
		}
		return a.printScheduled(docs)
	}
	return a.withSettings(cmd, kafkaSettings)
}

// scheduled gives what waits of a kind, of one aggregate when one is named.
func (log *look) scheduled(ctx context.Context, def producer.Definition, id string) ([]producer.Scheduled, error) {
	topic, err := logread.Look(ctx, log.admin, log.topics(def.KindName()).Snapshots)
	if errors.Is(err, logread.ErrNoTopic) {
		return nil, nil // nothing waits yet
	}
	if err != nil {
		return nil, err
	}
	if id != "" {
		topic.Only(schemas.Partition(id, topic.Partitions))
	}
	viewer := log.viewer(def)
	bar := log.Progress("reading "+topic.Name, "records", topic.Total())
	defer bar.End()
	var all []producer.Scheduled
	for p := range topic.Partitions {
		waiting := map[string]producer.Scheduled{}
		err := log.reader.Partition(ctx, topic, p, func(rec *kgo.Record) error {
			bar.Add(1)
			s, ok, err := viewer.Scheduled(ctx, rec)
			switch {
			case err != nil:
				return fmt.Errorf("%s/%d offset %d: %w", rec.Topic, rec.Partition, rec.Offset, err)
			case !ok || id != "" && s.AggregateID != id:
			case s.Due.IsZero():
				delete(waiting, string(rec.Key))
			default:
				waiting[string(rec.Key)] = s
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
		for _, s := range waiting {
			all = append(all, s)
		}
	}
	return all, nil
}

func (a *App) printScheduled(docs []scheduledDocument) error {
	w := tabwriter.NewWriter(a.Out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "DUE\tKIND\tAGGREGATE\tCOMMAND\tTIMER\tSTATE\tTYPE\tDATA")
	for _, d := range docs {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", d.Due, d.Kind, cut(d.Aggregate, shownID), oneLine(cut(cmp.Or(d.CommandID, "-"), shownID)),
			cut(cmp.Or(d.Name, "-"), shownID), d.State, cmp.Or(d.Type, "-"), oneLine(cut(string(d.Data), shownError)))
	}
	return w.Flush()
}

func (a *App) scheduleCancelCommand() *cobra.Command {
	var timeout time.Duration
	var asJSON bool
	cmd := &cobra.Command{
		Use: "cancel KIND ID COMMAND_ID", Short: "Cancel a command that a client put off",
		Long: `Cancels a command that was published with deliver-at, if it has not been decided yet; COMMAND_ID is its id, as schedule list prints it.
What an aggregate put off itself only its rules can cancel.

Exit codes: those of publish; 3 when no such command waits.`,
		Example: fmt.Sprintf("  %[1]s schedule cancel account acc-1 rent-5", a.Domain.Name),
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 3 {
				return cli.Usage(errors.New("schedule cancel wants KIND, ID and COMMAND_ID"))
			}
			return nil
		},
	}
	cmd.Flags().DurationVar(&timeout, "timeout", 10*time.Second, "how long to wait for the reply")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the reply as one JSON document")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := schemas.ValidateID(args[1]); err != nil {
			return cli.Usage(err)
		}
		return a.Client(cmd.Context(), args[0], func(ctx context.Context, client *producer.Client) error {
			c := producer.Command{AggregateID: args[1], Record: &ledgerline.CancelScheduled{CommandID: args[2]}}
			return a.publish(ctx, client, c, timeout, asJSON)
		})
	}
	return a.withSettings(cmd, kafkaSettings)
}
