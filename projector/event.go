package projector

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ledgerline-es/ledgerline/schemas"
)

// Event is one event as a projection sees it. Times are UTC.
type Event[E schemas.Record] struct {
	AggregateID   string
	Sequence      int64     // 1, 2, 3 … in its aggregate
	Type          string    // short name: "MoneyDeposited"
	Time          time.Time // business time (ce_time, else the record's timestamp), microseconds
	RecordedAt    time.Time // the record's timestamp, milliseconds
	CommandID     string    // the command that caused it
	CorrelationID string    // empty unless the command carried one
	Topic         string
	Partition     int32
	Offset        int64
	Data          E
}

// EventError says which record could not be turned into an event, or which event a projection failed on.
type EventError struct {
	Topic     string
	Partition int32
	Offset    int64
	Key       string
	Err       error
}

func (e *EventError) Error() string {
	return fmt.Sprintf("event %s/%d offset %d key %q: %v", e.Topic, e.Partition, e.Offset, e.Key, e.Err)
}

func (e *EventError) Unwrap() error { return e.Err }

// decoder turns records into events of one kind.
type decoder[E schemas.Record] struct {
	serde  *schemas.Serde[E]
	ignore map[string]bool // full names of types that are passed over
}

func newDecoder[E schemas.Record](codec *schemas.Codec, topic string, from schemas.EventSource[E], ignore []string) *decoder[E] {
	d := &decoder[E]{
		serde:  schemas.NewSerde(codec, topic, schemas.FullTransitive, from.EventTypes()...),
		ignore: make(map[string]bool, len(ignore)),
	}
	for _, name := range ignore {
		d.ignore[name] = true
	}
	return d
}

// decode turns records into events, in order. Control records and ignored types give none. An error that is not worth a
// retry is an *EventError; the registry being away is not.
func (d *decoder[E]) decode(ctx context.Context, records []*kgo.Record) ([]Event[E], error) {
	events := make([]Event[E], 0, len(records))
	for _, rec := range records {
		if rec.Attrs.IsControl() {
			continue
		}
		events = append(events, Event[E]{})
		keep, err := d.event(ctx, rec, &events[len(events)-1])
		if err != nil {
			if errors.Is(err, schemas.ErrRegistryUnavailable) || ctx.Err() != nil {
				return nil, fmt.Errorf("decode %s/%d offset %d: %w", rec.Topic, rec.Partition, rec.Offset, err)
			}
			return nil, &EventError{Topic: rec.Topic, Partition: rec.Partition, Offset: rec.Offset, Key: string(rec.Key), Err: err}
		}
		if !keep {
			events = events[:len(events)-1]
		}
	}
	return events, nil
}

func (d *decoder[E]) event(ctx context.Context, rec *kgo.Record, e *Event[E]) (keep bool, err error) {
	e.Topic, e.Partition, e.Offset = rec.Topic, rec.Partition, rec.Offset
	e.RecordedAt = rec.Timestamp.UTC()
	e.Time = e.RecordedAt
	typeName := ""
	for i := range rec.Headers {
		switch h := &rec.Headers[i]; h.Key {
		case schemas.HeaderTime:
			if e.Time, err = schemas.ParseTime(string(h.Value)); err != nil {
				return false, fmt.Errorf("header %s: %w", h.Key, err)
			}
		case schemas.HeaderType:
			typeName = string(h.Value)
		case schemas.HeaderCausationID:
			e.CommandID = string(h.Value)
		case schemas.HeaderCorrelationID:
			e.CorrelationID = string(h.Value)
		}
	}
	if d.ignore[typeName] {
		return false, nil
	}
	if e.AggregateID, e.Sequence, err = SplitKey(rec.Key); err != nil {
		return false, err
	}
	if e.Data, err = d.serde.Decode(ctx, rec.Value); err != nil {
		if errors.Is(err, schemas.ErrUnknownType) {
			return false, fmt.Errorf("%w: let the projection know the type, or name it in Ignore", err)
		}
		return false, err
	}
	e.Type = schemas.ShortName(e.Data.AvroName())
	return true, nil
}

// SplitKey takes the key of an event, "<aggregate id>/<sequence>", apart.
func SplitKey(key []byte) (id string, sequence int64, err error) {
	s := string(key)
	slash := strings.LastIndexByte(s, '/')
	if slash < 0 {
		return "", 0, fmt.Errorf("key %q is not \"<aggregate id>/<sequence>\"", s)
	}
	sequence, err = strconv.ParseInt(s[slash+1:], 10, 64)
	if err != nil || sequence < 1 || s[slash+1] == '0' || s[slash+1] == '+' {
		return "", 0, fmt.Errorf("key %q does not end in a sequence: a number from 1", s)
	}
	id = s[:slash]
	if err := schemas.ValidateID(id); err != nil {
		return "", 0, fmt.Errorf("key %q: %w", s, err)
	}
	return id, sequence, nil
}

// FullType is the full Avro name of the event's record.
func (e *Event[E]) FullType() string { return e.Data.AvroName() }
