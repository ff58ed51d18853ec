package ledgerline

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ledgerline-es/ledgerline/internal/cli"
	"github.com/ledgerline-es/ledgerline/producer"
	"github.com/ledgerline-es/ledgerline/schemas"
	"github.com/ledgerline-es/ledgerline/schemas/ledgerline"
)

// traceDocument is what became of one command.
type traceDocument struct {
	CommandID   string             `json:"command_id"`
	Kind        string             `json:"kind"`
	AggregateID string             `json:"aggregate_id"`
	Records     []tracedRecord     `json:"commands"` // as published, and where it was forwarded to
	Events      []tracedEvent      `json:"events"`
	Replies     []tracedReply      `json:"replies"`
	DeadLetters []tracedDeadLetter `json:"dead_letters"`
	Projections []tracedProjection `json:"projections"`

	topics schemas.Topics
	found  []*kgo.Record // its events
}

// place is where a record stands.
type place struct {
	Topic      string `json:"topic"`
	Partition  int32  `json:"partition"`
	Offset     int64  `json:"offset"`
	RecordedAt string `json:"recorded_at"`
}

func placeOf(rec *kgo.Record) place {
	return place{rec.Topic, rec.Partition, rec.Offset, schemas.FormatTime(rec.Timestamp)}
}

func (p place) String() string { return fmt.Sprintf("%s/%d offset %d", p.Topic, p.Partition, p.Offset) }

type tracedRecord struct {
	place
	Type          string          `json:"type,omitempty"`
	Data          json.RawMessage `json:"data,omitempty"`
	Principal     string          `json:"principal,omitempty"`
	ForwardedFrom string          `json:"forwarded_from,omitempty"`
	Error         string          `json:"error,omitempty"` // why it can't be read
}

type tracedEvent struct {
	place
	Sequence int64           `json:"sequence"`
	Type     string          `json:"type"`
	Data     json.RawMessage `json:"data"`
	// The Kafka transaction that wrote it: the producer's id and epoch.
	ProducerID    int64 `json:"producer_id"`
	ProducerEpoch int16 `json:"producer_epoch"`
}

type tracedReply struct {
	place
	replyDocument
}

type tracedDeadLetter struct {
	place
	Reason string `json:"reason"`
	Error  string `json:"error"`
	Origin string `json:"origin"`
}

// tracedProjection is how far a projection is with the command's events.
type tracedProjection struct {
	Name  string            `json:"name"`
	Store string            `json:"store"`
	Table string            `json:"table"`
	State string            `json:"state"` // stored, behind, not built, or an error
	Rows  []json.RawMessage `json:"rows"`
}

func (a *App) traceCommand() *cobra.Command {
	var kind, since string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "trace COMMAND-ID",
		Short: "Follow one command: record, transaction, events, reply, rows",
		Long: `Looks for a command by its id (its ce_id, or "topic/partition/offset" where it was published) and shows what became of it:
the record and where it was forwarded to, the events and the Kafka transaction that wrote them, the replies, the dead letter,
and the rows of every projection.

It reads the commands from --since on (by default from the time that an id made by us holds, else all of them), and from there
on the events and replies. Exit codes: 0 found, 1 not found or failure.`,
		Example: fmt.Sprintf("  %[1]s trace pay-7 --kind account --since 24h\n  %[1]s trace account.commands/3/1042 --json", a.Domain.Name),
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 || args[0] == "" {
				return cli.Usage(errors.New("trace wants one COMMAND-ID"))
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&kind, "kind", "", "look only for commands of this kind")
	cmd.Flags().StringVar(&since, "since", "", "look only at commands recorded at this time or later: RFC 3339, or how long ago, such as 24h")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON document")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		from, err := parseSince(since)
		if err != nil {
			return cli.Usage(err)
		}
		defs := a.Domain.Aggregates
		if kind != "" {
			def, err := a.Domain.aggregate(kind)
			if err != nil {
				return err
			}
			defs = []producer.Definition{def}
		}
		if from.IsZero() {
			from = madeAt(args[0])
		}
		docs, err := a.trace(cmd.Context(), args[0], defs, from)
		if err != nil {
			return err
		}
		if asJSON {
			err = a.JSON(docs)
		} else {
			for _, d := range docs {
				err = errors.Join(err, d.print(a.Out))
			}
		}
		if err == nil && len(docs) == 0 {
			err = fmt.Errorf("no command %s, and no event of it", args[0])
			if !from.IsZero() {
				err = fmt.Errorf("%w, since %s: look further back with --since", err, schemas.FormatTime(from))
			}
		}
		return err
	}
	return a.withSettings(cmd, kafkaSettings, storeSettings)
}

