package producer

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ledgerline-es/ledgerline/schemas"
	"github.com/ledgerline-es/ledgerline/schemas/ledgerline"
)

// Producer decides the commands of one aggregate kind, as one member of the kind's consumer group.
type Producer struct {
	cfg     Config
	def     Definition
	log     *slog.Logger
	metrics *metrics
	state   status
}

// New returns a Producer for a kind. It does no I/O.
func New(cfg Config, def Definition) *Producer {
	cfg = cfg.withDefaults()
	return &Producer{
		cfg:     cfg,
		def:     def,
		log:     cfg.Logger.With("subsystem", "producer", "kind", def.KindName()),
		metrics: newMetrics(cfg.Metrics, def.KindName()),
		state:   status{err: errors.New("not started")},
	}
}

// Ready reports why the producer is not processing commands: it is starting, restoring, waiting for a broker or for the
// registry. nil means that it is.
func (p *Producer) Ready() error { return p.state.get() }

// status is the reason for not being ready.
type status struct {
	mu  sync.Mutex
	err error
}

func (s *status) set(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
}

func (s *status) get() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// Run processes commands until ctx ends; then it returns nil. Errors that time or another session can mend are logged,
// shown by Ready and tried again; those that only a person can mend are returned: a setting that is no good (Validate),
// ErrTopic, ErrPinned, a schema that the registry refuses, a history that has a gap.
func (p *Producer) Run(ctx context.Context) error {
	if err := errors.Join(p.cfg.Validate(), p.def.check()); err != nil {
		return err
	}
	defer p.state.set(errors.New("stopped"))
	for wait := 200 * time.Millisecond; ; wait = min(2*wait, 10*time.Second) {
		p.metrics.sessions.Inc()
		started := time.Now()
		err := p.session(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case fatal(err):
			p.state.set(err)
			return err
		}
		if time.Since(started) > time.Minute {
			wait = 200 * time.Millisecond
		}
		p.state.set(err)
		p.log.Error("session ended; all state is dropped and rebuilt from the log", "error", err, "retry_in", wait.String())
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
	}
}

// fatal tells the errors that only a person can mend.
func fatal(err error) bool {
	var panicked *panicError
	return errors.Is(err, ErrPinned) || errors.Is(err, ErrTopic) || errors.Is(err, schemas.ErrIncompatible) ||
		errors.Is(err, schemas.ErrUnknownType) || errors.As(err, &panicked)
}

// session prepares what one session needs and runs it to its end.
func (p *Producer) session(ctx context.Context) error {
	p.state.set(errors.New("starting"))
	kind, topics := p.def.KindName(), schemas.TopicsOf(p.cfg.TopicPrefix, p.def.KindName())
	codec := schemas.NewCodec(p.cfg.Registry)
	w := &writer{
		kind:      kind,
		source:    []byte("/ledgerline/" + kind),
		topics:    topics,
		replies:   schemas.NewSerde(codec, topics.Replies, schemas.ForwardTransitive, ledgerline.ReplyType),
		marks:     schemas.NewSerde(codec, topics.Snapshots, schemas.FullTransitive, ledgerline.SourceMarkType),
		positions: schemas.NewSerde(codec, topics.Snapshots, schemas.FullTransitive, ledgerline.PositionType),

		snapshots:   schemas.NewSerde(codec, topics.Snapshots, schemas.FullTransitive, ledgerline.SnapshotType),
		checkpoints: schemas.NewSerde(codec, topics.Snapshots, schemas.FullTransitive, ledgerline.CheckpointType),
	}
	m := p.def.machine(codec, topics)
	pin := &pins{
		kind:  kind,
		topic: schemas.PinsTopic(p.cfg.TopicPrefix),
		serde: schemas.NewSerde(codec, schemas.PinsTopic(p.cfg.TopicPrefix), schemas.FullTransitive, ledgerline.PinType),
		names: []string{topics.Commands, topics.Internal, topics.Events, topics.Snapshots, topics.Replies},
	}
	for _, register := range []func(context.Context) error{
		m.register, w.replies.Register, w.marks.Register, w.positions.Register, w.snapshots.Register, w.checkpoints.Register, pin.serde.Register,
	} {
		if err := register(ctx); err != nil {
			return err
		}
	}

	options := slices.Concat(p.cfg.Client, []kgo.Opt{
		kgo.SeedBrokers(p.cfg.Brokers...),
		kgo.WithLogger(kafkaLog{p.log}),
	})
	plain, err := kgo.NewClient(slices.Concat(options, []kgo.Opt{kgo.ConsumeResetOffset(kgo.NoResetOffset()), kgo.MetadataMinAge(250 * time.Millisecond)})...)
	if err != nil {
		return err
	}
	defer plain.CloseAllowingRebalance()
	if err := EnsureTopics(ctx, kadm.NewClient(plain), Topics(p.cfg, kind)); err != nil {
		return err
	}
	pinned, err := pin.check(ctx, plain)
	if err != nil {
		return err
	}
	w.partitions = p.cfg.Partitions

	cache := pebble.NewCache(storeCacheBytes)
	defer cache.Unref()
	given := &assignment{topics: topics}
	id := p.transactionalID()
	gts, err := kgo.NewGroupTransactSession(slices.Concat(options, p.groupOptions(topics, id, given))...)
	if err != nil {
		return err
	}
	defer gts.CloseAllowingRebalance()
	taker := &takeover{cfg: p.cfg, kind: kind, topics: topics, self: id, cl: plain, log: p.log, metrics: p.metrics}
	s := &session{
		cfg: p.cfg, gts: gts, takeover: taker, machine: m, writer: w, log: p.log, metrics: p.metrics, state: &p.state,
		restorer: &restorer{
			cfg: p.cfg, options: options, machine: m, writer: w, log: p.log, metrics: p.metrics,
			limits: limits{
				eventBytes: p.cfg.MaxEventBytes, events: p.cfg.MaxEvents, sources: p.cfg.MaxSources,
				tail: int64(p.cfg.SnapshotEvents), memory: max(1, p.cfg.MemoryAggregates/int(p.cfg.Partitions)),
			},
			group: p.cfg.group(kind), fs: vfs.Default, cache: cache, pinned: pin.identity(pinned, m),
			takeover: taker,
		},
		replies:    &replyTopics{client: plain, allowed: p.cfg.ReplyTopics, own: topics},
		assignment: given,
		generation: -1,
		searched:   -1,
		books:      map[int32]*book{},
		astray:     map[input]bool{},
		held:       map[input]<-chan struct{}{},
	}
	ctx, stop := context.WithCancel(ctx)
	var watching sync.WaitGroup
	watching.Go(func() {
		pin.watch(ctx, plain, pinned, 5*time.Second, func(err error) { s.fatal.Store(&err) })
	})
	watching.Go(func() { taker.watchHung(ctx, 10*time.Second, given.partitions) })
	defer watching.Wait()
	defer stop()
	return s.run(ctx)
}

