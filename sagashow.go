package ledgerline

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ledgerline-es/ledgerline/internal/cli"
	"github.com/ledgerline-es/ledgerline/internal/logread"
	"github.com/ledgerline-es/ledgerline/producer"
	"github.com/ledgerline-es/ledgerline/projector"
	"github.com/ledgerline-es/ledgerline/schemas"
)

// sagaDocument is a saga as saga show prints it.
type sagaDocument struct {
	Saga    string        `json:"saga"`
	Began   string        `json:"began"`
	Last    string        `json:"last"` // its last step so far
	Seconds float64       `json:"seconds"`
	Waits   []legDocument `json:"waits"` // empty: nothing is to come
	Steps   []sagaStep    `json:"steps"`

	of map[string]bool // aggregates that take part, as "<kind>/<id>"
}

// sagaStep is a record of a saga.
type sagaStep struct {
	place
	What string          `json:"what"` // command, event, message, answer, timer
	From string          `json:"from,omitempty"`
	To   string          `json:"to"` // "<kind>/<id>"; of an event: the aggregate whose it is
	Type string          `json:"type"`
	Data json.RawMessage `json:"data,omitempty"`

	at time.Time
}

// What a step is.
const (
	stepCommand = "command"
	stepMessage = "message"
	stepTimer   = "timer"
	stepAnswer  = "answer"
	stepEvent   = "event"
)

// stepOrder is in what order things happen that are recorded at one time: a transaction decides a command, and sends.
var stepOrder = []string{stepCommand, stepTimer, stepAnswer, stepEvent, stepMessage}

func (a *App) sagaShowCommand() *cobra.Command {
	var since string
	var asJSON bool
	cmd := &cobra.Command{
		Use: "show SAGA", Short: "Show the steps of a saga, and what it waits for",
		Long: `Shows what belongs to a correlation id, in the order in which it happened: the command that it began with, the events of every
aggregate, and the commands and answers that they sent each other; then what the saga waits for, and for how long. SAGA is what
"saga list" prints, or the id of the first command.

It reads the topics of all kinds from --since on; by default from the time that an id made by us holds, else all of them. Commands and
messages are kept for some days, events for ever. Exit codes: 0 found, 1 not found or failure.`,
		Example: fmt.Sprintf("  %[1]s saga show pay-7 --since 24h\n  %[1]s saga show pay-7 --json | jq '.waits'", a.Domain.Name),
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 || args[0] == "" {
				return cli.Usage(errors.New("saga show wants one SAGA, as saga list prints it"))
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&since, "since", "", "look only at what was recorded at this time or later: RFC 3339, or how long ago, such as 24h")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON document")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		from, err := parseSince(since)
		if err != nil {
			return cli.Usage(err)
		}
		if from.IsZero() {
			from = madeAt(args[0])
		}
		log, err := a.look()
		if err != nil {
			return err
		}
		defer log.Close()
		d, err := log.saga(cmd.Context(), args[0], from)
		if err == nil && len(d.Steps)+len(d.Waits) == 0 {
			err = fmt.Errorf("nothing belongs to %s: a saga is known by the correlation id of its first command, or else by that command's id", args[0])
			if !from.IsZero() {
				err = fmt.Errorf("%w; and only what was recorded since %s was looked at: look further back with --since", err, schemas.FormatTime(from))
			}
		}
		if err != nil {
			return err
		}
		if asJSON {
			return a.JSON(d)
		}
		return a.printSaga(d)
	}
	return a.withSettings(cmd, kafkaSettings)
}

func (log *look) saga(ctx context.Context, id string, since time.Time) (*sagaDocument, error) {
	d := &sagaDocument{Saga: id, Waits: []legDocument{}, Steps: []sagaStep{}, of: map[string]bool{}}
	legs, err := log.legs(ctx) // before the steps: a saga that waits for nothing has all of its steps
	if err != nil {
		return nil, err
	}
	for _, l := range legs {
		if l.Saga == id {
			d.Waits = append(d.Waits, l)
			d.of[l.waiter()] = true
		}
	}
	for _, def := range log.Domain.Aggregates {
		viewer, topics := log.viewer(def), log.topics(def.KindName())
		for name, read := range map[string]func(*kgo.Record) (sagaStep, error){
			topics.Commands: func(rec *kgo.Record) (sagaStep, error) { return commandStep(ctx, viewer, def.KindName(), rec), nil },
			topics.Internal: func(rec *kgo.Record) (sagaStep, error) { return messageStep(ctx, viewer, rec), nil },
			topics.Events: func(rec *kgo.Record) (sagaStep, error) {
				aggregate, _, err := projector.SplitKey(rec.Key)
				if err != nil {
					return sagaStep{}, nil //nolint:nilerr // no producer wrote it: that is for verify to say
				}
				s := sagaStep{What: stepEvent, To: def.KindName() + "/" + aggregate}
				s.Type, s.Data, err = viewer.Event(ctx, rec)
				return s, err
			},
		} {
			if err := log.steps(ctx, d, name, since, read); err != nil {
				return nil, err
			}
		}
	}
	slices.SortStableFunc(d.Steps, func(a, b sagaStep) int {
		return cmp.Or(a.at.Compare(b.at), slices.Index(stepOrder, a.What)-slices.Index(stepOrder, b.What), cmp.Compare(a.Offset, b.Offset))
	})
	if n := len(d.Steps); n > 0 {
		d.Began, d.Last, d.Seconds = d.Steps[0].RecordedAt, d.Steps[n-1].RecordedAt, d.Steps[n-1].at.Sub(d.Steps[0].at).Seconds()
	}
	return d, log.timers(ctx, d)
}

