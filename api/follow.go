package api

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ledgerline-es/ledgerline/projector"
	"github.com/ledgerline-es/ledgerline/schemas"
)

// follower sees the events of one kind go by, from the log's end at its start: it raises the caches' floors, says where
// the events of our own writes stand, and counts.
type follower struct {
	api   *API
	kind  string
	topic string

	heard   sync.Map // by broker: *atomic.Int64, Unix nanoseconds of its last answer to a fetch
	rate    *rate
	watched []watcher

	mu       sync.Mutex
	client   *kgo.Client // nil while there is none
	admin    *kadm.Client
	why      error   // why there is none
	next     []int64 // by partition: the first offset not seen
	expected map[commandKey][]*sighting
	asking   *question // for ends, on its way
	queued   *question // for ends, to be sent when that one is answered
}

// watcher is told of each event, in the order of its partition.
type watcher interface {
	// follow begins anew, from these offsets: nothing is known of what stands before them.
	follow(from []int64)
	// seen is called with each event before anything else knows of it.
	seen(partition int32, id string, version, offset int64)
}

func newFollower(a *API, kind string) *follower {
	return &follower{
		api: a, kind: kind, topic: schemas.TopicsOf(a.cfg.Client.TopicPrefix, kind).Events, rate: newRate(),
		expected: map[commandKey][]*sighting{},
	}
}

// quiet is after how long without an answer from the brokers a cache is not believed: every fetch is answered within its
// longest wait, with events or without.
const (
	longestFetch = 500 * time.Millisecond
	quiet        = 3 * time.Second
)

// fresh is true while the broker that leads a partition answers.
func (f *follower) fresh(partition int32) bool {
	f.mu.Lock()
	cl := f.client
	f.mu.Unlock()
	if cl == nil {
		return false
	}
	leader, _, err := cl.PartitionLeader(f.topic, partition)
	if err != nil {
		return false
	}
	at, ok := f.heard.Load(leader)
	return ok && time.Now().UnixNano()-at.(*atomic.Int64).Load() < int64(quiet)
}

// allFresh is true while every partition is.
func (f *follower) allFresh() bool {
	partitions := int32(len(f.position()))
	for p := range partitions {
		if !f.fresh(p) {
			return false
		}
	}
	return partitions > 0
}

// OnBrokerE2E hears the answers to fetches (kgo.HookBrokerE2E).
func (f *follower) OnBrokerE2E(broker kgo.BrokerMetadata, key int16, e2e kgo.BrokerE2E) {
	if key == fetchKey && e2e.Err() == nil {
		at, _ := f.heard.LoadOrStore(broker.NodeID, new(atomic.Int64))
		at.(*atomic.Int64).Store(time.Now().UnixNano())
	}
}

const fetchKey = 1 // of the fetch request, in Kafka's protocol

// run follows until ctx ends.
func (f *follower) run(ctx context.Context) {
	retry(ctx, f.api.log.With("topic", f.topic), "following events", func() error {
		err := f.follow(ctx)
		f.heard.Clear()
		f.mu.Lock()
		f.client, f.admin, f.why = nil, nil, err
		f.mu.Unlock()
		return err
	})
}

func (f *follower) follow(ctx context.Context) error {
	cl, err := kgo.NewClient(slices.Concat(f.api.cfg.Client.Client, []kgo.Opt{
		kgo.SeedBrokers(f.api.cfg.Client.Brokers...),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.KeepControlRecords(),
		kgo.ConsumeResetOffset(kgo.NoResetOffset()),
		kgo.FetchMaxWait(longestFetch),
		kgo.MetadataMinAge(100 * time.Millisecond),
		kgo.WithHooks(f),
	})...)
	if err != nil {
		return err
	}
	defer cl.CloseAllowingRebalance()
	adm := kadm.NewClient(cl)
	ends, err := adm.ListEndOffsets(ctx, f.topic)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		return fmt.Errorf("list end offsets of %s (a producer creates it): %w", f.topic, err)
	}
	from := map[int32]kgo.Offset{}
	next := make([]int64, len(ends[f.topic]))
	ends.Each(func(o kadm.ListedOffset) {
		from[o.Partition], next[o.Partition] = kgo.NewOffset().At(o.Offset), o.Offset
	})
	for _, w := range f.watched {
		w.follow(next)
	}
	f.mu.Lock()
	f.client, f.admin, f.why, f.next = cl, adm, nil, slices.Clone(next)
	f.mu.Unlock()
	cl.AddConsumePartitions(map[string]map[int32]kgo.Offset{f.topic: from})
	for {
		fetches := cl.PollFetches(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		for _, e := range fetches.Errors() {
			// What passes by itself the client does not even report.
			if !kerr.IsRetriable(e.Err) {
				return fmt.Errorf("read %s partition %d: %w", e.Topic, e.Partition, e.Err)
			}
		}
		events := 0
		fetches.EachPartition(func(p kgo.FetchTopicPartition) {
			for _, rec := range p.Records {
				if !rec.Attrs.IsControl() {
					f.event(rec)
					events++
				}
			}
			if n := len(p.Records); n > 0 {
				f.reached(p.Partition, p.Records[n-1].Offset+1)
			}
		})
		if events > 0 {
			f.rate.add(time.Now(), events)
			f.api.metrics.events.WithLabelValues(f.kind).Add(float64(events))
		}
	}
}

