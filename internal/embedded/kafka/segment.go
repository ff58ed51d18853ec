package kafka

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// batch is what is needed of a record batch: where it lies and which transaction it belongs to.
type batch struct {
	file     string
	at, size int64
	first    int64 // offset of its first record
	last     int64
	epoch    int32 // the leader's
	producer producer
	kind     kind
}

// producer tells transactions apart: a producer's epoch grows with each (KIP-890).
type producer struct {
	id    int64
	epoch int16
}

type kind uint8

const (
	plain  kind = iota // no transaction's
	data               // of a transaction
	commit             // the marker that ends one
	abort
)

// The format is Kafka's own (magic 2): offsets of the fields in a batch.
const (
	atFirst      = 0
	atLength     = 8 // of what follows this field
	atEpoch      = 12
	atMagic      = 16
	atCRC        = 17 // of what follows this field
	atAttributes = 21
	atLastDelta  = 23
	atProducer   = 43
	atProducerEp = 51
	headSize     = 61

	lengthEnd = atLength + 4
	crcEnd    = atCRC + 4

	transactional = 0x10
	control       = 0x20
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// partition is one partition's folder, read.
type partition struct {
	dir     string
	batches []batch
}

// readPartition reads all segments of a partition. It cuts off what a kill left half written, and gives each batch its
// entry in the index.
func readPartition(dir string) (partition, error) {
	p := partition{dir: dir}
	files, err := filepath.Glob(filepath.Join(dir, "*.dat"))
	if err != nil {
		return p, err
	}
	slices.SortFunc(files, func(a, b string) int { return int(baseOf(a) - baseOf(b)) })
	for _, file := range files {
		batches, err := readSegment(file)
		if err != nil {
			return p, err
		}
		p.batches = append(p.batches, batches...)
	}
	return p, nil
}

func baseOf(file string) int64 {
	n, _ := strconv.ParseInt(strings.TrimSuffix(filepath.Base(file), ".dat"), 10, 64)
	return n
}

func readSegment(file string) ([]batch, error) {
	raw, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var batches []batch
	pos := int64(0)
	for {
		b, ok := parseBatch(raw[pos:])
		if !ok {
			break
		}
		b.file, b.at = file, pos
		batches = append(batches, b)
		pos += b.size
	}
	if pos < int64(len(raw)) {
		if err := os.Truncate(file, pos); err != nil {
			return nil, err
		}
	}
	return batches, completeIndex(file, batches)
}

// parseBatch reads the head of the first batch of raw; false when there is no whole and sound one.
func parseBatch(raw []byte) (batch, bool) {
	if len(raw) < headSize || raw[atMagic] != 2 {
		return batch{}, false
	}
	size := int64(lengthEnd) + int64(binary.BigEndian.Uint32(raw[atLength:]))
	if size < headSize || size > int64(len(raw)) {
		return batch{}, false
	}
	raw = raw[:size]
	if crc32.Checksum(raw[crcEnd:], castagnoli) != binary.BigEndian.Uint32(raw[atCRC:]) {
		return batch{}, false
	}
	b := batch{
		size:  size,
		first: int64(binary.BigEndian.Uint64(raw[atFirst:])),
		epoch: int32(binary.BigEndian.Uint32(raw[atEpoch:])),
		producer: producer{
			id:    int64(binary.BigEndian.Uint64(raw[atProducer:])),
			epoch: int16(binary.BigEndian.Uint16(raw[atProducerEp:])),
		},
	}
	b.last = b.first + int64(int32(binary.BigEndian.Uint32(raw[atLastDelta:])))
	switch attributes := binary.BigEndian.Uint16(raw[atAttributes:]); {
	case attributes&control != 0:
		b.kind = markerKind(raw[headSize:])
	case attributes&transactional != 0:
		b.kind = data
	}
	return b, true
}

// markerKind reads a control batch's one record.
func markerKind(records []byte) kind {
	var r kmsg.Record
	var key kmsg.ControlRecordKey
	if r.ReadFrom(records) == nil && key.ReadFrom(r.Key) == nil && key.Type == kmsg.ControlRecordKeyTypeCommit {
		return commit
	}
	return abort // what cannot be read ends its transaction all the same
}

// marker is the batch that ends a transaction.
func marker(p producer, k kind, offset int64, leaderEpoch int32, now time.Time) []byte {
	key := kmsg.ControlRecordKey{Type: kmsg.ControlRecordKeyTypeAbort}
	if k == commit {
		key.Type = kmsg.ControlRecordKeyTypeCommit
	}
	r := kmsg.Record{Key: key.AppendTo(nil), Value: new(kmsg.EndTxnMarker).AppendTo(nil)}
	r.Length = int32(len(r.AppendTo(nil)) - 1) // itself takes one byte
	b := kmsg.RecordBatch{
		FirstOffset: offset, PartitionLeaderEpoch: leaderEpoch, Magic: 2, Attributes: control | transactional,
		FirstTimestamp: now.UnixMilli(), MaxTimestamp: now.UnixMilli(),
		ProducerID: p.id, ProducerEpoch: p.epoch, FirstSequence: -1, NumRecords: 1, Records: r.AppendTo(nil),
	}
	raw := b.AppendTo(nil)
	binary.BigEndian.PutUint32(raw[atLength:], uint32(len(raw)-lengthEnd))
	binary.BigEndian.PutUint32(raw[atCRC:], crc32.Checksum(raw[crcEnd:], castagnoli))
	return raw
}

// kfake keeps an index beside each segment: an entry a batch, by number. One that is missing would shift all that come
// later, and data of open transactions would pass for plain records.
const (
	indexVersion = 1
	indexEntry   = 15 // version, checksum, leader epoch, greatest earlier timestamp, flags
	indexInTx    = 1
)

func completeIndex(segment string, batches []batch) error {
	file := strings.TrimSuffix(segment, ".dat") + ".idx"
	have := int64(0)
	switch info, err := os.Stat(file); {
	case err == nil:
		have = info.Size() / indexEntry
	case !errors.Is(err, fs.ErrNotExist):
		return err
	case len(batches) == 0:
		return nil
	}
	have = min(have, int64(len(batches)))
	f, err := os.OpenFile(file, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Truncate(have * indexEntry); err != nil {
		return err
	}
	var entries []byte
	for _, b := range batches[have:] {
		entries = append(entries, indexOf(b)...)
	}
	_, err = f.WriteAt(entries, have*indexEntry)
	return err
}

func indexOf(b batch) []byte {
	e := make([]byte, indexEntry)
	e[0] = indexVersion
	binary.LittleEndian.PutUint32(e[2:], uint32(b.epoch)) // the timestamp is computed again at each start
	if b.kind == data {
		e[indexEntry-1] = indexInTx
	}
	e[1] = byte(crc32.Checksum(e[2:], castagnoli))
	return e
}

// last is the partition's last batch; false when there is none.
func (p *partition) last() (batch, bool) {
	if len(p.batches) == 0 {
		return batch{}, false
	}
	return p.batches[len(p.batches)-1], true
}

// open are the transactions that have data here and no end.
func (p *partition) open() map[producer]bool {
	open := map[producer]bool{}
	for _, b := range p.batches {
		switch b.kind {
		case data:
			open[b.producer] = true
		case commit, abort:
			delete(open, b.producer)
		}
	}
	return open
}

// appendMarker ends a transaction in a partition.
func (p *partition) appendMarker(of producer, k kind, now time.Time) error {
	last, ok := p.last()
	if !ok {
		return fmt.Errorf("%s is empty and has no transaction to end", p.dir)
	}
	raw := marker(of, k, last.last+1, last.epoch, now)
	b, ok := parseBatch(raw)
	if !ok {
		return fmt.Errorf("the marker of producer %d is not sound", of.id) // a fault of ours: better found here
	}
	b.file, b.at = last.file, last.at+last.size
	if err := writeAt(b.file, raw, b.at); err != nil {
		return err
	}
	p.batches = append(p.batches, b)
	inFile := slices.DeleteFunc(slices.Clone(p.batches), func(o batch) bool { return o.file != b.file })
	return completeIndex(b.file, inFile)
}

// turnLast makes the partition's last batch, a commit, an abort. Both have the same size, so it stays where it is.
func (p *partition) turnLast(now time.Time) error {
	b := &p.batches[len(p.batches)-1]
	raw := marker(b.producer, abort, b.first, b.epoch, now)
	if int64(len(raw)) != b.size {
		return fmt.Errorf("%s: the marker at offset %d has %d bytes, not %d", b.file, b.first, b.size, len(raw))
	}
	b.kind = abort
	return writeAt(b.file, raw, b.at)
}

func writeAt(file string, raw []byte, at int64) error {
	f, err := os.OpenFile(file, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(raw, at)
	return errors.Join(err, f.Close())
}
