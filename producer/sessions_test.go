package producer_test

import (
	"context"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ledgerline-es/ledgerline/producer"
)

// counting counts log lines that hold a text.
type counting struct {
	slog.Handler
	text string
	n    *atomic.Int64
}

// Handle implements slog.Handler.
func (c counting) Handle(ctx context.Context, r slog.Record) error {
	if strings.Contains(r.Message, c.text) {
		c.n.Add(1)
	}
	return c.Handler.Handle(ctx, r)
}

// WithAttrs implements slog.Handler.
func (c counting) WithAttrs(attrs []slog.Attr) slog.Handler {
	c.Handler = c.Handler.WithAttrs(attrs)
	return c
}

// Two sessions of one process have a folder of local state for each partition, and other members that come and go make partitions move
// between them under load. One has let go of a folder before the other opens it, or the other does without: the history stays one, and
// what lies there in the end is whole.
func TestP1_PartitionsMoveBetweenSessionsOfAProcess_OneHistory(t *testing.T) {
	for _, group := range []string{producer.GroupClassic, producer.GroupConsumer} {
		t.Run(group, func(t *testing.T) {
			s, dir := newSystem(t), t.TempDir()
			if group == producer.GroupConsumer { // by range: all move whenever a member comes or goes
				s = realSystem(t)
				s.soonGone()
			}
			var assigned, without atomic.Int64
			two := func(c *producer.Config) {
				c.Group, c.Sessions, c.StateDir, c.SnapshotEvents, c.MemoryAggregates = group, 2, dir, boundedTail, 16
				c.Logger = slog.New(counting{counting{c.Logger.Handler(), "assigned", &assigned}, "local state is in use", &without})
			}
			s.change = two
			p := s.start()
			l := s.load(20)
			for range 5 {
				s.change = func(c *producer.Config) { c.Group = group }
				other := s.start()
				l.work(s, l.answered()+60)
				other.stop()
				l.work(s, l.answered()+60)
			}
			accepted := l.stop()
			s.check(accepted)
			p.stop()
			t.Logf("partitions were assigned %d times; %d times the other session had the folder still", assigned.Load(), without.Load())
			states, err := producer.InspectState(dir)
			if err != nil || len(states) != 4 {
				t.Fatalf("%d folders, %v", len(states), err)
			}
			for _, state := range states {
				if state.InUse || state.Damaged != "" {
					t.Errorf("partition %d: %+v", state.Partition, state)
				}
			}
			s.change = two
			began := time.Now()
			s.start()
			c := s.client()
			for id := range accepted {
				expect(t, s.publish(c, deposit(id, 1)), producer.Accepted, "")
				accepted[id]++
			}
			t.Logf("started on what lay there, and decided, in %v", time.Since(began).Round(time.Millisecond))
			s.check(accepted)
		})
	}
}