func (f *follower) event(rec *kgo.Record) {
	id, version, err := projector.SplitKey(rec.Key)
	if err != nil {
		f.api.log.Warn("record is no event", "topic", rec.Topic, "partition", rec.Partition, "offset", rec.Offset, "error", err)
		return
	}
	for _, w := range f.watched {
		w.seen(rec.Partition, id, version, rec.Offset)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.expected) == 0 {
		return
	}
	command, ok := schemas.Header(rec, schemas.HeaderCausationID)
	if !ok {
		return
	}
	for _, s := range f.expected[commandKey{id, command}] {
		s.see(version, rec.Offset+1)
	}
}

func (f *follower) reached(partition int32, next int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.next[partition] = next
}

// reachedIn is how far a partition was seen: all watchers know of what stands before.
func (f *follower) reachedIn(partition int32) int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	if int(partition) >= len(f.next) {
		return 0
	}
	return f.next[partition]
}

// ready is nil while events are followed.
func (f *follower) ready() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.client != nil:
		return nil
	case f.why != nil:
		return f.why
	}
	return errNotStarted
}

// partition is an aggregate's partition; false as long as the number of partitions is not known.
func (f *follower) partition(id string) (int32, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.next) == 0 {
		return 0, false
	}
	return schemas.Partition(id, int32(len(f.next))), true
}

// asker is the client that asks the brokers; nil while there is none.
func (f *follower) asker() *kadm.Client {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.admin
}

// position is what was seen.
func (f *follower) position() Position {
	f.mu.Lock()
	defer f.mu.Unlock()
	p := make(Position, len(f.next))
	for i, next := range f.next {
		p[i] = Place{Log: schemas.LogOf(f.topic), Partition: int32(i), Next: next}
	}
	return p
}

// sighting waits for the events of one command.
type sighting struct {
	follower *follower
	key      commandKey

	mu      sync.Mutex
	version int64 // of the last event seen
	next    int64 // behind it
	changed chan struct{}
}

// expect begins to look for the events of a command. It must come before the command is published.
func (f *follower) expect(key commandKey) *sighting {
	s := &sighting{follower: f, key: key, changed: make(chan struct{}, 1)}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.expected[key] = append(f.expected[key], s)
	return s
}

func (s *sighting) forget() {
	s.follower.mu.Lock()
	defer s.follower.mu.Unlock()
	rest := slices.DeleteFunc(s.follower.expected[s.key], func(o *sighting) bool { return o == s })
	if len(rest) == 0 {
		delete(s.follower.expected, s.key)
		return
	}
	s.follower.expected[s.key] = rest
}

func (s *sighting) see(version, next int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if version > s.version {
		s.version, s.next = version, next
	}
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// await gives the place behind the event with a sequence, or false when it is not seen in time.
func (s *sighting) await(ctx context.Context, sequence int64, wait time.Duration) (Place, bool) {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for {
		s.mu.Lock()
		version, next := s.version, s.next
		s.mu.Unlock()
		if version >= sequence {
			partition, ok := s.follower.partition(s.key.aggregateID)
			return Place{Log: schemas.LogOf(s.follower.topic), Partition: partition, Next: next}, ok
		}
		select {
		case <-s.changed:
		case <-timer.C:
			return Place{}, false
		case <-ctx.Done():
			return Place{}, false
		}
	}
}
