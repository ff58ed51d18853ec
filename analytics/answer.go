package analytics

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/ledgerline-es/ledgerline/schemas"
)

// Answer is what a question was answered with, and how far in the log that reaches.
type Answer struct {
	Query     string            `json:"query"`
	Title     string            `json:"title"`
	Params    map[string]string `json:"params"` // all of them, defaults too
	AsOf      AsOf              `json:"as_of"`
	Columns   []Column          `json:"columns"`
	Rows      [][]any           `json:"rows"`      // a value a column: string, bool, int64, uint64, float64, nil or []any
	Truncated bool              `json:"truncated"` // there were more rows than the question's limit

	Took time.Duration `json:"-"` // of the question itself, at the server and on the way

	json, csv form
}

// form is the answer as it is sent, made once for all who ask.
type form struct {
	once sync.Once
	body []byte
	err  error
}

func (f *form) bytes(write func(io.Writer) error) ([]byte, error) {
	f.once.Do(func() {
		var b bytes.Buffer
		f.err = write(&b)
		f.body = b.Bytes()
	})
	return f.body, f.err
}

// Column is one of an answer.
type Column struct {
	Name string `json:"name"`
	Type string `json:"type"` // ClickHouse's
}

// AsOf is how far in the log an answer reaches. See the package's documentation for what that guarantees.
type AsOf struct {
	Projection string          `json:"projection"`
	Generation int             `json:"generation"`
	Topic      string          `json:"topic"`
	Offsets    map[int32]int64 `json:"offsets"`         // by partition: every event before it is in the answer
	Until      map[int32]int64 `json:"until,omitempty"` // where Exact is false: no event at or behind it is in the answer
	Exact      bool            `json:"exact"`           // the answer holds the events before Offsets and no other
	EventTime  *Time           `json:"event_time"`      // the latest of any event that has rows; nil: there is none
}

// Position is how far in the log the answer reaches, as other answers over HTTP say it.
func (a AsOf) Position() schemas.Position {
	p := make(schemas.Position, 0, len(a.Offsets))
	for _, partition := range slices.Sorted(maps.Keys(a.Offsets)) {
		p = append(p, schemas.Place{Log: schemas.LogOf(a.Topic), Partition: partition, Next: a.Offsets[partition]})
	}
	return p
}

// Time is written in UTC with six decimals, always.
type Time struct{ time.Time }

const timeLayout = "2006-01-02T15:04:05.000000Z"

// MarshalJSON writes the time as text.
func (t Time) MarshalJSON() ([]byte, error) { return json.Marshal(t.text()) }

// UnmarshalJSON reads what MarshalJSON writes.
func (t *Time) UnmarshalJSON(data []byte) error { return t.Time.UnmarshalJSON(data) }

func (t Time) text() string { return t.UTC().Format(timeLayout) }

// WriteJSON writes the answer as one document. Equal answers have equal bytes.
func (a *Answer) WriteJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(a)
}

// WriteCSV writes a line of column names and a line a row (RFC 4180 but for the line ends, which are \n).
func (a *Answer) WriteCSV(w io.Writer) error {
	out := csv.NewWriter(w)
	record := make([]string, len(a.Columns))
	for i, c := range a.Columns {
		record[i] = c.Name
	}
	if err := out.Write(record); err != nil {
		return err
	}
	for _, row := range a.Rows {
		for i, v := range row {
			record[i] = text(v)
		}
		if err := out.Write(record); err != nil {
			return err
		}
	}
	out.Flush()
	return out.Error()
}

