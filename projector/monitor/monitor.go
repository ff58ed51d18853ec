package monitor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"

	"github.com/ledgerline-es/ledgerline/projector"
)

// Monitor measures how far readers are behind the log.
type Monitor struct {
	cfg     Config
	readers []Reader
	log     *slog.Logger
	metrics *metrics

	client    *kgo.Client
	admin     *kadm.Client
	fetcher   *fetcher
	histories map[place]*history
	ids       map[string]kadm.TopicID // whose histories these are
	stands    map[place]stand
	looks     int

	mu    sync.Mutex
	ready error // why the last look was not complete
}

// errNotStarted is Ready's answer before the first look.
var errNotStarted = errors.New("monitor: it has not looked yet")

// New makes a monitor of readers. It does no I/O; Run checks cfg.
func New(cfg Config, readers ...Reader) *Monitor {
	cfg = cfg.withDefaults()
	return &Monitor{
		cfg: cfg, readers: readers, log: cfg.Logger.With("subsystem", "monitor"), metrics: newMetrics(cfg.Stale),
		histories: make(map[place]*history), ids: make(map[string]kadm.TopicID), stands: make(map[place]stand), ready: errNotStarted,
	}
}

// Ready is nil when the last look saw everything; else it says what it did not see.
func (m *Monitor) Ready() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.ready
}

// Run looks every Config.Interval until ctx ends, which gives nil. What a look cannot see is counted, logged and looked for
// again; only a mistake in the configuration ends it.
func (m *Monitor) Run(ctx context.Context) error {
	if err := m.cfg.Validate(); err != nil {
		return err
	}
	if m.cfg.Registerer != nil {
		if err := m.cfg.Registerer.Register(m.metrics); err != nil {
			return fmt.Errorf("register the monitor's metrics: %w", err)
		}
		defer m.cfg.Registerer.Unregister(m.metrics)
	}
	client, err := kgo.NewClient(append(slices.Clone(m.cfg.Client), kgo.MetadataMinAge(100*time.Millisecond))...)
	if err != nil {
		return fmt.Errorf("kafka client: %w", err)
	}
	defer client.Close()
	m.client, m.admin = client, kadm.NewClient(client)
	m.fetcher = &fetcher{client: client, count: func(requests, bytes int) {
		m.metrics.fetches.Add(float64(requests))
		m.metrics.bytes.Add(float64(bytes))
	}}
	pause := min(m.cfg.Interval, untilFirst)
	for {
		begun := time.Now()
		err := m.look(ctx)
		m.looked(ctx, err)
		if err == nil {
			pause = m.cfg.Interval
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause - time.Since(begun)):
		}
	}
}

// untilFirst is the pause until a look has seen everything once: while a system starts, its topics are made in a moment.
const untilFirst = 100 * time.Millisecond

// looked keeps what came of a look.
func (m *Monitor) looked(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	m.metrics.looked(err == nil, time.Now())
	m.mu.Lock()
	was := m.ready
	if m.ready = err; err != nil {
		m.ready = fmt.Errorf("monitor: %w", err)
	}
	m.mu.Unlock()
	switch {
	case err != nil && (was == nil || errors.Is(was, errNotStarted)):
		m.log.Warn("cannot see everything; looking again", "error", err)
	case err == nil && was != nil:
		m.log.Info("sees everything", "groups", len(m.readers))
	}
}

// standing is where a reader stands, as of when somebody was asked: what answers are made of is looked up at once, and on a busy
// machine the answer may take longer to come than what it tells of is old.
type standing struct {
	group   kadm.OffsetResponses
	groupAt time.Time // when the broker was asked

	stored   map[int32]projector.SnapshotPosition // nil: the store was not asked, or did not answer
	storedAt time.Time                            // when it was asked
	err      error                                // the group's offsets are not known
	storeErr error
}

