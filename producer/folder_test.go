package producer

import (
	"errors"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// A partition moves to another session of the process before the one that had it has let go of its folder: the other does without, in
// memory, and what lies there is left alone. Whoever comes next has it again.
func TestLocalState_HeldByAnotherSession_TheNextDoesWithout(t *testing.T) {
	r := newRestorer(t, deposits)
	r.fs, r.cfg.StateDir = vfs.Default, t.TempDir()
	part := func() *store {
		t.Helper()
		part, err := r.openPart(0, time.Now(), bounds{})
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
