package verify

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ledgerline-es/ledgerline/internal/logread"
	"github.com/ledgerline-es/ledgerline/projector"
)

// view is a projection as of one moment, and the comparison of its rows.
type view struct {
	*verification
	projection projector.Projection
	plan       projector.Plan
	snapshot   projector.Snapshot
	positions  map[int32]projector.SnapshotPosition
	findings   *findings

	mu    sync.Mutex
	keyed projector.Keyed // nil when rows are compared in order
	rows  atomic.Int64
	ahead atomic.Int64 // events that the rows are not made of yet
	found int64
	err   error // the rows could not be read; the log is checked all the same
}

// look opens a snapshot of a projection.
func (v *verification) look(ctx context.Context, p projector.Projection, events logread.Topic) (*view, error) {
	plan, err := p.Plan(v.TopicPrefix)
	if err != nil {
		return nil, err
	}
	plan.TopicID, plan.Partitions = events.ID, events.Partitions
	sink := v.Sinks[p.StoreName()]
	if sink == nil {
		return nil, fmt.Errorf("there is no sink for store %q", p.StoreName())
	}
	snapshot, err := sink.Snapshot(ctx, plan)
	if err != nil {
		return nil, err
	}
	w := &view{verification: v, projection: p, plan: plan, snapshot: snapshot, positions: snapshot.Positions(), findings: &v.findings}
	for id, pos := range w.positions {
		if pos.TopicID != events.ID {
			snapshot.Close()
			return nil, fmt.Errorf("the rows of partition %d are of topic id %s, topic %s has id %s: it was deleted and made anew", id, pos.TopicID, events.Name, events.ID)
		}
	}
	if identity := snapshot.Identity(); identity != nil {
		w.keyed = p.CompareByKey(identity, w.report)
	}
	return w, nil
}

// report makes a finding of a difference.
func (w *view) report(d projector.Difference) {
	f := Finding{
		Topic: w.plan.Topic, Partition: d.Partition, Offset: d.Offset, Key: d.Key,
		Projection: w.plan.Projection, Table: w.plan.Schema + "." + w.plan.Table, Kind: d.Kind, Column: d.Column, Want: d.Want, Have: d.Have,
	}
	switch d.Kind {
	case projector.Missing:
		f.Reason = "the row is missing"
		if u := w.positions[d.Partition].Unfinished; u != nil && d.Offset >= u.First && d.Offset < u.Next {
			f.Reason += fmt.Sprintf(": it belongs to a range that was begun at %s and is not there in full; a projector that runs settles it", u.Since.Format(time.RFC3339))
		}
	case projector.Extra:
		f.Reason = "the row is extra: no event that was written gives it"
	case projector.Doubled:
		f.Reason = "the row is there more than once"
	default:
		f.Reason = fmt.Sprintf("column %s is %q and should be %q", d.Column, d.Have, d.Want)
	}
	w.findings.add(f, &w.found)
}

// feed hands the events of one partition to the comparison.
type feed struct {
	*view
	below   int64 // where the rows stand
	ordered projector.Ordered
	broken  bool // the rows could not be read
}

func (w *view) feed(ctx context.Context, partition int32) *feed {
	f := &feed{view: w, below: w.positions[partition].Next}
	if w.keyed == nil {
		f.ordered = w.projection.CompareInOrder(partition, func(target []any, visit func(int64, int32) bool) error {
			return w.snapshot.Read(ctx, partition, target, func(offset int64, ordinal int32) bool {
				w.rows.Add(1)
				return visit(offset, ordinal)
			})
		}, w.report)
	}
	return f
}

func (f *feed) add(rec *kgo.Record, event any) {
	if rec.Offset >= f.below {
		f.ahead.Add(1)
		return
	}
	if f.broken {
		return
	}
	var err error
	if f.ordered != nil {
		err = f.ordered.Add(event)
	} else {
		f.mu.Lock()
		err = f.keyed.Add(event)
		f.mu.Unlock()
	}
	if poison, ok := errors.AsType[*projector.EventError](err); ok {
		f.findings.add(Finding{
			Topic: rec.Topic, Partition: rec.Partition, Offset: rec.Offset, Key: string(rec.Key), Projection: f.plan.Projection, Table: f.plan.Schema + "." + f.plan.Table,
			Reason: "the projection cannot take it: " + poison.Err.Error(),
		}, &f.found)
		return
	}
	f.fail(err)
}

// close ends the comparison of the partition. Unless all its events were read nothing more is judged.
func (f *feed) close(all bool) {
	if f.ordered == nil {
		return
	}
	below := f.below
	if !all || f.broken {
		below = 0
	}
	f.fail(f.ordered.Close(below))
}

func (f *feed) fail(err error) {
	if err == nil {
		return
	}
	f.broken = true
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err = errors.Join(f.err, err)
}

// finish compares what was not compared on the way, and makes the report.
func (w *view) finish(ctx context.Context, events logread.Topic) (ProjectionReport, error) {
	r := ProjectionReport{Projection: w.plan.Projection, Store: w.plan.Store, Table: w.plan.Schema + "." + w.plan.Table, Vector: make(map[int32]int64)}
	if w.err != nil {
		return r, w.err
	}
	if w.keyed != nil {
		err := w.snapshot.Read(ctx, -1, w.keyed.Target(), func(int64, int32) bool {
			w.rows.Add(1)
			w.keyed.Row()
			return true
		})
		if err != nil {
			return r, err
		}
		w.keyed.Close()
	}
	strays, err := w.snapshot.Strays(ctx)
	if err != nil {
		return r, err
	}
	for _, stray := range strays {
		w.report(stray)
	}
	for id, end := range events.Ends {
		pos := w.positions[id]
		r.Vector[id] = pos.Next
		r.Behind += max(0, end-pos.Next)
		if pos.Next > end {
			w.findings.add(Finding{Topic: w.plan.Topic, Partition: id, Offset: pos.Next, Projection: r.Projection, Table: r.Table,
				Reason: fmt.Sprintf("the rows stand at offset %d, the log ends at %d: the log has lost events, or is another one", pos.Next, end)}, &w.found)
		}
		if u := pos.Unfinished; u != nil {
			r.Unfinished = append(r.Unfinished, Unfinished{Partition: id, FirstOffset: u.First, NextOffset: u.Next, Rows: u.Rows, Stored: u.Stored, Since: u.Since})
		}
	}
	r.Rows, r.EventsBehind, r.Findings = w.rows.Load(), w.ahead.Load(), w.found
	return r, nil
}