// steps adds the records of a topic that belong to the saga.
func (log *look) steps(ctx context.Context, d *sagaDocument, name string, since time.Time, read func(*kgo.Record) (sagaStep, error)) error {
	topic, err := logread.Look(ctx, log.admin, name)
	if errors.Is(err, logread.ErrNoTopic) {
		return nil
	}
	if err != nil {
		return err
	}
	if !since.IsZero() {
		if err := topic.Since(ctx, log.admin, since); err != nil {
			return err
		}
	}
	bar := log.Progress("reading "+name, "records", topic.Total())
	defer bar.End()
	for p := range topic.Partitions {
		err := log.reader.Partition(ctx, topic, p, func(rec *kgo.Record) error {
			bar.Add(1)
			if !belongs(rec, d.Saga) {
				return nil
			}
			s, err := read(rec)
			if err != nil {
				return fmt.Errorf("%s: %w", placeOf(rec), err)
			}
			if s.What == "" {
				return nil
			}
			s.place, s.at, s.Type = placeOf(rec), rec.Timestamp, schemas.ShortName(s.Type)
			d.Steps = append(d.Steps, s)
			d.of[s.To] = true
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// belongs reports whether a record belongs to a saga. Who began it need not have said so: then the first command's id is the saga's.
func belongs(rec *kgo.Record, saga string) bool {
	if id, ok := schemas.Header(rec, schemas.HeaderCorrelationID); ok {
		return id == saga
	}
	return cmp.Or(headerOf(rec, schemas.HeaderCausationID), headerOf(rec, schemas.HeaderID)) == saga
}

// commandStep is a command that a client published; none when it is where that was forwarded to.
func commandStep(ctx context.Context, viewer *producer.Viewer, kind string, rec *kgo.Record) sagaStep {
	if headerOf(rec, schemas.HeaderOrigin) != "" {
		return sagaStep{}
	}
	s := sagaStep{What: stepCommand, From: headerOf(rec, schemas.HeaderAuthID), To: kind + "/" + string(rec.Key), Type: headerOf(rec, schemas.HeaderType)}
	if name, data, err := viewer.Command(ctx, rec); err == nil { // what can't be read is a dead letter, which says so
		s.Type, s.Data = name, data
	}
	return s
}

func messageStep(ctx context.Context, viewer *producer.Viewer, rec *kgo.Record) sagaStep {
	m, ok, _ := viewer.Message(ctx, rec) // … as above
	if !ok {
		return sagaStep{}
	}
	s := sagaStep{What: stepMessage, From: m.From, To: m.To, Type: m.Type, Data: m.Data}
	switch {
	case m.Answer:
		s.What = stepAnswer
	case m.Timer:
		s.What = stepTimer
	}
	return s
}

// timers finds the commands that the aggregates which take part have put off.
func (log *look) timers(ctx context.Context, d *sagaDocument) error {
	for of := range d.of {
		kind, id, _ := strings.Cut(of, "/")
		def, err := log.Domain.aggregate(kind)
		if err != nil || schemas.ValidateID(id) != nil {
			continue // a stranger's text
		}
		timers, err := log.scheduled(ctx, def, id)
		if err != nil {
			return err
		}
		for _, t := range timers {
			if t.CorrelationID != d.Saga || t.Fired {
				continue
			}
			l := legDocument{Saga: d.Saga, State: legScheduled, From: of, To: of, CommandID: cmp.Or(t.CommandID, t.Name), Type: schemas.ShortName(t.Type), Data: t.Data}
			d.Waits = append(d.Waits, l.at(t.Due))
		}
	}
	slices.SortStableFunc(d.Waits, func(a, b legDocument) int { return a.since.Compare(b.since) })
	return nil
}

func (a *App) printSaga(d *sagaDocument) error {
	say := func(format string, args ...any) error {
		_, err := fmt.Fprintf(a.Out, format+"\n", args...)
		return err
	}
	errs := []error{say("saga %s: %d steps in %s", oneLine(d.Saga), len(d.Steps), time.Duration(d.Seconds*float64(time.Second)).Round(time.Millisecond))}
	w := tabwriter.NewWriter(a.Out, 0, 0, 2, ' ', 0)
	for _, s := range d.Steps {
		who := s.To
		if s.From != "" && s.What != stepEvent {
			who = s.From + " → " + s.To
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", s.RecordedAt, s.What, oneLine(cut(who, 2*shownID)), oneLine(s.Type), oneLine(string(s.Data)))
	}
	errs = append(errs, w.Flush())
	if len(d.Waits) == 0 {
		return errors.Join(append(errs, say("it waits for nothing"))...)
	}
	errs = append(errs, say("it waits for"))
	return errors.Join(append(errs, a.printLegs(d.Waits))...)
}
