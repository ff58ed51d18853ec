package ledgerline

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/ledgerline-es/ledgerline/internal/cli"
	"github.com/ledgerline-es/ledgerline/internal/rights"
	"github.com/ledgerline-es/ledgerline/producer"
)

// topicDocument is a topic as topics --json and topics plan --json print it.
type topicDocument struct {
	Name        string            `json:"name"`
	Partitions  int32             `json:"partitions"`
	Replication int16             `json:"replication"`
	Configs     map[string]string `json:"configs,omitempty"`
	State       string            `json:"state,omitempty"` // ok, missing, differs
	Problems    []string          `json:"problems,omitempty"`
}

func (a *App) topicsCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "topics",
		Short: "Show the topics: whether they are there, and as they have to be",
		Long: `Lists the topics of every kind and compares them with what they have to be. A difference that could lose or double something
is printed with its remedy, and the exit code is 1; topics that are missing are no failure: a producer creates them.

Where creating topics is somebody else's task, "topics plan" prints what is to be created and who needs which rights;
"topics acl" gives those rights.`,
		Example: fmt.Sprintf("  %[1]s topics\n  %[1]s topics plan --kafka-replication 3 > create-topics.sh\n  %[1]s topics create", a.Domain.Name),
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON document")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		specs, err := a.topicSpecs()
		if err != nil {
			return err
		}
		adm, err := a.kafkaAdmin()
		if err != nil {
			return err
		}
		defer adm.Close()
		states, err := producer.InspectTopics(cmd.Context(), adm, specs)
		if err != nil {
			return err
		}
		return a.printTopics(states, asJSON)
	}
	cmd.AddCommand(a.topicsPlanCommand(), a.topicsCreateCommand(), a.topicsACLCommand())
	return a.withSettings(cmd, kafkaSettings, topicSettings, producerSettings)
}

func (a *App) topicsCreateCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "create", Short: "Create the topics that are missing, and check the others",
		Args: noArguments,
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		specs, err := a.topicSpecs()
		if err != nil {
			return err
		}
		adm, err := a.kafkaAdmin()
		if err != nil {
			return err
		}
		defer adm.Close()
		if _, err := producer.EnsureTopics(cmd.Context(), adm, specs); err != nil {
			return err
		}
		states, err := producer.InspectTopics(cmd.Context(), adm, specs)
		if err != nil {
			return err
		}
		return a.printTopics(states, false)
	}
	return a.withSettings(cmd, kafkaSettings, topicSettings, producerSettings)
}

func (a *App) topicsPlanCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "plan", Short: "Print what creates the topics, for whoever may",
		Long: `Prints a shell script of Kafka's own tools that creates every topic and gives each role the rights that it needs and no more.
It asks no broker. BROKERS and, for the tools' own login, COMMAND_CONFIG are variables of the script, and so are the
principals. --json prints the topics alone.`,
		Args: noArguments,
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the topics as one JSON document")
	cmd.RunE = func(*cobra.Command, []string) error {
		specs, err := a.topicSpecs()
		if err != nil {
			return err
		}
		if !asJSON {
			return a.printPlan(a.Out, specs)
		}
		var docs []topicDocument
		for _, s := range specs {
			docs = append(docs, topicDocument{Name: s.Name, Partitions: s.Partitions, Replication: s.Replication, Configs: s.Configs})
		}
		return a.JSON(docs)
	}
	return a.withSettings(cmd, kafkaSettings, topicSettings, producerSettings)
}

// topicSpecs are the topics of all kinds, each once.
func (a *App) topicSpecs() ([]producer.TopicSpec, error) {
	cfg, err := a.producerConfig()
	if err != nil {
		return nil, err
	}
	var specs []producer.TopicSpec
	for _, def := range a.Domain.Aggregates {
		for _, s := range producer.Topics(cfg, def.KindName()) {
			if !slices.ContainsFunc(specs, func(t producer.TopicSpec) bool { return t.Name == s.Name }) {
				specs = append(specs, s)
			}
		}
	}
	return specs, nil
}

func (a *App) printTopics(states []producer.TopicState, asJSON bool) error {
	var docs []topicDocument
	differs := false
	for _, s := range states {
		d := topicDocument{Name: s.Spec.Name, Partitions: s.Partitions, Replication: s.Replication, State: "ok"}
		switch {
		case !s.Exists:
			d.State, d.Partitions, d.Replication = "missing", s.Spec.Partitions, s.Spec.Replication
		default:
			for _, p := range s.Problems {
				if p.Level == producer.Refusal { // doctor tells the others, too
					d.State, differs = "differs", true
					d.Problems = append(d.Problems, p.Err().Error())
				}
			}
		}
		docs = append(docs, d)
	}
	var err error
	if asJSON {
		err = a.JSON(docs)
	} else {
		w := tabwriter.NewWriter(a.Out, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "TOPIC\tPARTITIONS\tREPLICATION\tSTATE")
		for _, d := range docs {
			fmt.Fprintf(w, "%s\t%d\t%d\t%s\n", d.Name, d.Partitions, d.Replication, d.State)
		}
		err = w.Flush()
		for _, d := range docs {
			for _, p := range d.Problems {
				_, printed := fmt.Fprintln(a.Out, p)
				err = errors.Join(err, printed)
			}
		}
	}
	if err == nil && differs {
		err = cli.Exit(cli.ExitFailure, nil)
	}
	return err
}

// printPlan prints a script of Kafka's own tools.
func (a *App) printPlan(w io.Writer, specs []producer.TopicSpec) error {
	platform, err := a.platform()
	if err != nil {
		return err
	}
	var b strings.Builder
	b.WriteString(`#!/usr/bin/env bash
# Topics of ` + a.Domain.Name + `, and the rights of its roles.
set -euo pipefail
: "${BROKERS:?host:port of a broker}"
tool() { "$1" --bootstrap-server "$BROKERS" ${COMMAND_CONFIG:+--command-config "$COMMAND_CONFIG"} "${@:2}"; }

`)
	for _, s := range specs {
		fmt.Fprintf(&b, "tool kafka-topics.sh --create --if-not-exists --topic %s --partitions %d --replication-factor %d", s.Name, s.Partitions, s.Replication)
		for _, key := range slices.Sorted(maps.Keys(s.Configs)) {
			fmt.Fprintf(&b, " \\\n  --config %s=%s", key, s.Configs[key])
		}
		b.WriteString("\n")
	}
	b.WriteString("\n# Without authorisation in the cluster, what follows is not needed. An empty principal leaves a role out.\n")
	for _, role := range rights.Roles() {
		variable := strings.ToUpper(string(role))
		fmt.Fprintf(&b, "\n: \"${%s=User:%s}\"\n", variable, role)
		b.WriteString(aclScript("\"$"+variable+"\"", `[ -z "$`+variable+`" ] || `, platform.Of(role)))
	}
	_, err = io.WriteString(w, b.String())
	return err
}
