// Command orders is a shop on Ledgerline: orders are placed, paid, shipped or cancelled.
package main

import "github.com/ledgerline-es/ledgerline"

//go:generate go run github.com/ledgerline-es/ledgerline/cmd/ledgerline generate schemas

func main() { ledgerline.Main(domain()) }
