package cli

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"
)

// parse reads a value of the setting's type; the error says what to give.
func parse(s Setting, text string) (any, error) {
	switch s.Default.(type) {
	case int:
		n, err := strconv.Atoi(text)
		if err != nil {
			return nil, errors.New("give a whole number")
		}
		return n, nil
	case bool:
		b, err := strconv.ParseBool(text)
		if err != nil {
			return nil, errors.New("give true or false")
		}
		return b, nil
	case time.Duration:
		d, err := time.ParseDuration(text)
		if err != nil {
			return nil, errors.New("give a time with its unit, such as 500ms, 10s or 2h")
		}
		return d, nil
	case []string:
		if text == "" {
			return []string{}, nil
		}
		return trimAll(strings.Split(text, ",")), nil
	}
	return text, nil
}

// trimAll takes the blanks off that people leave behind commas.
func trimAll(items []string) []string {
	trimmed := make([]string, len(items))
	for i, item := range items {
		trimmed[i] = strings.TrimSpace(item)
	}
	return trimmed
}

// nearest suggests the name that was probably meant, as the end of a message; "" when none is near.
func nearest(name string, known []string) string {
	if best := Nearest(name, known); best != "" {
		return "; did you mean " + best + "?"
	}
	return ""
}

// Nearest is the name that was probably meant; "" when none is near.
func Nearest(name string, known []string) string {
	slices.Sort(known)
	best, least := "", len(name)/3+1
	for _, k := range known {
		if d := distance(name, k); d <= least {
			best, least = k, d-1
		}
	}
	return best
}

// distance is Levenshtein's: how many letters are to be changed, added or left out.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(row[j+1]+1, row[j]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}
