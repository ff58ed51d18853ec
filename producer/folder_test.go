package producer

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// A partition moves to another session of the process, and the one that had it does not let go of its folder in time: the other does
// without, in memory, and what lies there is left alone. Whoever comes next has it again.
func TestLocalState_HeldByAnotherSession_TheNextDoesWithout(t *testing.T) {
	r := newRestorer(t, deposits)
	r.fs, r.cfg.StateDir = vfs.Default, t.TempDir()
	over, cancel := context.WithCancel(t.Context())
	cancel()
	part := func() *store {
		t.Helper()
		part, err := r.openPart(over, 0, time.Now(), bounds{})
		if err != nil {
			t.Fatal(err)
		}
		return part.store
	}
	put := func(s *store, value string) {
		t.Helper()
		if err := errors.Join(s.stage([]byte("acc-1"), []byte(value)), s.apply(s.has)); err != nil {
			t.Fatal(err)
		}
	}
	first := part()
	put(first, "of the first")
	second := part()
	if second.lock != nil || !second.fresh {
		t.Fatal("both sessions have the folder")
	}
	put(second, "of the second")
	if err := errors.Join(first.close(), second.close()); err != nil {
		t.Fatal(err)
	}
	third := part()
	defer func() {
		if err := third.close(); err != nil {
			t.Error(err)
		}
	}()
	if value, _, err := third.get([]byte("acc-1")); third.lock == nil || err != nil || string(value) != "of the first" {
		t.Errorf("the next one finds %q, %v", value, err)
	}
}

// The one that had it has only not seen yet that it has moved: the other waits a moment. Doing without would have it rebuild all states
// in memory, and as long as it has the partition nothing would be kept of them.
func TestLocalState_StillHeldByAnotherSession_TheNextWaitsForIt(t *testing.T) {
	r := newRestorer(t, deposits)
	r.fs, r.cfg.StateDir = vfs.Default, t.TempDir()
	first, err := r.openPart(t.Context(), 0, time.Now(), bounds{})
	if err != nil {
		t.Fatal(err)
	}
	closed := make(chan error)
	time.AfterFunc(100*time.Millisecond, func() { closed <- first.close() })
	parts, err := r.open(t.Context(), []int32{0}, nil, bounds{})
	if err := errors.Join(err, <-closed); err != nil {
		t.Fatal(err)
	}
	if parts[0].store.lock == nil {
		t.Error("it does without its local state")
	}
	if err := parts[0].close(); err != nil {
		t.Error(err)
	}
}
