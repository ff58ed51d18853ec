// Package schemas is the contract on the wire: records and their codec, the schema registry, compatibility between
// versions, and the names of topics and headers. Everything else in Ledgerline speaks through it.
package schemas
