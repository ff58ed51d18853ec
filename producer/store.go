package producer

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strconv"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/prometheus/client_golang/prometheus"
)

// store is a member's copy of one partition of the snapshots topic, record by record, with states that may be newer than the
// topic's. It is a cache of the log, never the truth: it has no log of its own, so that a crash takes it back to an earlier
// moment, and its progress says to which. On disk it saves a restart from reading all snapshots; without a folder it lives in
// memory and saves keeping all states there as Go values. Not safe for concurrent use.
type store struct {
	db      *pebble.DB
	lock    *pebble.Lock // nil in memory
	log     *slog.Logger
	staged  *pebble.Batch // not applied yet: what it holds is found in the shelf's memory
	has     progress
	loads   prometheus.Counter
	fresh   bool // it was made by opening it
	hasMark bool // a numbered sender's mark is among the records

	unflushed bool
	flushed   time.Time
}

// progress is how far a store has the log.
type progress struct {
	snapshots int64 // next offset of the snapshots topic
	events    int64 // next offset of the events topic: states hold all events below it
	replies   int64 // next offset of the replies topic: the window is kept up to it; 0: no window is
	since     int64 // answers to commands appended before are not in the window, Unix milliseconds
	at        int64 // Unix seconds
}

// identity is what a store is a copy of. Another identity makes it worthless.
type identity struct {
	Format     int      `json:"format"`
	Cluster    string   `json:"cluster"`
	Topics     []string `json:"topics"` // name and id
	Partition  int32    `json:"partition"`
	Partitions int32    `json:"partitions"`
	Revision   int      `json:"revision"`
	State      string   `json:"state"` // schema
}

const (
	storeFormat   = 2
	memTableBytes = 4 << 20
	// storeCacheBytes is for what all stores of a producer read from their files.
	storeCacheBytes = 32 << 20
	// applyBytes is how much may be staged: small enough that applying it is not noticed.
	applyBytes = 256 << 10
	// storeMaxAge is how old a store may be. The snapshots topic keeps tombstones for a day: an older copy might have missed one.
	storeMaxAge = 20 * time.Hour
)

// Keys that begin so are the store's own; no record of the topic has one.
var (
	identityKey = []byte("\x00identity")
	progressKey = []byte("\x00progress")
	windowKey   = []byte("\x00window/") // and a minute and an offset
	dueKey      = []byte("\x00due/")    // and when a timer is due, and its key
	timersKey   = []byte("\x00timers")  // how many timers wait; without it they are not in order
	queueKey    = []byte("\x00queue")   // who waits for a snapshot, as it was when the store was closed
)

// errForeignStore means that a folder holds the state of something else.
var errForeignStore = errors.New("it is a copy of something else")

// openStore opens the store in a folder, or one in memory when dir is "". What can't be believed is removed and begun anew. An
// error means that the folder can't be used at all.
func openStore(fs vfs.FS, dir string, want identity, cache *pebble.Cache, log *slog.Logger) (*store, error) {
	if dir == "" {
		return newStore(vfs.NewMem(), "", nil, want, cache, log)
	}
	if err := fs.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the folder of local state: %w", err)
	}
	lock, err := pebble.LockDirectory(dir, fs)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", errStoreInUse, dir, err)
	}
	s, err := newStore(fs, dir, lock, want, cache, log)
	if err != nil {
		log.Warn("local state is not believed and built anew", "dir", dir, "reason", err)
		if err = empty(fs, dir); err == nil {
			s, err = newStore(fs, dir, lock, want, cache, log)
		}
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("local state in %s: %w", dir, err), lock.Close())
	}
	return s, nil
}

// errStoreInUse means that another process, or another session of this one, has the folder open.
var errStoreInUse = errors.New("the folder of local state is in use")

// empty removes all of a folder but its lock, which somebody else could take meanwhile.
func empty(fs vfs.FS, dir string) error {
	files, err := fs.List(dir)
	if err != nil {
		return err
	}
	for _, name := range files {
		if name != "LOCK" {
			err = errors.Join(err, fs.RemoveAll(fs.PathJoin(dir, name)))
		}
	}
	return err
}

