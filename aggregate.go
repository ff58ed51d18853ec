package ledgerline

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ledgerline-es/ledgerline/internal/cli"
	"github.com/ledgerline-es/ledgerline/internal/logread"
	"github.com/ledgerline-es/ledgerline/producer"
	"github.com/ledgerline-es/ledgerline/projector"
	"github.com/ledgerline-es/ledgerline/schemas"
)

// aggregateDocument is an aggregate as aggregate show prints it.
type aggregateDocument struct {
	Kind      string          `json:"kind"`
	ID        string          `json:"id"`
	Version   int64           `json:"version"`
	State     json.RawMessage `json:"state"`
	Partition int32           `json:"partition"` // of all topics of the kind
	Owner     *ownerDocument  `json:"owner"`     // null: no producer is at work
	Events    []eventDocument `json:"events"`    // the last ones
}

// ownerDocument is the member of the producers' group that decides the aggregate's commands.
type ownerDocument struct {
	Group    string `json:"group"`
	State    string `json:"group_state"`
	MemberID string `json:"member_id"`
	ClientID string `json:"client_id"`
	Host     string `json:"host"`
}

func (a *App) aggregateCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "aggregate", Short: "Look at one aggregate",
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.aggregateShowCommand())
	return cmd
}

func (a *App) aggregateShowCommand() *cobra.Command {
	var last int
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "show KIND ID",
		Short: "Show an aggregate: its state, version, last events, partition, and who decides its commands",
		Long: `Folds the aggregate's committed events by the rules of this program, and shows the state that they lead to: what the producer
decides the next command on, once it has decided those before it. It reads one partition of the events, from the beginning.`,
		Example: fmt.Sprintf("  %[1]s aggregate show account test-account-001\n  %[1]s aggregate show account test-account-001 --json | jq .state", a.Domain.Name),
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 2 {
				return cli.Usage(errors.New("aggregate show wants KIND and ID"))
			}
			return nil
		},
	}
	cmd.Flags().IntVar(&last, "events", 5, "how many of the last events to show")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON document")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := schemas.ValidateID(args[1]); err != nil {
			return cli.Usage(err)
		}
		if last < 0 {
			return cli.Usage(fmt.Errorf("--events is %d: give a whole number from 0", last))
		}
		d, err := a.lookAtAggregate(cmd.Context(), args[0], args[1], last)
		if err != nil {
			return err
		}
		if asJSON {
			return a.JSON(d)
		}
		return a.printAggregate(d)
	}
	return a.withSettings(cmd, kafkaSettings)
}

func (a *App) lookAtAggregate(ctx context.Context, kind, id string, last int) (aggregateDocument, error) {
	d := aggregateDocument{Kind: kind, ID: id, Events: []eventDocument{}}
	def, err := a.Domain.aggregate(kind)
	if err != nil {
		return d, err
	}
	log, err := a.look()
	if err != nil {
		return d, err
	}
	defer log.Close()
	topic, err := logread.Look(ctx, log.admin, log.topics(kind).Events)
	if errors.Is(err, logread.ErrNoTopic) {
		err = fmt.Errorf("%w (a producer creates it)", err)
	}
	if err != nil {
		return d, err
	}
	d.Partition = schemas.Partition(id, topic.Partitions)
	topic.Only(d.Partition)
	viewer := log.viewer(def)
	fold := viewer.Fold()
	var records []*kgo.Record
	bar := a.Progress("reading "+topic.Name, "records", topic.Total())
	err = log.reader.Partition(ctx, topic, d.Partition, func(rec *kgo.Record) error {
		bar.Add(1)
		of, sequence, err := projector.SplitKey(rec.Key)
		if err == nil && (of != id || rec.Value == nil) {
			return nil
		}
		if err == nil {
			err = fold.Add(ctx, sequence, rec)
		}
		if err != nil {
			return fmt.Errorf("%s/%d offset %d: %w", rec.Topic, rec.Partition, rec.Offset, err)
		}
		if records = append(records, rec); len(records) > last {
			records = slices.Delete(records, 0, 1)
		}
		return nil
	})
	bar.End()
	if err != nil {
		return d, err
	}
	if d.Version = fold.Version(); d.Version == 0 {
		return d, noEvents(id, topic.Name)
	}
	if d.State, err = fold.State(); err != nil {
		return d, err
	}
	for _, rec := range records {
		doc, _, err := eventQuery{}.view(ctx, viewer, rec)
		if err != nil {
			return d, err
		}
		d.Events = append(d.Events, doc)
	}
	d.Owner, err = owner(ctx, log.admin, producer.Group(log.prefix, kind), log.topics(kind).Commands, d.Partition)
	return d, err
}

// owner finds the member of a group that has a partition; nil when there is none.
func owner(ctx context.Context, adm *kadm.Client, group, topic string, partition int32) (*ownerDocument, error) {
	described, err := adm.DescribeGroups(ctx, group)
	if err != nil {
		return nil, fmt.Errorf("describe group %s: %w", group, err)
	}
	classic := described[group]
	if classic.Err == nil && len(classic.Members) > 0 {
		for _, m := range classic.Members {
			assigned, ok := m.Assigned.AsConsumer()
			if ok && slices.ContainsFunc(assigned.Topics, func(t kmsg.ConsumerMemberAssignmentTopic) bool {
				return t.Topic == topic && slices.Contains(t.Partitions, partition)
			}) {
				return &ownerDocument{Group: group, State: classic.State, MemberID: m.MemberID, ClientID: m.ClientID, Host: m.ClientHost}, nil
			}
		}
		return nil, nil
	}
	// A group of the newer protocol is described by another request.
	newer, err := adm.DescribeConsumerGroups(ctx, group)
	if err == nil {
		err = newer[group].Err
	}
	switch {
	case errors.Is(err, kerr.GroupIDNotFound):
		return nil, nil
	case err != nil:
		return nil, errors.Join(classic.Err, fmt.Errorf("describe group %s: %w", group, err))
	}
	for _, m := range newer[group].Members {
		if m.Assignment.Lookup(topic, partition) {
			return &ownerDocument{Group: group, State: newer[group].State, MemberID: m.MemberID, ClientID: m.ClientID, Host: m.ClientHost}, nil
		}
	}
	return nil, nil
}

func (a *App) printAggregate(d aggregateDocument) error {
	var errs []error
	say := func(format string, args ...any) {
		_, err := fmt.Fprintf(a.Out, format+"\n", args...)
		errs = append(errs, err)
	}
	say("%s %s, version %d, partition %d", d.Kind, d.ID, d.Version, d.Partition)
	if o := d.Owner; o != nil {
		say("decided by %s (%s) at %s, in group %s: %s", o.ClientID, o.MemberID, o.Host, o.Group, o.State)
	} else {
		say("decided by nobody at the moment: no producer owns the partition")
	}
	say("state %s", d.State)
	for _, e := range d.Events {
		say("event %d %s at %s by command %q: %s", e.Sequence, e.Type, e.Time, e.CommandID, e.Data)
	}
	return errors.Join(errs...)
}
