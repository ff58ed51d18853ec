package producer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ledgerline-es/ledgerline/schemas"
	"github.com/ledgerline-es/ledgerline/schemas/ledgerline"
)

// member is one of a producer's members of the group: sessions one after another.
type member struct {
	*Producer
	number  int // among the producer's members, from 0
	state   status
	waiting *waiting
	unsent  unsent
	id      string // the group's name for it in the last session; "" when it was not in the group
}

// run runs sessions until ctx ends (nil) or only a person can help (an error).
func (m *member) run(ctx context.Context) error {
	defer m.state.set(errors.New("stopped"))
	defer m.waiting.over()
	for wait := 200 * time.Millisecond; ; wait = min(2*wait, 10*time.Second) {
		m.metrics.sessions.Inc()
		started := time.Now()
		err := m.session(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err = m.tooLong(m.usurped(ctx, err)); fatal(err) {
			m.state.set(err)
			return err
		}
		if time.Since(started) > time.Minute {
			wait = 200 * time.Millisecond
		}
		m.state.set(err)
		m.log.Error("session ended; all state is dropped and rebuilt from the log", "error", err, "retry_in", wait.String())
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
	}
}

// session prepares what one session needs and runs it to its end.
func (m *member) session(ctx context.Context) error {
	m.state.set(errors.New("starting"))
	kind, topics := m.def.KindName(), schemas.TopicsOf(m.cfg.TopicPrefix, m.def.KindName())
	codec := schemas.NewCodec(m.cfg.Registry)
	w := &writer{
		kind:      kind,
		source:    []byte("/ledgerline/" + kind),
		slab:      slab{pools: &slabPools{}},
		topics:    topics,
		replies:   schemas.NewSerde(codec, topics.Replies, schemas.ForwardTransitive, ledgerline.ReplyType),
		marks:     schemas.NewSerde(codec, topics.Snapshots, schemas.FullTransitive, ledgerline.SourceMarkType),
		positions: schemas.NewSerde(codec, topics.Snapshots, schemas.FullTransitive, ledgerline.PositionType),
		trials:    schemas.NewSerde(codec, topics.Snapshots, schemas.FullTransitive, ledgerline.TrialType),
		timers:    schemas.NewSerde(codec, topics.Snapshots, schemas.FullTransitive, ledgerline.TimerType),
		received:  schemas.NewSerde(codec, topics.Snapshots, schemas.FullTransitive, ledgerline.ReceivedType),
		cancels:   schemas.NewSerde(codec, topics.Commands, schemas.BackwardTransitive, ledgerline.CancelScheduledType),

		snapshots:   schemas.NewSerde(codec, topics.Snapshots, schemas.FullTransitive, ledgerline.SnapshotType),
		checkpoints: schemas.NewSerde(codec, topics.Snapshots, schemas.FullTransitive, ledgerline.CheckpointType),
	}
	rules := m.def.machine(codec, topics)
	pin := &pins{
		kind:  kind,
		topic: schemas.PinsTopic(m.cfg.TopicPrefix),
		serde: schemas.NewSerde(codec, schemas.PinsTopic(m.cfg.TopicPrefix), schemas.FullTransitive, ledgerline.PinType),
		names: []string{topics.Commands, topics.Internal, topics.Events, topics.Snapshots, topics.Replies},
	}

	options := slices.Concat(m.cfg.Client, []kgo.Opt{
		kgo.SeedBrokers(m.cfg.Brokers...),
		kgo.WithLogger(newKafkaLog(m.log)),
	})
	plain, err := kgo.NewClient(slices.Concat(options, []kgo.Opt{kgo.ConsumeResetOffset(kgo.NoResetOffset()), kgo.MetadataMinAge(250 * time.Millisecond), kgo.RequiredAcks(kgo.AllISRAcks()), kgo.RecordPartitioner(kgo.ManualPartitioner())})...)
	if err != nil {
		return err
	}
	defer plain.CloseAllowingRebalance()
	given := newAssignment(topics, m.cfg.Group == GroupConsumer)
	looking, enough := context.WithCancel(ctx)
	looked := make(chan struct{})
	go func() {
		defer close(looked)
		m.waiting.watch(looking, plain, given.partitions)
	}()
	defer func() { enough(); <-looked }()

	for _, register := range []func(context.Context) error{
		rules.register, w.replies.Register, w.marks.Register, w.positions.Register, w.trials.Register, w.timers.Register, w.received.Register, w.cancels.Register, w.snapshots.Register, w.checkpoints.Register, pin.serde.Register,
	} {
		if err := register(ctx); err != nil {
			return err
		}
	}

	if err := m.examine(ctx, kadm.NewClient(plain)); err != nil {
		return err
	}
	if w.receivers, err = newReceivers(ctx, rules.receivers(), codec, m.cfg.TopicPrefix, kadm.NewClient(plain)); err != nil {
		return err
	}
	pinned, err := pin.check(ctx, plain)
	if err != nil {
		return err
	}
	w.partitions = m.cfg.Partitions

	cache := pebble.NewCache(storeCacheBytes / int64(m.cfg.Sessions))
	defer cache.Unref()
	id := m.transactionalID()
	taker := &takeover{cfg: m.cfg, kind: kind, topics: topics, self: id, static: m.instance() != "", cl: plain, log: m.log, metrics: m.metrics, hanging: share{of: m.metrics.hung}}
	given.settle = taker.settleOffsets
	deciding := make([]watched[command], m.cfg.Partitions)
	restorer := &restorer{
		cfg: m.cfg, options: options, machine: rules, writer: w, log: m.log, metrics: m.metrics,
		limits: limits{
			eventBytes: m.cfg.MaxEventBytes, events: m.cfg.MaxEvents, sources: m.cfg.MaxSources,
			tail: int64(m.cfg.SnapshotEvents), memory: max(1, m.cfg.MemoryAggregates/int(m.cfg.Partitions)),
		},
		watched: deciding, tried: &m.tried, takeover: taker, group: m.cfg.group(kind), fs: vfs.Default, cache: cache, pinned: pin.identity(pinned, rules),
	}
	if m.cfg.Standbys > 0 {
		restorer.standby = m.standby(restorer, id, plain, topics.Commands)
	}
	gts, err := kgo.NewGroupTransactSession(slices.Concat(options, m.options(topics, id, given, restorer.standby), []kgo.Opt{kgo.WithHooks(m.waiting)})...)
	if err != nil {
		return err
	}
	closed := sync.OnceFunc(func() {
		m.id, _ = gts.Client().GroupMetadata()
		gts.CloseAllowingRebalance()
	})
	defer closed()
	s := &session{
		cfg: m.cfg, gts: gts, waiting: m.waiting, unsent: m.unsent, takeover: taker, process: m.process, machine: rules, writer: w, log: m.log, metrics: m.metrics, state: &m.state,
		restorer: restorer, standby: restorer.standby,
		replies:    &replyTopics{client: plain, allowed: m.cfg.ReplyTopics, own: topics},
		assignment: given,
		partitions: share{of: m.metrics.partitions},
		aggregates: share{of: m.metrics.aggregates},
		remembered: share{of: m.metrics.remembered},
		scheduled:  share{of: m.metrics.scheduled},
		stateBytes: share{of: m.metrics.stateBytes},
		watchful:   watchful{polled: time.Now(), clear: map[input]int64{}},
		generation: -1,
		books:      map[int32]*book{},
		astray:     map[input]bool{},
		held:       map[input]<-chan struct{}{},
	}
	ctx, stop := context.WithCancel(ctx)
	var watching sync.WaitGroup
	watching.Go(func() {
		pin.watch(ctx, plain, pinned, 5*time.Second, func(err error) { s.fatal.Store(&err) })
	})
	watching.Go(func() { watch(ctx, deciding, m.cfg.DecideTimeout, s.endless) })
	watching.Go(func() { s.purge(ctx) })
	if s.standby != nil {
		watching.Go(func() { s.standby.run(ctx) })
	}
	watching.Go(func() { taker.watchHung(ctx, 10*time.Second, given.partitions) })
	defer watching.Wait()
	defer stop()
	defer s.partitions.set(0)
	defer s.aggregates.set(0)
	defer s.remembered.set(0)
	defer s.stateBytes.set(0)
	defer s.scheduled.set(0)
	defer m.metrics.due.set(s, time.Time{})
	err = s.run(ctx)
	closed()
	m.leave(ctx, plain, err != nil)
	return err
}

// standby makes what keeps copies of other members' partitions. It restores as the session does, and ends nobody's transactions.
func (m *member) standby(sessions *restorer, id string, cl *kgo.Client, topic string) *standby {
	r := *sessions
	r.onlooker = true
	return &standby{
		cfg: m.cfg, restorer: &r, self: id, log: m.log,
		members: func(ctx context.Context) ([]groupMember, error) { return groupMembers(ctx, cl, r.group, topic) },
		copies:  share{of: m.metrics.standbys}, toHave: share{of: m.metrics.standbysWanted}, lag: share{of: m.metrics.standbyLag}, offset: m.metrics.standbyOffset,
		news: make(chan struct{}, 1), retry: map[int32]time.Time{},
		wanted: map[int32]bool{}, taken: map[int32]bool{}, parts: map[int32]*following{},
	}
}

// examine makes the topics that are missing, and refuses topics and brokers on which a promise would break. What weighs less is said
// once in the life of a process.
func (m *member) examine(ctx context.Context, adm *kadm.Client) error {
	lesser, err := EnsureTopics(ctx, adm, Topics(m.cfg, m.def.KindName()))
	if err != nil {
		return err
	}
	// A producer needs no right to be told; and a broker that is away, or too old, is no reason not to start.
	found, err := InspectBrokers(ctx, adm, m.cfg)
	if err != nil && !errors.Is(err, kerr.ClusterAuthorizationFailed) {
		m.log.Warn("the brokers' settings can't be looked at", "error", err)
	}
	more, err := sift(found)
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, p := range slices.Concat(lesser, more) {
		if p.Level == Warning && !m.warned[p.Where+p.What] {
			m.warned[p.Where+p.What] = true
			m.log.Warn("what this producer rests on is not as it should be", "where", p.Where, "what", p.What, "remedy", p.Remedy)
		}
	}
	return err
}

// tooLong says what is behind a refusal that would come again for ever: brokers tell their settings to few, and refuse all.
func (m *member) tooLong(err error) error {
	if !errors.Is(err, kerr.InvalidTransactionTimeout) {
		return err
	}
	i := slices.IndexFunc(brokerNeeds(m.cfg), func(n need) bool { return n.key == maxTransaction })
	n := brokerNeeds(m.cfg)[i]
	p := Problem{Refusal, "the coordinator's broker", fmt.Sprintf("has a %s below %s: %s", n.key, n.mend, n.why), n.remedy(), ErrBroker}
	return fmt.Errorf("%w: %w", p.Err(), err)
}

// instance is the group's name for a static member; "" for one that is not.
func (m *member) instance() string {
	if m.cfg.InstanceID == "" || m.number == 0 {
		return m.cfg.InstanceID
	}
	return m.cfg.InstanceID + "." + strconv.Itoa(m.number)
}

// transactionalID is a new one for each session: nothing that an earlier life left open can be mistaken for ours. A static member
// keeps its own, so that it fences its former self. Before a slash it names the process: a standby in the owner's would die with it.
func (m *member) transactionalID() string {
	prefix := m.cfg.idPrefix(m.def.KindName())
	if m.cfg.InstanceID != "" {
		return prefix + m.cfg.InstanceID + "/" + strconv.Itoa(m.number)
	}
	return prefix + m.process + "/" + uuid.Must(uuid.NewV7()).String()
}

// usurped looks into why the session of a static member ended. Two processes under one instance id would take turns in fencing each
// other for ever: the older must stop for good.
func (m *member) usurped(ctx context.Context, err error) error {
	instance := m.instance()
	if instance == "" || err == nil {
		return err
	}
	taken := errors.Is(err, kerr.FencedInstanceID)
	// Who was evicted for its silence is not taken for usurped: the group may have it under a new id already, for which its client asked.
	evicted := errors.Is(err, kerr.UnknownMemberID)
	if !taken && !evicted && m.id != "" && m.cfg.Group == GroupClassic { // under KIP-848 the younger is not let in while the older lives
		cl, clientErr := kgo.NewClient(slices.Concat(m.cfg.Client, []kgo.Opt{kgo.SeedBrokers(m.cfg.Brokers...), kgo.WithLogger(newKafkaLog(m.log))})...)
		if clientErr != nil {
			return err
		}
		defer cl.Close()
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		members, askErr := groupMembers(ctx, cl, m.cfg.group(m.def.KindName()), "")
		taken = askErr == nil && slices.ContainsFunc(members, func(other groupMember) bool { return other.instance == instance && other.id != m.id })
	}
	if taken {
		return fmt.Errorf("%w: %q of group %s: give each producer an InstanceID (--producer-instance) of its own: %w",
			ErrInstance, instance, m.cfg.group(m.def.KindName()), err)
	}
	return err
}

// leave takes a static member out of the group when it is told to stop: closing its client keeps its partitions for it until the
// session timeout. Under KIP-848 it must say so as well when it will be back, or its next session is not let in.
func (m *member) leave(ctx context.Context, plain *kgo.Client, back bool) {
	instance, group := m.instance(), m.cfg.group(m.def.KindName())
	if instance == "" || m.id == "" || back && m.cfg.Group == GroupClassic {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	var err error
	if m.cfg.Group == GroupClassic {
		var left kadm.LeaveGroupResponses
		left, err = kadm.NewClient(plain).LeaveGroup(ctx, kadm.LeaveGroup(group).Reason("producer stops").InstanceIDs(instance))
		if err == nil {
			err = left.Error()
		}
	} else {
		req := kmsg.NewPtrConsumerGroupHeartbeatRequest()
		req.Group, req.MemberID, req.InstanceID, req.MemberEpoch = group, m.id, &instance, -1
		if back {
			req.MemberEpoch = -2
		}
		var resp *kmsg.ConsumerGroupHeartbeatResponse
		resp, err = req.RequestWith(ctx, plain)
		if err == nil {
			err = kerr.ErrorForCode(resp.ErrorCode)
		}
	}
	if err != nil && !errors.Is(err, kerr.UnknownMemberID) && !errors.Is(err, kerr.FencedInstanceID) {
		m.log.Warn("leaving the group failed: the partitions are free after the session timeout", "instance", instance, "error", err)
	}
}

// fetchBytes bound what the client holds of a backlog beside the commands that are being decided, of each broker and as they were compressed:
// however many partitions there are.
const fetchBytes = 16 << 20

// linger lets a transaction's records of a partition go out in few batches, which cost the broker less; what is there at its end is sent
// at once.
const linger = 5 * time.Millisecond

// options are those of the member that consumes, produces and commits.
func (m *member) options(topics schemas.Topics, id string, given *assignment, copies *standby) []kgo.Opt {
	balancers := []kgo.GroupBalancer{kgo.RangeBalancer()} // for members that do not know ours, and for brokers that assign
	if m.cfg.Group == GroupClassic {
		balancers = append([]kgo.GroupBalancer{&balancer{func() holdings { return given.holdings(copies.warm()) }}}, balancers...)
	}
	opts := []kgo.Opt{
		kgo.ClientID(id), // so that the group's members can be told by their transactional ids: see takeover.go
		kgo.ConsumerGroup(m.cfg.group(m.def.KindName())),
		kgo.ConsumeTopics(topics.Commands, topics.Internal),
		// Range gives the same partitions of both topics to the same member, always, as ours does; cooperative balancers do not.
		kgo.Balancers(balancers...),
		kgo.OnPartitionsAssigned(given.assigned),
		kgo.OnPartitionsRevoked(given.revoked),
		kgo.OnPartitionsLost(given.lost),
		kgo.AdjustFetchOffsetsFn(given.fetched),
		kgo.SessionTimeout(m.cfg.SessionTimeout),
		kgo.HeartbeatInterval(min(m.cfg.SessionTimeout/4, 3*time.Second)),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumeStartOffset(kgo.NewOffset().AtStart()),
		kgo.ConsumeResetOffset(kgo.NoResetOffset()),
		kgo.FetchMaxWait(time.Second),
		kgo.FetchMaxBytes(fetchBytes),
		kgo.TransactionalID(id),
		kgo.TransactionTimeout(m.cfg.TransactionTimeout),
		kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.RecordDeliveryTimeout(m.cfg.TransactionTimeout),
		kgo.ProducerLinger(linger),
		kgo.MaxBufferedRecords(100_000),
		kgo.ProducerBatchMaxBytesFn(func(topic string) int32 {
			if topic == topics.DeadLetters {
				return deadLetterBatchBytes // a dead letter is what did not fit elsewhere, and more headers
			}
			return batchBytes
		}),
		kgo.MetadataMinAge(10 * time.Millisecond), // with the default of 5 s a flush can wait that long for a new leader or topic
	}
	if m.cfg.Group == GroupConsumer {
		opts = append(opts, kgo.ServerSideBalancer()) // with the assignor "range", which keeps both topics together as well
	}
	if instance := m.instance(); instance != "" {
		opts = append(opts, kgo.InstanceID(instance))
	}
	return opts
}
