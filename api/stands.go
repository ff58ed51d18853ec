package api

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/ledgerline-es/ledgerline/schemas"
)

var errNotStarted = errors.New("not started")

// stands knows how far each projection's table is. One query serves all who wait: while somebody does, it is asked every
// few milliseconds, else now and then.
type stands struct {
	pool    *pgxpool.Pool
	metrics *metrics
	wake    chan struct{}

	mu          sync.Mutex
	projections map[string]*stand
	waiting     int
	err         error
	asked       bool
	text        atomic.Pointer[string] // of the position that all projections have reached
}

// stand is one projection's.
type stand struct {
	topic   string
	next    map[int32]int64
	changed chan struct{}                       // closed when next changes
	told    []func(partition int32, next int64) // who wants to know
}

const (
	askIdle    = 250 * time.Millisecond
	askWaiting = 3 * time.Millisecond
	askSlower  = 25 * time.Millisecond // when those who wait have waited long already
	askTimeout = 5 * time.Second
)

func newStands(pool *pgxpool.Pool, m *metrics) *stands {
	s := &stands{pool: pool, metrics: m, wake: make(chan struct{}, 1), projections: map[string]*stand{}}
	none := schemas.Nowhere
	s.text.Store(&none)
	return s
}

// add has a projection looked after.
func (s *stands) add(projection, topic string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.projections[projection] == nil {
		s.projections[projection] = &stand{topic: topic, next: map[int32]int64{}, changed: make(chan struct{})}
	}
}

// tell has somebody told of each change of a projection.
func (s *stands) tell(projection string, f func(partition int32, next int64)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.projections[projection].told = append(s.projections[projection].told, f)
}

// run asks until ctx ends.
func (s *stands) run(ctx context.Context) {
	pause := askIdle
	for {
		asked := time.Now()
		err := s.ask(ctx)
		s.mu.Lock()
		s.err, s.asked = err, true
		waiting := s.waiting > 0
		s.mu.Unlock()
		switch {
		case !waiting || err != nil:
			pause = askIdle
		case pause == askIdle:
			pause = askWaiting
		default:
			pause = min(pause+time.Millisecond, askSlower)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		case <-s.wake: // somebody has begun to wait
			pause = askIdle
			select {
			case <-ctx.Done():
				return
			case <-time.After(askWaiting - time.Since(asked)): // however many they are
			}
		}
	}
}

// ready is nil when the database answers.
func (s *stands) ready() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case !s.asked:
		return errNotStarted
	case s.err != nil:
		return fmt.Errorf("read where projections stand: %w", s.err)
	}
	return nil
}

const standsQuery = `SELECT o.projection, o.partition, o.next_offset
	FROM ledgerline.offsets AS o JOIN ledgerline.generations AS g USING (projection, generation)
	WHERE g.state = 'serving' AND o.projection = ANY($1) AND o.topic = ANY($2)`

func (s *stands) ask(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	s.mu.Lock()
	names := slices.Collect(maps.Keys(s.projections))
	var topics []string
	for _, st := range s.projections {
		topics = append(topics, st.topic)
	}
	s.mu.Unlock()
	if len(names) == 0 {
		return s.pool.Ping(ctx)
	}
	rows, err := s.pool.Query(ctx, standsQuery, names, topics)
	if err != nil {
		return err
	}
	type moved struct {
		projection string
		partition  int32
		next       int64
	}
	all, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (m moved, err error) {
		err = row.Scan(&m.projection, &m.partition, &m.next)
		return m, err
	})
	switch {
	case noTable(err):
		return nil // no projector has been here yet: nothing stands anywhere
	case err != nil:
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	changed := map[*stand]bool{}
	for _, m := range all {
		st := s.projections[m.projection]
		if before, known := st.next[m.partition]; known && before == m.next {
			continue
		}
		st.next[m.partition] = m.next
		changed[st] = true
		for _, tell := range st.told {
			tell(m.partition, m.next)
		}
	}
	for st := range changed {
		close(st.changed)
		st.changed = make(chan struct{})
	}
	if len(changed) > 0 {
		token := s.common().String()
		s.text.Store(&token)
	}
	return nil
}

// common is what all projections of a kind have reached.
func (s *stands) common() Position {
	least := map[Place]int64{}
	for _, st := range s.projections {
		for partition, next := range st.next {
			key := Place{Log: schemas.LogOf(st.topic), Partition: partition}
			if old, ok := least[key]; !ok || next < old {
				least[key] = next
			}
		}
	}
	p := make(Position, 0, len(least))
	for key, next := range least {
		key.Next = next
		p = append(p, key)
	}
	slices.SortFunc(p, schemas.ComparePlaces)
	return p
}

// token is the position that all projections have reached, as text.
func (s *stands) token() string { return *s.text.Load() }

func (s *stands) names() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.projections))
}

// at is where a projection stands.
func (s *stands) at(projection string) Position {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.projections[projection]
	p := make(Position, 0, len(st.next))
	for partition, next := range st.next {
		p = append(p, Place{Log: schemas.LogOf(st.topic), Partition: partition, Next: next})
	}
	slices.SortFunc(p, schemas.ComparePlaces)
	return p
}

// wait waits until a projection has reached the wanted places; an error is ctx's.
func (s *stands) wait(ctx context.Context, projection string, want Position) error {
	return s.until(ctx, projection, func(next map[int32]int64) bool {
		for _, place := range want {
			if next[place.Partition] < place.Next {
				return false
			}
		}
		return true
	})
}

// moved waits until a projection has stored more of a partition than this; of an unknown one, until anything is stored.
func (s *stands) moved(ctx context.Context, projection string, than Place) error {
	if !isKnown(than) {
		before := s.at(projection)
		return s.until(ctx, projection, func(next map[int32]int64) bool {
			for _, place := range before {
				if next[place.Partition] != place.Next {
					return true
				}
			}
			return len(next) != len(before)
		})
	}
	return s.until(ctx, projection, func(next map[int32]int64) bool { return next[than.Partition] > than.Next })
}

func (s *stands) until(ctx context.Context, projection string, enough func(next map[int32]int64) bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.projections[projection]
	if enough(st.next) {
		return nil
	}
	s.waiting++
	s.metrics.waiting.Inc()
	defer func() { s.waiting--; s.metrics.waiting.Dec() }()
	select {
	case s.wake <- struct{}{}:
	default:
	}
	for !enough(st.next) {
		changed := st.changed
		s.mu.Unlock()
		select {
		case <-changed:
			s.mu.Lock()
		case <-ctx.Done():
			s.mu.Lock()
			return ctx.Err()
		}
	}
	return nil
}
