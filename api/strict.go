package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// unambiguous refuses JSON that two readers could understand differently: a field that is there twice, of which some take the
// first and some the last, and text that is none, which readers replace by something else. Whoever checks requests before they
// get here must have checked what is done here. What is no JSON at all is left to who reads it.
func unambiguous(body []byte) error {
	if !utf8.Valid(body) {
		return errors.New("it is not UTF-8")
	}
	if err := wholeCharacters(body); err != nil {
		return err
	}
	type level struct {
		fields map[string]bool // nil: an array
		value  bool            // next is the value of a field
	}
	var levels []level
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	for {
		token, err := d.Token()
		if err != nil {
			return nil //nolint:nilerr // its end, or no JSON
		}
		top := len(levels) - 1
		if top >= 0 && levels[top].fields != nil && !levels[top].value {
			if name, isField := token.(string); isField {
				folded := strings.ToLower(strings.ToUpper(name)) // readers take Name for name
				if levels[top].fields[folded] {
					return fmt.Errorf("it has the field %.100q twice, or differing in capitals alone: give it once", name)
				}
				levels[top].fields[folded], levels[top].value = true, true
				continue
			}
		}
		if top >= 0 {
			levels[top].value = false
		}
		switch token {
		case json.Delim('{'):
			levels = append(levels, level{fields: map[string]bool{}})
		case json.Delim('['):
			levels = append(levels, level{})
		case json.Delim('}'), json.Delim(']'):
			levels = levels[:top]
		}
	}
}

// wholeCharacters refuses halves of characters: \ud83d without the \ude00 that makes it one.
func wholeCharacters(body []byte) error {
	unit := func(at int) (rune, bool) { // \uXXXX there
		if at+6 > len(body) || body[at] != '\\' || body[at+1] != 'u' {
			return 0, false
		}
		n, err := strconv.ParseUint(string(body[at+2:at+6]), 16, 32)
		return rune(n), err == nil
	}
	for at := 0; at < len(body); {
		if body[at] != '\\' {
			at++
			continue
		}
		first, escaped := unit(at)
		switch {
		case !escaped:
			at += 2 // \" and the like
		case !utf16.IsSurrogate(first):
			at += 6
		default:
			second, _ := unit(at + 6)
			if utf16.DecodeRune(first, second) == utf8.RuneError {
				return fmt.Errorf("%s is half a character: give both halves, or the character itself", body[at:at+6])
			}
			at += 12
		}
	}
	return nil
}

// readJSON is json.Unmarshal, whose errors speak of the request and not of Go.
func readJSON(body []byte, into any) error {
	err := json.Unmarshal(body, into)
	var wrong *json.UnmarshalTypeError
	if !errors.As(err, &wrong) {
		return err
	}
	what, isNumber := strings.CutPrefix(wrong.Value, "number ")
	switch {
	case !isNumber:
		return fmt.Errorf("%s cannot be a %s", wrong.Field, wrong.Value)
	case wrong.Field == "":
		return fmt.Errorf("the number %.100s is too large", what)
	}
	return fmt.Errorf("%s cannot be %.100s: give digits alone, in the range of a whole number of 64 bits", wrong.Field, what)
}
