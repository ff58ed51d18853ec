package ledgerline

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ledgerline-es/ledgerline/internal/cli"
	"github.com/ledgerline-es/ledgerline/internal/rights"
)

// aclQuery is what topics acl was asked.
type aclQuery struct {
	principals                   map[rights.Role]*[]string
	script, asJSON               bool
	compare, apply, prune, login bool
}

// grantDocument is an entry as topics acl --json prints it.
type grantDocument struct {
	Principal string   `json:"principal"`
	Roles     []string `json:"roles,omitempty"` // that need it
	Resource  string   `json:"resource"`
	Name      string   `json:"name"`
	Pattern   string   `json:"pattern"`
	Operation string   `json:"operation"`
	Deny      bool     `json:"deny,omitempty"`
	Host      string   `json:"host"`
	State     string   `json:"state,omitempty"` // ok, missing, surplus, given, removed

	grant rights.Grant
}

// States of an entry, compared with the cluster.
const (
	grantOK      = "ok"
	grantMissing = "missing"
	grantSurplus = "surplus"
	grantGiven   = "given"
	grantRemoved = "removed"
)

var aboutRoles = map[rights.Role]string{
	rights.Producer:  "of producers, the only ones that may write events, snapshots, replies and internal commands",
	rights.Projector: "of projectors",
	rights.API:       "of APIs",
	rights.Monitor:   "of monitors",
	rights.Client:    "of those who publish commands",
	rights.Auditor:   "of those who look: verify, events, aggregate, trace, topics, doctor, dlq list, schedule list, saga",
	rights.Operator:  "of those who retry and drop dead letters",
}

func (a *App) topicsACLCommand() *cobra.Command {
	q := aclQuery{principals: map[rights.Role]*[]string{}}
	cmd := &cobra.Command{
		Use: "acl", Short: "Print, compare and give the rights that each role needs in Kafka, and no more",
		Long: `Says which entries of Kafka's access control lists let each role do its work, and no more. Without principals it prints those of
User:producer, User:projector and so on; a role that has none is left out when any is named. Who plays several roles is
named for each: the role "all" is producer, projector, api and monitor.

--compare asks the cluster and says what is missing and what is surplus; the exit code is then 1 if anything is.
--apply gives what is missing. Surplus entries are listed, and stay unless --prune is there too: it removes every other entry
of the principals that are named, whatever it is about. Both want a login that may alter the cluster.
--login asks which of the rights of the roles named by --roles the login of this command itself has not.

Nobody needs rights in the cluster itself, but to end a transaction that hangs (doctor --abort): topics are created beforehand, by "topics create" or "topics plan", and producers
write idempotently by their right to write (brokers from 2.8 on). An entry for Read or Write includes Describe.`,
		Example: fmt.Sprintf(`  %[1]s topics acl --script > acls.sh
  %[1]s topics acl --apply --producer-principal User:ledger-producer --projector-principal User:ledger-projector
  %[1]s topics acl --compare --json --producer-principal User:ledger-producer
  %[1]s topics acl --login --roles producer --kafka-sasl-mechanism SCRAM-SHA-512 --kafka-sasl-user ledger-producer --kafka-sasl-password-file secret`, a.Domain.Name),
		Args: noArguments,
	}
	f := cmd.Flags()
	for _, role := range rights.Roles() {
		q.principals[role] = new([]string)
		f.StringSliceVar(q.principals[role], string(role)+"-principal", nil, "principals "+aboutRoles[role])
	}
	var roles []string
	f.BoolVar(&q.script, "script", false, "print commands of kafka-acls.sh")
	f.BoolVar(&q.asJSON, "json", false, "print one JSON document")
	f.BoolVar(&q.compare, "compare", false, "ask the cluster what is missing and what is surplus")
	f.BoolVar(&q.apply, "apply", false, "give what is missing")
	f.BoolVar(&q.prune, "prune", false, "with --apply: remove what is surplus")
	f.BoolVar(&q.login, "login", false, "ask what this command's own login lacks")
	f.StringSliceVar(&roles, "roles", nil, "with --login: the roles that it is to play")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := q.check(roles); err != nil {
			return cli.Usage(err)
		}
		if q.login {
			return a.ownRights(cmd.Context(), roles, q.asJSON)
		}
		return a.acl(cmd.Context(), q)
	}
	return a.withSettings(cmd, kafkaSettings, producerSettings)
}

