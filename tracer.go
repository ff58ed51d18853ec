package ledgerline

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ledgerline-es/ledgerline/internal/logread"
	"github.com/ledgerline-es/ledgerline/producer"
	"github.com/ledgerline-es/ledgerline/projector"
	"github.com/ledgerline-es/ledgerline/schemas"
)

// tracer looks for one command id in the topics of a kind.
type tracer struct {
	*look

	def    producer.Definition
	id     string // of the command: its ce_id, else its place
	since  time.Time
	topics schemas.Topics
	viewer *producer.Viewer

	docs  []*traceDocument
	byID  map[string]*traceDocument // by aggregate id
	first time.Time                 // when the command was first recorded
}

func (t *tracer) run(ctx context.Context) error {
	for _, topic := range []string{t.topics.Commands, t.topics.Internal} {
		if err := t.scan(ctx, topic, t.since, t.command); err != nil {
			return err
		}
	}
	since := t.since
	if !t.first.IsZero() {
		since = t.first.Add(-clockSkew) // events carry the clock of the producer's machine, commands that of the broker
	}
	for _, part := range []struct {
		topic string
		visit func(context.Context, *kgo.Record) error
	}{{t.topics.Events, t.event}, {t.topics.Replies, t.reply}, {t.topics.DeadLetters, t.deadLetter}} {
		if err := t.scan(ctx, part.topic, since, part.visit); err != nil {
			return err
		}
	}
	return nil
}

