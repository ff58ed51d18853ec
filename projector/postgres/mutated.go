package postgres

import (
	"github.com/ledgerline-es/ledgerline/projector"
	"github.com/ledgerline-es/ledgerline/projector/internal/mutant"
)

// mutated is what builds that are wrong on purpose write in place of rows.
func mutated(rows projector.Rows, columns int) []any {
	var order []int
	harm := make(map[int]bool)
	for i := range rows.Len() {
		hit := mutant.Hit()
		if hit && mutant.Is(mutant.Drop) {
			continue
		}
		harm[len(order)] = hit
		order = append(order, i)
	}
	rows = rows.Pick(order)
	values := make([]any, columns)
	for i := range values {
		values[i] = rows.Column(i)
		if numbers, ok := values[i].([]int64); ok && mutant.Is(mutant.Alter) && i > 1 {
			for row := range numbers {
				if harm[row] {
					numbers[row]++
				}
			}
		}
	}
	return values
}
