package projector

import (
	"cmp"
	"fmt"
	"strings"
	"time"
)

// Value is what a column may hold. A pointer is a value that may be absent (NULL).
type Value interface {
	string | bool | int16 | int32 | int64 | uint8 | uint16 | uint32 | uint64 | float64 | time.Time |
		*string | *bool | *int64 | *float64 | *time.Time
}

// Column ties a column of a table to a field of the row type R, so that rows become typed slices and back without
// reflection. Make one with [Col].
type Column[R any] struct {
	Name string

	slice   func(rows []R) any   // []T, the column of these rows
	target  func(row *R) any     // *T, what a driver scans into
	compare func(a, b *R) int    // order of the values; absent ones first
	text    func(row *R) string  // the value in words
	key     func(row *R) *string // the field itself, for columns of type string
}

// Col is the column name, held by the field that field points to:
//
//	projector.Col("balance_minor", func(r *row) *int64 { return &r.BalanceMinor })
func Col[R any, T Value](name string, field func(row *R) *T) Column[R] {
	c := Column[R]{
		Name: name,
		slice: func(rows []R) any {
			out := make([]T, len(rows))
			for i := range rows {
				out[i] = *field(&rows[i])
			}
			return out
		},
		target: func(row *R) any { return field(row) },
		text:   func(row *R) string { return valueText(*field(row)) },
	}
	switch f := any(field).(type) {
	case func(*R) *string:
		c.key = f
		c.compare = func(a, b *R) int { return strings.Compare(*f(a), *f(b)) }
	case func(*R) *int64:
		c.compare = func(a, b *R) int { return cmp.Compare(*f(a), *f(b)) }
	case func(*R) *int32:
		c.compare = func(a, b *R) int { return cmp.Compare(*f(a), *f(b)) }
	case func(*R) *time.Time:
		c.compare = func(a, b *R) int { return f(a).Compare(*f(b)) }
	default: // the rarer ones pay for an interface
		c.compare = func(a, b *R) int { return compareValues(*field(a), *field(b)) }
	}
	return c
}

func compareValues[T Value](a, b T) int {
	switch a := any(a).(type) {
	case bool:
		return compareBools(a, any(b).(bool))
	case int16:
		return cmp.Compare(a, any(b).(int16))
	case uint8:
		return cmp.Compare(a, any(b).(uint8))
	case uint16:
		return cmp.Compare(a, any(b).(uint16))
	case uint32:
		return cmp.Compare(a, any(b).(uint32))
	case uint64:
		return cmp.Compare(a, any(b).(uint64))
	case float64:
		return cmp.Compare(a, any(b).(float64))
	case *string:
		return comparePointers(a, any(b).(*string), cmp.Compare)
	case *bool:
		return comparePointers(a, any(b).(*bool), compareBools)
	case *int64:
		return comparePointers(a, any(b).(*int64), cmp.Compare)
	case *float64:
		return comparePointers(a, any(b).(*float64), cmp.Compare)
	case *time.Time:
		return comparePointers(a, any(b).(*time.Time), time.Time.Compare)
	default: // Col compares these without coming here
		panic(fmt.Sprintf("projector: no order for %T", a))
	}
}

func compareBools(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	default:
		return 1
	}
}

func comparePointers[T any](a, b *T, compare func(a, b T) int) int {
	switch {
	case a == nil && b == nil:
		return 0
	case a == nil:
		return -1
	case b == nil:
		return 1
	default:
		return compare(*a, *b)
	}
}

func valueText(v any) string {
	switch v := v.(type) {
	case time.Time:
		return v.UTC().Format("2006-01-02T15:04:05.000000Z")
	case *time.Time:
		if v != nil {
			return valueText(*v)
		}
	case *string:
		if v != nil {
			return *v
		}
	case *bool:
		if v != nil {
			return fmt.Sprint(*v)
		}
	case *int64:
		if v != nil {
			return fmt.Sprint(*v)
		}
	case *float64:
		if v != nil {
			return fmt.Sprint(*v)
		}
	default:
		return fmt.Sprint(v)
	}
	return "NULL"
}
