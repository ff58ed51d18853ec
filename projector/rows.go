package projector

import "slices"

// Rows are rows on their way into a table, seen column by column.
type Rows interface {
	Len() int
	// Column is the values of the plan's i-th column as a typed slice: []string, []int64, []time.Time … as the projection
	// declared it. It is made anew each time: the caller may keep it.
	Column(i int) any
	// Offset is where the event behind row i stands in its partition.
	Offset(i int) int64
	// Ordinal counts the rows that one event gave: 0, 1, 2 …
	Ordinal(i int) int32
	// SortBy puts the rows into ascending order of these columns of the plan.
	SortBy(columns ...int)
	// Pick gives these rows in this order; a row may be picked never or twice.
	Pick(order []int) Rows
}

// origin is where a row comes from.
type origin struct {
	offset  int64
	ordinal int32
}

// rowSet is Rows of the type R.
type rowSet[R any] struct {
	columns []Column[R]
	rows    []R
	origins []origin // as long as rows; nil in a fold, whose rows come from many events
}

func (s *rowSet[R]) Len() int            { return len(s.rows) }
func (s *rowSet[R]) Column(i int) any    { return s.columns[i].slice(s.rows) }
func (s *rowSet[R]) Offset(i int) int64  { return s.origins[i].offset }
func (s *rowSet[R]) Ordinal(i int) int32 { return s.origins[i].ordinal }

func (s *rowSet[R]) SortBy(columns ...int) {
	less := func(a, b int) int {
		for _, c := range columns {
			if d := s.columns[c].compare(&s.rows[a], &s.rows[b]); d != 0 {
				return d
			}
		}
		return a - b // equal rows keep their order
	}
	order := make([]int, len(s.rows))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, less)
	*s = *s.pick(order)
}

func (s *rowSet[R]) Pick(order []int) Rows { return s.pick(order) }

func (s *rowSet[R]) pick(order []int) *rowSet[R] {
	out := &rowSet[R]{columns: s.columns, rows: make([]R, len(order))}
	for to, from := range order {
		out.rows[to] = s.rows[from]
	}
	if s.origins != nil {
		out.origins = make([]origin, len(order))
		for to, from := range order {
			out.origins[to] = s.origins[from]
		}
	}
	return out
}
