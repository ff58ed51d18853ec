//go:build unix

package chdb

import (
	"errors"
	"runtime"
	"unsafe"
)

// Insert is an open INSERT that takes its rows in pieces. The connection runs nothing else until Done or Cancel.
type Insert struct {
	lib    *Library
	handle unsafe.Pointer
}

// Insert opens an INSERT whose rows follow in the given format; sql ends before any VALUES or FORMAT.
func (c *Conn) Insert(sql, format string, params ...Param) (*Insert, error) {
	handle := c.start(c.lib.insert, sql, format, params)
	if handle == nil {
		return nil, errors.New("the engine gave no insert: the connection is closed")
	}
	if text := c.lib.insertError(handle); text != "" {
		c.lib.destroyInsert(handle)
		return nil, parseError(text)
	}
	return &Insert{lib: c.lib, handle: handle}, nil
}

// Append hands over the next bytes; they may end anywhere. It waits when the engine is behind. Its error only says that
// the insert has failed: Done tells why.
func (i *Insert) Append(p []byte) error {
	if len(p) == 0 {
		return nil
	}
	failed := i.lib.insertAppend(i.handle, unsafe.Pointer(&p[0]), uintptr(len(p))) != 0
	runtime.KeepAlive(p)
	if failed {
		return ErrInsertFailed
	}
	return nil
}

// ErrInsertFailed says that the engine has given an insert up; Done returns the reason.
var ErrInsertFailed = errors.New("the engine has given up the insert")

// Done commits the insert and frees it.
func (i *Insert) Done() (Stats, error) {
	if i.handle == nil {
		return Stats{}, errors.New("the insert has been closed")
	}
	r, err := i.lib.result(i.lib.insertDone(i.handle))
	i.lib.destroyInsert(i.handle)
	i.handle = nil
	if err != nil {
		return Stats{}, err
	}
	defer r.Close()
	return r.Stats, nil
}

// Cancel drops the insert and frees it; after Done it does nothing. Blocks that are already written stay: the engine
// writes one once it has max_insert_block_size rows.
func (i *Insert) Cancel() {
	if i.handle != nil {
		i.lib.insertCancel(i.handle)
		i.lib.destroyInsert(i.handle)
		i.handle = nil
	}
}