func (q aclQuery) check(roles []string) error {
	named := false
	for role, principals := range q.principals {
		for _, p := range *principals {
			named = true
			if kind, name, ok := strings.Cut(p, ":"); !ok || kind == "" || name == "" {
				return fmt.Errorf("--%s-principal is %q: give it as Kafka names it, such as User:%s", role, p, role)
			}
		}
	}
	known := rights.Roles()
	for _, r := range roles {
		if !slices.Contains(known, rights.Role(r)) {
			return fmt.Errorf("--roles: there is no role %q: there are %v", r, known)
		}
	}
	switch {
	case (q.apply || q.compare) && !named:
		return errors.New("say whose rights: give --producer-principal, --projector-principal or others (see --help)")
	case q.prune && !q.apply:
		return errors.New("--prune goes with --apply")
	case q.login != (len(roles) > 0):
		return errors.New("--login and --roles belong together: give both or none")
	case q.login && (named || q.apply || q.compare || q.script):
		return errors.New("--login asks about this command's own login: leave the principals, --apply, --compare and --script out")
	case q.script && (q.asJSON || q.apply || q.compare):
		return errors.New("--script prints what is wanted, without asking the cluster: leave --json, --apply and --compare out")
	}
	return nil
}

func (a *App) acl(ctx context.Context, q aclQuery) error {
	platform, err := a.platform()
	if err != nil {
		return err
	}
	for _, pattern := range platform.Beyond() {
		fmt.Fprintf(a.Err, "no entry of an access control list can say --producer-reply-topics %s: give the producer Write on those topics by hand\n", pattern)
	}
	if q.script {
		return a.printACLScript(q, platform)
	}
	docs := q.wanted(platform)
	if q.apply || q.compare {
		cl, err := kgo.NewClient(a.kafkaOptions()...)
		if err != nil {
			return err
		}
		defer cl.Close()
		if docs, err = compareGrants(ctx, cl, docs); err != nil {
			return err
		}
		if q.apply {
			if err := applyGrants(ctx, cl, docs, q.prune); err != nil {
				return err
			}
		}
	}
	if q.asJSON {
		err = a.JSON(docs)
	} else {
		err = a.printGrants(docs)
	}
	if err != nil {
		return err
	}
	if q.compare && slices.ContainsFunc(docs, func(d grantDocument) bool { return d.State == grantMissing || d.State == grantSurplus }) {
		return cli.Exit(cli.ExitFailure, nil)
	}
	return nil
}

// named are the principals of each role; those that are called like their roles when none is named.
func (q aclQuery) named(role rights.Role) []string {
	for _, principals := range q.principals {
		if len(*principals) > 0 {
			return *q.principals[role]
		}
	}
	return []string{"User:" + string(role)}
}

// wanted are the entries that the principals need, each once.
func (q aclQuery) wanted(platform rights.Platform) []grantDocument {
	var docs []grantDocument
	for _, role := range rights.Roles() {
		for _, principal := range q.named(role) {
			for _, r := range platform.Of(role) {
				g := rights.Wanted(principal, r)
				i := slices.IndexFunc(docs, func(d grantDocument) bool { return d.grant == g })
				if i < 0 {
					i, docs = len(docs), append(docs, document(g, ""))
				}
				docs[i].Roles = append(docs[i].Roles, string(role))
			}
		}
	}
	return docs
}

func document(g rights.Grant, state string) grantDocument {
	d := grantDocument{
		Principal: g.Principal, Resource: rights.ResourceName(g.Resource), Name: g.Name, Pattern: "literal", Operation: rights.OperationName(g.Operation),
		Deny: g.Deny, Host: g.Host, State: state, grant: g,
	}
	if g.Prefixed {
		d.Pattern = "prefixed"
	}
	return d
}

// compareGrants says of each entry that is wanted whether it is there, and adds those that nobody asked for.
func compareGrants(ctx context.Context, cl *kgo.Client, docs []grantDocument) ([]grantDocument, error) {
	there := map[rights.Grant]bool{}
	var principals []string
	for _, d := range docs {
		if !slices.Contains(principals, d.Principal) {
			principals = append(principals, d.Principal)
		}
	}
	var surplus []grantDocument
	for _, principal := range principals {
		given, err := rights.Read(ctx, cl, principal)
		if err != nil {
			return nil, err
		}
		for _, g := range given {
			there[g] = true
			if !slices.ContainsFunc(docs, func(d grantDocument) bool { return d.grant == g }) {
				surplus = append(surplus, document(g, grantSurplus))
			}
		}
	}
	for i := range docs {
		docs[i].State = grantMissing
		if there[docs[i].grant] {
			docs[i].State = grantOK
		}
	}
	return append(docs, surplus...), nil
}

