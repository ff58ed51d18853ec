package logtest

import (
	"context"
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/ledgerline-es/ledgerline/internal/kit"
	"github.com/ledgerline-es/ledgerline/internal/process"
)

// Child is a process of projectors that can be stopped in mid-step, looked at, and killed there.
type Child struct {
	*process.Process
	t   testing.TB
	w   *World
	log *kit.Output
}

// StartChild starts the world's projectors in a process of their own. TestMain must know Role.
func (w *World) StartChild(t testing.TB, change func(*Setup)) *Child {
	t.Helper()
	setup := w.Setup
	if change != nil {
		change(&setup)
	}
	c := &Child{t: t, w: w, log: &kit.Output{}}
	p, err := process.Start(t.Context(), process.Spec{Role: RoleName, Args: setup.Args(), Log: c.log, StopTimeout: 20 * time.Second})
	must(t, err)
	c.Process = p
	t.Cleanup(func() {
		_ = c.Signal(syscall.SIGCONT) // it may have ended already
		if err := p.Stop(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("log of projectors %d:\n%s", p.Pid(), c.log.Last(40))
		}
	})
	return c
}

// Signal sends a signal to the child.
func (c *Child) Signal(s syscall.Signal) error { return syscall.Kill(c.Pid(), s) }

// Freeze stops the child wherever it is, and says what it was in the midst of.
func (c *Child) Freeze() (hits Hits) {
	c.t.Helper()
	must(c.t, c.Signal(syscall.SIGSTOP))
	return c.w.Midst()
}

// Thaw lets it go on.
func (c *Child) Thaw() {
	c.t.Helper()
	must(c.t, c.Signal(syscall.SIGCONT))
}

// Hits says what a frozen projector was in the midst of.
type Hits struct {
	Postgres   int // transactions that are open and were not told to commit
	ClickHouse int // ranges that are recorded and not there in full
}

// Midst looks for what is open in the stores. Twice, since the servers go on for a moment with what they were given.
func (w *World) Midst() (hits Hits) {
	w.t.Helper()
	for range 2 {
		<-time.After(60 * time.Millisecond) // what was on its way has arrived, and what was being done is done
		hits = Hits{
			Postgres: int(w.SQL(`SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'ledgerline projector'
				AND state = 'idle in transaction' AND backend_xid IS NOT NULL`).(int64)),
		}
		if w.Count("SELECT count() FROM system.tables WHERE database = 'DB_ledgerline' AND name = 'ledger'") == 0 ||
			w.Count("SELECT count() FROM system.tables WHERE database = 'DB_bank' AND name = 'entries__g1'") == 0 {
			continue
		}
		hits.ClickHouse = int(w.Count(`SELECT count() FROM (
			SELECT 1 FROM (
				SELECT partition, argMax(first_offset, (epoch, owner, next_offset)) AS first, argMax(next_offset, (epoch, owner, next_offset)) AS next,
				       argMax(rows, (epoch, owner, next_offset)) AS want
				FROM DB_ledgerline.ledger WHERE next_offset > 0 GROUP BY partition) AS l
			LEFT JOIN (SELECT _partition, _offset FROM DB_bank.entries__g1) AS r ON r._partition = l.partition
			WHERE want > 0 GROUP BY partition, first, next, want HAVING countIf(r._offset >= first AND r._offset < next) < want)`))
	}
	return hits
}

// maxBehind is how many records projections may be behind before Load waits for them. On a machine that is busy elsewhere
// it would else pile up what no test has the time to see the end of.
const maxBehind = 20_000

// Load writes events in the background, about rate a second and not far ahead of the projections, until the returned function
// is called.
func (w *World) Load(rate, accounts int) (stop func()) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(w.t.Context()))
	done := make(chan error, 1)
	admin := kadm.NewClient(w.plain)
	started := w.Written()
	tooFarBehind := func(ctx context.Context) bool {
		behind, err := w.behind(ctx, admin)
		if err != nil { // the broker may be down, and groups begin without offsets
			behind = int64(w.Written() - started)
		}
		return behind > maxBehind
	}
	go func() { done <- w.WriteUntil(ctx, rate, accounts, tooFarBehind) }()
	ended := false
	stop = func() {
		if ended {
			return
		}
		ended = true
		cancel()
		if err := <-done; err != nil {
			w.t.Error(fmt.Errorf("writer: %w", err))
		}
	}
	w.t.Cleanup(stop)
	return stop
}

// behind is how many records the slowest projection has yet to store, by the offsets in its group.
func (w *World) behind(ctx context.Context, admin *kadm.Client) (most int64, err error) {
	projections, _ := w.Projections()
	for _, p := range projections {
		group := w.Log.Prefix + p.ProjectionName()
		lags, err := admin.Lag(ctx, group)
		if err != nil {
			return 0, err
		}
		lag := lags[group]
		if err := lag.Error(); err != nil {
			return 0, err
		}
		if len(lag.Lag[w.Topics.Events]) == 0 {
			return 0, fmt.Errorf("group %s has no offsets", group)
		}
		most = max(most, lag.Lag.Total())
	}
	return most, nil
}
