// Package bank is the reference domain: accounts that are opened, paid into, drawn from, frozen and closed. It uses the same
// public packages that any other domain uses.
//
//	account.go              the rules of an account
//	account_summary.go      projection: one row an account, in Postgres
//	transaction_history.go  projection: one row an event that moved money, in Postgres
//	analytics.go            projection: every event, in ClickHouse
//	import.go               transactions from a CSV file;  sample.go: one of our own making
//	domain.go               all of it as a ledgerline.Domain
package bank
