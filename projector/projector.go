package projector

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ledgerline-es/ledgerline/schemas"
)

// Projector keeps one projection up to date, as one member of its consumer group.
type Projector struct {
	cfg        Config
	projection Projection
	sink       Sink
	log        *slog.Logger
	health     health
}

// New makes a projector. It does no I/O; Run checks cfg and the projection.
func New(cfg Config, p Projection, sink Sink) *Projector {
	cfg = cfg.withDefaults()
	return &Projector{
		cfg:        cfg,
		projection: p,
		sink:       sink,
		log:        cfg.Logger.With("projector", p.ProjectionName()),
	}
}

// Name is the projection's name.
func (p *Projector) Name() string { return p.projection.ProjectionName() }

// Ready is nil while the projector has its share of the partitions and nothing fails; else an error with what it waits
// for, or why it has stopped.
func (p *Projector) Ready() error {
	if err := p.health.ready(); err != nil {
		return fmt.Errorf("projector %s: %w", p.Name(), err)
	}
	return nil
}

// Run consumes until ctx ends, which gives nil, or until something happens that no retry can help: a *FatalError, a
// *RebuildRequiredError or an *EventError. It may be called once.
func (p *Projector) Run(ctx context.Context) error {
	err := p.run(ctx)
	switch {
	case err == nil, stopped(ctx, err):
		p.health.stop(errors.New("its context ended"))
		p.log.Info("projector stopped")
		return nil
	default:
		p.health.stop(err)
		p.log.Error("projector stopped for good", "error", err)
		return fmt.Errorf("projector %s: %w", p.Name(), err)
	}
}

func (p *Projector) run(ctx context.Context) error {
	if err := p.cfg.Validate(); err != nil {
		return err
	}
	plan, err := p.projection.Plan(p.cfg.TopicPrefix)
	if err != nil {
		return err
	}
	m, err := newMetrics(p.cfg.Registerer, p.Name())
	if err != nil {
		return fmt.Errorf("register metrics: %w", err)
	}
	m.rebuild.Set(0)
	p.health.failing("start", errors.New("looking for the topic and the table"))

	if err := p.findTopic(ctx, &plan, m); err != nil {
		return err
	}
	store, err := p.open(ctx, plan, m)
	if err != nil {
		return err
	}
	defer store.Close()
	p.log.Info("projection open", "store", plan.Store, "table", plan.Schema+"."+plan.Physical(), "topic", plan.Topic, "partitions", plan.Partitions)

	p.health.failing("group", errors.New("waiting for a share of the partitions"))
	p.health.fine("start")
	return newMember(p, plan, store, m).run(ctx)
}

// findTopic completes the plan with the topic's id and partitions; it waits for the topic if it must.
func (p *Projector) findTopic(ctx context.Context, plan *Plan, m *metrics) error {
	// With the client's default of 5 s, a topic made a moment after it was asked for would be missed for as long.
	client, err := kgo.NewClient(append(slices.Clone(p.cfg.Client), kgo.MetadataMinAge(100*time.Millisecond))...)
	if err != nil {
		return fmt.Errorf("kafka client: %w", err)
	}
	defer client.Close()
	return p.persist(ctx, "topic", m, func(ctx context.Context) error {
		id, partitions, err := topicOf(ctx, kadm.NewClient(client), plan.Topic)
		plan.TopicID, plan.Partitions = id, partitions
		return err
	})
}

// topicOf asks Kafka for a topic's id and number of partitions.
func topicOf(ctx context.Context, admin *kadm.Client, topic string) (id string, partitions int32, err error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	details, err := admin.ListTopics(ctx, topic)
	if err != nil {
		return "", 0, fmt.Errorf("look up topic %s: %w", topic, err)
	}
	detail := details[topic]
	if detail.Err != nil {
		return "", 0, fmt.Errorf("look up topic %s (its producer creates it): %w", topic, detail.Err)
	}
	return detail.ID.String(), int32(len(detail.Partitions)), nil
}

func (p *Projector) open(ctx context.Context, plan Plan, m *metrics) (Store, error) {
	var store Store
	err := p.persist(ctx, "open "+plan.Store, m, func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, p.cfg.WriteTimeout)
		defer cancel()
		var err error
		store, err = p.sink.Open(ctx, plan)
		return err
	})
	if _, rebuild := errors.AsType[*RebuildRequiredError](err); rebuild {
		m.rebuild.Set(1)
	}
	return store, err
}

// persist does what can fail until it succeeds, ctx ends or the error is final. Between attempts it waits, and Ready says
// what for.
func (p *Projector) persist(ctx context.Context, stage string, m *metrics, do func(context.Context) error) error {
	for attempt := 0; ; attempt++ {
		err := do(ctx)
		if err == nil {
			p.health.fine(stage)
			return nil
		}
		if ctx.Err() == nil && judge(err) != retry {
			return err
		}
		if ctx.Err() == nil {
			p.failed(stage, attempt, err, m)
		}
		if !p.wait(ctx, attempt) {
			p.health.fine(stage) // nobody tries any more
			return ctx.Err()
		}
	}
}

// failed makes an attempt that failed visible.
func (p *Projector) failed(stage string, attempt int, err error, m *metrics) {
	p.health.failing(stage, err)
	m.retries.WithLabelValues(stage).Inc()
	level := slog.LevelWarn
	if attempt > 0 && attempt%10 != 0 {
		level = slog.LevelDebug // an outage of an hour is not a log of a thousand lines
	}
	p.log.Log(context.Background(), level, "trying again", "stage", stage, "attempt", attempt+1, "error", err)
}

// wait is the pause after the attempt-th failure; false when ctx ends first.
func (p *Projector) wait(ctx context.Context, attempt int) bool {
	pause := p.cfg.BackoffMin << min(attempt, 20)
	if pause <= 0 || pause > p.cfg.BackoffMax {
		pause = p.cfg.BackoffMax
	}
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// codec is the projection's way from bytes to events.
func (p *Projector) codec() *schemas.Codec { return schemas.NewCodec(p.cfg.Registry) }