// transactionalID is a new one for each session: nothing that an earlier life left open can be mistaken for ours.
func (p *Producer) transactionalID() string {
	instance := p.cfg.InstanceID
	if instance != "" {
		instance += "-"
	}
	return p.cfg.idPrefix(p.def.KindName()) + instance + uuid.Must(uuid.NewV7()).String()
}

// groupOptions are those of the member that consumes, produces and commits.
func (p *Producer) groupOptions(topics schemas.Topics, id string, given *assignment) []kgo.Opt {
	return []kgo.Opt{
		kgo.ClientID(id), // so that the group's members can be told by their transactional ids: see takeover.go
		kgo.ConsumerGroup(p.cfg.group(p.def.KindName())),
		kgo.ConsumeTopics(topics.Commands, topics.Internal),
		// Range gives the same partitions of both topics to the same member, always; cooperative balancers do not.
		kgo.Balancers(kgo.RangeBalancer()),
		kgo.OnPartitionsAssigned(given.assigned),
		kgo.AdjustFetchOffsetsFn(given.fetched),
		kgo.SessionTimeout(p.cfg.SessionTimeout),
		kgo.HeartbeatInterval(min(p.cfg.SessionTimeout/4, 3*time.Second)),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumeStartOffset(kgo.NewOffset().AtStart()),
		kgo.ConsumeResetOffset(kgo.NoResetOffset()),
		kgo.FetchMaxWait(time.Second),
		kgo.TransactionalID(id),
		kgo.TransactionTimeout(p.cfg.TransactionTimeout),
		kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.RecordDeliveryTimeout(p.cfg.TransactionTimeout),
		kgo.ProducerLinger(0),
		kgo.MaxBufferedRecords(100_000),
		kgo.ProducerBatchMaxBytesFn(func(topic string) int32 {
			if topic == topics.DeadLetters {
				return deadLetterBatchBytes // a dead letter is what did not fit elsewhere, and more headers
			}
			return 1_000_012
		}),
		kgo.MetadataMinAge(10 * time.Millisecond), // with the default of 5 s a flush can wait that long for a new leader or topic
	}
}

// deadLetterBatchBytes is max.message.bytes of the dead letters' topic: twice what a command can have.
const deadLetterBatchBytes = 2 << 20

// kafkaLog hands the client's warnings to our log.
type kafkaLog struct{ log *slog.Logger }

// Level implements kgo.Logger.
func (kafkaLog) Level() kgo.LogLevel { return kgo.LogLevelWarn }

// Log implements kgo.Logger.
func (k kafkaLog) Log(level kgo.LogLevel, msg string, keyvals ...any) {
	l := slog.LevelWarn
	if level == kgo.LogLevelError {
		l = slog.LevelError
	}
	k.log.Log(context.Background(), l, "kafka client", append(keyvals, "said", msg)...)
}
