package kafka

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"hash/crc32"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

var (
	now   = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	alice = producer{id: 7, epoch: 3}
	bob   = producer{id: 8, epoch: 0}
)

// records is a batch of n records, of a transaction or not.
func records(of producer, inTransaction bool, offset int64, n int) []byte {
	b := kmsg.RecordBatch{FirstOffset: offset, PartitionLeaderEpoch: 4, Magic: 2, LastOffsetDelta: int32(n - 1), ProducerID: of.id, ProducerEpoch: of.epoch, NumRecords: int32(n), Records: bytes.Repeat([]byte("r"), 50)}
	if inTransaction {
		b.Attributes = transactional
	}
	raw := b.AppendTo(nil)
	binary.BigEndian.PutUint32(raw[atLength:], uint32(len(raw)-lengthEnd))
	binary.BigEndian.PutUint32(raw[atCRC:], crc32.Checksum(raw[crcEnd:], castagnoli))
	return raw
}

func end(of producer, k kind, offset int64) []byte { return marker(of, k, offset, 4, now) }

// write makes a partition's folder of the batches, each with its entry in the index.
func write(t *testing.T, dir, name string, batches ...[]byte) {
	t.Helper()
	folder := filepath.Join(dir, "partitions", name)
	if err := os.MkdirAll(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, "0.dat"), slices.Concat(batches...), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := readPartition(folder); err != nil { // makes the index
		t.Fatal(err)
	}
}

func notes(t *testing.T, dir string, list ...note) {
	t.Helper()
	var out []byte
	for _, n := range list {
		body, err := json.Marshal(n)
		if err != nil {
			t.Fatal(err)
		}
		body = append([]byte{frameVersion, 0}, body...)
		out = binary.LittleEndian.AppendUint32(out, uint32(len(body)))
		out = binary.LittleEndian.AppendUint32(out, crc32.Checksum(body, castagnoli))
		out = append(out, body...)
	}
	if err := os.WriteFile(notesFile(dir), out, 0o600); err != nil {
		t.Fatal(err)
	}
}

// shape is a partition in words: "data+commit".
func shape(t *testing.T, dir, name string) string {
	t.Helper()
	p, err := readPartition(filepath.Join(dir, "partitions", name))
	if err != nil {
		t.Fatal(err)
	}
	var words []string
	next := int64(0)
	for _, b := range p.batches {
		if b.first != next {
			t.Errorf("%s: offset %d follows %d", name, b.first, next-1)
		}
		next = b.last + 1
		words = append(words, []string{"plain", "data", "commit", "abort"}[b.kind])
	}
	return strings.Join(words, "+")
}

func yes() *bool { b := true; return &b }

func TestMend(t *testing.T) {
	started := note{Type: "init", PID: alice.id, Epoch: alice.epoch}
	ended := note{Type: "endtx", PID: alice.id, Epoch: alice.epoch, Commit: yes()}
	for _, c := range []struct {
		name   string
		before map[string][][]byte
		notes  []note
		want   map[string]string
		mended recovery
	}{
		{
			"all is ended",
			map[string][][]byte{"a-0": {records(alice, true, 0, 5), end(alice, commit, 5)}, "a-1": {records(bob, false, 0, 1)}},
			[]note{started, ended},
			map[string]string{"a-0": "data+commit", "a-1": "plain"}, recovery{},
		},
		{
			"open transactions",
			map[string][][]byte{"a-0": {records(alice, true, 0, 5), records(bob, true, 5, 1)}, "a-1": {records(alice, true, 0, 2)}},
			[]note{started},
			map[string]string{"a-0": "data+data+abort+abort", "a-1": "data+abort"}, recovery{Aborted: 2},
		},
		{
			"a half written commit, beside another open transaction",
			map[string][][]byte{
				"a-0": {records(alice, true, 0, 5), records(bob, true, 5, 1), end(alice, commit, 6)},
				"a-1": {records(alice, true, 0, 2), end(alice, commit, 2)},
				"a-2": {records(alice, true, 0, 1), records(bob, true, 1, 1)},
			},
			[]note{started},
			map[string]string{"a-0": "data+data+abort+abort", "a-1": "data+abort", "a-2": "data+data+abort+abort"}, recovery{Aborted: 2, Undone: 1},
		},
		{
			"a client whose epoch does not grow: its commit is of an earlier transaction",
			map[string][][]byte{"a-0": {records(alice, true, 0, 5), end(alice, commit, 5)}, "a-1": {records(alice, true, 0, 2)}},
			[]note{started, ended},
			map[string]string{"a-0": "data+commit", "a-1": "data+abort"}, recovery{Aborted: 1},
		},
		{
			"… as seen in a log that was compacted",
			map[string][][]byte{"a-0": {records(alice, true, 0, 5), end(alice, commit, 5)}, "a-1": {records(alice, true, 0, 2)}},
			[]note{{Type: "init", PID: alice.id, Epoch: alice.epoch, Commit: yes()}},
			map[string]string{"a-0": "data+commit", "a-1": "data+abort"}, recovery{Aborted: 1},
		},
		{
			"something came after its commit: so that was not the last thing done",
			map[string][][]byte{"a-0": {records(alice, true, 0, 5), end(alice, commit, 5), records(bob, false, 6, 1)}, "a-1": {records(alice, true, 0, 2)}},
			nil,
			map[string]string{"a-0": "data+commit+plain", "a-1": "data+abort"}, recovery{Aborted: 1},
		},
		{
			"a half written abort",
			map[string][][]byte{"a-0": {records(alice, true, 0, 5), end(alice, abort, 5)}, "a-1": {records(alice, true, 0, 2)}},
			[]note{started},
			map[string]string{"a-0": "data+abort", "a-1": "data+abort"}, recovery{Aborted: 1},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			for name, batches := range c.before {
				write(t, dir, name, batches...)
			}
			notes(t, dir, c.notes...)
			mended, err := mend(dir, now)
			if err != nil || mended != c.mended {
				t.Fatalf("mended %+v, %v; want %+v", mended, err, c.mended)
			}
			got := map[string]string{}
			for name := range c.want {
				got[name] = shape(t, dir, name)
			}
			if !maps.Equal(got, c.want) {
				t.Errorf("got %v\nwant %v", got, c.want)
			}
			if again, err := mend(dir, now); err != nil || again != (recovery{}) {
				t.Errorf("a second time: %+v, %v", again, err)
			}
		})
	}
}

