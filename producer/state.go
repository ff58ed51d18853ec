package producer

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// LocalState is the local state of one partition, as it lies in a folder.
type LocalState struct {
	Group     string `json:"group"`
	Partition int32  `json:"partition"`
	Dir       string `json:"dir"`
	Bytes     int64  `json:"bytes"` // of its files

	InUse   bool   `json:"in_use"`            // a producer has it open: nothing more can be said
	Damaged string `json:"damaged,omitempty"` // why the next producer builds it anew

	Cluster    string    `json:"cluster,omitempty"`
	Partitions int32     `json:"partitions,omitempty"` // of the topics that it is a copy of
	Revision   int       `json:"revision"`             // of the rules
	Snapshots  int64     `json:"snapshots_offset"`     // it holds the snapshots topic below this offset …
	Events     int64     `json:"events_offset"`        // … and its states hold the events below this one
	SavedAt    time.Time `json:"saved_at"`
	Aggregates int       `json:"aggregates"`
}

// ErrStateInUse means that a producer has a folder of local state open.
var ErrStateInUse = errStoreInUse

// InspectState looks at all local state in a Config.StateDir, by group and partition. It changes nothing. A folder that does not exist
// is an error; one that holds none is not.
func InspectState(stateDir string) ([]LocalState, error) {
	groups, err := os.ReadDir(stateDir)
	if err != nil {
		return nil, fmt.Errorf("local state: %w", err)
	}
	all := []LocalState{}
	for _, group := range groups {
		if !group.IsDir() {
			continue
		}
		partitions, err := os.ReadDir(filepath.Join(stateDir, group.Name()))
		if err != nil {
			return nil, fmt.Errorf("local state: %w", err)
		}
		for _, entry := range partitions {
			n, err := strconv.ParseInt(entry.Name(), 10, 32)
			if err != nil || !entry.IsDir() {
				continue // not ours
			}
			s := LocalState{Group: group.Name(), Partition: int32(n), Dir: filepath.Join(stateDir, group.Name(), entry.Name())}
			if err := s.look(); err != nil {
				return nil, fmt.Errorf("local state in %s: %w", s.Dir, err)
			}
			all = append(all, s)
		}
	}
	slices.SortFunc(all, func(a, b LocalState) int {
		return cmp.Or(cmp.Compare(a.Group, b.Group), cmp.Compare(a.Partition, b.Partition))
	})
	return all, nil
}

// look fills in what the folder says.
func (s *LocalState) look() (err error) {
	err = filepath.WalkDir(s.Dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil // a producer at work removes files
		}
		s.Bytes += info.Size()
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	lock, err := pebble.LockDirectory(s.Dir, vfs.Default)
	if err != nil {
		s.InUse = true
		return nil
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	if _, err := os.Stat(filepath.Join(s.Dir, distrusted)); err == nil {
		s.Damaged = "it was found to be damaged"
		return nil
	}
	db, err := pebble.Open(s.Dir, &pebble.Options{FS: vfs.Default, Lock: lock, ReadOnly: true, FormatMajorVersion: pebble.FormatNewest, Logger: quietPebble{}})
	if err != nil {
		s.Damaged = err.Error()
		return nil
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	if err := s.read(&store{db: db}); err != nil {
		s.Damaged = err.Error()
	}
	return nil
}

func (s *LocalState) read(from *store) error {
	text, ok, err := from.get(identityKey)
	if err != nil || !ok {
		return cmp.Or(err, errors.New("it says nothing of what it is a copy of"))
	}
	var of identity
	if err := json.Unmarshal(text, &of); err != nil {
		return fmt.Errorf("what it is a copy of: %w", err)
	}
	s.Cluster, s.Partitions, s.Revision = of.Cluster, of.Partitions, of.Revision
	at, ok, err := from.get(progressKey)
	if err != nil {
		return err
	}
	if has, complete := readProgress(at); ok && complete {
		s.Snapshots, s.Events, s.SavedAt = has.snapshots, has.events, time.Unix(has.at, 0).UTC()
	}
	it, err := from.db.NewIter(nil)
	if err != nil {
		return err
	}
	for it.First(); it.Valid(); it.Next() {
		if c := it.Key()[0]; c != '/' && c != 0 {
			s.Aggregates++
		}
	}
	return errors.Join(it.Error(), it.Close())
}

// DropState removes the local state of a partition: the next producer that owns it reads all snapshots again, and nothing is lost. The
// error is ErrStateInUse while a producer has it open.
func DropState(s LocalState) error {
	lock, err := pebble.LockDirectory(s.Dir, vfs.Default)
	if err != nil {
		return fmt.Errorf("%w: %s: stop the producer first, or let it give partition %d away: %w", ErrStateInUse, s.Dir, s.Partition, err)
	}
	err = empty(vfs.Default, s.Dir)
	return errors.Join(err, lock.Close(), os.RemoveAll(s.Dir))
}

// quietPebble says nothing: what is wrong is in the errors.
type quietPebble struct{}

// Infof implements pebble.Logger.
func (quietPebble) Infof(string, ...any) {}

// Errorf implements pebble.Logger.
func (quietPebble) Errorf(string, ...any) {}

// Fatalf implements pebble.Logger: it must not return.
func (quietPebble) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }
