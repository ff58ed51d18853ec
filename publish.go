package ledgerline

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ledgerline-es/ledgerline/internal/cli"
	"github.com/ledgerline-es/ledgerline/producer"
	"github.com/ledgerline-es/ledgerline/schemas"
	"github.com/ledgerline-es/ledgerline/schemas/ledgerline"
)

// Exit codes of publish.
const (
	exitRejected = 3
	exitConflict = 4
	exitError    = 5
	exitNoReply  = 6
)

// replyDocument is what publish --json prints.
type replyDocument struct {
	CommandID     string `json:"command_id"`
	Outcome       string `json:"outcome"`
	Duplicate     bool   `json:"duplicate"`
	Code          string `json:"code"`
	Message       string `json:"message"`
	FirstSequence int64  `json:"first_sequence"`
	LastSequence  int64  `json:"last_sequence"`
	Version       int64  `json:"version"`
}

func (a *App) publishCommand() *cobra.Command {
	var (
		c        producer.Command
		expected int64
		when     string
		deliver  string
		timeout  time.Duration
		asJSON   bool
	)
	cmd := &cobra.Command{
		Use:   "publish KIND COMMAND --id ID ['{JSON}']",
		Short: "Publish a command and print its reply",
		Long: `Publishes one command and waits for its reply. The command's fields are plain JSON; absent ones take their defaults.
JSON that is "-" is read from standard input. With --deliver-at the reply says that the command is scheduled; schedule list shows it.

Exit codes: 0 accepted, 3 rejected by a rule, 4 conflict with --expected-version, 5 error, 6 no reply in time (the
command may still have its effect: publish it again with the same --command-id), 2 usage.` + a.kindsHelp(),
		Example: fmt.Sprintf(`  %[1]s publish account OpenAccount --id acc-1 '{"owner":"Ann","currency":"EUR"}'
  %[1]s publish account DepositMoney --id acc-1 --command-id pay-7 '{"amount_minor":500}'
  %[1]s publish account DepositMoney --id acc-1 --command-id rent-5 --deliver-at 2026-12-01T06:00:00Z '{"amount_minor":900}'`, a.Domain.Name),
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) < 2 || len(args) > 3 {
				return cli.Usage(errors.New("publish wants KIND COMMAND and, when the command has fields, its JSON; see --help"))
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&c.AggregateID, "id", "", "aggregate id, the record's key (required)")
	f.StringVar(&c.CommandID, "command-id", "", "idempotency key (default a new UUIDv7)")
	f.Int64Var(&expected, "expected-version", 0, "refuse with a conflict when the aggregate is at another version; 0: it must not exist")
	f.StringVar(&c.Source, "source", "", "who numbers its commands for this aggregate, with --source-sequence")
	f.Int64Var(&c.SourceSequence, "source-sequence", 0, "the number: 1, 2, 3 …")
	f.StringVar(&c.CorrelationID, "correlation-id", "", "to what the command belongs (default the command id)")
	f.StringVar(&c.Principal, "principal", "", "who asks for it")
	f.StringVar(&when, "time", "", "business time, RFC 3339 (default when the command is appended)")
	f.StringVar(&deliver, "deliver-at", "", "decide the command then: RFC 3339, or in how long, such as 15m (default at once)")
	f.DurationVar(&timeout, "timeout", 10*time.Second, "how long to wait for the reply")
	f.BoolVar(&asJSON, "json", false, "print the reply as one JSON document")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if c.AggregateID == "" {
			return cli.Usage(errors.New("publish wants --id, the aggregate's id"))
		}
		if err := schemas.ValidateID(c.AggregateID); err != nil {
			return cli.Usage(fmt.Errorf("--id: %w", err))
		}
		if (c.Source == "") != (c.SourceSequence == 0) {
			return cli.Usage(errors.New("--source and --source-sequence belong together: give both or none"))
		}
		if cmd.Flags().Changed("expected-version") {
			if expected < 0 {
				return cli.Usage(fmt.Errorf("--expected-version is %d: give a whole number from 0", expected))
			}
			c.ExpectedVersion = &expected
		}
		if when != "" {
			t, err := schemas.ParseTime(when)
			if err != nil {
				return cli.Usage(fmt.Errorf("--time: %w", err))
			}
			c.Time = t
		}
		if deliver != "" {
			if in, err := time.ParseDuration(deliver); err == nil && in >= 0 {
				c.DeliverAt = time.Now().Add(in)
			} else if c.DeliverAt, err = schemas.ParseTime(deliver); err != nil {
				return cli.Usage(fmt.Errorf("--deliver-at is %q: give a time such as 2026-01-31T12:00:00Z, or in how long, such as 15m", deliver))
			}
		}
		doc := "{}"
		if len(args) == 3 {
			doc = args[2]
		}
		if doc == "-" {
			read, err := io.ReadAll(cmd.InOrStdin())
			if err != nil {
				return fmt.Errorf("standard input: %w", err)
			}
			doc = string(read)
		}
		return a.Client(cmd.Context(), args[0], func(ctx context.Context, client *producer.Client) error {
			record, err := client.Parse(args[1], []byte(doc))
			if err != nil {
				return cli.Usage(err)
			}
			c.Record = record
			return a.publish(ctx, client, c, timeout, asJSON)
		})
	}
	return a.withSettings(cmd, kafkaSettings)
}

// publish publishes a command and prints its reply. The error has the exit code of what became of it.
func (a *App) publish(ctx context.Context, client *producer.Client, c producer.Command, timeout time.Duration, asJSON bool) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	reply, err := client.Publish(ctx, c)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return cli.Exit(exitNoReply, fmt.Errorf("%w after %v: is a producer running on these brokers? (%s producer)", err, timeout, a.Domain.Name))
	case err != nil:
		return err
	}
	return a.printReply(reply, asJSON)
}

func (a *App) kindsHelp() string {
	var b strings.Builder
	for _, def := range a.Domain.Aggregates {
		fmt.Fprintf(&b, "\n\nCommands of %s:", def.KindName())
		for _, name := range def.CommandNames() {
			fmt.Fprintf(&b, " %s", schemas.ShortName(name))
		}
	}
	return b.String()
}

func (a *App) printReply(r *ledgerline.Reply, asJSON bool) error {
	var err error
	if asJSON {
		err = a.JSON(replyDocument(*r))
	} else {
		text := r.Outcome
		if r.Code != "" {
			text += " " + r.Code
		}
		if r.Message != "" {
			text += ": " + r.Message
		}
		if r.Duplicate {
			text += " (duplicate: answered before)"
		}
		if r.FirstSequence > 0 {
			text += fmt.Sprintf("; events %d to %d", r.FirstSequence, r.LastSequence)
		}
		_, err = fmt.Fprintf(a.Out, "%s; version %d; command %s\n", text, r.Version, r.CommandID)
	}
	if err != nil {
		return err
	}
	return cli.Exit(map[string]int{
		producer.Accepted: cli.ExitOK, producer.Rejected: exitRejected, producer.Conflict: exitConflict, producer.Error: exitError,
	}[r.Outcome], nil)
}
