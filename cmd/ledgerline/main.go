// Command ledgerline runs the platform with the bank as its domain.
package main

import (
	"github.com/ledgerline-es/ledgerline"
	"github.com/ledgerline-es/ledgerline/bank"
)

func main() { ledgerline.Main(bank.Domain()) }
