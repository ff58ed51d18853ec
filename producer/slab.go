package producer

import (
	"slices"
	"sync"

	"github.com/twmb/franz-go/pkg/kgo"
)

// slab is where the parts of records are carved from. A record has a dozen parts of a few bytes, and a transaction thousands of
// records that live and go together: so it costs a few allocations instead of ten thousands, and those after it none, for what was carved
// goes back to the pools. Not safe for concurrent use; the pools are, and all slabs of a session share them.
type slab struct {
	pools   *slabPools
	bytes   chunks[byte]
	headers chunks[kgo.RecordHeader]
	records chunks[kgo.Record]
}

// slabPools hold chunks that nobody uses; what is not used for a while is freed.
type slabPools struct{ bytes, headers, records sync.Pool }

const (
	slabBytes   = 64 << 10
	slabHeaders = 1024
	slabRecords = 256
)

// reset makes all that was carved free to be carved again: nobody may hold any of it. A client holds records until it has called their
// promises.
func (s *slab) reset() {
	s.bytes.reset(&s.pools.bytes, slabBytes)
	s.headers.reset(&s.pools.headers, slabHeaders)
	s.records.reset(&s.pools.records, slabRecords)
}

// room is an empty slice to append about n bytes to; then keep must have it, before anything else is carved.
func (s *slab) room(n int) []byte {
	b := s.bytes.with(n, &s.pools.bytes, slabBytes)
	return (*b)[len(*b):]
}

// keep makes what was appended to room last; if it outgrew its room it lies elsewhere already.
func (s *slab) keep(b []byte) []byte {
	chunk := s.bytes[len(s.bytes)-1]
	at := len(*chunk)
	if n := len(b); n > 0 && n <= cap(*chunk)-at && &b[0] == &(*chunk)[:at+1][at] {
		*chunk = (*chunk)[:at+n]
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
	return s.headers.carve(n, &s.pools.headers, slabHeaders)[:0]
}

// record is a record to be filled in.
func (s *slab) record() *kgo.Record {
	rec := &s.records.carve(1, &s.pools.records, slabRecords)[0]
	*rec = kgo.Record{}
	return rec
}

// chunks are what one kind of thing is carved from: each up to its length, of which the last is the one in use.
type chunks[T any] []*[]T

// with is a chunk in which there is room for n more.
func (c *chunks[T]) with(n int, pool *sync.Pool, size int) *[]T {
	if all := *c; len(all) > 0 {
		if last := all[len(all)-1]; cap(*last)-len(*last) >= n {
			return last
		}
	}
	var chunk *[]T
	if n <= size {
		chunk, _ = pool.Get().(*[]T)
	}
	if chunk == nil {
		fresh := make([]T, 0, max(n, size))
		chunk = &fresh
	}
	*c = append(*c, chunk)
	return chunk
}

// carve takes n, which hold whatever they held before.
func (c *chunks[T]) carve(n int, pool *sync.Pool, size int) []T {
	chunk := c.with(n, pool, size)
	at := len(*chunk)
	*chunk = (*chunk)[:at+n]
	return (*chunk)[at : at+n : at+n]
}

func (c *chunks[T]) reset(pool *sync.Pool, size int) {
	for _, chunk := range *c {
		if cap(*chunk) == size {
			*chunk = (*chunk)[:0]
			pool.Put(chunk)
		}
	}
	clear(*c)
	*c = (*c)[:0]
}
