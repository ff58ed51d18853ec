// Package postgres runs a PostgreSQL server of our own on loopback, as a child that never outlives us. Its data lies in a
// folder and is gone on with at the next start. It trusts whoever reaches it: it listens on a loopback address alone.
//
// A kill -9 of anything leaves a folder that the next start recovers: initdb works beside and is renamed, and a lock that
// the server and its backends hold keeps a second one out until the last of them has ended.
package postgres
