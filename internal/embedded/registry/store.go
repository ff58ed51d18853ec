package registry

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// store keeps the entries in one file of a folder. The file is written anew beside the old one and then takes its name,
// so that a crash leaves the one or the other, whole.
type store struct {
	dir  string
	lock *os.File
}

const (
	fileName    = "registry.json"
	lockName    = "registry.lock"
	fileVersion = 1
)

// content is the file. The checksum is over the entries' bytes as they stand in it.
type content struct {
	Version int             `json:"version"`
	SHA256  string          `json:"sha256"`
	Entries json.RawMessage `json:"entries"`
}

func openStore(dir string) (*store, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("registry: make its folder: %w", err)
	}
	path := filepath.Join(dir, lockName)
	lock, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("registry: open its lock: %w", err)
	}
	// The kernel gives the lock free when its holder ends, however it ends.
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("registry: %s is in use by another process: end it, or give another folder: %w", dir, err), lock.Close())
	}
	// What a killed process was writing never took the file's name.
	leftovers, err := filepath.Glob(filepath.Join(dir, fileName+".*.tmp"))
	for _, l := range leftovers {
		err = errors.Join(err, os.Remove(l))
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("registry: tidy %s: %w", dir, err), lock.Close())
	}
	return &store{dir: dir, lock: lock}, nil
}

// path is the file's, for errors.
func (s *store) path() string {
	if s == nil {
		return "memory"
	}
	return filepath.Join(s.dir, fileName)
}

func (s *store) close() error { return s.lock.Close() }

func (s *store) load() ([]entry, error) {
	raw, err := os.ReadFile(s.path())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("registry: %w", err)
	}
	damaged := func(what string, args ...any) error {
		return fmt.Errorf("registry: %s is damaged: %s: restore it from a backup; without it the values written so far cannot be read, since their schema ids would be given anew",
			s.path(), fmt.Sprintf(what, args...))
	}
	var c content
	dec := json.NewDecoder(bytes.NewReader(raw))
	if err := dec.Decode(&c); err != nil {
		return nil, damaged("%v", err)
	}
	if rest := bytes.TrimSpace(raw[dec.InputOffset():]); len(rest) > 0 {
		return nil, damaged("%d bytes after its end", len(rest))
	}
	if c.Version != fileVersion {
		return nil, fmt.Errorf("registry: %s is of version %d, this program reads version %d: use the program that wrote it", s.path(), c.Version, fileVersion)
	}
	if sum := checksum(c.Entries); sum != c.SHA256 {
		return nil, damaged("its checksum is %s, it says %s", sum, c.SHA256)
	}
	var entries []entry
	if err := json.Unmarshal(c.Entries, &entries); err != nil {
		return nil, damaged("%v", err)
	}
	return entries, nil
}

func (s *store) save(entries []entry) error {
	list, err := json.Marshal(entries)
	if err != nil {
		return fmt.Errorf("registry: write %s: %w", s.path(), err)
	}
	raw, err := json.Marshal(content{Version: fileVersion, SHA256: checksum(list), Entries: list})
	if err != nil {
		return fmt.Errorf("registry: write %s: %w", s.path(), err)
	}
	if err := replace(s.path(), append(raw, '\n')); err != nil {
		return fmt.Errorf("registry: write %s: %w", s.path(), err)
	}
	return nil
}

func checksum(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// replace puts content in the place of a file, durably: when it returns, a power cut leaves the new file.
func replace(path string, content []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*.tmp")
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
