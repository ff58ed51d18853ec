package ledgerline

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ledgerline-es/ledgerline/internal/rights"
	"github.com/ledgerline-es/ledgerline/internal/transactions"
	"github.com/ledgerline-es/ledgerline/producer"
	"github.com/ledgerline-es/ledgerline/schemas"
)

// transactionDocument is an open transaction as doctor --json prints it.
type transactionDocument struct {
	Name             string `json:"name"` // TOPIC/PARTITION/PRODUCER-ID
	Topic            string `json:"topic"`
	Partition        int32  `json:"partition"`
	ProducerID       int64  `json:"producer_id"`
	ProducerEpoch    int16  `json:"producer_epoch"`
	CoordinatorEpoch int32  `json:"coordinator_epoch"`
	TransactionalID  string `json:"transactional_id,omitempty"` // none: no coordinator is seen to know it
	State            string `json:"state,omitempty"`            // at its coordinator
	Since            string `json:"since"`
	OpenSeconds      int64  `json:"open_seconds"`
	FirstOffset      int64  `json:"first_offset"`
	StableOffset     int64  `json:"last_stable_offset"`
	Behind           int64  `json:"records_behind"` // the last stable offset
	Owner            string `json:"owner"`          // ours, foreign, unknown
	Hangs            bool   `json:"hangs"`          // no coordinator will ever end it
}

// Owners of transactions.
const (
	ownerOurs    = "ours"
	ownerForeign = "foreign"
	ownerUnknown = "unknown"
)

func (d *doctor) document(o transactions.Open) *transactionDocument {
	return &transactionDocument{
		Name: o.Name(), Topic: o.Topic, Partition: o.Partition, ProducerID: o.ProducerID, ProducerEpoch: o.ProducerEpoch, CoordinatorEpoch: o.CoordinatorEpoch,
		TransactionalID: o.ID, State: o.State, Since: schemas.FormatTime(o.Since()), OpenSeconds: int64(o.Age() / time.Second), FirstOffset: o.Offset,
		StableOffset: o.Stable, Behind: o.Behind(), Owner: d.owner(o.ID), Hangs: o.Hangs(),
	}
}

// owner tells whether a transactional id is one of ours.
func (d *doctor) owner(id string) string {
	if id == "" {
		return ownerUnknown
	}
	prefix := d.values.String("topic-prefix")
	for _, def := range d.Domain.Aggregates {
		if strings.HasPrefix(id, producer.TransactionalIDPrefix(prefix, def.KindName())) || id == rights.DeadLetterTransactions(prefix, def.KindName()) {
			return ownerOurs
		}
	}
	return ownerForeign
}

// transaction says of an open transaction what is wrong with it, if anything is: one that hangs is, whatever its age.
func (d *doctor) transaction(o transactions.Open) {
	if !o.Hangs() && o.Age() <= d.query.olderThan {
		return
	}
	t := d.document(o)
	whose := map[string]string{ownerOurs: ", which is one of ours", ownerForeign: ", which is none of ours", ownerUnknown: ""}[t.Owner]
	id := o.ID
	if id == "" {
		id = "(not known)"
	}
	what := fmt.Sprintf("transactional id %s%s, producer id %d, epoch %d, coordinator epoch %d: open since %s (%v), from offset %d on: %d records wait behind the last stable offset",
		id, whose, o.ProducerID, o.ProducerEpoch, o.CoordinatorEpoch, t.Since, o.Age().Round(time.Second), o.Offset, t.Behind)
	abort := fmt.Sprintf("%s doctor --abort --transaction %s", d.Domain.Name, o.Name())
	var remedy string
	switch {
	case o.Hangs():
		what += "; no coordinator knows it: it hangs, and nobody ends it"
		remedy = fmt.Sprintf("%q ends it", abort)
	case o.Ending():
		what += fmt.Sprintf("; its outcome is decided (%s), and not written down", o.State)
		remedy = "look at the logs of its coordinator's broker: it tries again until this partition takes it"
	case o.Known():
		remedy = fmt.Sprintf("its coordinator ends it at %s; stop its owner, or end it now and fence its owner: %q", schemas.FormatTime(o.Begun.Add(o.Timeout)), abort+" --force")
		if t.Owner == ownerOurs {
			remedy += "; of a producer that is dead the one that takes over ends it by itself"
		}
	default:
		remedy = fmt.Sprintf("let a login look that may describe all transactional ids: this one is not shown whose it is; then %q", abort)
	}
	d.said.Findings = append(d.said.Findings, findingDocument{Level: producer.Refusal, Where: "transaction " + o.Name(), What: what, Remedy: remedy, Transaction: t})
}

// abort ends the transactions that were named, or all that hang, each after a look at it.
func (d *doctor) abort(ctx context.Context) error {
	topics, err := d.topics(ctx)
	d.said.Findings = []findingDocument{} // about topics, which nobody asked for now
	if err != nil {
		return err
	}
	open, err := transactions.Look(ctx, d.adm, topics)
	if err != nil {
		return err
	}
	var errs []error
	for _, name := range d.query.named {
		if !slices.ContainsFunc(open, func(o transactions.Open) bool { return o.Name() == name }) {
			errs = append(errs, fmt.Errorf("there is no open transaction %s: %q lists those that there are for longer than usual", name, d.Domain.Name+" doctor"))
		}
	}
	for _, o := range open {
		if named := slices.Contains(d.query.named, o.Name()); !named && !(d.query.yes && o.Hangs()) {
			continue
		}
		if err := transactions.Judge(o); err != nil && !d.query.forced {
			if o.Shown && !o.Ending() {
				err = fmt.Errorf("%w; --transaction %s --force ends it all the same", err, o.Name())
			}
			errs = append(errs, err)
			continue
		}
		if err := transactions.Abort(ctx, d.cl, o); err != nil {
			errs = append(errs, err)
			continue
		}
		d.said.Aborted = append(d.said.Aborted, *d.document(o))
	}
	return errors.Join(errs...)
}
