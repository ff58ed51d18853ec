// Package rights says what each role may do in a Kafka cluster with authorisation, and no more than it needs; it asks a cluster
// what a login may do, and what it was given.
//
//	rights.go   the roles and their rights
//	own.go      which of them the login that asks has not
//	grants.go   those that are given in a cluster: read, add, remove
package rights
