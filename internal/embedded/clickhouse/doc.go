// Package clickhouse runs the ClickHouse engine in a child process of ours and serves ClickHouse's HTTP interface from it,
// so that a pilot, a demo and the tests need no server: drivers, curl and Grafana speak to it as to the real one.
//
// What is in which file: config.go and server.go are the parent's side; role.go is the child; engine.go hands out
// connections; http.go reads a request, query.go and insert.go run it; statement.go and lexer.go find out what it is;
// native.go and encoding.go translate bytes; status.go words failures.
//
// Not obvious:
//   - A request gets a connection of its own, opened for it (0.2 ms) and closed behind it. Settings, the current database
//     and temporary tables so end with the request, as they do over HTTP, and what a failed statement leaves in its
//     connection (half an answer, once) cannot reach the next one. Only a session_id keeps a connection.
//   - Some places are kept for inserts: they never wait behind sleeping queries.
//   - A client that goes away ends its query (KILL QUERY), but not an insert whose rows have all arrived: that one is
//     finished, since whoever sent it may already have counted on either outcome.
//   - The engine has no users. Any name and password is let in; the names in Config.ReadOnlyUsers read only.
//   - The front refuses what a page in somebody's browser could send to a loopback address: see guard in http.go.
//   - Not there: external tables (multipart), the input() function, progress headers, query_log.
package clickhouse
