package analytics

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Param is what a question can be asked with. Its value goes to the server beside the statement, never into it.
type Param struct {
	Name    string   `json:"name"`
	Type    string   `json:"type"`              // ClickHouse's: String, Date32, UInt16 …
	Default string   `json:"default"`           // taken when no value is given
	Doc     string   `json:"doc"`               // what it is for
	Min     string   `json:"min,omitempty"`     // of numbers and dates: the least …
	Max     string   `json:"max,omitempty"`     // … and the greatest value
	Values  []string `json:"values,omitempty"`  // the only ones there are
	Pattern string   `json:"pattern,omitempty"` // regular expression for the whole of a String
	matches *regexp.Regexp
}

// maxText is how long a String may be, in bytes.
const maxText = 256

var paramPattern = regexp.MustCompile(`^([a-z][a-z0-9_]*) ([A-Za-z0-9]+) = ('[^']*'|[^\s,]+)(?: \[(\S+)\.\.(\S+)\]| \(([^)]*)\)| matches /(.*)/)?, (.+)$`)

// parseParam reads what stands behind "-- param:".
func parseParam(text string) (Param, error) {
	m := paramPattern.FindStringSubmatch(text)
	if m == nil {
		return Param{}, fmt.Errorf("param %q cannot be read: write name Type = default, then [least..greatest], (one|of|these) or matches /pattern/ if need be, then a comma and what it is for", text)
	}
	p := Param{Name: m[1], Type: m[2], Default: strings.Trim(m[3], "'"), Min: m[4], Max: m[5], Pattern: m[7], Doc: m[8]}
	if m[6] != "" {
		p.Values = strings.Split(m[6], "|")
	}
	fail := func(err error) (Param, error) { return Param{}, fmt.Errorf("param %s: %w", p.Name, err) }
	kind, ok := kinds[p.Type]
	if !ok {
		var names []string
		for name := range kinds {
			names = append(names, name)
		}
		slices.Sort(names)
		return fail(fmt.Errorf("type %s is none that can be given: use one of %s", p.Type, strings.Join(names, ", ")))
	}
	if p.Pattern != "" {
		var err error
		if p.matches, err = regexp.Compile(`\A(?:` + p.Pattern + `)\z`); err != nil {
			return fail(fmt.Errorf("its pattern: %w", err))
		}
	}
	if (p.Pattern != "" || len(p.Values) > 0) && p.Type != "String" {
		return fail(fmt.Errorf("a pattern and a list of values are for a String, not for %s: give [least..greatest]", p.Type))
	}
	if p.Min != "" && kind.compare == nil {
		return fail(fmt.Errorf("a range is for numbers and dates, not for %s", p.Type))
	}
	if p.Min == "" {
		p.Min, p.Max = kind.least, kind.greatest
	}
	for what, bound := range map[string]string{"least": p.Min, "greatest": p.Max} {
		if bound == "" {
			continue
		}
		if _, err := kind.read(bound); err != nil {
			return fail(fmt.Errorf("its %s value %q: %w", what, bound, err))
		}
	}
	value, err := p.value(p.Default)
	if err != nil {
		return fail(fmt.Errorf("its default %q: %w", p.Default, err))
	}
	p.Default = value
	return p, nil
}

// value checks a value and gives it as the server reads it; the error says what to give.
func (p Param) value(text string) (string, error) {
	kind := kinds[p.Type]
	value, err := kind.read(text)
	switch {
	case err != nil:
		return "", err
	case p.Values != nil && !slices.Contains(p.Values, value):
		return "", fmt.Errorf("give one of %s", strings.Join(p.Values, ", "))
	case p.matches != nil && !p.matches.MatchString(value):
		return "", fmt.Errorf("give what matches %s (%s)", p.Pattern, p.Doc)
	case p.Min != "" && (kind.compare(value, p.Min) < 0 || kind.compare(value, p.Max) > 0):
		return "", fmt.Errorf("give %s to %s", p.Min, p.Max)
	}
	return value, nil
}

// kind is a type of parameters: how its values are read and compared.
type kind struct {
	read            func(text string) (string, error)
	compare         func(a, b string) int // nil: there is no order
	least, greatest string                // that the type holds; empty where Read sees to it
}

var kinds = map[string]kind{
	"String":  {read: readText},
	"Bool":    {read: readBool},
	"Date":    {read: readDate, compare: strings.Compare, least: "1970-01-01", greatest: "2149-06-06"},
	"Date32":  {read: readDate, compare: strings.Compare, least: "1900-01-01", greatest: "2299-12-31"},
	"Int8":    whole(math.MinInt8, math.MaxInt8),
	"Int16":   whole(math.MinInt16, math.MaxInt16),
	"Int32":   whole(math.MinInt32, math.MaxInt32),
	"Int64":   whole(math.MinInt64, math.MaxInt64),
	"UInt8":   whole(0, math.MaxUint8),
	"UInt16":  whole(0, math.MaxUint16),
	"UInt32":  whole(0, math.MaxUint32),
	"Float64": {read: readFloat, compare: compareFloats},
}

func readText(text string) (string, error) {
	switch {
	case len(text) > maxText:
		return "", fmt.Errorf("give at most %d bytes", maxText)
	case strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f || r == '\uFFFD' }):
		return "", errors.New("give text without control characters")
	}
	return text, nil
}

func readBool(text string) (string, error) {
	b, err := strconv.ParseBool(text)
	if err != nil {
		return "", errors.New("give true or false")
	}
	return strconv.FormatBool(b), nil
}

func readDate(text string) (string, error) {
	if _, err := time.Parse(time.DateOnly, text); err != nil {
		return "", errors.New("give a date such as 2026-01-31")
	}
	return text, nil
}

func readFloat(text string) (string, error) {
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
		return "", errors.New("give a number such as 3.5")
	}
	return strconv.FormatFloat(f, 'g', -1, 64), nil
}

func compareFloats(a, b string) int {
	x, _ := strconv.ParseFloat(a, 64) // both were read before
	y, _ := strconv.ParseFloat(b, 64)
	switch {
	case x < y:
		return -1
	case x > y:
		return 1
	}
	return 0
}

// whole is a type of whole numbers. UInt64 is not among them: 64 bits with a sign hold what anybody counts.
func whole(least, greatest int64) kind {
	return kind{
		read: func(text string) (string, error) {
			n, err := strconv.ParseInt(text, 10, 64)
			if err != nil {
				return "", errors.New("give a whole number")
			}
			return strconv.FormatInt(n, 10), nil
		},
		compare: func(a, b string) int {
			x, _ := strconv.ParseInt(a, 10, 64) // both were read before
			y, _ := strconv.ParseInt(b, 10, 64)
			switch {
			case x < y:
				return -1
			case x > y:
				return 1
			}
			return 0
		},
		least: strconv.FormatInt(least, 10), greatest: strconv.FormatInt(greatest, 10),
	}
}