// WriteTable writes the answer for people: numbers to the right, and below them as of when it is.
func (a *Answer) WriteTable(w io.Writer) error {
	width := make([]int, len(a.Columns))
	lines := make([][]string, 0, len(a.Rows)+1)
	head := make([]string, len(a.Columns))
	for i, c := range a.Columns {
		head[i] = c.Name
	}
	lines = append(lines, head)
	for _, row := range a.Rows {
		line := make([]string, len(row))
		for i, v := range row {
			line[i] = text(v)
		}
		lines = append(lines, line)
	}
	for _, line := range lines {
		for i, cell := range line {
			width[i] = max(width[i], len([]rune(cell)))
		}
	}
	var b strings.Builder
	for _, line := range lines {
		for i, cell := range line {
			gap := strings.Repeat(" ", width[i]-len([]rune(cell)))
			if !a.Columns[i].isText() {
				cell, gap = gap+cell, ""
			}
			if i > 0 {
				b.WriteString("  ")
			}
			b.WriteString(cell)
			if i < len(line)-1 {
				b.WriteString(gap)
			}
		}
		b.WriteByte('\n')
	}
	if a.Truncated {
		fmt.Fprintf(&b, "… and more: the first %d rows are shown\n", len(a.Rows))
	}
	fmt.Fprintf(&b, "\n%s\n", a.AsOf)
	_, err := io.WriteString(w, b.String())
	return err
}

// String says it in a line.
func (a AsOf) String() string {
	if len(a.Offsets) == 0 {
		return fmt.Sprintf("as of the beginning: projection %s has read nothing yet", a.Projection)
	}
	var events int64
	offsets := make([]string, 0, len(a.Offsets))
	for _, p := range slices.Sorted(maps.Keys(a.Offsets)) {
		offset := fmt.Sprintf("%d:%d", p, a.Offsets[p])
		if !a.Exact && a.Until[p] != a.Offsets[p] {
			offset += fmt.Sprintf("-%d", a.Until[p])
		}
		offsets = append(offsets, offset)
		events += a.Offsets[p]
	}
	latest := "no event"
	if a.EventTime != nil {
		latest = "latest event " + a.EventTime.text()
	}
	return fmt.Sprintf("as of %s offsets %s; %s", a.Topic, strings.Join(offsets, " "), latest)
}

// isText reports whether a column's values are read from the left.
func (c Column) isText() bool {
	bare := strings.TrimPrefix(strings.TrimPrefix(c.Type, "LowCardinality("), "Nullable(")
	return strings.HasPrefix(bare, "String") || strings.HasPrefix(bare, "FixedString") || strings.HasPrefix(bare, "Date") ||
		strings.HasPrefix(bare, "Enum") || strings.HasPrefix(bare, "UUID") || strings.HasPrefix(bare, "Bool")
}

// text is a value in CSV and in a table.
func text(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	case []any:
		parts := make([]string, len(v))
		for i := range v {
			parts[i] = text(v[i])
		}
		return strings.Join(parts, " ")
	}
	return fmt.Sprint(v)
}

// plain makes one of the few types that an answer is made of out of what the driver gives.
func plain(v any, columnType string) any {
	switch v := v.(type) {
	case nil:
		return nil
	case time.Time:
		if strings.Contains(columnType, "Date") && !strings.Contains(columnType, "DateTime") {
			return v.Format(time.DateOnly)
		}
		return Time{v}.text()
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return nil // JSON has neither
		}
		return v
	case fmt.Stringer: // decimals, addresses, UUIDs
		return v.String()
	}
	r := reflect.ValueOf(v)
	switch r.Kind() {
	case reflect.Pointer:
		if r.IsNil() {
			return nil
		}
		return plain(r.Elem().Interface(), columnType)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return r.Int()
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return r.Uint()
	case reflect.Float32:
		return plain(r.Float(), columnType)
	case reflect.Slice:
		items := make([]any, r.Len())
		for i := range items {
			items[i] = plain(r.Index(i).Interface(), columnType)
		}
		return items
	case reflect.String:
		return r.String()
	case reflect.Bool:
		return r.Bool()
	}
	return fmt.Sprint(v)
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// WriteList writes what questions there are and how each can be asked, for people.
func (c *Catalogue) WriteList(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, q := range c.queries {
		fmt.Fprintf(t, "%s\t%s\n", q.Name, q.Answers)
		for _, p := range q.Params {
			given := p.Default
			if given == "" {
				given = `""`
			}
			fmt.Fprintf(t, "\t  %s=%s\t%s\n", p.Name, given, p.Doc)
		}
	}
	return t.Flush()
}
