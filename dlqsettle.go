package ledgerline

import (
	"context"
	"errors"
	"fmt"
	"os/user"
	"slices"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ledgerline-es/ledgerline/internal/cli"
	"github.com/ledgerline-es/ledgerline/internal/deadletters"
	"github.com/ledgerline-es/ledgerline/internal/logread"
	"github.com/ledgerline-es/ledgerline/internal/rights"
	"github.com/ledgerline-es/ledgerline/schemas"
)

func (a *App) dlqRetryCommand() *cobra.Command {
	return a.settleCommand(&cobra.Command{
		Use: "retry {KIND/PARTITION/OFFSET… | --all}", Short: "Publish dead letters again, under the ids that they had",
		Long: `Publishes the bytes, key and headers of dead letters again, to the partition that their aggregates belong to. The id is the
same: a sender that waits for that command gets its reply, and one that has had its effect since has none now. If it dies again,
it is a letter again, tried once more. What came from another aggregate goes back to <kind>.internal. Where rights are set, only the
producer's login may write there, and so retry such letters; the operator's retries all others.

Letters that would come to the same are not retried, and it says why: the key is no aggregate id, a header is malformed, or
there were too many bytes to be kept. Then, or when a letter is settled already or wants the producer's login, the exit code is 1.`,
		Example: fmt.Sprintf("  %[1]s dlq retry account/3/17 account/4/2\n  %[1]s dlq retry --all --code panic --since 2h", a.Domain.Name),
	}, deadletters.Retried)
}

func (a *App) dlqDropCommand() *cobra.Command {
	return a.settleCommand(&cobra.Command{
		Use: "drop {KIND/PARTITION/OFFSET… | --all}", Short: "Say of dead letters that nothing is to be done",
		Long: `Settles dead letters without trying them again: list leaves them out. Nothing is deleted. Kafka can delete the beginning of a
partition only, with whatever else stands there; the bytes go when the topic's retention ends, and list --settled and show
find them until then.`,
		Example: fmt.Sprintf("  %[1]s dlq drop account/3/17\n  %[1]s dlq drop --all --code bad_key", a.Domain.Name),
	}, deadletters.Dropped)
}

// settledDocument is what became of one letter, as retry and drop --json print it.
type settledDocument struct {
	ID        string `json:"id"`
	CommandID string `json:"command_id,omitempty"`
	Settled   string `json:"settled,omitempty"`
	Why       string `json:"why,omitempty"` // it is not
}

func (a *App) settleCommand(cmd *cobra.Command, what string) *cobra.Command {
	var q letterQuery
	var every, asJSON bool
	cmd.Args = cobra.ArbitraryArgs
	read := a.letterFlags(cmd, &q)
	cmd.Flags().BoolVar(&every, "all", false, "all open letters that --kind, --code and --since leave")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON document")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if every == (len(args) > 0) {
			return cli.Usage(fmt.Errorf("%s wants letters, KIND/PARTITION/OFFSET as dlq list prints them, or --all", cmd.CommandPath()))
		}
		if !every && (len(q.kinds) > 0 || len(q.codes) > 0 || cmd.Flags().Changed("since")) {
			return cli.Usage(errors.New("--kind, --code and --since go with --all"))
		}
		if err := read(); err != nil {
			return err
		}
		named := map[string][]deadletters.Place{}
		for _, text := range args {
			p, _, err := a.place(text)
			if err != nil {
				return err
			}
			if !slices.Contains(named[p.Kind], p) {
				named[p.Kind] = append(named[p.Kind], p)
			}
		}
		docs := []settledDocument{}
		var failed error
		for _, kind := range q.kinds {
			if every || len(named[kind]) > 0 {
				failed = errors.Join(failed, a.settle(cmd.Context(), kind, what, named[kind], q, &docs))
			}
		}
		return a.printSettled(docs, asJSON, failed)
	}
	return a.withSettings(cmd, kafkaSettings)
}

// settledAtOnce and bytesAtOnce are how many letters one transaction settles, and of how many bytes.
const (
	settledAtOnce = 200
	bytesAtOnce   = 16 << 20
)

// settle settles letters of a kind: those that are named, or all open ones that the query leaves.
func (a *App) settle(ctx context.Context, kind, what string, named []deadletters.Place, q letterQuery, docs *[]settledDocument) error {
	prefix := a.values.String("topic-prefix")
	by := ""
	if u, err := user.Current(); err == nil {
		by = u.Username
	}
	s, err := deadletters.Take(ctx, a.kafkaOptions(), a.reader(), prefix, kind, rights.DeadLetterTransactions(prefix, kind), by)
	if errors.Is(err, logread.ErrNoTopic) && len(named) == 0 {
		return nil
	}
	if err != nil {
		return err
	}
	defer s.Close()
	if what == deadletters.Retried {
		internal := rights.Right{Resource: kmsg.ACLResourceTypeTopic, Name: schemas.TopicsOf(prefix, kind).Internal, Operation: kmsg.ACLOperationWrite}
		missing, err := rights.Missing(ctx, a.kafkaOptions(), []rights.Right{internal})
		s.Foreign = err == nil && len(missing) > 0 // a broker that does not tell may allow it
	}
	var batch []deadletters.Letter
	bytes := 0
	flush := func() error {
		if len(batch) == 0 {
			return nil
		}
		if err := s.Settle(ctx, what, batch); err != nil {
			return err
		}
		for _, l := range batch {
			*docs = append(*docs, settledDocument{ID: l.Place.String(), CommandID: l.CommandID, Settled: what})
		}
		batch, bytes = nil, 0
		return nil
	}
	take := func(l deadletters.Letter) error {
		if why := s.Can(what, l); why != nil {
			*docs = append(*docs, settledDocument{ID: l.Place.String(), CommandID: l.CommandID, Why: why.Error()})
			return nil //nolint:nilerr // the others are settled all the same
		}
		batch, bytes = append(batch, l), bytes+len(l.Record.Value)
		if len(batch) < settledAtOnce && bytes < bytesAtOnce {
			return nil
		}
		return flush()
	}
	for _, p := range named {
		l, err := s.Box.Get(ctx, p)
		switch {
		case errors.Is(err, deadletters.ErrNone):
			*docs = append(*docs, settledDocument{ID: p.String(), Why: deadletters.ErrNone.Error()})
		case err != nil:
			return err
		default:
			err = take(l)
		}
		if err != nil && !errors.Is(err, deadletters.ErrNone) {
			return err
		}
	}
	if len(named) == 0 {
		err := s.Box.Each(ctx, func(l deadletters.Letter) error {
			if !q.wants(l) {
				return nil
			}
			return take(l)
		})
		if err != nil {
			return err
		}
	}
	return flush()
}

func (a *App) printSettled(docs []settledDocument, asJSON bool, failed error) error {
	var errs []error
	if asJSON {
		errs = append(errs, a.JSON(docs))
	}
	left := 0
	for _, d := range docs {
		text := d.Settled
		if d.Why != "" {
			left++
			text = "is left as it is: " + d.Why
		}
		if !asJSON {
			_, err := fmt.Fprintf(a.Out, "%s %s; command %q\n", d.ID, text, d.CommandID)
			errs = append(errs, err)
		}
	}
	if !asJSON && len(docs) == 0 && failed == nil {
		fmt.Fprintf(a.Err, "%s: no open dead letters\n", a.Domain.Name)
	}
	if err := errors.Join(append(errs, failed)...); err != nil {
		return err
	}
	if left > 0 {
		return cli.Exit(cli.ExitFailure, nil)
	}
	return nil
}