// look measures once. Its error joins what it could not see; the rest is published.
func (m *Monitor) look(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, m.cfg.Timeout)
	defer cancel()
	begun := time.Now()
	m.looks++
	states, err := topics(ctx, m.admin, topicsOf(m.readers, m.cfg.Topics))
	if err != nil {
		return err
	}
	m.forgetOthers(states)
	standings := m.standings(ctx)
	asked := time.Now()
	if err := spans(ctx, m.admin, states); err != nil {
		return err
	}
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(states)) {
		if states[name].err != nil {
			errs = append(errs, states[name].err)
		}
	}
	m.stand(states, asked)
	m.metrics.topics(states, time.Now())
	errs = append(errs, m.readAhead(ctx, states, standings))
	for i, r := range m.readers {
		s := standings[i]
		errs = append(errs, s.err, s.storeErr)
		if s.storeErr != nil {
			m.metrics.storeErrors.WithLabelValues(r.Projector).Inc()
		}
		errs = append(errs, m.measure(r, s, states))
	}
	for _, h := range m.histories {
		h.forget(m.looks)
	}
	m.metrics.seconds.Observe(time.Since(begun).Seconds())
	return errors.Join(errs...)
}

// forgetOthers drops what was read of a topic that was deleted and made anew.
func (m *Monitor) forgetOthers(states map[string]*topicState) {
	for name, state := range states {
		if state.err != nil || m.ids[name] == state.id {
			continue
		}
		m.ids[name] = state.id
		maps.DeleteFunc(m.histories, func(p place, _ *history) bool { return p.topic == name })
		maps.DeleteFunc(m.stands, func(p place, _ stand) bool { return p.topic == name })
	}
}

// stand is a last stable offset, and when it was first seen with records behind it: since then one transaction is open there, the
// oldest. That takes no clock but ours, and no right to ask whose it is.
type stand struct {
	stable int64
	since  time.Time
}

// stand says of each partition for how long its readers have been held up.
func (m *Monitor) stand(states map[string]*topicState, asked time.Time) {
	for name, state := range states {
		if state.err != nil {
			continue // a broker that is away does not end a transaction
		}
		for id, p := range state.partitions {
			at := place{name, id}
			s, seen := m.stands[at]
			switch {
			case p.end == p.stable:
				delete(m.stands, at)
				continue
			case !seen || s.stable != p.stable:
				s = stand{p.stable, asked}
				m.stands[at] = s
			}
			p.open = asked.Sub(s.since)
			state.partitions[id] = p
		}
	}
}

// standings asks everybody where they stand, side by side.
func (m *Monitor) standings(ctx context.Context) []standing {
	// A store that hangs must leave time for the rest of the look.
	storeCtx, cancel := context.WithTimeout(ctx, m.cfg.Timeout/2)
	defer cancel()
	all := make([]standing, len(m.readers))
	var work errgroup.Group
	for i, r := range m.readers {
		s := &all[i]
		work.Go(func() error {
			s.groupAt = time.Now()
			s.group, s.err = groupOffsets(ctx, m.admin, r.Group)
			return nil
		})
		if r.Stored == nil {
			continue
		}
		work.Go(func() error {
			s.storedAt = time.Now()
			stored, err := r.Stored(storeCtx)
			if err != nil {
				s.storeErr = fmt.Errorf("where projection %s stands: %w", r.Projector, err)
				return nil
			}
			if stored == nil {
				stored = map[int32]projector.SnapshotPosition{}
			}
			s.stored = stored
			return nil
		})
	}
	_ = work.Wait() // each error is kept
	return all
}

// groupPosition is the offset that a group goes on from; committed is false when it has none, and would begin at the start.
func (s standing) groupPosition(topic string, partition int32, p span) (position int64, committed bool) {
	if o, ok := s.group.Lookup(topic, partition); ok && o.Err == nil && o.At >= 0 {
		return o.At, true
	}
	return p.start, false
}

// storedPosition is the offset that a projection goes on from, by its store; by its group when the store does not say.
func (s standing) storedPosition(topic string, partition int32, state *topicState) (position int64, asOf time.Time) {
	if s.stored == nil {
		position, _ = s.groupPosition(topic, partition, state.partitions[partition])
		return position, s.groupAt
	}
	pos, ok := s.stored[partition]
	if !ok || pos.TopicID != "" && pos.TopicID != state.id.String() {
		return state.partitions[partition].start, s.storedAt // of this log nothing is in the store
	}
	if !pos.AsOf.IsZero() {
		return pos.Next, pos.AsOf
	}
	return pos.Next, s.storedAt
}

