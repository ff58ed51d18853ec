// Package bank is the reference domain: accounts that are opened, paid into, drawn from, frozen and closed, and transfers between them. It
// uses the same public packages that any other domain uses.
//
//	account.go              the rules of an account
//	transfer.go             the rules of transfers, which are sagas in their source accounts
//	account_summary.go      projection: one row an account, in Postgres
//	transaction_history.go  projection: one row an event that moved money, in Postgres
//	transfer_status.go      projection: one row a transfer, in Postgres
//	analytics.go            projection: every event, in ClickHouse
//	routes.go               accounts over HTTP;  transfer_routes.go: transfers
//	import.go               transactions from a CSV file;  sample.go: one of our own making
//	domain.go               all of it as a ledgerline.Domain
package bank