// applyGrants gives what is missing, and takes away what is surplus when it is told to.
func applyGrants(ctx context.Context, cl *kgo.Client, docs []grantDocument, prune bool) error {
	change := func(from, to string, do func(context.Context, *kgo.Client, []rights.Grant) error) error {
		var grants []rights.Grant
		for i := range docs {
			if docs[i].State == from {
				grants, docs[i].State = append(grants, docs[i].grant), to
			}
		}
		return do(ctx, cl, grants)
	}
	if err := change(grantMissing, grantGiven, rights.Add); err != nil || !prune {
		return err
	}
	return change(grantSurplus, grantRemoved, rights.Remove)
}

func (a *App) printGrants(docs []grantDocument) error {
	w := tabwriter.NewWriter(a.Out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "PRINCIPAL\tOPERATION\tRESOURCE\tNAME\tROLES\tSTATE")
	surplus := 0
	for _, d := range docs {
		name, operation := d.Name, d.Operation
		if d.Pattern == "prefixed" {
			name += "*"
		}
		if d.Deny {
			operation = "not " + operation
		}
		if d.State == grantSurplus {
			surplus++
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", d.Principal, operation, d.Resource, name, strings.Join(d.Roles, ","), d.State)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if surplus > 0 {
		fmt.Fprintf(a.Err, "%d entries of these principals are surplus: no role named here needs them; --apply --prune removes them\n", surplus)
	}
	return nil
}

// printACLScript prints commands of Kafka's own tool.
func (a *App) printACLScript(q aclQuery, platform rights.Platform) error {
	var b strings.Builder
	b.WriteString(`#!/usr/bin/env bash
# What the roles of ` + a.Domain.Name + ` may do.
set -euo pipefail
: "${BROKERS:?host:port of a broker}"
tool() { "$1" --bootstrap-server "$BROKERS" ${COMMAND_CONFIG:+--command-config "$COMMAND_CONFIG"} "${@:2}"; }
`)
	for _, role := range rights.Roles() {
		for _, principal := range q.named(role) {
			fmt.Fprintf(&b, "\n# %s\n%s", role, aclScript(quoted(principal), "", platform.Of(role)))
		}
	}
	_, err := fmt.Fprint(a.Out, b.String())
	return err
}

// quoted is a text as a shell takes it.
func quoted(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }

// aclScript is a line of shell for each resource; before stands at the beginning of each.
func aclScript(principal, before string, all []rights.Right) string {
	var b strings.Builder
	for i, r := range all {
		if i > 0 && r.Resource == all[i-1].Resource && r.Name == all[i-1].Name && r.Prefixed == all[i-1].Prefixed {
			continue // it stands in that one's line
		}
		fmt.Fprintf(&b, "%stool kafka-acls.sh --add --allow-principal %s --%s %s", before, principal, rights.ResourceName(r.Resource), r.Name)
		if r.Prefixed {
			b.WriteString(" --resource-pattern-type prefixed")
		}
		for _, same := range all[i:] {
			if same.Resource == r.Resource && same.Name == r.Name && same.Prefixed == r.Prefixed {
				b.WriteString(" --operation " + rights.OperationName(same.Operation))
			}
		}
		b.WriteString("\n")
	}
	return b.String()
}

// ownRights says what the login lacks.
func (a *App) ownRights(ctx context.Context, roles []string, asJSON bool) error {
	platform, err := a.platform()
	if err != nil {
		return err
	}
	var wanted []rights.Right
	for _, role := range roles {
		wanted = append(wanted, platform.Of(rights.Role(role))...)
	}
	missing, err := rights.Missing(ctx, a.kafkaOptions(), wanted)
	if err != nil {
		return err
	}
	names := make([]string, len(missing))
	for i, r := range missing {
		names[i] = r.String()
	}
	if asJSON {
		err = a.JSON(names)
	} else {
		for _, name := range names {
			_, printed := fmt.Fprintln(a.Out, "missing:", name)
			err = errors.Join(err, printed)
		}
		if len(names) == 0 {
			_, err = fmt.Fprintf(a.Out, "nothing is missing for %s\n", strings.Join(roles, ", "))
		}
	}
	if err == nil && len(missing) > 0 {
		err = cli.Exit(cli.ExitFailure, nil)
	}
	return err
}
