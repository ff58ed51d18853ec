package ledgerline

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/ledgerline-es/ledgerline/internal/cli"
	"github.com/ledgerline-es/ledgerline/internal/deadletters"
	"github.com/ledgerline-es/ledgerline/internal/logread"
	"github.com/ledgerline-es/ledgerline/producer"
	"github.com/ledgerline-es/ledgerline/schemas"
)

// letterDocument is a dead letter as dlq prints it.
type letterDocument struct {
	ID        string           `json:"id"` // KIND/PARTITION/OFFSET
	Time      string           `json:"time"`
	Aggregate string           `json:"aggregate_id"` // the record's key
	CommandID string           `json:"command_id"`
	Type      string           `json:"type,omitempty"`
	Code      string           `json:"code"`
	Error     string           `json:"error"`
	Origin    string           `json:"origin"`
	Attempts  int              `json:"attempts"`
	Size      int              `json:"size,omitempty"`    // of what was too large to be kept
	Settled   string           `json:"settled,omitempty"` // retried, dropped
	Hopeless  string           `json:"hopeless,omitempty"`
	Stack     string           `json:"stack,omitempty"`
	Headers   []headerDocument `json:"headers,omitempty"`
	Data      json.RawMessage  `json:"data,omitempty"` // when it can be decoded …
	Hex       string           `json:"hex,omitempty"`  // … else
}

type headerDocument struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

// letterQuery is which dead letters are asked for.
type letterQuery struct {
	kinds   []string
	codes   []string
	since   time.Time
	limit   int
	settled bool
}

func (q letterQuery) wants(l deadletters.Letter) bool {
	return (q.settled || l.Settled == "") && (len(q.codes) == 0 || slices.Contains(q.codes, l.Code)) && !l.Died.Before(q.since)
}

func (a *App) dlqCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "dlq", Short: "Look at dead letters, try them again, or drop them",
		Long: `A command that could not be processed is answered with an error and kept in <kind>.commands.dlq, with its bytes and the
reason, for 30 days. Here it can be looked at, and settled: published again, under the id that it had, once what was wrong
is mended; or dropped. A letter is named KIND/PARTITION/OFFSET, as list prints it.

That a letter is settled is written beside it, so list shows the open ones wherever it is called. Retrying publishes the
command and writes that in one transaction: a letter is never retried twice, whoever tries at the same time.`,
		Example: fmt.Sprintf("  %[1]s dlq list --code panic\n  %[1]s dlq show account/3/17\n  %[1]s dlq retry account/3/17\n  %[1]s dlq drop --all --code bad_key", a.Domain.Name),
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.dlqListCommand(), a.dlqShowCommand(), a.dlqRetryCommand(), a.dlqDropCommand())
	return cmd
}

// letterFlags are those of commands that take several letters; read makes the query of them.
func (a *App) letterFlags(cmd *cobra.Command, q *letterQuery) (read func() error) {
	var since string
	f := cmd.Flags()
	f.StringSliceVar(&q.kinds, "kind", nil, "only letters of these kinds (default: all)")
	f.StringSliceVar(&q.codes, "code", nil, "only letters with these codes, such as panic or unknown_schema")
	f.StringVar(&since, "since", "", "only letters that died at this time or later: RFC 3339, or how long ago, such as 15m")
	return func() (err error) {
		if q.since, err = parseSince(since); err != nil {
			return cli.Usage(err)
		}
		if len(q.kinds) == 0 {
			for _, def := range a.Domain.Aggregates {
				q.kinds = append(q.kinds, def.KindName())
			}
		}
		for _, kind := range q.kinds {
			if _, err := a.Domain.aggregate(kind); err != nil {
				return err
			}
		}
		return nil
	}
}

