package ledgerline

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ledgerline-es/ledgerline/internal/cli"
	"github.com/ledgerline-es/ledgerline/internal/logread"
	"github.com/ledgerline-es/ledgerline/producer"
	"github.com/ledgerline-es/ledgerline/projector"
	"github.com/ledgerline-es/ledgerline/schemas"
)

// eventDocument is an event as events prints it, one a line.
type eventDocument struct {
	ID            string          `json:"id"`
	Sequence      int64           `json:"sequence"`
	Type          string          `json:"type"`
	Time          string          `json:"time"` // business time
	Data          json.RawMessage `json:"data"`
	CommandID     string          `json:"command_id,omitempty"`
	CorrelationID string          `json:"correlation_id,omitempty"`
	Principal     string          `json:"principal,omitempty"`
	RecordedAt    string          `json:"recorded_at"`
	Partition     int32           `json:"partition"`
	Offset        int64           `json:"offset"`
}

// eventQuery is which events are asked for.
type eventQuery struct {
	kind, id     string
	types        []string
	fromSequence int64
	since        time.Time
	limit        int64
	follow       bool
}

func (a *App) eventsCommand() *cobra.Command {
	var q eventQuery
	var since string
	cmd := &cobra.Command{
		Use:   "events KIND [ID]",
		Short: "Print events from the event store",
		Long: `Prints events as JSON, one a line: those of one aggregate in their order, or those of a whole kind, partition by partition.
It reads what is committed now and ends; --follow goes on with what comes.

--since is a time (RFC 3339) or how long ago (such as 15m).` + a.eventsHelp(),
		Example: fmt.Sprintf(`  %[1]s events account test-account-001
  %[1]s events account --type MoneyDeposited --since 1h | jq .data.amount_minor
  %[1]s events account --since 0s --follow`, a.Domain.Name),
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) < 1 || len(args) > 2 {
				return cli.Usage(errors.New("events wants KIND and, for one aggregate, its ID"))
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.StringSliceVar(&q.types, "type", nil, "only events of these types, by their short or full names")
	f.Int64Var(&q.fromSequence, "from", 1, "with ID: begin at this event")
	f.StringVar(&since, "since", "", "only events recorded at this time or later")
	f.Int64Var(&q.limit, "limit", 0, "end after so many events, also with --follow; 0: all")
	f.BoolVarP(&q.follow, "follow", "f", false, "go on with events that come, until Ctrl-C")
	cmd.RunE = func(cmd *cobra.Command, args []string) (err error) {
		q.kind = args[0]
		if len(args) == 2 {
			q.id = args[1]
			if err := schemas.ValidateID(q.id); err != nil {
				return cli.Usage(err)
			}
		}
		if q.since, err = parseSince(since); err != nil {
			return cli.Usage(err)
		}
		return a.events(cmd.Context(), q)
	}
	return a.withSettings(cmd, kafkaSettings)
}

func (a *App) eventsHelp() string {
	var b strings.Builder
	for _, def := range a.Domain.Aggregates {
		fmt.Fprintf(&b, "\n\nEvents of %s:", def.KindName())
		for _, name := range def.EventNames() {
			fmt.Fprintf(&b, " %s", schemas.ShortName(name))
		}
	}
	return b.String()
}

// check refuses types of events that the kind does not have.
func (q eventQuery) check(def producer.Definition) error {
	for _, t := range q.types {
		var short []string
		known := false
		for _, name := range def.EventNames() {
			short = append(short, schemas.ShortName(name))
			known = known || q.is(t, name)
		}
		if !known {
			return cli.Usage(fmt.Errorf("--type: %s has no event %q: there are %s", q.kind, t, strings.Join(short, ", ")))
		}
	}
	return nil
}

// is reports whether a type, by its short or full name, is the event called name.
func (eventQuery) is(t, name string) bool { return t == name || t == schemas.ShortName(name) }

// parseSince reads a time, or how long ago it was. Empty is the zero time.
func parseSince(text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if ago, err := time.ParseDuration(text); err == nil && ago >= 0 {
		return time.Now().Add(-ago), nil
	}
	t, err := schemas.ParseTime(text)
	if err != nil {
		return t, fmt.Errorf("--since is %q: give a time such as 2026-01-31T12:00:00Z, or how long ago, such as 15m", text)
	}
	return t, nil
}

// errEnough ends reading when the limit is reached.
var errEnough = errors.New("enough")

func (a *App) events(ctx context.Context, q eventQuery) error {
	def, err := a.Domain.aggregate(q.kind)
	if err != nil {
		return err
	}
	if err := q.check(def); err != nil {
		return err
	}
	log, err := a.look()
	if err != nil {
		return err
	}
	defer log.Close()
	topic, err := logread.Look(ctx, log.admin, log.topics(q.kind).Events)
	if errors.Is(err, logread.ErrNoTopic) {
		err = fmt.Errorf("%w (a producer creates it)", err)
	}
	if err != nil {
		return err
	}
	if !q.since.IsZero() {
		if err := topic.Since(ctx, log.admin, q.since); err != nil {
			return err
		}
	}
	if q.id != "" {
		topic.Only(schemas.Partition(q.id, topic.Partitions))
	}
	viewer := log.viewer(def)
	out := json.NewEncoder(a.Out)
	out.SetEscapeHTML(false)
	var printed int64
	show := func(rec *kgo.Record) error {
		doc, wanted, err := q.view(ctx, viewer, rec)
		if err != nil || !wanted {
			return err
		}
		if err := out.Encode(doc); err != nil {
			return err
		}
		if printed++; printed == q.limit {
			return errEnough
		}
		return nil
	}
	for p := range topic.Partitions {
		if err := log.reader.Partition(ctx, topic, p, show); err != nil {
			return ended(err)
		}
	}
	if !q.follow {
		if printed == 0 && q.id != "" && q.fromSequence <= 1 && len(q.types) == 0 && q.since.IsZero() {
			return noEvents(q.id, topic.Name)
		}
		if printed == 0 && q.id != "" {
			fmt.Fprintf(a.Err, "%s: no such events of %s in %s\n", a.Domain.Name, q.id, topic.Name)
		}
		return nil
	}
	return ended(log.reader.Follow(ctx, topic, show))
}

// noEvents says that there is no such aggregate.
func noEvents(id, topic string) error {
	return fmt.Errorf("%s has no events in %s: it does not exist", id, topic)
}

// ended is err, unless it says that the end was wanted.
func ended(err error) error {
	if errors.Is(err, errEnough) || errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// view gives the document of an event that is asked for.
func (q eventQuery) view(ctx context.Context, viewer *producer.Viewer, rec *kgo.Record) (doc eventDocument, wanted bool, err error) {
	id, sequence, err := projector.SplitKey(rec.Key)
	if err != nil {
		return doc, false, fmt.Errorf("%s/%d offset %d: %w; run verify", rec.Topic, rec.Partition, rec.Offset, err)
	}
	if q.id != "" && (id != q.id || sequence < q.fromSequence) || rec.Value == nil {
		return doc, false, nil
	}
	header := func(key string) string {
		value, _ := schemas.Header(rec, key)
		return value
	}
	name := header(schemas.HeaderType)
	if len(q.types) > 0 && !slices.ContainsFunc(q.types, func(t string) bool { return q.is(t, name) }) {
		return doc, false, nil
	}
	name, data, err := viewer.Event(ctx, rec)
	if err != nil {
		return doc, false, fmt.Errorf("%s/%d offset %d: %w", rec.Topic, rec.Partition, rec.Offset, err)
	}
	recorded := schemas.FormatTime(rec.Timestamp)
	doc = eventDocument{
		ID: id, Sequence: sequence, Type: schemas.ShortName(name), Time: header(schemas.HeaderTime), Data: data,
		CommandID: header(schemas.HeaderCausationID), CorrelationID: header(schemas.HeaderCorrelationID), Principal: header(schemas.HeaderAuthID),
		RecordedAt: recorded, Partition: rec.Partition, Offset: rec.Offset,
	}
	if doc.Time == "" {
		doc.Time = recorded
	}
	return doc, true, nil
}
