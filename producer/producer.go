package producer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"github.com/ledgerline-es/ledgerline/schemas"
)

// Producer decides the commands of one aggregate kind, as one or more members of the kind's consumer group.
type Producer struct {
	cfg     Config
	def     Definition
	log     *slog.Logger
	metrics *metrics
	members []*member
	process string // a name for this process and producer
	tried   tried

	mu     sync.Mutex
	warned map[string]bool // of topics and brokers
}

// New returns a Producer for a kind. It does no I/O.
func New(cfg Config, def Definition) *Producer {
	cfg = cfg.withDefaults()
	p := &Producer{
		cfg:     cfg,
		def:     def,
		log:     cfg.Logger.With("subsystem", "producer", "kind", def.KindName()),
		metrics: newMetrics(cfg.Metrics, def.KindName()),
		process: uuid.NewString(),
		warned:  map[string]bool{},
	}
	for number := range cfg.Sessions {
		m := &member{Producer: p, number: number, unsent: unsent{}, state: status{err: errors.New("not started")}}
		m.waiting = &waiting{cfg: cfg, topics: schemas.TopicsOf(cfg.TopicPrefix, def.KindName()), state: &m.state, log: p.log, metrics: p.metrics}
		p.members = append(p.members, m)
	}
	return p
}

// Ready reports why the producer is not processing commands: it is starting, restoring, waiting for brokers, for copies in sync, for a
// quota or for the registry. nil means that it is.
func (p *Producer) Ready() error {
	for _, m := range p.members {
		if err := m.state.get(); err != nil {
			return err
		}
	}
	return nil
}

// status is the reason for not being ready.
type status struct {
	mu   sync.Mutex
	err  error
	wait error // what Kafka lacks, which is mostly behind err
}

func (s *status) set(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
}

func (s *status) waits(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wait = err
}

func (s *status) get() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.wait != nil {
		return s.wait
	}
	return s.err
}

// Run processes commands until ctx ends; then it returns nil. Errors that time or another session can mend are logged,
// shown by Ready and tried again; those that only a person can mend are returned: a setting that is no good (Validate, a StateDir that can't be made),
// ErrTopic, ErrBroker, ErrPinned, ErrInstance, a schema that the registry refuses, a history that has a gap.
func (p *Producer) Run(ctx context.Context) error {
	if err := errors.Join(p.cfg.Validate(), p.def.check()); err != nil {
		return err
	}
	if dir := p.cfg.StateDir; dir != "" {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return fmt.Errorf("StateDir (--producer-state-dir): %w: give a folder that this process may make and write in, or none", err)
		}
	}
	running, ctx := errgroup.WithContext(ctx)
	for _, m := range p.members {
		running.Go(func() error { return m.run(ctx) })
	}
	return running.Wait()
}

// fatal tells the errors that only a person can mend.
func fatal(err error) bool {
	var panicked *panicError
	return errors.Is(err, ErrPinned) || errors.Is(err, ErrTopic) || errors.Is(err, ErrBroker) || errors.Is(err, ErrInstance) || errors.Is(err, schemas.ErrIncompatible) ||
		errors.Is(err, schemas.ErrUnknownType) || errors.As(err, &panicked)
}

// batchBytes is how large a batch may be that a producer writes.
const batchBytes = 1_000_012

// deadLetterBatchBytes is max.message.bytes of the dead letters' topic: twice what a command can have.
const deadLetterBatchBytes = 2 << 20
