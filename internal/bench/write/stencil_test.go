package write

import (
	"bytes"
	"slices"

	"github.com/twmb/franz-go/pkg/kgo"
)

// stencil is a record of one transfer, in which the ids of other accounts can stand: they are all as long. Records that differ in less
// would be compressed better than those of the platform.
type stencil struct {
	rec  *kgo.Record
	cuts []cut
	size int // of the fields that are cut
	wide int // an id
}

// cut is where an id stands.
type cut struct {
	field int // of key, value and the values of headers
	at    int
	who   int // 0: the transfer's source, 1: its target
}

func newStencil(rec *kgo.Record, ids [2]string) *stencil {
	s := &stencil{rec: rec, wide: len(ids[0])}
	for i := range 2 + len(rec.Headers) {
		text, before := *field(rec, i), len(s.cuts)
		for at := range text {
			for who, id := range ids {
				if bytes.HasPrefix(text[at:], []byte(id)) {
					s.cuts = append(s.cuts, cut{i, at, who})
				}
			}
		}
		if len(s.cuts) > before {
			s.size += len(text)
		}
	}
	return s
}

func field(rec *kgo.Record, i int) *[]byte {
	switch i {
	case 0:
		return &rec.Key
	case 1:
		return &rec.Value
	}
	return &rec.Headers[i-2].Value
}

// press gives the record of other accounts. Its headers are its own.
func (s *stencil) press(ids [2][]byte) *kgo.Record {
	rec := &kgo.Record{Key: s.rec.Key, Value: s.rec.Value, Headers: slices.Clone(s.rec.Headers)}
	room, last := make([]byte, 0, s.size), -1
	for _, c := range s.cuts {
		text := field(rec, c.field)
		if c.field != last {
			begin := len(room)
			room = append(room, *text...)
			*text, last = room[begin:len(room):len(room)], c.field
		}
		copy((*text)[c.at:], ids[c.who])
	}
	return rec
}

// read gives the accounts of a record that was pressed.
func (s *stencil) read(rec *kgo.Record) (ids [2][]byte) {
	for _, c := range s.cuts {
		if ids[c.who] == nil {
			ids[c.who] = (*field(rec, c.field))[c.at : c.at+s.wide]
		}
	}
	return ids
}
