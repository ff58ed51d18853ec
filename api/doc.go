// Package api is the HTTP side of a domain: writes become commands, reads come from its projections in Postgres. It knows
// no domain; a domain's Routes register operations with [API.Huma] and use what stands here:
//
//	api.go        API: New, Run, Ready
//	config.go     Config
//	serve.go      the server, and what each request passes: metrics, recovery, guards
//	guard.go      who may ask: Host, Origin, media type, size, tokens
//	strict.go     JSON that can be read in one way only
//	tokens.go     the file of tokens
//	problem.go    problem+json and its codes
//	place.go      how far in the log an answer reaches (the token is schemas.Position)
//	write.go      Submit: a command, its reply, or 202 and where to look
//	writer.go     the client of one kind, kept alive; who waits, and whether anybody answers
//	replies.go    the replies of late
//	lookup.go     what became of a command that another instance took, by the log
//	read.go       Projection: rows with the position that they are of, waiting for a position
//	stands.go     where each projection stands: one look for all who wait
//	follow.go     the events as this instance sees them come
//	ends.go       where partitions end, by the brokers' word: one question for all who ask at a time
//	cache.go      Cache: rows by aggregate, never older than what was seen
//	page.go       cursors, times, bodies of fixed width
//	stats.go      GET /stats
//	openapi.go    /openapi.json and the page at /docs
//	metrics.go    api_*
//
// # What is not obvious
//
//   - The events topic is read without a group, read_committed, from its end at the start. Each event raises the floor of
//     its aggregate: a cached row below it is dropped, a row being loaded below it is not kept. Floors are forgotten when
//     the projection has stored the event, and where there are too many of them, or at the start, a partition has a
//     barrier: rows are kept once the projection has passed it.
//   - The answer to a write says exactly where its last event stands, because the same reader has seen it go by.
//   - A row and the position that it is of are read in one snapshot of the database.
//   - Those who wait for a projection share one query, which runs only while somebody waits, and slowly otherwise.
package api
