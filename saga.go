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
	"github.com/ledgerline-es/ledgerline/internal/deadletters"
	"github.com/ledgerline-es/ledgerline/internal/logread"
	"github.com/ledgerline-es/ledgerline/producer"
	"github.com/ledgerline-es/ledgerline/schemas"
)

// A message between aggregates is decided in the transaction that answers it, and so is the answer. So what a saga waits for is nowhere but in
// the internal topics, behind the offsets that producers have committed; among the dead letters; or it is a timer. Nobody keeps a list.

// legDocument is a message that a saga waits for.
type legDocument struct {
	Saga      string          `json:"saga"` // the correlation id
	State     string          `json:"state"`
	Since     string          `json:"since"` // when it was sent, died, or will be due
	Seconds   float64         `json:"seconds"`
	From      string          `json:"from"` // "<kind>/<id>"
	To        string          `json:"to"`
	CommandID string          `json:"command_id,omitempty"`
	Type      string          `json:"type,omitempty"`
	Data      json.RawMessage `json:"data,omitempty"`
	Topic     string          `json:"topic,omitempty"`
	Partition int32           `json:"partition"`
	Offset    int64           `json:"offset"`
	Letter    string          `json:"letter,omitempty"` // KIND/PARTITION/OFFSET, as dlq names it
	Error     string          `json:"error,omitempty"`  // why it died, or can't be read

	since  time.Time
	answer bool
}

// States of what a saga waits for.
const (
	legUndecided = "undecided" // its receiver has not decided it
	legAnswered  = "answered"  // its sender has not decided the answer
	legDue       = "due"       // its time has come, and it is not decided
	legDead      = "dead"      // it is an open dead letter
	legScheduled = "scheduled" // its time has not come
)

// waiter is the aggregate that waits for it: the one that sent a command, or is answered.
func (l legDocument) waiter() string {
	if l.answer || l.From == "" {
		return l.To
	}
	return l.From
}

func (a *App) sagaCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "saga", Short: "Look at what aggregates wait for, and at the steps of what spans several",
		Long: `A saga is what aggregates do together by sending each other commands: in the bank, a transfer. It is known by its correlation id:
the one that the first command carried, or else that command's own id.`,
		Example: fmt.Sprintf("  %[1]s saga list\n  %[1]s saga show pay-7 --since 24h", a.Domain.Name),
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.sagaListCommand(), a.sagaShowCommand())
	return cmd
}

