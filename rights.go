package ledgerline

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ledgerline-es/ledgerline/internal/rights"
	"github.com/ledgerline-es/ledgerline/producer"
)

// platform is what there is to have rights in.
func (a *App) platform() (rights.Platform, error) {
	prefix := a.values.String("topic-prefix")
	p := rights.Platform{Prefix: prefix, ReplyTopics: a.values.Strings("producer.reply-topics")}
	for _, def := range a.Domain.Aggregates {
		p.Kinds = append(p.Kinds, rights.Kind{
			Name: def.KindName(), Group: producer.Group(prefix, def.KindName()), TransactionalID: producer.TransactionalIDPrefix(prefix, def.KindName()),
			SendsTo: def.ReceiverNames(),
		})
	}
	for _, projection := range a.Domain.Projections {
		plan, err := projection.Plan(prefix)
		if err != nil {
			return p, err
		}
		p.Projections = append(p.Projections, rights.Projection{Name: projection.ProjectionName(), Topic: plan.Topic, Group: prefix + projection.ProjectionName()})
	}
	return p, nil
}

// rolesOf are the roles that a command plays.
func rolesOf(command string) []rights.Role {
	first, _, _ := strings.Cut(command, " ")
	switch first {
	case "producer":
		return []rights.Role{rights.Producer}
	case "projector":
		return []rights.Role{rights.Projector}
	case "api":
		return []rights.Role{rights.API}
	case "monitor":
		return []rights.Role{rights.Monitor}
	case "all", "demo":
		return []rights.Role{rights.Producer, rights.Projector, rights.API, rights.Monitor}
	case "events", "aggregate", "trace", "saga", "verify", "topics", "doctor":
		return []rights.Role{rights.Auditor}
	case "dlq":
		if command == "dlq retry" || command == "dlq drop" {
			return []rights.Role{rights.Operator}
		}
		return []rights.Role{rights.Auditor}
	case "schedule":
		if command == "schedule cancel" {
			return []rights.Role{rights.Client}
		}
		return []rights.Role{rights.Auditor}
	case "benchmark":
		return []rights.Role{rights.Client, rights.Auditor, rights.Monitor}
	}
	return []rights.Role{rights.Client} // publish, and a domain's own commands
}

// rightsWatch says which rights the login of a running role lacks, before it stumbles over them one after another.
type rightsWatch struct {
	options []kgo.Opt
	wanted  []rights.Right
	remedy  string
	log     *slog.Logger

	mu      sync.Mutex
	missing error
}

// rightsOf are those that a command needs, of some kinds or projections when any are named.
func (a *App) rightsOf(command string, names ...string) *rightsWatch {
	w := &rightsWatch{
		options: a.kafkaOptions(), log: a.log,
		remedy: fmt.Sprintf("%q gives each role what it needs", a.Domain.Name+" topics acl"),
	}
	if platform, err := a.platform(); err == nil {
		for _, role := range rolesOf(command) {
			w.wanted = append(w.wanted, platform.Only(names...).Of(role)...)
		}
	}
	return w
}

const (
	rightsTimeout = 10 * time.Second
	askSoon       = 2 * time.Second // while some are missing
	askAgain      = time.Minute     // since they can be taken away
)

// run asks until ctx ends.
func (w *rightsWatch) run(ctx context.Context) {
	for {
		missing := w.ask(ctx, "")
		w.mu.Lock()
		before := w.missing
		w.missing = missing
		w.mu.Unlock()
		wait := askAgain
		if missing != nil {
			wait = askSoon
			if before == nil || before.Error() != missing.Error() {
				w.log.Error("rights are missing in Kafka", "error", missing)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

// ask gives what is missing as an error; nil also when the brokers don't tell. What a failure names it gives alone.
func (w *rightsWatch) ask(ctx context.Context, failure string) error {
	ctx, cancel := context.WithTimeout(ctx, rightsTimeout)
	defer cancel()
	missing, err := rights.Missing(ctx, w.options, w.wanted)
	if err != nil {
		w.log.Debug("asking which rights there are", "error", err)
	}
	if len(missing) == 0 {
		return nil
	}
	if named := slices.DeleteFunc(slices.Clone(missing), func(r rights.Right) bool { return !strings.Contains(failure, r.Name) }); len(named) > 0 {
		missing = named
	}
	var names []string
	for _, r := range missing {
		names = append(names, r.String())
	}
	return errors.New("this login lacks " + strings.Join(names, ", ") + ": " + w.remedy)
}

func (w *rightsWatch) ready() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.missing
}

// hint says what to do about a command's failure, or "" when there is nothing to add.
func (a *App) hint(ctx context.Context, failure error) string {
	if rights.Refused(failure) && a.values != nil {
		if missing := a.rightsOf(a.running).ask(ctx, failure.Error()); missing != nil {
			return missing.Error()
		}
	}
	return a.links.said.Hint(failure)
}
