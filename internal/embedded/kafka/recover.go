package kafka

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// recovery is what was mended.
type recovery struct {
	Aborted int // transactions that were open
	Undone  int // … of them those whose end was half written
}

// mend makes the data of an earlier run whole before kfake reads them. Everything that was open is aborted, on disk, with
// a marker in each of its partitions: nobody is left who could commit it.
//
// kfake itself takes an open transaction for aborted when it starts, but writes no marker: readers that follow a log to its
// end never see it, and the next transaction of the same producer brings the dead records back. And it ends a transaction
// by writing one marker after the other: killed in between, it leaves a transaction that is committed here and open there.
// Its end was told to nobody then, and nobody has seen it, since kfake does one thing at a time and its note of the end
// (pids.log) comes last. So such a transaction never ended: its markers are turned into aborts.
func mend(dir string, now time.Time) (recovery, error) {
	folders, err := filepath.Glob(filepath.Join(dir, "partitions", "*"))
	if err != nil {
		return recovery{}, err
	}
	slices.Sort(folders)
	var partitions []partition
	for _, folder := range folders {
		p, err := readPartition(folder)
		if err != nil {
			return recovery{}, err
		}
		partitions = append(partitions, p)
	}
	ended, err := endedTransactions(dir)
	if err != nil {
		return recovery{}, err
	}
	r, fenced, err := endTransactions(partitions, ended, now)
	if err != nil {
		return r, err
	}
	return r, errors.Join(fence(dir, fenced), forgetSessions(dir))
}

// endTransactions aborts what is open in the partitions and undoes ends that are half written.
func endTransactions(partitions []partition, ended map[producer]bool, now time.Time) (r recovery, fenced []producer, err error) {
	open := map[producer][]int{}    // partitions in which it has no end
	commits := map[producer][]int{} // partitions whose very last batch is its commit: where a half written end can be
	for i, p := range partitions {
		for of := range p.open() {
			open[of] = append(open[of], i)
		}
		if last, ok := p.last(); ok && last.kind == commit {
			commits[last.producer] = append(commits[last.producer], i)
		}
	}
	// Turned first: after an abort is appended the last batch is another one.
	for of := range open {
		if ended[of] || len(commits[of]) == 0 {
			continue
		}
		r.Undone++
		for _, i := range commits[of] {
			if err := partitions[i].turnLast(now); err != nil {
				return r, nil, err
			}
		}
	}
	for of, where := range open {
		r.Aborted++
		fenced = append(fenced, of)
		for _, i := range where {
			if err := partitions[i].appendMarker(of, abort, now); err != nil {
				return r, nil, err
			}
		}
	}
	return r, fenced, nil
}

// note is an entry of kfake's pids.log.
type note struct {
	Type   string `json:"type"` // init, endtx, timeout
	PID    int64  `json:"pid"`
	Epoch  int16  `json:"epoch"`
	Commit *bool  `json:"commit,omitempty"`
}

// Entries are framed: length of what follows the checksum, checksum of that, version, JSON.
const (
	frameHead    = 8
	frameVersion = 1
)

func notesFile(dir string) string { return filepath.Join(dir, "pids.log") }

// endedTransactions are those whose end was noted. An init with an outcome stands for one in a log that was compacted.
func endedTransactions(dir string) (map[producer]bool, error) {
	raw, err := os.ReadFile(notesFile(dir))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	ended := map[producer]bool{}
	valid := 0
	for rest := raw; len(rest) >= frameHead; rest = raw[valid:] {
		size := int(binary.LittleEndian.Uint32(rest))
		if size < 2 || size > len(rest)-frameHead {
			break
		}
		body := rest[frameHead : frameHead+size]
		if crc32.Checksum(body, castagnoli) != binary.LittleEndian.Uint32(rest[4:]) {
			break
		}
		valid += frameHead + size
		var n note
		if err := json.Unmarshal(body[2:], &n); err != nil {
			return nil, fmt.Errorf("%s: %w", notesFile(dir), err)
		}
		if n.Type == "endtx" || n.Commit != nil {
			ended[producer{n.PID, n.Epoch}] = true
		}
	}
	if valid < len(raw) {
		return ended, os.Truncate(notesFile(dir), int64(valid)) // what a kill left half written would hide what follows
	}
	return ended, nil
}

// fence gives producers whose transaction was aborted a new epoch: one that still lives must not commit the rest of it.
func fence(dir string, producers []producer) error {
	if len(producers) == 0 {
		return nil
	}
	var out []byte
	for _, p := range producers {
		body, err := json.Marshal(note{Type: "timeout", PID: p.id, Epoch: p.epoch + 1})
		if err != nil {
			return err
		}
		body = append([]byte{frameVersion, 0}, body...)
		out = binary.LittleEndian.AppendUint32(out, uint32(len(body)))
		out = binary.LittleEndian.AppendUint32(out, crc32.Checksum(body, castagnoli))
		out = append(out, body...)
	}
	f, err := os.OpenFile(notesFile(dir), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(out)
	return errors.Join(err, f.Close())
}

// forgetSessions drops what kfake kept of clients when it was closed: group members that are gone would hold their
// partitions until their session timeout, and transactions that were aborted here would be opened again. Offsets are kept
// elsewhere.
func forgetSessions(dir string) error {
	file := filepath.Join(dir, "session_state.json")
	raw, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var state map[string]json.RawMessage
	if json.Unmarshal(raw, &state) != nil {
		return os.Remove(file) // half written: kfake ignores it, too
	}
	for _, part := range []string{"classicGroups", "consumerGroups", "shareGroups", "inProgressTxns", "fetchSessions"} {
		delete(state, part)
	}
	if raw, err = json.Marshal(state); err != nil {
		return err
	}
	return writeFile(file, string(raw))
}
