//go:build unix

package chdb

import (
	"errors"
	"runtime"
	"unsafe"
)

// Conn is one connection to the engine: a session with its own settings, current database and temporary tables.
type Conn struct {
	lib    *Library
	handle unsafe.Pointer // chdb_connection*, itself a pointer to the connection
}

// Param is the value of one {name:Type} placeholder, in ClickHouse's text form.
type Param struct{ Name, Value string }

// Class says what a statement does to what outlives it. Classes ascend by how far-reaching the statement is.
type Class uint32

const (
	ReadOnly       Class = iota // SELECT, SHOW, DESCRIBE, EXPLAIN, EXISTS, CHECK
	Mutating                    // changes a database
	MutatingGlobal              // changes what stands beside the databases: functions, named collections
	Control                     // the session, or the server: SET, USE, SYSTEM, KILL, BACKUP
	Unknown                     // could not be parsed
)

// Classify parses sql as the engine would and says what it does, without running it.
func (c *Conn) Classify(sql string) (Class, error) {
	out := struct{ size, statements, flags, class uint32 }{size: 16}
	if len(sql) == 0 {
		return Unknown, nil
	}
	if c.lib.classify(*(*unsafe.Pointer)(c.handle), unsafe.Pointer(unsafe.StringData(sql)), uintptr(len(sql)), nil, 0, unsafe.Pointer(&out)) != 0 {
		return Unknown, errors.New("the engine could not classify the statement: the connection is closed")
	}
	runtime.KeepAlive(sql)
	return Class(out.class), nil
}

// Close ends the connection. Results and streams of it must have been closed before.
func (c *Conn) Close() {
	if c.handle != nil {
		c.lib.closeConn(c.handle)
		c.handle = nil
	}
}

type starter func(conn, sql unsafe.Pointer, sqlLen uintptr, format unsafe.Pointer, formatLen uintptr, names, nameLens, values, valueLens unsafe.Pointer, n uintptr) unsafe.Pointer

// start hands a statement with its parameters to one of the engine's three entry points, which share their signature.
func (c *Conn) start(f starter, sql, format string, params []Param) unsafe.Pointer {
	if sql == "" {
		sql = " " // a null pointer would be refused without a word; a blank gives the parser's own error
	}
	var pin runtime.Pinner
	defer pin.Unpin()
	bytes := func(s string) *byte {
		if s == "" {
			s = "\x00" // a valid address for a length of zero
		}
		p := unsafe.StringData(s)
		pin.Pin(p)
		return p
	}
	n := len(params)
	names, values := make([]*byte, n+1), make([]*byte, n+1)
	nameLens, valueLens := make([]uintptr, n+1), make([]uintptr, n+1)
	for i, p := range params {
		names[i], nameLens[i] = bytes(p.Name), uintptr(len(p.Name))
		values[i], valueLens[i] = bytes(p.Value), uintptr(len(p.Value))
	}
	pin.Pin(&names[0])
	pin.Pin(&values[0])
	pin.Pin(&nameLens[0])
	pin.Pin(&valueLens[0])
	return f(*(*unsafe.Pointer)(c.handle),
		unsafe.Pointer(bytes(sql)), uintptr(len(sql)), unsafe.Pointer(bytes(format)), uintptr(len(format)),
		unsafe.Pointer(&names[0]), unsafe.Pointer(&nameLens[0]), unsafe.Pointer(&values[0]), unsafe.Pointer(&valueLens[0]), uintptr(n))
}
