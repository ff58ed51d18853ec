// Package scaffold writes a new domain: a Go module with schemas, an aggregate, projections, a query, a route and tests, that
// compiles and runs.
//
// What it writes is examples/orders under other names. That example is the source: it is compiled, linted and tested as it
// stands, and `go generate` packs it into orders.txtar, since a module can't embed files of another one.
//
//	scaffold.go  names, checks, and the writing
//	gomod.go     go.mod and go.sum of the new module
//	cmd/pack     examples/orders into orders.txtar
package scaffold
