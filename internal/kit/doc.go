// Package kit gives tests real servers: Apache Kafka (one KRaft node), Apicurio Registry, PostgreSQL and the ClickHouse
// engine, on free loopback ports, and stand-ins in process for the tests that need to be fast. SecuredKafka is a second Kafka
// that speaks TLS alone and permits nothing unasked.
//
// A package's TestMain is kit.Main. A server starts when a test first asks for it and serves all tests of that binary, so
// a test keeps to names of its own: topics and groups below Prefix, a database of its own in Postgres and ClickHouse.
// Everything lies in one temporary folder; servers and folder go with the test binary, also when that is killed.
//
// A test that fails shows the last lines of the logs of the servers it used. LEDGERLINE_KIT_LOGS=DIR keeps whole logs.
package kit