func newStore(fs vfs.FS, dir string, lock *pebble.Lock, want identity, cache *pebble.Cache, log *slog.Logger) (*store, error) {
	options := &pebble.Options{
		FS: fs, Lock: lock, Cache: cache, DisableWAL: true, MemTableSize: memTableBytes, FormatMajorVersion: pebble.FormatNewest,
		CompactionConcurrencyRange: func() (lower, upper int) { return 1, 1 }, // one of many in this process
		MaxOpenFiles:               100,
		Logger:                     pebbleLog{log, func() { distrust(fs, dir, lock, log) }},
		EventListener: &pebble.EventListener{DataCorruption: func(info pebble.DataCorruptionInfo) {
			log.Warn("local state is damaged", "file", info.Path, "details", info.Details)
			distrust(fs, dir, lock, log)
		}},
	}
	for i := range options.Levels {
		options.Levels[i].FilterPolicy = bloom.FilterPolicy(10) // most commands for what is not here are for what is nowhere
	}
	if _, err := fs.Stat(fs.PathJoin(dir, distrusted)); err == nil {
		return nil, errors.New("it was found to be damaged")
	}
	db, err := pebble.Open(dir, options)
	if err != nil {
		return nil, err
	}
	s := &store{db: db, lock: lock, log: log, staged: db.NewBatch()}
	if err := s.recognise(want); err != nil {
		return nil, errors.Join(err, s.staged.Close(), db.Close())
	}
	return s, nil
}

// distrusted is a file that says that what is beside it is damaged. Who finds it does not open the rest: the damage may be such that
// the process ends of it, each time.
const distrusted = "DAMAGED"

func distrust(fs vfs.FS, dir string, lock *pebble.Lock, log *slog.Logger) {
	if lock == nil {
		return
	}
	f, err := fs.Create(fs.PathJoin(dir, distrusted), vfs.WriteCategoryUnspecified)
	if err == nil {
		err = f.Close()
	}
	if err != nil {
		log.Error("local state is damaged and can't be marked so: remove the folder by hand", "dir", dir, "error", err)
	}
}

// recognise compares the store with what it should be a copy of, or makes it one.
func (s *store) recognise(want identity) error {
	want.Format = storeFormat
	text, err := json.Marshal(want)
	if err != nil {
		return err
	}
	has, ok, err := s.get(identityKey)
	switch {
	case err != nil:
		return err
	case !ok:
		s.fresh, s.has.at = true, time.Now().Unix()
		return s.db.Set(identityKey, text, pebble.NoSync)
	case !bytes.Equal(has, text):
		return fmt.Errorf("%w: it is of %s, wanted %s", errForeignStore, has, text)
	}
	b, ok, err := s.get(progressKey)
	if err != nil {
		return err
	}
	if ok {
		if s.has, ok = readProgress(b); !ok {
			return fmt.Errorf("its progress has %d bytes", len(b))
		}
	}
	if age := time.Since(time.Unix(s.has.at, 0)); ok && age > storeMaxAge {
		return fmt.Errorf("it is %v old, at most %v are safe", age.Round(time.Minute), storeMaxAge)
	}
	return s.findMark()
}

func (p progress) append(b []byte) []byte {
	for _, n := range []int64{p.snapshots, p.events, p.replies, p.since, p.at} {
		b = binary.BigEndian.AppendUint64(b, uint64(n))
	}
	return b
}

func readProgress(b []byte) (p progress, ok bool) {
	if len(b) != 40 {
		return p, false
	}
	for i, n := range []*int64{&p.snapshots, &p.events, &p.replies, &p.since, &p.at} {
		*n = int64(binary.BigEndian.Uint64(b[8*i:]))
	}
	return p, true
}

func (s *store) findMark() error {
	return s.each(sourceMarkPrefix, func(string, []byte) error {
		s.hasMark = true
		return errStop
	})
}