// clockSkew is how far the clocks of those who write records may be apart.
const clockSkew = time.Hour

// madeAt is a time before the command was published, if its id says when it was made; else the zero time.
func madeAt(id string) time.Time {
	u, err := uuid.Parse(id)
	if err != nil || u.Version() != 7 {
		return time.Time{}
	}
	sec, nsec := u.Time().UnixTime()
	return time.Unix(sec, nsec).Add(-clockSkew)
}

// trace finds a command in the logs of the kinds: ids are unique within an aggregate, so there may be several.
func (a *App) trace(ctx context.Context, id string, defs []producer.Definition, since time.Time) ([]*traceDocument, error) {
	log, err := a.look()
	if err != nil {
		return nil, err
	}
	defer log.Close()
	docs := []*traceDocument{}
	for _, def := range defs {
		t := &tracer{
			look: log, def: def, id: id, since: since,
			topics: log.topics(def.KindName()), viewer: log.viewer(def),
			byID: map[string]*traceDocument{},
		}
		if err := t.run(ctx); err != nil {
			return nil, err
		}
		for _, d := range t.docs {
			if err := log.traceRows(ctx, d); err != nil {
				return nil, err
			}
			docs = append(docs, d)
		}
	}
	return docs, nil
}

func (d *traceDocument) print(w io.Writer) error {
	var errs []error
	say := func(format string, args ...any) {
		_, err := fmt.Fprintln(w, strings.TrimRight(fmt.Sprintf(format, args...), " "))
		errs = append(errs, err)
	}
	say("command %s to %s %s", d.CommandID, d.Kind, d.AggregateID)
	if len(d.Records) == 0 {
		say("  record       not there: commands are kept for some days")
	}
	for _, r := range d.Records {
		say("  record       %s, %s", r.place, r.RecordedAt)
		if r.ForwardedFrom != "" {
			say("               forwarded from %s", r.ForwardedFrom)
		}
		if r.Error != "" {
			say("               can't be read: %s", r.Error)
			continue
		}
		say("               %s %s", r.Type, r.Data)
		if r.Principal != "" {
			say("               by %s", r.Principal)
		}
	}
	for _, e := range d.Events {
		say("  event        %s, %s", e.place, e.RecordedAt)
		say("               %d %s %s", e.Sequence, e.Type, e.Data)
		say("               transaction of producer id %d, epoch %d", e.ProducerID, e.ProducerEpoch)
	}
	for _, r := range d.Replies {
		say("  reply        %s, %s", r.place, r.RecordedAt)
		duplicate := ""
		if r.Duplicate {
			duplicate = " (duplicate)"
		}
		say("               %s%s %s %s", r.Outcome, duplicate, r.Code, r.Message)
	}
	for _, l := range d.DeadLetters {
		say("  dead letter  %s: %s: %s", l.place, l.Reason, l.Error)
	}
	for _, p := range d.Projections {
		say("  projection   %s in %s, table %s: %s", p.Name, p.Store, p.Table, p.State)
		for _, row := range p.Rows {
			say("               %s", row)
		}
	}
	return errors.Join(errs...)
}

func replyOf(r *ledgerline.Reply) replyDocument { return replyDocument(*r) }
