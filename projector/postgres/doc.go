// Package postgres is the sink that keeps projections in PostgreSQL, exactly once: rows and position change in one
// transaction, whose first statement moves the position from where the batch begins to where it ends. When the position
// is not there, another member has written, and the transaction ends without effect.
//
// For a table T of a schema S the sink makes the table S.T__g1 from the projection's CREATE text, the view S.T over it,
// and its bookkeeping in schema ledgerline:
//
//	generations(projection, generation, table_name, fingerprint, state)
//	offsets(projection, generation, topic, topic_id, partition, next_offset)
//
// The table needs a primary key: of a fold it is the first column, of an append whatever tells its rows apart. Verify
// relies on it, and a row that came twice would be refused by it.
package postgres
