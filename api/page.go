package api

import (
	"encoding/base64"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/ledgerline-es/ledgerline/schemas"
)

// Page is what every list takes, to embed in an operation's input.
type Page struct {
	Limit  int    `query:"limit" minimum:"1" maximum:"1000" default:"50" doc:"The most items to give."`
	Cursor string `query:"cursor" maxLength:"400" doc:"next_cursor of the page before."`
}

// List is what every list answers.
type List[T any] struct {
	Items      []T     `json:"items"`
	NextCursor *string `json:"next_cursor" doc:"cursor of the next page; null when this is the last"`
}

// NewList makes the list of a page from one item more than its limit, so that it is known whether there are more. cursor
// gives what an item is found by; scope says which list it belongs to, such as the aggregate's id.
func NewList[T any](items []T, limit int, scope string, cursor func(T) string) List[T] {
	l := List[T]{Items: items}
	if l.Items == nil {
		l.Items = []T{}
	}
	if len(items) > limit {
		l.Items = items[:limit]
		next := base64.RawURLEncoding.EncodeToString([]byte(scope + " " + cursor(items[limit-1])))
		l.NextCursor = &next
	}
	return l
}

// After is what the cursor stands at in a list of this scope; empty at its begin. Its error is the answer.
func (p Page) After(scope string) (string, error) {
	if p.Cursor == "" {
		return "", nil
	}
	text, err := base64.RawURLEncoding.DecodeString(p.Cursor)
	of, at, ok := strings.Cut(string(text), " ")
	if err != nil || !ok || of != scope || at == "" {
		return "", p.BadCursor()
	}
	return at, nil
}

// BadCursor is the answer to a cursor that no page gave.
func (p Page) BadCursor() *Problem {
	return NewProblem(http.StatusUnprocessableEntity, CodeInvalid, "cursor is %.80q: give next_cursor of the page before, of the same list", p.Cursor)
}

// Time is a time in a body: UTC, always with six decimals.
type Time time.Time

// MarshalText gives RFC 3339, always of the same length.
func (t Time) MarshalText() ([]byte, error) { return []byte(schemas.FormatTime(time.Time(t))), nil }

// Schema is for the OpenAPI document (huma.SchemaProvider).
func (Time) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: huma.TypeString, Format: "date-time", Examples: []any{"2026-01-02T03:04:05.000000Z"}}
}

// Wide is a body that is filled up with blanks, which mean nothing in JSON, to a width of its own: so that equal requests
// get bodies of equal length, whatever the numbers in them.
type Wide interface {
	// Width is in bytes; a body that is longer stays as it is.
	Width() int
}

// WidthOfInt is the width of the longest whole number in JSON.
const WidthOfInt = 20
