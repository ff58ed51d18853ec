package producer

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ledgerline-es/ledgerline/schemas/account"
)

// Evolve does not return from a committed event: who watches is told which one. Without a test in between the process ends, and says so.
func TestRestore_EvolveDoesNotReturn_IsNamed(t *testing.T) {
	held := make(chan struct{})
	slow := deposits
	slow.Evolve = func(s account.State, e account.Event) account.State {
		if e.(*account.MoneyDeposited).AmountMinor == 13 {
			<-held
		}
		return s
	}
	r := newRestorer(t, slow)
	r.cfg.DecideTimeout = 100 * time.Millisecond
	var stuck *kgo.Record
	r.stuck = func(_ int32, rec *kgo.Record) {
		stuck = rec
		close(held)
	}
	part, err := r.openPart(t.Context(), 0, time.Now(), bounds{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := part.store.close(); err != nil {
			t.Error(err)
		}
	}()
	var events []*kgo.Record
	for i, amount := range []int64{1, 13, 1} {
		value, err := r.machine.(*typedMachine[account.State, account.Command, account.Event]).events.Append(nil, &account.MoneyDeposited{AmountMinor: amount})
		if err != nil {
			t.Fatal(err)
		}
		key := []string{"acc-1/1", "acc-1/2", "acc-1/3"}[i]
		events = append(events, &kgo.Record{Topic: r.writer.topics.Events, Offset: int64(100 + i), Key: []byte(key), Value: value})
	}
	if err := r.replayEvents(t.Context(), part, events); err != nil {
		t.Fatal(err)
	}
	<-held
	if stuck == nil || stuck.Offset != 101 {
		t.Fatalf("told of %+v", stuck)
	}

	var log strings.Builder
	r.stuck, r.log = nil, slog.New(slog.NewTextHandler(&log, nil))
	defer func() {
		said, _ := recover().(string)
		for _, want := range []string{"event 2 of acc-1 at account.events/0/101", "never skipped", "start again"} {
			if !strings.Contains(said, want) {
				t.Errorf("it ends with %q, without %q", said, want)
			}
		}
		if !strings.Contains(log.String(), "aggregate_id=acc-1 sequence=2 topic=account.events partition=0 offset=101") {
			t.Errorf("it logs %s", log.String())
		}
	}()
	r.endless(0, stuck)
}
