package ledgerline

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ledgerline-es/ledgerline/analytics"
	"github.com/ledgerline-es/ledgerline/internal/cli"
	"github.com/ledgerline-es/ledgerline/projector"
	"github.com/ledgerline-es/ledgerline/projector/clickhouse"
)

func (a *App) queryCommand() *cobra.Command {
	var (
		given         []string
		asJSON, asCSV bool
	)
	cmd := &cobra.Command{
		Use:   "query [NAME]",
		Short: "Ask ClickHouse one of the domain's questions",
		Long: `Without NAME it lists the questions there are and the parameters of each, with their defaults. With NAME it asks that
one, read-only and within the question's limits, and prints the answer with how far in the log it reaches.`,
		Example: fmt.Sprintf("  %[1]s query\n  %[1]s query %[2]s\n  %[1]s query %[2]s --csv", a.Domain.Name, a.anyQuestion()),
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 {
				return cli.Usage(fmt.Errorf("query wants at most one NAME, got %q: parameters are given as --param name=value", args))
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.StringArrayVar(&given, "param", nil, "a parameter's value, as name=value; once for each")
	f.BoolVar(&asJSON, "json", false, "print one JSON document: the answer, or the list")
	f.BoolVar(&asCSV, "csv", false, "print the answer as CSV; how far it reaches goes to standard error")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if asJSON && asCSV {
			return cli.Usage(errors.New("--json and --csv exclude each other: give one"))
		}
		catalogue, err := analytics.Open(a.Domain.Queries)
		if err != nil {
			return err
		}
		if len(args) == 0 {
			return a.listQuestions(catalogue, given, asJSON, asCSV)
		}
		params, err := paramFlags(given)
		if err != nil {
			return err
		}
		q, err := catalogue.Query(args[0])
		if err != nil {
			return cli.Usage(err)
		}
		if _, err := q.Values(params); err != nil {
			return cli.Usage(err)
		}
		conn, err := clickhouse.Connect(a.values.String("clickhouse.url"), 1)
		if err != nil {
			return cli.Usage(fmt.Errorf("--clickhouse-url: %w", err))
		}
		defer conn.Close()
		answer, err := catalogue.Run(cmd.Context(), conn, q.Name, params)
		switch {
		case errors.Is(err, projector.ErrNotBuilt):
			return fmt.Errorf("%w: has a projector run on this server? (%s projector)", err, a.Domain.Name)
		case errors.Is(err, analytics.ErrUnavailable):
			return fmt.Errorf("%w (--clickhouse-url is %v)", err, readable(a.values.String("clickhouse.url")))
		case err != nil:
			return err
		}
		switch {
		case asJSON:
			return answer.WriteJSON(a.Out)
		case asCSV:
			if err := answer.WriteCSV(a.Out); err != nil {
				return err
			}
			_, err = fmt.Fprintln(a.Err, answer.AsOf)
			return err
		}
		return answer.WriteTable(a.Out)
	}
	return a.withSettings(cmd, []cli.Setting{storeSettings[1]})
}

// anyQuestion is one for the examples.
func (a *App) anyQuestion() string {
	if c, err := analytics.Open(a.Domain.Queries); err == nil && len(c.Queries()) > 0 {
		return c.Queries()[0].Name
	}
	return "NAME"
}

func (a *App) listQuestions(c *analytics.Catalogue, given []string, asJSON, asCSV bool) error {
	switch {
	case len(given) > 0 || asCSV:
		return cli.Usage(errors.New("--param and --csv go with the NAME of a question: without one the questions are listed"))
	case asJSON:
		return a.JSON(c.Queries())
	case len(c.Queries()) == 0:
		_, err := fmt.Fprintln(a.Err, "this domain has no questions")
		return err
	}
	return c.WriteList(a.Out)
}

func paramFlags(given []string) (map[string]string, error) {
	params := make(map[string]string, len(given))
	for _, text := range given {
		name, value, ok := strings.Cut(text, "=")
		if !ok || name == "" {
			return nil, cli.Usage(fmt.Errorf("--param is %q: give name=value", text))
		}
		if _, twice := params[name]; twice {
			return nil, cli.Usage(fmt.Errorf("--param %s is given twice: give it once", name))
		}
		params[name] = value
	}
	return params, nil
}
