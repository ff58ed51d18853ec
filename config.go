package ledgerline

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/ledgerline-es/ledgerline/internal/cli"
)

// settingDocument is a setting as config check --json prints it.
type settingDocument struct {
	Key         string `json:"key"`
	Value       any    `json:"value"`
	Origin      string `json:"origin"`
	Flag        string `json:"flag,omitempty"` // secrets have none
	Environment string `json:"environment"`
	Help        string `json:"help"`
}

func (a *App) configCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "config", Short: "Explain the settings, and check them",
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.configCheckCommand(), a.configExampleCommand())
	return cmd
}

func (a *App) configCheckCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "check", Short: "Explain each value and where it came from; fail when one can't be used",
		Long: `Loads the settings as every command does (flag before environment before --config file before default) and prints each
with its origin. Passwords are not shown. All mistakes are told at once: names that no setting has, values of the wrong type,
addresses that can't be read. It connects to nothing.`,
		Example: fmt.Sprintf("  %[1]s config check --config production.yaml\n  %[1]s config check --json | jq '.[] | select(.origin != \"default\")'", a.Domain.Name),
		Args:    noArguments,
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON document")
	cmd.RunE = func(*cobra.Command, []string) error {
		var docs []settingDocument
		for _, s := range allSettings() {
			d := settingDocument{Key: s.Key, Value: readable(a.values.Value(s.Key)), Origin: a.values.Origin(s.Key), Flag: "--" + s.Flag(), Environment: s.Env(), Help: s.Help}
			if s.Secret {
				d.Value, d.Flag = hidden(a.values.String(s.Key)), ""
			}
			docs = append(docs, d)
		}
		var err error
		if asJSON {
			err = a.JSON(docs)
		} else {
			w := tabwriter.NewWriter(a.Out, 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "SETTING\tVALUE\tFROM\tWHAT IT IS")
			for _, d := range docs {
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", d.Key, show(d.Value), d.Origin, d.Help)
			}
			err = w.Flush()
		}
		return errors.Join(err, a.check(sharedSettings()))
	}
	return a.withFlags(cmd, sharedSettings())
}

// hidden tells a secret that is given from one that is not.
func hidden(secret string) string {
	if secret == "" {
		return ""
	}
	return "(not shown)"
}

// readable is a value as people read it, without the passwords of URLs.
func readable(value any) any {
	if d, ok := value.(time.Duration); ok {
		return d.String()
	}
	text, ok := value.(string)
	switch {
	case ok && strings.Contains(text, "password="): // key=value, as Postgres takes it too
		return "(not shown: it holds a password)"
	case !ok || !strings.Contains(text, "://"):
		return value
	}
	u, err := url.Parse(text)
	if err != nil {
		return "(can't be read)" // and so can't be shown: it may hold a password
	}
	return u.Redacted()
}

func show(value any) string {
	switch v := value.(type) {
	case []string:
		return strings.Join(v, ",")
	case string:
		if v == "" {
			return `""`
		}
		return v
	}
	return fmt.Sprint(value)
}

// sharedSettings are all settings that have one meaning in every command, each once.
func sharedSettings() []cli.Setting {
	var shared []cli.Setting
	for _, s := range allSettings() {
		if !slices.ContainsFunc(logSettings, func(l cli.Setting) bool { return l.Key == s.Key }) { // those are flags of the root
			shared = append(shared, s)
		}
	}
	return shared
}

func (a *App) configExampleCommand() *cobra.Command {
	return &cobra.Command{
		Use: "example", Short: "Print a settings file with every setting at its default",
		Example: fmt.Sprintf("  %[1]s config example > ledgerline.yaml\n  %[1]s producer --config ledgerline.yaml", a.Domain.Name),
		Args:    noArguments,
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprint(a.Out, exampleFile(allSettings()))
			return err
		},
	}
}

// exampleFile is YAML in which every setting stands as a comment with its default.
func exampleFile(settings []cli.Setting) string {
	var names []string // of sections; "" is that of settings without one
	sections := map[string][]cli.Setting{}
	for _, s := range settings {
		name, _, nested := strings.Cut(s.Key, ".")
		if !nested {
			name = ""
		}
		if sections[name] == nil {
			names = append(names, name)
		}
		sections[name] = append(sections[name], s)
	}
	var b strings.Builder
	b.WriteString("# Settings, each at its default. Take the # away before what you change, and before the heading above it.\n")
	for _, name := range names {
		indent := ""
		b.WriteString("\n")
		if name != "" {
			fmt.Fprintf(&b, "#%s:\n", name)
			indent = "  "
		}
		for _, s := range sections[name] {
			fmt.Fprintf(&b, "#%s%s: %s # %s\n", indent, strings.TrimPrefix(s.Key, name+"."), yamlText(s.Default), s.Help)
		}
	}
	return b.String()
}

func yamlText(value any) string {
	switch v := value.(type) {
	case []string:
		return "[" + strings.Join(v, ", ") + "]"
	case string:
		return fmt.Sprintf("%q", v)
	}
	return fmt.Sprint(value)
}
