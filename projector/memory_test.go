package projector_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/ledgerline-es/ledgerline/projector"
	"github.com/ledgerline-es/ledgerline/projector/internal/logtest"
)

// memory is a store in memory for the engine's tests: it keeps the rules of Store, and can be told to misbehave.
type memory struct {
	mu       sync.Mutex
	plan     projector.Plan
	next     map[int32]int64
	until    map[int32]int64 // ranges in doubt, for Claim to tell
	offsets  map[int32][]int64
	rows     int
	writes   []write
	problems []string
	claims   int
	openErr  func() error
	writeErr func([]*projector.Batch) error // before anything is stored
	afterErr func([]*projector.Batch) error // once all is stored
	claimErr func() error
	pace     projector.Pace
}

type write struct {
	partition   int32
	first, next int64
}

func newMemory() *memory {
	return &memory{next: make(map[int32]int64), until: make(map[int32]int64), offsets: make(map[int32][]int64), pace: projector.Pace{Interval: time.Millisecond, MaxEvents: 1000}}
}

// memoryTable is a table of this store.
func memoryTable(schema, name, create string, columns ...projector.Column[logtest.Row]) projector.Table[logtest.Row] {
	return projector.Table[logtest.Row]{Store: "memory", Schema: schema, Name: name, Create: create, Columns: columns}
}

func entries(name string) projector.Projection {
	return logtest.Entries(name, memoryTable, "CREATE TABLE "+projector.TableMark)
}

func (m *memory) Open(_ context.Context, plan projector.Plan) (projector.Store, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.openErr != nil {
		if err := m.openErr(); err != nil {
			return nil, err
		}
	}
	m.plan = plan
	return m, nil
}

func (m *memory) Snapshot(context.Context, projector.Plan) (projector.Snapshot, error) {
	return nil, projector.ErrNotBuilt
}

func (m *memory) Pace() projector.Pace { return m.pace }
func (m *memory) Close()               {}

func (m *memory) Claim(_ context.Context, begin map[int32]int64) (map[int32]projector.Position, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.claims++
	if m.claimErr != nil {
		if err := m.claimErr(); err != nil {
			return nil, err
		}
	}
	positions := make(map[int32]projector.Position)
	for id, at := range begin {
		if _, known := m.next[id]; !known {
			m.next[id] = at
		}
		positions[id] = projector.Position{Next: m.next[id], Until: m.until[id]}
	}
	return positions, nil
}

func (m *memory) Write(_ context.Context, batches []*projector.Batch) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.writeErr != nil {
		if err := m.writeErr(batches); err != nil {
			return err
		}
	}
	for _, b := range batches {
		if m.next[b.Partition] != b.First {
			return fmt.Errorf("%w: partition %d stands at %d, the batch begins at %d", projector.ErrFenced, b.Partition, m.next[b.Partition], b.First)
		}
		if until := m.until[b.Partition]; until > 0 {
			if b.Next != until {
				m.problems = append(m.problems, fmt.Sprintf("partition %d: range in doubt [%d, %d) came as [%d, %d)", b.Partition, m.next[b.Partition], until, b.First, b.Next))
			}
			delete(m.until, b.Partition)
		}
	}
	for _, b := range batches {
		rows := projector.JoinRows(b)
		for i := range rows.Len() {
			m.offsets[b.Partition] = append(m.offsets[b.Partition], rows.Offset(i))
		}
		m.rows += rows.Len()
		m.next[b.Partition] = b.Next
		m.writes = append(m.writes, write{b.Partition, b.First, b.Next})
	}
	if m.afterErr != nil {
		return m.afterErr(batches)
	}
	return nil
}

// complete checks that all of a log's events are there, each once and in order.
func (m *memory) complete(w *logtest.Log) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.problems) > 0 {
		return fmt.Errorf("%v", m.problems)
	}
	if m.rows != w.Written() {
		return fmt.Errorf("%d rows of %d events", m.rows, w.Written())
	}
	for id, offsets := range m.offsets {
		for i := 1; i < len(offsets); i++ {
			if offsets[i] <= offsets[i-1] {
				return fmt.Errorf("partition %d: offset %d behind %d", id, offsets[i], offsets[i-1])
			}
		}
	}
	return nil
}

// set changes the store while a projector may be using it.
func (m *memory) set(change func(*memory)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	change(m)
}

func eventuallyComplete(t *testing.T, m *memory, w *logtest.Log, p *projector.Projector) {
	t.Helper()
	logtest.Eventually(t, func() error {
		if err := m.complete(w); err != nil {
			return fmt.Errorf("%w; ready: %w", err, p.Ready())
		}
		return nil
	})
}