func (a *App) dlqListCommand() *cobra.Command {
	var q letterQuery
	var asJSON bool
	cmd := &cobra.Command{
		Use: "list", Short: "List the open dead letters", Args: noArguments,
		Example: fmt.Sprintf("  %[1]s dlq list\n  %[1]s dlq list --since 1h --code panic,unknown_schema --json | jq -r .[].id", a.Domain.Name),
	}
	read := a.letterFlags(cmd, &q)
	cmd.Flags().IntVar(&q.limit, "limit", 100, "print the latest, at most so many; 0: all")
	cmd.Flags().BoolVar(&q.settled, "settled", false, "those that were retried or dropped, too")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON document")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := read(); err != nil {
			return err
		}
		docs, more, err := a.listLetters(cmd.Context(), q)
		if err != nil {
			return err
		}
		if more > 0 {
			fmt.Fprintf(a.Err, "%s: %d more are not shown: --limit 0 shows all\n", a.Domain.Name, more)
		}
		if asJSON {
			return a.JSON(docs)
		}
		return a.printLetters(docs)
	}
	return a.withSettings(cmd, kafkaSettings)
}

// listLetters gives the latest of what is asked for, in order, and counts what is beyond the limit.
func (a *App) listLetters(ctx context.Context, q letterQuery) (docs []letterDocument, more int, err error) {
	docs = []letterDocument{}
	latest := func() { // there may be more than fit in memory
		slices.SortStableFunc(docs, func(a, b letterDocument) int { return strings.Compare(a.Time, b.Time) })
		if beyond := len(docs) - q.limit; q.limit > 0 && beyond > 0 {
			more += beyond
			docs = slices.Clone(docs[beyond:])
		}
	}
	for _, kind := range q.kinds {
		box, done, err := a.openLetters(ctx, kind)
		if errors.Is(err, logread.ErrNoTopic) {
			continue // nothing has died yet
		}
		if err != nil {
			return nil, 0, err
		}
		err = box.Each(ctx, func(l deadletters.Letter) error {
			if q.wants(l) {
				docs = append(docs, documentOf(l))
			}
			if q.limit > 0 && len(docs) > 2*q.limit+1000 {
				latest()
			}
			return nil
		})
		done()
		if err != nil {
			return nil, 0, err
		}
	}
	latest()
	return docs, more, nil
}

// openLetters looks into the dead letters of a kind.
func (a *App) openLetters(ctx context.Context, kind string) (*deadletters.Box, func(), error) {
	adm, err := a.kafkaAdmin()
	if err != nil {
		return nil, nil, err
	}
	box, err := deadletters.Open(ctx, adm, a.reader(), a.values.String("topic-prefix"), kind)
	if err != nil {
		adm.Close()
		return nil, nil, err
	}
	return box, adm.Close, nil
}

func documentOf(l deadletters.Letter) letterDocument {
	name, _ := schemas.Header(l.Record, schemas.HeaderType)
	return letterDocument{
		ID: l.Place.String(), Time: schemas.FormatTime(l.Died), Aggregate: printable(l.Record.Key), CommandID: l.CommandID, Type: schemas.ShortName(name),
		Code: l.Code, Error: l.Error, Origin: l.Origin, Attempts: l.Attempts, Size: l.Size, Settled: l.Settled, Hopeless: l.Hopeless(),
	}
}

// printable is a stranger's text as it can be shown.
func printable(text []byte) string {
	if !utf8.Valid(text) {
		return "0x" + hex.EncodeToString(text)
	}
	return string(text)
}

// How many bytes of an error, and of an id, fit a line.
const (
	shownError = 100
	shownID    = 64
)

func (a *App) printLetters(docs []letterDocument) error {
	w := tabwriter.NewWriter(a.Out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "LETTER\tDIED\tAGGREGATE\tCOMMAND\tCODE\tTRIED\tSTATE\tERROR")
	for _, d := range docs {
		state := d.Settled
		if state == "" {
			state = "open"
		}
		text, _, _ := strings.Cut(d.Error, "\n")
		fmt.Fprintf(w, "%s\t%s\t%q\t%q\t%s\t%d\t%s\t%s\n",
			d.ID, d.Time, cut(d.Aggregate, shownID), cut(d.CommandID, shownID), d.Code, d.Attempts, state, oneLine(cut(text, shownError)))
	}
	return w.Flush()
}

