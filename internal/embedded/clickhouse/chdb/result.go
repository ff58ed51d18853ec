//go:build unix

package chdb

import (
	"errors"
	"unsafe"
)

// Stats counts what a statement did.
type Stats struct {
	ResultRows, ResultBytes   uint64
	ReadRows, ReadBytes       uint64 // from storage
	WrittenRows, WrittenBytes uint64 // rows of dependent views included
}

// Add sums the counts of a stream's chunks.
func (s *Stats) Add(o Stats) {
	s.ResultRows += o.ResultRows
	s.ResultBytes += o.ResultBytes
	s.ReadRows += o.ReadRows
	s.ReadBytes += o.ReadBytes
	s.WrittenRows += o.WrittenRows
	s.WrittenBytes += o.WrittenBytes
}

// Result is the output of a statement, or one chunk of it. The bytes belong to the engine and live until Close.
type Result struct {
	Stats
	lib    *Library
	handle unsafe.Pointer
	data   []byte
}

// Bytes is the output in the format asked for. It must not be used after Close.
func (r *Result) Bytes() []byte { return r.data }

// Close frees the output.
func (r *Result) Close() {
	if r.handle != nil {
		r.lib.destroyResult(r.handle)
		r.handle, r.data = nil, nil
	}
}

// Query runs one statement to its end and returns all of its output, in the given format unless it names its own.
// An error from the engine is an *Error.
func (c *Conn) Query(sql, format string, params ...Param) (*Result, error) {
	return c.lib.result(c.start(c.lib.query, sql, format, params))
}

func (l *Library) result(handle unsafe.Pointer) (*Result, error) {
	if handle == nil {
		return nil, errors.New("the engine gave no result: the connection is closed")
	}
	if text := l.resultError(handle); text != "" {
		l.destroyResult(handle)
		return nil, parseError(text)
	}
	r := &Result{lib: l, handle: handle, Stats: Stats{
		ResultRows: l.resultRead(handle), ResultBytes: l.resultReadB(handle),
		ReadRows: l.resultStored(handle), ReadBytes: l.resultStoredB(handle),
		WrittenRows: l.resultWritten(handle), WrittenBytes: l.resultWrittenB(handle),
	}}
	if n := l.resultLength(handle); n > 0 {
		r.data = unsafe.Slice((*byte)(l.resultBuffer(handle)), n)
	}
	return r, nil
}

// Stream is a running query whose output comes in chunks, so that a large one needs no large memory.
type Stream struct {
	conn   *Conn
	handle unsafe.Pointer
	ended  bool
}

// Stream starts a query that returns rows. In format Native each chunk is a whole block.
func (c *Conn) Stream(sql, format string, params ...Param) (*Stream, error) {
	handle := c.start(c.lib.streamQuery, sql, format, params)
	if handle == nil {
		return nil, errors.New("the engine gave no result: the connection is closed")
	}
	if text := c.lib.resultError(handle); text != "" {
		c.lib.destroyResult(handle)
		return nil, parseError(text)
	}
	return &Stream{conn: c, handle: handle}, nil
}

// Next returns the next chunk, or nil at the end.
func (s *Stream) Next() (*Result, error) {
	if s.ended {
		return nil, nil
	}
	r, err := s.conn.lib.result(s.conn.lib.streamFetch(*(*unsafe.Pointer)(s.conn.handle), s.handle))
	if err != nil {
		s.ended = true
		return nil, err
	}
	if len(r.data) == 0 {
		s.ended = true
		r.Close()
		return nil, nil
	}
	return r, nil
}

// Close ends the query, also before its end, and frees it.
func (s *Stream) Close() {
	if s.handle == nil {
		return
	}
	if !s.ended {
		s.conn.lib.streamCancel(*(*unsafe.Pointer)(s.conn.handle), s.handle)
	}
	s.conn.lib.destroyResult(s.handle)
	s.handle = nil
}