func (a *App) sagaListCommand() *cobra.Command {
	var older time.Duration
	var limit int
	var asJSON bool
	cmd := &cobra.Command{
		Use: "list [KIND]", Short: "List messages between aggregates that nobody has decided yet, the oldest first",
		Long: `Lists what aggregates of one kind, or of all, wait for:

  undecided  a command that its receiver has not decided
  answered   an answer that the sender of the command has not decided
  due        a command that waited for its time, which has come
  dead       a command or an answer that is a dead letter, and was neither retried nor dropped

Something is always on its way where there is load; what is older than some seconds is stuck: --older. Commands whose time has not come
are listed by "schedule list". It reads the internal topics from where the producers stand, and the dead letters.`,
		Example: fmt.Sprintf("  %[1]s saga list\n  %[1]s saga list account --older 30s --json | jq -r .[].saga", a.Domain.Name),
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 {
				return cli.Usage(errors.New("saga list wants one KIND, or none"))
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.DurationVar(&older, "older", 0, "only what waits for longer")
	f.IntVar(&limit, "limit", 100, "print at most so many; 0: all")
	f.BoolVar(&asJSON, "json", false, "print one JSON document")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if limit < 0 {
			return cli.Usage(fmt.Errorf("--limit is %d: give a whole number from 0", limit))
		}
		if older < 0 {
			return cli.Usage(fmt.Errorf("--older is %s: give how long ago, such as 30s", older))
		}
		kind := ""
		if len(args) == 1 {
			if _, err := a.Domain.aggregate(args[0]); err != nil {
				return err
			}
			kind = args[0]
		}
		log, err := a.look()
		if err != nil {
			return err
		}
		defer log.Close()
		legs, err := log.legs(cmd.Context())
		if err != nil {
			return err
		}
		legs = slices.DeleteFunc(legs, func(l legDocument) bool {
			return time.Since(l.since) < older || kind != "" && !strings.HasPrefix(l.waiter(), kind+"/")
		})
		if limit > 0 && len(legs) > limit {
			fmt.Fprintf(a.Err, "%s: %d more are not shown: --limit 0 shows all\n", a.Domain.Name, len(legs)-limit)
			legs = legs[:limit]
		}
		if asJSON {
			return a.JSON(legs)
		}
		return a.printLegs(legs)
	}
	return a.withSettings(cmd, kafkaSettings)
}

// legs are all messages between aggregates that are not decided, the oldest first.
func (log *look) legs(ctx context.Context) ([]legDocument, error) {
	all := []legDocument{}
	for _, def := range log.Domain.Aggregates {
		undecided, err := log.undecided(ctx, def)
		if err != nil {
			return nil, err
		}
		dead, err := log.dead(ctx, def)
		if err != nil {
			return nil, err
		}
		all = append(append(all, undecided...), dead...)
	}
	slices.SortStableFunc(all, func(a, b legDocument) int { return a.since.Compare(b.since) })
	return all, nil
}

// undecided are the messages in a kind's internal topic that its producers have not decided.
func (log *look) undecided(ctx context.Context, def producer.Definition) (legs []legDocument, err error) {
	topic, err := logread.Look(ctx, log.admin, log.topics(def.KindName()).Internal)
	if errors.Is(err, logread.ErrNoTopic) {
		return nil, nil // nobody has sent anything
	}
	if err != nil {
		return nil, err
	}
	// Asked for after the ends: what is decided meanwhile is not taken for undecided.
	group := producer.Group(log.prefix, def.KindName())
	committed, err := log.admin.FetchOffsetsForTopics(ctx, group, topic.Name)
	if err == nil {
		err = committed.Error()
	}
	if err != nil {
		return nil, fmt.Errorf("where group %s stands: %w", group, err)
	}
	for p := range topic.Partitions {
		if o, ok := committed.Lookup(topic.Name, p); ok {
			topic.Starts[p] = max(topic.Starts[p], o.At)
		}
	}
	viewer := log.viewer(def)
	bar := log.Progress("reading "+topic.Name, "records", topic.Total())
	defer bar.End()
	for p := range topic.Partitions {
		err := log.reader.Partition(ctx, topic, p, func(rec *kgo.Record) error {
			bar.Add(1)
			if l, ok := leg(ctx, viewer, rec); ok {
				l.Topic, l.Partition, l.Offset = rec.Topic, rec.Partition, rec.Offset
				legs = append(legs, l)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return legs, nil
}

// leg reads a message; ok is false for what is none.
func leg(ctx context.Context, viewer *producer.Viewer, rec *kgo.Record) (l legDocument, ok bool) {
	m, ok, err := viewer.Message(ctx, rec)
	l = legDocument{
		Saga: m.CorrelationID, From: m.From, To: m.To, CommandID: m.CommandID, Type: schemas.ShortName(m.Type), Data: m.Data, State: legUndecided,
		answer: m.Answer,
	}
	switch {
	case m.Answer:
		l.State = legAnswered
	case m.Timer:
		l.State = legDue
	}
	if err != nil {
		l.Error = err.Error()
	}
	return l.at(rec.Timestamp), ok
}

// at is the leg with the time since when it waits.
func (l legDocument) at(since time.Time) legDocument {
	l.since, l.Since, l.Seconds = since, schemas.FormatTime(since), time.Since(since).Seconds()
	return l
}

// dead are the open dead letters of messages between aggregates.
func (log *look) dead(ctx context.Context, def producer.Definition) (legs []legDocument, err error) {
	box, err := deadletters.Open(ctx, log.admin, log.reader, log.prefix, def.KindName())
	if errors.Is(err, logread.ErrNoTopic) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	viewer := log.viewer(def)
	err = box.Each(ctx, func(letter deadletters.Letter) error {
		if letter.Settled != "" || !letter.Internal(log.topics(def.KindName())) {
			return nil
		}
		l, ok := leg(ctx, viewer, letter.Record)
		if !ok {
			return nil
		}
		l.State, l.Letter, l.Error = legDead, letter.Place.String(), letter.Code+": "+letter.Error
		l.Topic, l.Partition, l.Offset = letter.Record.Topic, letter.Partition, letter.Offset
		legs = append(legs, l)
		return nil
	})
	return legs, err
}

func (a *App) printLegs(legs []legDocument) error {
	w := tabwriter.NewWriter(a.Out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "SAGA\tWAITS\tSTATE\tFROM\tTO\tTYPE\tWHERE")
	for _, l := range legs {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", oneLine(cut(l.Saga, shownID)), wait(l.since), l.State,
			oneLine(cut(cmp.Or(l.From, "-"), shownID)), oneLine(cut(l.To, shownID)), oneLine(cmp.Or(l.Type, "-")), l.where())
	}
	return w.Flush()
}

// where is where it stands, for people.
func (l legDocument) where() string {
	switch {
	case l.Letter != "":
		return "dead letter " + l.Letter + ": " + oneLine(cut(l.Error, shownError))
	case l.Topic == "":
		return "due at " + l.Since
	case l.Error != "":
		return fmt.Sprintf("%s/%d offset %d, which can't be read: %s", l.Topic, l.Partition, l.Offset, oneLine(cut(l.Error, shownError)))
	}
	return fmt.Sprintf("%s/%d offset %d", l.Topic, l.Partition, l.Offset)
}

// wait is for how long something has waited, or how long it will.
func wait(since time.Time) string {
	d := time.Since(since)
	if d.Abs() < time.Second {
		return d.Round(time.Millisecond).String()
	}
	return d.Round(time.Second).String()
}
