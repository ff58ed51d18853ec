// Package analytics answers questions that are written down as SQL: a folder of .sql files becomes a catalogue that the
// command line, the HTTP API, its documentation and dashboards share.
//
// A file is one question. Its name, without .sql, is the question's; its header says the rest:
//
//	-- title: Daily volume by type
//	-- answers: How much money moved on each day?
//	-- projection: analytics, event time business_time
//	-- param: days UInt16 = 30 [1..366], how many days
//	-- param: currency String = '' matches /([A-Z]{3})?/, one currency; empty: all
//	-- param: step String = 'month' (day|week|month), length of a period
//	-- limit: 1000 rows, 10s
//	-- notes: What one must know to read the answer; goes on in lines
//	--   that are indented.
//	SELECT … {days:UInt16} … {currency:String} …
//
// Values of parameters travel beside the statement and are bound by the server; none is ever put into the text. Each
// question runs with readonly = 1 on its request, a time limit and a limit of rows.
//
// # As of when an answer is
//
// Every answer carries a vector of offsets, one a partition, and the latest event time. The ledger of the projection is
// read before the rows are, and again after them. A range of events is recorded in the ledger before its rows are
// inserted, each range is one atomic insert (into a table without PARTITION BY), and the next is begun only when it is
// stored. Therefore:
//
//   - every event before AsOf.Offsets was in what the question read;
//   - no event at or behind AsOf.Until was;
//   - when the two are equal (AsOf.Exact) the answer is that of exactly these events, however many statements or
//     subqueries made it.
//
// Where they differ, events were being inserted meanwhile. Each table that the statement names is then read as it stood
// at one moment between the two vectors; a statement that names a table twice may have seen two such moments. The event
// time is exact when the vector is, and else lies between.
//
// Over HTTP the first vector is the header Ledgerline-Position too, and ?position=TOKEN waits until it covers the token: so
// whoever has written something can ask for an answer that holds it.
//
// The ledger is one server's: with several replicas, ask the one that the projector writes to.
//
// What is in which file: catalogue.go opens a folder, parse.go reads a file and param.go its parameters; run.go asks,
// answer.go writes answers down; desk.go answers many at once; http.go is the API; errors.go words failures. bank/ holds
// the questions of the bank.
package analytics
