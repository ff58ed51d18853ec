package producer_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ledgerline-es/ledgerline/producer"
)

// Local state can be looked at and dropped, but not while a producer has it; what was dropped is built anew.
func TestLocalState_InspectedAndDropped(t *testing.T) {
	s, dir := newSystem(t), t.TempDir()
	s.change = func(c *producer.Config) { c.StateDir = dir }
	r := s.start()
	c := s.client()
	const accounts = 20
	for n := range accounts {
		expect(t, s.publish(c, open(fmt.Sprint("acc-", n), 1)), producer.Accepted, "")
	}
	inspect := func() []producer.LocalState {
		all, err := producer.InspectState(dir)
		if err != nil || len(all) != 4 {
			t.Fatalf("%d partitions, %v", len(all), err)
		}
		return all
	}
	for _, l := range inspect() {
		if !l.InUse {
			t.Errorf("%+v while a producer has it open", l)
		}
		if err := producer.DropState(l); !errors.Is(err, producer.ErrStateInUse) {
			t.Errorf("dropped while a producer has it open: %v", err)
		}
	}
	r.stop()
	aggregates := 0
	all := inspect()
	for n, l := range all {
		aggregates += l.Aggregates
		if l.InUse || l.Damaged != "" || l.Partition != int32(n) || l.Group != producer.Group(s.prefix, "account") || l.Bytes == 0 || l.Partitions != 4 || l.Cluster == "" || l.SavedAt.IsZero() {
			t.Errorf("%+v", l)
		}
	}
	if aggregates != accounts {
		t.Errorf("%d aggregates, wanted %d", aggregates, accounts)
	}
	if err := os.WriteFile(filepath.Join(all[1].Dir, "DAMAGED"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if l := inspect()[1]; l.Damaged == "" || l.Aggregates != 0 {
		t.Errorf("damaged: %+v", l)
	}
	if err := producer.DropState(all[0]); err != nil {
		t.Fatal(err)
	}
	if left, err := producer.InspectState(dir); err != nil || len(left) != 3 {
		t.Errorf("%d are left, %v", len(left), err)
	}
	s.start()
	for n := range accounts {
		expect(t, s.publish(c, withdraw(fmt.Sprint("acc-", n), 1)), producer.Accepted, "")
	}
	if _, err := producer.InspectState(filepath.Join(dir, "nowhere")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a folder that is not there: %v", err)
	}
}

// A folder that can't be made is said at once, and not tried again for ever.
func TestLocalState_FolderThatCannotBeMade_Refused(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s := newSystem(t)
	s.change = func(c *producer.Config) { c.StateDir = filepath.Join(file, "state") }
	err := producer.New(s.config(), s.def).Run(t.Context())
	if err == nil || !strings.Contains(err.Error(), "--producer-state-dir") {
		t.Errorf("Run gives %v", err)
	}
}