func TestMend_FencesWhoseTransactionItAborts(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "a-0", records(alice, true, 0, 1))
	notes(t, dir, note{Type: "init", PID: alice.id, Epoch: alice.epoch})
	raw, err := os.ReadFile(notesFile(dir))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(notesFile(dir), append(raw, "half an ent"...), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := mend(dir, now); err != nil {
		t.Fatal(err)
	}
	after, err := os.ReadFile(notesFile(dir))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.HasPrefix(after, raw) || !bytes.HasSuffix(after, []byte(`{"type":"timeout","pid":7,"epoch":4}`)) || bytes.Contains(after, []byte("half")) {
		t.Errorf("got %q", after)
	}
}

// What a kill left half written is cut off, and batches without an entry in the index get one.
func TestMend_TornFiles(t *testing.T) {
	dir := t.TempDir()
	whole := []([]byte){records(bob, false, 0, 2), records(alice, true, 2, 3), end(alice, commit, 5)}
	write(t, dir, "a-0", whole...)
	segment, index := filepath.Join(dir, "partitions", "a-0", "0.dat"), filepath.Join(dir, "partitions", "a-0", "0.idx")
	wantIndex, err := os.ReadFile(index)
	if err != nil {
		t.Fatal(err)
	}
	if len(wantIndex) != 3*indexEntry || wantIndex[indexEntry-1] != 0 || wantIndex[2*indexEntry-1] != indexInTx || wantIndex[3*indexEntry-1] != 0 {
		t.Errorf("index %x", wantIndex)
	}
	torn := records(alice, true, 6, 1)
	if err := os.WriteFile(segment, append(slices.Concat(whole...), torn[:len(torn)-1]...), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(index, indexEntry+4); err != nil {
		t.Fatal(err)
	}
	if mended, err := mend(dir, now); err != nil || mended != (recovery{}) {
		t.Fatalf("%+v, %v", mended, err)
	}
	if got, err := os.ReadFile(segment); err != nil || !bytes.Equal(got, slices.Concat(whole...)) {
		t.Errorf("the segment is not what was whole of it, %v", err)
	}
	if got, err := os.ReadFile(index); err != nil || !bytes.Equal(got, wantIndex) {
		t.Errorf("index %x, %v", got, err)
	}
}

func TestMend_ForgetsMembersAndKeepsConfigurations(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "session_state.json")
	if err := os.WriteFile(file, []byte(`{"consumerGroups":{"g":{}},"inProgressTxns":[{"pid":1}],"groupConfigs":{"g":{"a":"b"}}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := mend(dir, now); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(file); err != nil || string(got) != `{"groupConfigs":{"g":{"a":"b"}}}` {
		t.Errorf("%s, %v", got, err)
	}
}

func FuzzParseBatch(f *testing.F) {
	f.Add(records(alice, true, 0, 5))
	f.Add(end(bob, commit, 9))
	f.Add([]byte(nil))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if b, ok := parseBatch(raw); ok && (b.size < headSize || b.size > int64(len(raw))) {
			t.Errorf("a batch of %d bytes in %d", b.size, len(raw))
		}
	})
}
