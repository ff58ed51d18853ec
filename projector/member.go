package projector

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"
)

// member is one run of a projector as a member of its group. Its goroutines meet in parts:
//
//	consume   polls and queues chunks; applies rewinds          consume.go
//	decode    turns chunks into what the shape needs            decode.go
//	write     takes decoded chunks from the queues' heads       write.go
//	mirror    commits the store's positions to the group        mirror.go
//	observe   keeps the gauges                                  observe.go
//
// and the client's own goroutine, which calls assign, adjust and revoke (assignment.go).
type member struct {
	*Projector
	plan    Plan
	store   Store
	pace    Pace
	metrics *metrics
	shape   shape
	client  *kgo.Client
	admin   *kadm.Client
	made    chan struct{} // closed when client and admin are set: the client joins its group before NewClient returns

	broken chan error // what a callback cannot return

	mu         sync.Mutex
	parts      map[int32]*partition // what this member owns now
	buffered   int64                // bytes of the records queued
	todo       []*chunk             // to decode, oldest first
	undone     *sync.Cond           // todo has grown, or all ends
	rewinds    []rewind             // for consume to apply
	wakePoll   context.CancelFunc
	inFlight   map[*partition]bool // in the write that is going on
	landed     chan struct{}       // closed when that write has ended
	lastCommit time.Time

	work   signal // for write: something was decoded, assigned or taken away
	room   signal // for consume: the queues have shrunk
	commit signal // for mirror: a position has moved
}

// partition is one partition owned by this member. A partition that is taken away and given back is another partition.
type partition struct {
	id       int32
	stored   int64 // where the store stands
	mirrored int64 // what the group was told last; -1 at first
	read     int64 // behind the last record queued
	until    int64 // above stored: [stored, until) is in doubt and must be written as one batch
	stable   int64 // the last stable offset, as of the last fetch
	stalled  bool  // fenced: nothing is queued or written until the position is known again
	queue    []*chunk
}

// chunk is a run of records of one partition.
type chunk struct {
	part    *partition
	next    int64 // behind its last record
	bytes   int64
	queued  time.Time
	oldest  time.Time     // when its first event was recorded; zero if it holds none
	records []*kgo.Record // dropped once decoded
	decoded bool
	events  int
	items   any // the shape's own
}

// rewind is a position that consume has to go back to.
type rewind struct {
	part *partition
	to   Position
}

// signal wakes one goroutine; signals that nobody waits for merge.
type signal chan struct{}

func (s signal) set() {
	select {
	case s <- struct{}{}:
	default:
	}
}

func newMember(p *Projector, plan Plan, store Store, m *metrics) *member {
	mem := &member{
		Projector: p,
		plan:      plan,
		store:     store,
		pace:      store.Pace(),
		metrics:   m,
		shape:     p.projection.bind(p.codec(), plan.Topic),
		broken:    make(chan error, 1),
		parts:     make(map[int32]*partition),
		inFlight:  make(map[*partition]bool),
		landed:    make(chan struct{}),
		made:      make(chan struct{}),
		work:      make(signal, 1),
		room:      make(signal, 1),
		commit:    make(signal, 1),
	}
	mem.undone = sync.NewCond(&mem.mu)
	return mem
}

// group is the consumer group's name.
func (m *member) group() string { return m.cfg.TopicPrefix + m.plan.Projection }

func (m *member) run(ctx context.Context) error {
	work, ctx := errgroup.WithContext(ctx)
	client, err := kgo.NewClient(m.options()...)
	if err != nil {
		return fmt.Errorf("kafka client: %w", err)
	}
	m.client, m.admin = client, kadm.NewClient(client)
	close(m.made)
	defer context.AfterFunc(ctx, func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.undone.Broadcast()
	})()

	work.Go(func() error { return m.consume(ctx) })
	for range m.cfg.Decoders {
		work.Go(func() error { return m.decode(ctx) })
	}
	work.Go(func() error { return m.write(ctx) })
	work.Go(func() error { return m.mirror(ctx) })
	work.Go(func() error { return m.observe(ctx) })
	work.Go(func() error {
		select {
		case err := <-m.broken:
			return err
		case <-ctx.Done():
			return nil
		}
	})
	err = work.Wait()
	m.leave()
	return err
}

func (m *member) options() []kgo.Opt {
	opts := append([]kgo.Opt{kgo.FetchMaxBytes(16 << 20)}, m.cfg.Client...) // of each broker, beside Config.MaxBuffered
	opts = append(opts,
		kgo.ConsumerGroup(m.group()),
		kgo.ConsumeTopics(m.plan.Topic),
		kgo.Balancers(kgo.CooperativeStickyBalancer()), // a rebalance costs those partitions only that move
		kgo.SessionTimeout(m.cfg.SessionTimeout),
		kgo.HeartbeatInterval(min(3*time.Second, m.cfg.SessionTimeout/3)),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.KeepControlRecords(),
		kgo.DisableAutoCommit(),
		kgo.BlockRebalanceOnPoll(),
		// Offsets come from the store. If they cannot, nothing may be made up in their place.
		kgo.ConsumeStartOffset(kgo.NoResetOffset()),
		kgo.ConsumeResetOffset(kgo.NoResetOffset()),
		kgo.AdjustFetchOffsetsFn(m.adjust),
		kgo.OnPartitionsAssigned(m.assigned),
		kgo.OnPartitionsRevoked(m.revoked),
		kgo.OnPartitionsLost(m.revoked),
		kgo.WithHooks(groupTrouble{m}),
	)
	if m.cfg.InstanceID != "" {
		opts = append(opts, kgo.InstanceID(m.cfg.InstanceID))
	}
	return opts
}

// leave tells the group the last positions and goes. A static member goes too: who stops for good should not be waited for.
func (m *member) leave() {
	ctx, cancel := context.WithTimeout(context.Background(), m.cfg.StopTimeout)
	defer cancel()
	_ = m.tellGroup(ctx) // the positions are in the store: the group's are a copy for tools
	if m.cfg.InstanceID != "" {
		if _, err := m.admin.LeaveGroup(ctx, kadm.LeaveGroup(m.group()).Reason("projector stops").InstanceIDs(m.cfg.InstanceID)); err != nil {
			m.log.Warn("could not leave the group: its other members wait for the session timeout", "group", m.group(), "error", err)
		}
	}
	m.client.CloseAllowingRebalance()
	m.release()
}

// fail ends the run with err; for callbacks, which have nobody to return it to.
func (m *member) fail(err error) {
	select {
	case m.broken <- err:
	default:
	}
}

// groupTrouble makes a group that cannot be joined visible.
type groupTrouble struct{ m *member }

func (h groupTrouble) OnGroupManageError(err error) {
	if !errors.Is(err, context.Canceled) {
		h.m.failed("group", 0, err, h.m.metrics)
	}
}
