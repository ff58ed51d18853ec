package producer

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kgo"
)

// slab is where the parts of records are carved from. A record has a dozen parts of a few bytes, and a transaction thousands of
// records that live and go together: so it costs a few allocations instead of ten thousands. Not safe for concurrent use.
type slab struct {
	bytes   []byte // carved from up to its length
	headers []kgo.RecordHeader
	records []kgo.Record
}

const (
	slabBytes   = 64 << 10
	slabHeaders = 1024
	slabRecords = 256
)

// room is an empty slice to append about n bytes to; then keep must have it, before anything else is carved.
func (s *slab) room(n int) []byte {
	if cap(s.bytes)-len(s.bytes) < n {
		s.bytes = make([]byte, 0, max(n, slabBytes))
	}
	return s.bytes[len(s.bytes):]
}

// keep makes what was appended to room last; if it outgrew its room it lies elsewhere already.
func (s *slab) keep(b []byte) []byte {
	at := len(s.bytes)
	if n := len(b); n > 0 && n <= cap(s.bytes)-at && &b[0] == &s.bytes[:at+1][at] {
		s.bytes = s.bytes[:at+n]
	}
	return slices.Clip(b)
}

// text is parts put together.
func (s *slab) text(parts ...string) []byte {
	n := 0
	for _, part := range parts {
		n += len(part)
	}
	b := s.room(n)
	for _, part := range parts {
		b = append(b, part...)
	}
	return s.keep(b)
}

// header is one header of a record.
func (s *slab) header(key string, parts ...string) kgo.RecordHeader {
	return kgo.RecordHeader{Key: key, Value: s.text(parts...)}
}

// headerRoom is an empty slice for up to n headers.
func (s *slab) headerRoom(n int) []kgo.RecordHeader {
	at := len(s.headers)
	if cap(s.headers)-at < n {
		s.headers, at = make([]kgo.RecordHeader, 0, max(n, slabHeaders)), 0
	}
	s.headers = s.headers[:at+n]
	return s.headers[at : at : at+n]
}

// record is a record to be filled in.
func (s *slab) record() *kgo.Record {
	if len(s.records) == cap(s.records) {
		s.records = make([]kgo.Record, 0, slabRecords)
	}
	s.records = s.records[:len(s.records)+1]
	return &s.records[len(s.records)-1]
}
