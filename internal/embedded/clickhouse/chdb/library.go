//go:build unix

package chdb

import (
	"errors"
	"fmt"
	"runtime"
	"unsafe"

	"github.com/ebitengine/purego"
)

// Library is libchdb, loaded into this process. It is safe for concurrent use.
type Library struct {
	version        func() string
	setSignals     func(enabled int32)
	connect        func(argc int32, argv unsafe.Pointer) unsafe.Pointer
	closeConn      func(conn unsafe.Pointer)
	classify       func(conn, sql unsafe.Pointer, sqlLen uintptr, db unsafe.Pointer, dbLen uintptr, out unsafe.Pointer) int32
	query          func(conn, sql unsafe.Pointer, sqlLen uintptr, format unsafe.Pointer, formatLen uintptr, names, nameLens, values, valueLens unsafe.Pointer, n uintptr) unsafe.Pointer
	streamQuery    func(conn, sql unsafe.Pointer, sqlLen uintptr, format unsafe.Pointer, formatLen uintptr, names, nameLens, values, valueLens unsafe.Pointer, n uintptr) unsafe.Pointer
	streamFetch    func(conn, stream unsafe.Pointer) unsafe.Pointer
	streamCancel   func(conn, stream unsafe.Pointer)
	resultBuffer   func(result unsafe.Pointer) unsafe.Pointer
	resultLength   func(result unsafe.Pointer) uintptr
	resultError    func(result unsafe.Pointer) string
	resultRead     func(result unsafe.Pointer) uint64
	resultReadB    func(result unsafe.Pointer) uint64
	resultStored   func(result unsafe.Pointer) uint64
	resultStoredB  func(result unsafe.Pointer) uint64
	resultWritten  func(result unsafe.Pointer) uint64
	resultWrittenB func(result unsafe.Pointer) uint64
	destroyResult  func(result unsafe.Pointer)
	insert         func(conn, sql unsafe.Pointer, sqlLen uintptr, format unsafe.Pointer, formatLen uintptr, names, nameLens, values, valueLens unsafe.Pointer, n uintptr) unsafe.Pointer
	insertAppend   func(stream, data unsafe.Pointer, n uintptr) int32
	insertDone     func(stream unsafe.Pointer) unsafe.Pointer
	insertCancel   func(stream unsafe.Pointer)
	insertError    func(stream unsafe.Pointer) string
	destroyInsert  func(stream unsafe.Pointer)
}

// Open loads the library file at path. It boots no engine yet; Connect does.
func Open(path string) (*Library, error) {
	handle, err := purego.Dlopen(path, purego.RTLD_NOW|purego.RTLD_LOCAL)
	if err != nil {
		return nil, fmt.Errorf("load %s: %w", path, err)
	}
	l := &Library{}
	for _, f := range []struct {
		name string
		fn   any
	}{
		{"chdb_version", &l.version},
		{"chdb_set_signal_handlers_enabled", &l.setSignals},
		{"chdb_connect", &l.connect},
		{"chdb_close_conn", &l.closeConn},
		{"chdb_classify_query_n", &l.classify},
		{"chdb_query_with_params_n", &l.query},
		{"chdb_stream_query_with_params_n", &l.streamQuery},
		{"chdb_stream_fetch_result", &l.streamFetch},
		{"chdb_stream_cancel_query", &l.streamCancel},
		{"chdb_result_buffer", &l.resultBuffer},
		{"chdb_result_length", &l.resultLength},
		{"chdb_result_error", &l.resultError},
		{"chdb_result_rows_read", &l.resultRead},
		{"chdb_result_bytes_read", &l.resultReadB},
		{"chdb_result_storage_rows_read", &l.resultStored},
		{"chdb_result_storage_bytes_read", &l.resultStoredB},
		{"chdb_result_rows_written", &l.resultWritten},
		{"chdb_result_bytes_written", &l.resultWrittenB},
		{"chdb_destroy_query_result", &l.destroyResult},
		{"chdb_stream_insert_with_params_n", &l.insert},
		{"chdb_stream_append", &l.insertAppend},
		{"chdb_stream_done", &l.insertDone},
		{"chdb_stream_cancel_insert", &l.insertCancel},
		{"chdb_stream_insert_error", &l.insertError},
		{"chdb_destroy_insert_stream", &l.destroyInsert},
	} {
		symbol, err := purego.Dlsym(handle, f.name)
		if err != nil {
			return nil, fmt.Errorf("%s has no %s: it is not the release of libchdb this binding was written for: %w", path, f.name, err)
		}
		purego.RegisterFunc(f.fn, symbol)
	}
	l.setSignals(0)
	return l, nil
}

// Version is the library's own version, such as "26.7.3".
func (l *Library) Version() string { return l.version() }

// Connect opens a connection. The first one boots the engine and takes the server options (--path=DIR, --backups.…);
// options that name a query setting (--max_threads=2) hold for this connection alone. When the engine cannot boot it
// writes the reason to standard error, the only place where it can be found.
func (l *Library) Connect(options ...string) (*Conn, error) {
	options = append([]string{"chdb"}, options...)
	var pin runtime.Pinner
	defer pin.Unpin()
	argv := make([]*byte, len(options)+1)
	for i, o := range options {
		b := append([]byte(o), 0)
		pin.Pin(&b[0])
		argv[i] = &b[0]
	}
	pin.Pin(&argv[0])
	handle := l.connect(int32(len(options)), unsafe.Pointer(&argv[0]))
	if handle == nil {
		return nil, errors.New("the engine refused the connection; its reason stands on standard error")
	}
	return &Conn{lib: l, handle: handle}, nil
}
