package analytics

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	ch "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/maypok86/otter/v2"

	"github.com/ledgerline-es/ledgerline/projector/clickhouse"
)

// Desk answers questions for many at once. It keeps an exact answer and gives it again for as long as the projection's
// ledger says what it said then: so it is what the server would answer now, at the price of reading the ledger. Readings
// of the ledger, and of one question with the same parameters, are shared by those who ask before they begin.
type Desk struct {
	catalogue *Catalogue
	conn      ch.Conn

	answers *otter.Cache[string, *kept]

	known   sync.Map                   // projection → *clickhouse.Reach, the last one read
	reading flights[*clickhouse.Reach] // by projection
	asking  flights[*Answer]           // by question and parameters
}

// kept is an exact answer.
type kept struct {
	answer *Answer
	reach  *clickhouse.Reach
}

// mostKept bounds the values (rows times columns) of all answers that are kept.
const mostKept = 2_000_000

// freshTime is how old a reading of the ledger may be when a question is begun after it: an older one is as true, and says
// less.
const freshTime = 20 * time.Millisecond

// NewDesk makes a desk. It does no I/O.
func NewDesk(c *Catalogue, conn ch.Conn) *Desk {
	return &Desk{
		catalogue: c, conn: conn,
		answers: otter.Must(&otter.Options[string, *kept]{
			MaximumWeight: mostKept,
			Weigher:       func(_ string, k *kept) uint32 { return uint32(1 + len(k.answer.Rows)*len(k.answer.Columns)) },
		}),
	}
}

// Ask is [Catalogue.Run] for many at once. Nobody may change the answer: others have it too.
func (d *Desk) Ask(ctx context.Context, name string, params map[string]string) (*Answer, error) {
	q, err := d.catalogue.Query(name)
	if err != nil {
		return nil, err
	}
	values, err := q.Values(params)
	if err != nil {
		return nil, err
	}
	var b strings.Builder
	b.WriteString(name)
	for _, p := range q.Params {
		fmt.Fprintf(&b, "\x00%s", values[p.Name])
	}
	key := b.String()
	now, err := d.reach(ctx, q)
	if err != nil {
		return nil, err
	}
	read := time.Now()
	if k, ok := d.answers.GetIfPresent(key); ok && k.reach.Same(now) {
		return k.answer, nil
	}
	return d.asking.do(ctx, key, func(ctx context.Context) (*Answer, error) {
		before := now
		if time.Since(read) > freshTime { // it has waited for another run
			var err error
			if before, err = d.reach(ctx, q); err != nil {
				return nil, err
			}
		}
		answer, after, err := ask(ctx, d.conn, q, values, before)
		if err == nil && answer.AsOf.Exact {
			d.answers.Set(key, &kept{answer, after})
		}
		return answer, err
	})
}

func (d *Desk) reach(ctx context.Context, q Query) (*clickhouse.Reach, error) {
	return d.reading.do(ctx, q.Projection, func(ctx context.Context) (*clickhouse.Reach, error) {
		var earlier *clickhouse.Reach
		if known, ok := d.known.Load(q.Projection); ok {
			earlier = known.(*clickhouse.Reach)
		}
		r, err := readReach(ctx, d.conn, q, earlier)
		if err == nil {
			d.known.Store(q.Projection, r)
		}
		return r, err
	})
}

// flights share work: whoever asks while nothing runs starts it; whoever asks while it runs waits for the next run, which
// is shared by all who wait. So no one is told what was true before they asked. The zero value is ready.
type flights[T any] struct {
	mu        sync.Mutex
	now, next map[string]*flight[T]
}

type flight[T any] struct {
	work   func(context.Context) (T, error)
	ctx    context.Context
	done   chan struct{} // closed when result and err stand
	result T
	err    error
}

// do gives the result of a run of work that began after do was called. The run goes on when ctx ends: others wait for it.
func (f *flights[T]) do(ctx context.Context, key string, work func(context.Context) (T, error)) (T, error) {
	fl := f.join(key, &flight[T]{work: work, ctx: context.WithoutCancel(ctx), done: make(chan struct{})})
	select {
	case <-fl.done:
		return fl.result, fl.err
	case <-ctx.Done():
		var none T
		return none, ctx.Err()
	}
}

func (f *flights[T]) join(key string, mine *flight[T]) *flight[T] {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.now == nil {
		f.now, f.next = make(map[string]*flight[T]), make(map[string]*flight[T])
	}
	if f.now[key] == nil {
		f.now[key] = mine
		go f.run(key, mine)
		return mine
	}
	if f.next[key] == nil {
		f.next[key] = mine
	}
	return f.next[key]
}

func (f *flights[T]) run(key string, fl *flight[T]) {
	for fl != nil {
		fl.result, fl.err = fl.work(fl.ctx)
		f.mu.Lock()
		close(fl.done)
		if fl = f.next[key]; fl != nil {
			f.now[key] = fl
			delete(f.next, key)
		} else {
			delete(f.now, key)
		}
		f.mu.Unlock()
	}
}
