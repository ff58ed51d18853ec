package deadletters

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ledgerline-es/ledgerline/internal/logread"
	"github.com/ledgerline-es/ledgerline/schemas"
)

// Box holds the dead letters of one kind, as of one moment.
type Box struct {
	kind    string
	topic   logread.Topic
	reader  logread.Reader
	settled map[at]string
}

// at is a letter in its topic.
type at struct {
	partition int32
	offset    int64
}

// Open looks into the dead letters of a kind, and reads which of them are settled. The error is logread.ErrNoTopic when the kind has
// no such topic yet.
func Open(ctx context.Context, admin *kadm.Client, reader logread.Reader, prefix, kind string) (*Box, error) {
	return open(ctx, admin, reader, prefix, kind, false)
}

// open reads what is committed; or, for who settles, all that is written, and waits for what is undecided: that a letter is settled
// may stand behind another's open transaction.
func open(ctx context.Context, admin *kadm.Client, reader logread.Reader, prefix, kind string, written bool) (*Box, error) {
	topic, err := logread.Look(ctx, admin, schemas.TopicsOf(prefix, kind).DeadLetters)
	if err != nil {
		return nil, err
	}
	if written {
		ends, err := admin.ListEndOffsets(ctx, topic.Name)
		if err == nil {
			err = ends.Error()
		}
		if err != nil {
			return nil, fmt.Errorf("list end offsets of %s: %w", topic.Name, err)
		}
		ends.Each(func(o kadm.ListedOffset) { topic.Ends[o.Partition] = o.Offset })
	}
	b := &Box{kind: kind, topic: topic, reader: reader, settled: map[at]string{}}
	return b, b.read(ctx, func(rec *kgo.Record) error {
		if what, which, ok := mark(rec); ok {
			b.settled[which] = what
		}
		return nil
	})
}

// mark reads a record that says what became of a letter.
func mark(rec *kgo.Record) (what string, which at, ok bool) {
	what, ok = schemas.Header(rec, schemas.HeaderSettled)
	if !ok {
		return "", at{}, false
	}
	place, _ := schemas.Header(rec, schemas.HeaderSettles)
	offset, err := strconv.ParseInt(place[strings.LastIndexByte(place, '/')+1:], 10, 64)
	if err != nil {
		offset = -1 // of no letter
	}
	return what, at{rec.Partition, offset}, true
}

func (b *Box) read(ctx context.Context, visit func(*kgo.Record) error) error {
	for p := range b.topic.Partitions {
		if err := b.reader.Partition(ctx, b.topic, p, visit); err != nil {
			return err
		}
	}
	return nil
}

// Each gives the letters, partition by partition, the settled ones too.
func (b *Box) Each(ctx context.Context, visit func(Letter) error) error {
	return b.read(ctx, func(rec *kgo.Record) error {
		if _, _, ok := mark(rec); ok {
			return nil
		}
		l := letter(b.kind, rec)
		l.Settled = b.settled[at{rec.Partition, rec.Offset}]
		return visit(l)
	})
}

// ErrNone means that there is no such letter.
var ErrNone = errors.New("there is no such dead letter: it may have gone when the retention of its topic ended")

// errFound ends reading.
var errFound = errors.New("found")

// Get gives one letter.
func (b *Box) Get(ctx context.Context, p Place) (Letter, error) {
	var found Letter
	if p.Partition >= b.topic.Partitions || p.Offset < b.topic.Starts[p.Partition] || p.Offset >= b.topic.Ends[p.Partition] {
		return found, fmt.Errorf("%s: %w", p, ErrNone)
	}
	one := *b
	one.topic.Starts, one.topic.Ends = map[int32]int64{p.Partition: p.Offset}, map[int32]int64{p.Partition: p.Offset + 1}
	err := one.Each(ctx, func(l Letter) error {
		found = l
		return errFound
	})
	switch {
	case errors.Is(err, errFound):
		return found, nil
	case err == nil:
		err = ErrNone
	}
	return found, fmt.Errorf("%s: %w", p, err)
}
