package ledgerline

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ledgerline-es/ledgerline/internal/cli"
	"github.com/ledgerline-es/ledgerline/internal/transactions"
	"github.com/ledgerline-es/ledgerline/producer"
)

// findingDocument is something that is wrong, as doctor prints it.
type findingDocument struct {
	Level       producer.Level       `json:"level"` // error, warning, advice
	Where       string               `json:"where"`
	What        string               `json:"what"`
	Remedy      string               `json:"remedy"`
	Transaction *transactionDocument `json:"transaction,omitempty"`
}

// diagnosis is what doctor --json prints.
type diagnosis struct {
	Well     bool                  `json:"well"` // no finding is an error or a warning
	Findings []findingDocument     `json:"findings"`
	Aborted  []transactionDocument `json:"aborted,omitempty"`
	Error    string                `json:"error,omitempty"` // why not everything was looked at, or ended
}

// doctorQuery is what doctor was asked.
type doctorQuery struct {
	olderThan          time.Duration
	abort, yes, forced bool
	named              []string // transactions
	asJSON             bool
}

// sweep is how often coordinators look for transactions that are over, unless they are set up otherwise.
const sweep = 10 * time.Second

func (a *App) doctorCommand() *cobra.Command {
	var q doctorQuery
	cmd := &cobra.Command{
		Use: "doctor", Short: "Look at a running cluster, and say what is wrong and what to do about it",
		Long: `Looks at the brokers, at the topics of every kind and at the groups that read them, and prints a line for each thing that is
wrong: what, where, and the remedy. It changes nothing, and reads no more than it must. It finds

- transactions that are open for longer than --older-than, and hold up all who read the partition: whose they are, and whether
  a coordinator will end them; one that hangs, which no coordinator knows, nobody ends;
- topics that are missing or not as they have to be, with too few replicas, out of sync, or without a leader;
- a cluster or topics that are not those which were written to before, which stops every producer;
- settings of the brokers that break a promise, or only slow it down;
- groups without a member while records wait for them.

--abort ends transactions: with --yes all that hang; with --transaction the one that is named, as it is printed: TOPIC/PARTITION/PRODUCER-ID.
One that its coordinator knows is refused within its timeout, since the coordinator ends it by itself and its owner may still mean it;
with --force the coordinator is told to end it now, and its owner can't commit it any more. One whose outcome is decided is never touched.

It wants the rights of an auditor ("topics acl"). What it can't see without more it says as an advice: DescribeConfigs on the cluster shows
the brokers' settings, Describe on all transactional ids names those of strangers. --abort wants Alter on the cluster, and
of a transaction that its coordinator knows Write on its transactional id.

Exit codes: 0 all is well, 1 there is an error or a warning; what is only an advice is none.`,
		Example: fmt.Sprintf(`  %[1]s doctor
  %[1]s doctor --json | jq -r '.findings[] | select(.level == "error") | .where'
  %[1]s doctor --older-than 5m --kafka-replication 3
  %[1]s doctor --abort --yes
  %[1]s doctor --abort --transaction account.commands/3/4711 --force`, a.Domain.Name),
		Args: noArguments,
	}
	f := cmd.Flags()
	f.DurationVar(&q.olderThan, "older-than", producer.DefaultTransactionTimeout+sweep, "for how long a transaction may be open; less than this is nothing unusual")
	f.BoolVar(&q.abort, "abort", false, "end transactions: those that --transaction names, or with --yes all that hang")
	f.BoolVar(&q.yes, "yes", false, "with --abort: all that hang, without being asked")
	f.StringSliceVar(&q.named, "transaction", nil, "with --abort: a transaction, as TOPIC/PARTITION/PRODUCER-ID")
	f.BoolVar(&q.forced, "force", false, "with --transaction: also one that its coordinator would end later")
	f.BoolVar(&q.asJSON, "json", false, "print one JSON document")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := q.check(); err != nil {
			return cli.Usage(err)
		}
		cl, err := kgo.NewClient(a.kafkaOptions()...)
		if err != nil {
			return err
		}
		defer cl.Close()
		d := &doctor{App: a, cl: cl, adm: kadm.NewClient(cl), query: q, said: diagnosis{Findings: []findingDocument{}}}
		if q.abort {
			err = d.abort(cmd.Context())
		} else {
			err = d.examine(cmd.Context())
		}
		if err == nil {
			return d.print()
		}
		d.said.Error = err.Error()
		return errors.Join(err, d.print())
	}
	return a.withSettings(cmd, kafkaSettings, topicSettings, producerSettings)
}

