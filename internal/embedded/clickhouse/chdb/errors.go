package chdb

import (
	"fmt"
	"regexp"
	"strconv"
)

// Error is a failure reported by the engine.
type Error struct {
	Code    int    // ClickHouse's error code, such as 60; 1002 when the engine gave none
	Name    string // its name, such as UNKNOWN_TABLE; may be empty
	Message string // the engine's text as it came
}

func (e *Error) Error() string { return e.Message }

// UnknownException is ClickHouse's code for an error without one.
const UnknownException = 1002

var (
	codeText = regexp.MustCompile(`^Code: (\d+)\. `)
	nameText = regexp.MustCompile(`\(([A-Z][A-Z0-9_]+)\)(?: \(version [^\n]*\))?[.\s]*$`)
)

// parseError finds code and name in a text such as "Code: 60. DB::Exception: … . (UNKNOWN_TABLE)".
func parseError(text string) *Error {
	e := &Error{Code: UnknownException, Message: text}
	if m := codeText.FindStringSubmatch(text); m != nil {
		e.Code, _ = strconv.Atoi(m[1])
		if m := nameText.FindStringSubmatch(text); m != nil {
			e.Name = m[1]
		}
	}
	return e
}

// Errorf makes an error as the engine would word it.
func Errorf(code int, name, format string, args ...any) *Error {
	return &Error{Code: code, Name: name, Message: fmt.Sprintf("Code: %d. DB::Exception: %s. (%s)", code, fmt.Sprintf(format, args...), name)}
}
