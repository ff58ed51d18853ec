package bank

import "embed"

// FS holds the questions, for [analytics.Open].
//
//go:embed *.sql
var FS embed.FS