// get gives a record's value, as a copy.
func (s *store) get(key []byte) (value []byte, ok bool, err error) {
	v, closer, err := s.db.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, fmt.Errorf("read local state: %w", err)
	}
	value = append([]byte(nil), v...)
	return value, true, closer.Close()
}

var errStop = errors.New("stop")

// each gives all records whose keys begin with a prefix, until fn returns errStop. The value is good until fn returns.
func (s *store) each(prefix string, fn func(key string, value []byte) error) error {
	return s.eachFrom([]byte(prefix), prefix, fn)
}

// eachFrom is each, from one key on: those that were deleted before it are not passed by.
func (s *store) eachFrom(first []byte, prefix string, fn func(key string, value []byte) error) error {
	end := []byte(prefix)
	end[len(end)-1]++
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: first, UpperBound: end})
	if err != nil {
		return fmt.Errorf("read local state: %w", err)
	}
	for it.First(); it.Valid(); it.Next() {
		if err = fn(string(it.Key()), it.Value()); err != nil {
			break
		}
	}
	if errors.Is(err, errStop) {
		err = nil
	}
	return errors.Join(err, it.Error(), it.Close())
}

// stage puts a record in, or takes it out when the value is nil, as of the next apply.
func (s *store) stage(key, value []byte) error {
	if isTimer(key) { // who orders them says so after this
		if err := s.staged.Delete(timersKey, nil); err != nil {
			return err
		}
	}
	if value == nil {
		return s.staged.Delete(key, nil)
	}
	if !s.hasMark && len(key) > len(sourceMarkPrefix) && string(key[:len(sourceMarkPrefix)]) == sourceMarkPrefix {
		s.hasMark = true
	}
	return s.staged.Set(key, value, nil)
}

// full reports whether so much is staged that it should be applied.
func (s *store) full() bool { return s.staged.Len() > applyBytes }

// apply makes what is staged, and how far that goes, part of the store, in one step.
func (s *store) apply(to progress) error {
	to.at = time.Now().Unix()
	if err := s.staged.Set(progressKey, to.append(nil), nil); err != nil {
		return err
	}
	if err := s.db.Apply(s.staged, pebble.NoSync); err != nil {
		return fmt.Errorf("write local state: %w", err)
	}
	s.has, s.unflushed = to, true
	err := s.staged.Close()
	s.staged = s.db.NewBatch()
	return err
}

// flush begins to put what was applied on disk, if there is anything and the last time is long enough ago.
func (s *store) flush(every time.Duration) error {
	if s.lock == nil || !s.unflushed || time.Since(s.flushed) < every {
		return nil
	}
	s.unflushed, s.flushed = false, time.Now()
	_, err := s.db.AsyncFlush()
	return err
}

// close keeps what was applied, and drops what was only staged.
func (s *store) close() error {
	err := s.staged.Close()
	if s.lock == nil {
		return errors.Join(err, s.db.Close())
	}
	return errors.Join(err, s.db.Flush(), s.db.Close(), s.lock.Close())
}

// bytes is the size of the store, on disk and in memory.
func (s *store) bytes() uint64 {
	m := s.db.Metrics()
	return m.DiskSpaceUsage() + m.MemTable.Size
}

// pebbleLog passes on what goes wrong.
type pebbleLog struct {
	log  *slog.Logger
	last func() // before the process ends
}

// Infof implements pebble.Logger; it says nothing.
func (pebbleLog) Infof(string, ...any) {}

// Errorf implements pebble.Logger.
func (l pebbleLog) Errorf(format string, args ...any) {
	l.log.Warn("local state", "said", fmt.Sprintf(format, args...))
}

// Fatalf implements pebble.Logger: it must not return.
func (l pebbleLog) Fatalf(format string, args ...any) {
	l.last()
	panic("local state: " + fmt.Sprintf(format, args...))
}

// storeDir is the folder of one partition's state; "" when there is none.
func storeDir(stateDir, group string, partition int32) string {
	if stateDir == "" {
		return ""
	}
	return filepath.Join(stateDir, group, strconv.Itoa(int(partition)))
}