// scan reads a topic: all of it while nothing of the command is known, else the partitions that it can be in. A topic that does
// not exist holds nothing.
func (t *tracer) scan(ctx context.Context, name string, since time.Time, visit func(context.Context, *kgo.Record) error) error {
	topic, err := logread.Look(ctx, t.admin, name)
	if errors.Is(err, logread.ErrNoTopic) {
		return nil
	}
	if err != nil {
		return err
	}
	if !since.IsZero() {
		if err := topic.Since(ctx, t.admin, since); err != nil {
			return err
		}
	}
	partitions := t.partitions(name, topic.Partitions)
	bar := t.Progress("reading "+name, "records", -1)
	defer bar.End()
	for _, p := range partitions {
		err := t.reader.Partition(ctx, topic, p, func(rec *kgo.Record) error {
			bar.Add(1)
			return visit(ctx, rec)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// partitions are those that a topic's records of the command can be in.
func (t *tracer) partitions(topic string, n int32) (all []int32) {
	inputs := topic == t.topics.Commands || topic == t.topics.Internal
	for p := range n {
		mayHold := len(t.docs) == 0 || inputs
		for _, d := range t.docs {
			mayHold = mayHold || schemas.Partition(d.AggregateID, n) == p ||
				slices.ContainsFunc(d.Records, func(r tracedRecord) bool { return r.Partition == p }) // refused where it was published
		}
		if mayHold {
			all = append(all, p)
		}
	}
	return all
}

// of is the document of an aggregate.
func (t *tracer) of(aggregate string) *traceDocument {
	d := t.byID[aggregate]
	if d == nil {
		d = &traceDocument{
			CommandID: t.id, Kind: t.def.KindName(), AggregateID: aggregate, topics: t.topics,
			Records: []tracedRecord{}, Events: []tracedEvent{}, Replies: []tracedReply{}, DeadLetters: []tracedDeadLetter{}, Projections: []tracedProjection{},
		}
		t.byID[aggregate] = d
		t.docs = append(t.docs, d)
	}
	return d
}

func headerOf(rec *kgo.Record, key string) string {
	value, _ := schemas.Header(rec, key)
	return value
}

func (t *tracer) command(ctx context.Context, rec *kgo.Record) error {
	id := headerOf(rec, schemas.HeaderID)
	at := fmt.Sprintf("%s/%d/%d", rec.Topic, rec.Partition, rec.Offset)
	if at == t.id && id != "" {
		t.id = id // asked for by its place, it is known by its id from here on
	}
	if id != t.id && at != t.id {
		return nil
	}
	r := tracedRecord{place: placeOf(rec), Principal: headerOf(rec, schemas.HeaderAuthID), ForwardedFrom: headerOf(rec, schemas.HeaderOrigin)}
	name, data, err := t.viewer.Command(ctx, rec)
	if err != nil {
		r.Error = err.Error()
	}
	r.Type, r.Data = schemas.ShortName(name), data
	d := t.of(string(rec.Key))
	d.Records = append(d.Records, r)
	if t.first.IsZero() || rec.Timestamp.Before(t.first) {
		t.first = rec.Timestamp
	}
	return nil
}

func (t *tracer) event(ctx context.Context, rec *kgo.Record) error {
	if headerOf(rec, schemas.HeaderCausationID) != t.id {
		return nil
	}
	id, sequence, err := projector.SplitKey(rec.Key)
	if err != nil {
		return nil //nolint:nilerr // an event that no producer wrote: that is for verify to say
	}
	name, data, err := t.viewer.Event(ctx, rec)
	if err != nil {
		return fmt.Errorf("%s: %w", placeOf(rec), err)
	}
	d := t.of(id)
	d.found = append(d.found, rec)
	d.Events = append(d.Events, tracedEvent{
		place: placeOf(rec), Sequence: sequence, Type: schemas.ShortName(name), Data: data, ProducerID: rec.ProducerID, ProducerEpoch: rec.ProducerEpoch,
	})
	return nil
}

func (t *tracer) reply(ctx context.Context, rec *kgo.Record) error {
	reply, err := t.viewer.Reply(ctx, rec)
	if err != nil {
		return fmt.Errorf("%s: %w", placeOf(rec), err)
	}
	if reply.CommandID == t.id {
		d := t.of(string(rec.Key))
		d.Replies = append(d.Replies, tracedReply{placeOf(rec), replyOf(reply)})
	}
	return nil
}

func (t *tracer) deadLetter(_ context.Context, rec *kgo.Record) error {
	origin := headerOf(rec, schemas.HeaderOrigin)
	if headerOf(rec, schemas.HeaderID) != t.id && origin != t.id {
		return nil
	}
	d := t.of(string(rec.Key))
	d.DeadLetters = append(d.DeadLetters, tracedDeadLetter{placeOf(rec), headerOf(rec, schemas.HeaderDeadReason), headerOf(rec, schemas.HeaderDeadError), origin})
	return nil
}

// traceRows looks for the rows of the command's events.
func (log *look) traceRows(ctx context.Context, d *traceDocument) error {
	var readers []projector.Projection
	for _, p := range log.Domain.Projections {
		if p.KindName() == d.Kind {
			readers = append(readers, p)
		}
	}
	if len(d.found) == 0 || len(readers) == 0 {
		return nil
	}
	sinks, err := log.stores(readers)
	if err != nil {
		return err
	}
	defer sinks.Close()
	codec := schemas.NewCodec(log.codes)
	for _, p := range readers {
		plan, err := p.Plan(log.prefix)
		if err != nil {
			return err
		}
		traced := tracedProjection{Name: p.ProjectionName(), Store: plan.Store, Table: plan.Schema + "." + plan.Table, State: "stored"}
		rows, err := log.lookUp(ctx, p, plan, sinks.sinks[plan.Store], codec, d.found)
		if err != nil { // a store that is away hides nothing of the rest
			traced.State = strings.TrimSpace(err.Error())
		}
		traced.Rows = append([]json.RawMessage{}, rows...)
		d.Projections = append(d.Projections, traced)
	}
	return nil
}

// errBehind says that a projection has not come to the events yet.
var errBehind = errors.New("behind: it has not come to the last event yet")

func (a *App) lookUp(ctx context.Context, p projector.Projection, plan projector.Plan, sink projector.Sink, codec *schemas.Codec, events []*kgo.Record) (rows []json.RawMessage, err error) {
	partition, last := events[0].Partition, events[len(events)-1]
	batch, err := projector.BatchOf(ctx, p, codec, plan.Topic, partition, events[0].Offset, last.Offset+1, events)
	if err != nil {
		return nil, err
	}
	snapshot, err := sink.Snapshot(ctx, plan)
	if err != nil {
		return nil, err
	}
	defer snapshot.Close()
	var identities [][]any
	if plan.Shape == projector.ShapeFold {
		for _, key := range projector.FoldBatches(batch).Keys() {
			identities = append(identities, []any{key})
		}
	} else {
		identities = identitiesOf(projector.JoinRows(batch), snapshot.Identity())
	}
	var offsets []int64
	for _, rec := range events {
		offsets = append(offsets, rec.Offset)
	}
	rows, err = snapshot.Lookup(ctx, partition, offsets, identities)
	if err == nil && snapshot.Positions()[partition].Next <= last.Offset {
		err = errBehind
	}
	return rows, err
}

// identitiesOf are the values of rows in the columns that tell rows apart.
func identitiesOf(rows projector.Rows, columns []int) [][]any {
	identities := make([][]any, rows.Len())
	for _, c := range columns {
		values := reflect.ValueOf(rows.Column(c))
		for i := range identities {
			identities[i] = append(identities[i], values.Index(i).Interface())
		}
	}
	return identities
}