// cut shortens a text to n bytes, and shows that it is.
func cut(text string, n int) string {
	if len(text) <= n {
		return text
	}
	return strings.ToValidUTF8(text[:n], "") + " …"
}

// oneLine keeps a stranger's text from steering the terminal.
func oneLine(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, text)
}

func (a *App) dlqShowCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "show KIND/PARTITION/OFFSET", Short: "Show one dead letter: why it died, and what it says",
		Example: fmt.Sprintf("  %[1]s dlq show account/3/17\n  %[1]s dlq show account/3/17 --json | jq .data", a.Domain.Name),
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return cli.Usage(errors.New("dlq show wants one KIND/PARTITION/OFFSET, as dlq list prints it"))
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON document")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		place, def, err := a.place(args[0])
		if err != nil {
			return err
		}
		registry, err := a.registry()
		if err != nil {
			return err
		}
		box, done, err := a.openLetters(cmd.Context(), place.Kind)
		if err != nil {
			return err
		}
		defer done()
		l, err := box.Get(cmd.Context(), place)
		if err != nil {
			return err
		}
		d := documentOf(l)
		d.Stack = l.Stack
		for _, h := range l.Record.Headers {
			d.Headers = append(d.Headers, headerDocument{printable([]byte(h.Key)), printable(h.Value)})
		}
		viewer := producer.NewViewer(registry, a.values.String("topic-prefix"), def)
		name, data, err := viewer.Command(cmd.Context(), l.Record)
		if err != nil {
			d.Hex = hex.EncodeToString(l.Record.Value) // it is here since it can't be read, as often as not
		} else {
			d.Type, d.Data = schemas.ShortName(name), data
		}
		if asJSON {
			return a.JSON(d)
		}
		return a.printLetter(d, err)
	}
	return a.withSettings(cmd, kafkaSettings)
}

func (a *App) printLetter(d letterDocument, undecodable error) error {
	var errs []error
	say := func(name, value string) {
		if value != "" {
			_, err := fmt.Fprintf(a.Out, "%-12s %s\n", name, oneLine(value))
			errs = append(errs, err)
		}
	}
	say("letter", d.ID)
	say("state", map[string]string{"": "open"}[d.Settled]+d.Settled)
	say("died", d.Time)
	say("aggregate", fmt.Sprintf("%q", d.Aggregate))
	say("command", strings.TrimSpace(fmt.Sprintf("%s %q", d.Type, d.CommandID)))
	say("published", d.Origin)
	say("tried", fmt.Sprint(d.Attempts))
	say("code", d.Code)
	say("error", d.Error)
	say("hopeless", d.Hopeless)
	for _, h := range d.Headers {
		if !strings.HasPrefix(h.Key, schemas.DeadPrefix) {
			say("header", fmt.Sprintf("%s: %q", h.Key, h.Value))
		}
	}
	switch {
	case d.Size > 0:
		say("size", fmt.Sprintf("%d bytes, too many to be kept", d.Size))
	case undecodable != nil:
		say("undecodable", undecodable.Error())
		say("bytes", d.Hex)
	default:
		say("data", string(d.Data))
	}
	if d.Stack != "" {
		_, err := fmt.Fprintf(a.Out, "stack\n%s\n", d.Stack)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// place reads the name of a letter.
func (a *App) place(text string) (deadletters.Place, producer.Definition, error) {
	p, err := deadletters.ParsePlace(text)
	if err != nil {
		return p, nil, cli.Usage(err)
	}
	def, err := a.Domain.aggregate(p.Kind)
	return p, def, err
}
