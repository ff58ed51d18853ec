package api

import (
	"context"
	"errors"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/ledgerline-es/ledgerline/schemas"
)

// question asks the brokers for the ends of all partitions of a topic, for all who want to know at that moment.
type question struct {
	done chan struct{}
	ends map[int32]int64
	err  error
}

// endTimeout bounds one question.
const endTimeout = 2 * time.Second

// end is where an aggregate's partition ends now, by the brokers' word; when they give none, by what was seen.
func (f *follower) end(ctx context.Context, id string) (Place, bool) {
	partition, ok := f.partition(id)
	if !ok {
		return Place{}, false
	}
	q := f.ask(ctx)
	select {
	case <-q.done:
	case <-ctx.Done():
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	next := f.next[partition]
	select {
	case <-q.done:
		if q.err == nil {
			next = max(next, q.ends[partition])
		}
	default:
	}
	return Place{Log: schemas.LogOf(f.topic), Partition: partition, Next: next}, true
}

// ask joins the question that has not been sent yet, or makes one: an answer that was on its way before the caller came
// might be too old for him.
func (f *follower) ask(ctx context.Context) *question {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.queued != nil {
		return f.queued
	}
	q := &question{done: make(chan struct{})}
	if f.asking == nil {
		f.asking = q
		go f.answer(context.WithoutCancel(ctx), q)
	} else {
		f.queued = q
	}
	return q
}

// answer sends a question, and then the one that has come together meanwhile.
func (f *follower) answer(ctx context.Context, q *question) {
	for q != nil {
		q.ends, q.err = endsOf(ctx, f.asker(), f.topic)
		close(q.done)
		f.mu.Lock()
		q, f.queued = f.queued, nil
		f.asking = q
		f.mu.Unlock()
	}
}

func endsOf(ctx context.Context, adm *kadm.Client, topic string) (map[int32]int64, error) {
	if adm == nil {
		return nil, errors.New("no connection to the brokers")
	}
	ctx, cancel := context.WithTimeout(ctx, endTimeout)
	defer cancel()
	listed, err := adm.ListEndOffsets(ctx, topic)
	if err := errors.Join(err, listed.Error()); err != nil {
		return nil, err
	}
	ends := map[int32]int64{}
	listed.Each(func(o kadm.ListedOffset) { ends[o.Partition] = o.Offset })
	return ends, nil
}
