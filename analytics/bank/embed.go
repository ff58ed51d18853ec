// Package bank holds the questions that the reference domain can be asked: one .sql file each, with its own explanation.
package bank

import "embed"

// FS holds the files of this folder, for [analytics.Open].
//
//go:embed *.sql
var FS embed.FS
