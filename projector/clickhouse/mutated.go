package clickhouse

import (
	"github.com/ledgerline-es/ledgerline/projector"
	"github.com/ledgerline-es/ledgerline/projector/internal/mutant"
)

// mutated is what builds that are wrong on purpose write in place of rows; alter changes the columns made of them. In a
// normal build it gives the rows as they are.
func mutated(rows projector.Rows) (_ projector.Rows, alter func(columns []any)) {
	if !mutant.Is(mutant.Drop) && !mutant.Is(mutant.Double) && !mutant.Is(mutant.Alter) {
		return rows, func([]any) {}
	}
	var order []int
	harmed := make(map[int]bool)
	for i := range rows.Len() {
		hit := mutant.Hit()
		if hit && mutant.Is(mutant.Drop) {
			continue
		}
		harmed[len(order)] = hit
		order = append(order, i)
		if hit && mutant.Is(mutant.Double) {
			order = append(order, i)
		}
	}
	return rows.Pick(order), func(columns []any) {
		for i, column := range columns {
			numbers, ok := column.([]int64)
			if !ok || i < 2 || !mutant.Is(mutant.Alter) {
				continue
			}
			for row := range numbers {
				if harmed[row] {
					numbers[row]++
				}
			}
		}
	}
}
