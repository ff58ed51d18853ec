// Package chdb binds the C interface of libchdb, the ClickHouse engine as a library, without cgo.
//
// Not obvious:
//   - One process holds one engine, and so one data folder. The first connection boots it, the last one closed ends it.
//   - A connection runs one statement at a time; calls on the same Conn must not overlap. Several connections run side
//     by side, each with settings of its own.
//   - The engine must not install its signal handlers: the Go runtime has its own, and the two would fight over SIGSEGV.
//     Open turns them off before anything else.
//   - A crash of the engine is a crash of the process. Nothing here can catch it, so it belongs in a process of its own.
package chdb