func (q doctorQuery) check() error {
	for _, name := range q.named {
		if strings.Count(name, "/") != 2 {
			return fmt.Errorf("--transaction is %q: give TOPIC/PARTITION/PRODUCER-ID, as doctor prints it", name)
		}
	}
	switch {
	case q.olderThan < 0:
		return fmt.Errorf("--older-than is %v: give 0 or more", q.olderThan)
	case !q.abort && (q.yes || q.forced || len(q.named) > 0):
		return errors.New("--yes, --transaction and --force go with --abort")
	case q.abort && q.yes == (len(q.named) > 0):
		return errors.New("--abort wants to be told what to end: --transaction TOPIC/PARTITION/PRODUCER-ID, or --yes for all that hang; without --abort doctor lists them")
	case q.forced && len(q.named) == 0:
		return errors.New("--force goes with --transaction: what is forced is named")
	}
	return nil
}

// doctor is one look at a cluster.
type doctor struct {
	*App
	cl    *kgo.Client
	adm   *kadm.Client
	query doctorQuery
	said  diagnosis
}

func (d *doctor) find(level producer.Level, where, remedy, what string, args ...any) {
	d.said.Findings = append(d.said.Findings, findingDocument{Level: level, Where: where, What: fmt.Sprintf(what, args...), Remedy: remedy})
}

// examine looks at everything. What can't be looked at for want of a right is an error when the auditor has it, and an advice when not.
func (d *doctor) examine(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, examineTimeout)
	defer cancel()
	topics, err := d.topics(ctx)
	if err != nil {
		return err
	}
	if err := d.pins(ctx); err != nil {
		return err
	}
	if err := d.brokers(ctx); err != nil {
		return err
	}
	open, err := transactions.Look(ctx, d.adm, topics)
	if err != nil {
		return err
	}
	for _, o := range open {
		d.transaction(o)
	}
	return d.groups(ctx)
}

// examineTimeout bounds a look: brokers that do not answer must not keep somebody waiting who has other worries.
const examineTimeout = time.Minute

// print prints what was found, the worst first. The error is the exit code.
func (d *doctor) print() error {
	weight := map[producer.Level]int{producer.Refusal: 0, producer.Warning: 1, producer.Advice: 2}
	slices.SortStableFunc(d.said.Findings, func(a, b findingDocument) int { return weight[a.Level] - weight[b.Level] })
	d.said.Well = d.said.Error == "" && !slices.ContainsFunc(d.said.Findings, func(f findingDocument) bool { return f.Level != producer.Advice })
	var err error
	if d.query.asJSON {
		err = d.JSON(d.said)
	} else {
		err = d.printLines()
	}
	if err == nil && !d.said.Well && d.said.Error == "" { // an error says it by itself
		err = cli.Exit(cli.ExitFailure, nil)
	}
	return err
}

func (d *doctor) printLines() error {
	var errs []error
	say := func(format string, args ...any) {
		_, err := fmt.Fprintln(d.Out, oneLine(fmt.Sprintf(format, args...)))
		errs = append(errs, err)
	}
	for _, t := range d.said.Aborted {
		say("aborted: %s: the last stable offset has moved on from %d", t.Name, t.StableOffset)
	}
	for _, f := range d.said.Findings {
		say("%s: %s %s; %s", f.Level, f.Where, f.What, f.Remedy)
	}
	switch {
	case d.said.Well && !d.query.abort:
		say("all is well")
	case d.said.Well && len(d.said.Aborted) == 0:
		say("no transaction hangs")
	}
	return errors.Join(errs...)
}