// projectionKnown reports whether a position of the projection is known at all.
func (s standing) projectionKnown() bool { return s.stored != nil || s.err == nil }

// readAhead reads what is needed to know the age of the oldest record at every position.
func (m *Monitor) readAhead(ctx context.Context, states map[string]*topicState, standings []standing) error {
	for range fetchRounds {
		missing := m.missing(states, standings)
		if len(missing) == 0 {
			return nil
		}
		runs, err := m.fetcher.fetch(ctx, missing)
		for at, r := range runs {
			r.used = m.looks
			m.histories[at].add(r)
		}
		if err != nil {
			return err
		}
		if len(runs) == 0 {
			return fmt.Errorf("read %s/%d at offset %d: the broker gave nothing", missing[0].topic, missing[0].partition, missing[0].from)
		}
	}
	return nil
}

// missing lists where to read: one place of each partition at a time.
func (m *Monitor) missing(states map[string]*topicState, standings []standing) []wanted {
	var list []wanted
	seen := make(map[place]bool)
	want := func(topic string, partition int32, position int64) {
		state := states[topic]
		p, at := state.partitions[partition], place{topic, partition}
		if m.histories[at] == nil {
			m.histories[at] = &history{}
		}
		_, _, known, next := m.histories[at].oldest(max(position, p.start), p.stable, m.looks)
		if !known && !seen[at] {
			seen[at] = true
			list = append(list, wanted{place: at, id: state.id, leader: p.leader, from: next})
		}
	}
	for i, r := range m.readers {
		for _, topic := range r.Topics {
			state := states[topic]
			if state.err != nil {
				continue
			}
			for partition, p := range state.partitions {
				if standings[i].err == nil {
					position, _ := standings[i].groupPosition(topic, partition, p)
					want(topic, partition, position)
				}
				if r.Projector != "" && standings[i].projectionKnown() {
					position, _ := standings[i].storedPosition(topic, partition, state)
					want(topic, partition, position)
				}
			}
		}
	}
	return list
}

// age is how long the oldest visible record at or behind position waits, as of a moment; known is false when it was not read,
// or the position is beyond the log's end.
func (m *Monitor) age(topic string, partition int32, position int64, p span, asOf time.Time) (age time.Duration, known bool) {
	if position > p.end {
		return 0, false
	}
	h := m.histories[place{topic, partition}]
	if h == nil {
		return 0, false
	}
	at, visible, known, _ := h.oldest(max(position, p.start), p.stable, m.looks)
	if !known || !visible {
		return 0, known
	}
	return max(0, asOf.Sub(at)), true
}

// measure publishes one reader's lags.
func (m *Monitor) measure(r Reader, s standing, states map[string]*topicState) error {
	if slices.ContainsFunc(r.Topics, func(topic string) bool { return states[topic].err != nil }) {
		return nil // said already; what is not known is not shown
	}
	var lags []partitionLag
	projection := projectionLag{projector: r.Projector, known: s.projectionKnown()}
	for _, topic := range r.Topics {
		state := states[topic]
		for partition, p := range state.partitions {
			if s.err == nil {
				position, committed := s.groupPosition(topic, partition, p)
				l := partitionLag{topic: topic, partition: partition, committed: committed, position: position, records: p.end - position}
				l.age, l.aged = m.age(topic, partition, position, p, s.groupAt)
				lags = append(lags, l)
			}
			if r.Projector != "" {
				position, asOf := s.storedPosition(topic, partition, state)
				age, known := m.age(topic, partition, position, p, asOf)
				projection.known = projection.known && known
				projection.age = max(projection.age, age)
				projection.records += max(0, p.stable-max(position, p.start))
			}
		}
	}
	now := time.Now()
	if s.err == nil {
		m.metrics.group(r.Group, lags, now)
	}
	if r.Projector != "" && projection.known {
		m.metrics.projection(projection, now)
	}
	if r.Projector != "" && !projection.known && s.projectionKnown() {
		return fmt.Errorf("projection %s: its position is beyond the end of the log, or what it has not processed could not be read", r.Projector)
	}
	return nil
}
