package schemas

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// Records as plain JSON, for people, HTTP and tools: no wrapping of unions as in Avro's own JSON encoding.
//
//	boolean, string         true, "text"
//	int, long               a whole number, exact to the last digit: 5, never 5.0 or 5e0
//	float, double           a number, or "NaN", "Infinity", "-Infinity"
//	bytes, fixed            "base64"
//	enum                    "symbol"
//	array, map, record      [ ], { }, { }
//	["null", T]             null, or T as it is
//	timestamp-…             "2006-01-02T15:04:05.000000Z"
//	date, time-…            "2006-01-02", "15:04:05.000000"
//	decimal                 "12.30" (a number is taken too)
//	uuid                    "018f4d3c-7a00-7000-8000-000000000000"

// FromJSON reads a record from a JSON document of the form above. typeName is the record's full name or its short one.
// Absent fields take the schema's defaults. Unknown fields, fields given twice, fields without a default left out, wrong
// types and numbers out of range are errors that wrap ErrInvalidJSON and name the field. An unknown type wraps
// ErrUnknownType and lists the known ones.
func (s *Serde[T]) FromJSON(typeName string, doc []byte) (T, error) {
	var none T
	if s.invalid != nil {
		return none, s.invalid
	}
	t, err := s.named(typeName)
	if err != nil {
		return none, err
	}
	body, err := t.coder.shape.fromJSON(doc)
	if err != nil {
		return none, fmt.Errorf("%w: %s: %w", ErrInvalidJSON, t.ShortName(), err)
	}
	v := t.New()
	if err := s.codec.decode(t.coder, nil, body, v); err != nil {
		return none, fmt.Errorf("%w: %s: %w", ErrInvalidJSON, t.ShortName(), err)
	}
	return v, nil
}

// ToJSON writes a record as FromJSON reads it, all fields in the schema's order.
func (s *Serde[T]) ToJSON(v T) ([]byte, error) {
	if s.invalid != nil {
		return nil, s.invalid
	}
	t, err := s.typeOf(v)
	if err != nil {
		return nil, err
	}
	body, err := s.codec.encode(nil, t.coder, v)
	if err != nil {
		return nil, fmt.Errorf("%s to JSON: %w", t.ShortName(), err)
	}
	return t.coder.shape.toJSON(body)
}

// named finds a type by its full name, or by its short name when only one type has it.
func (s *Serde[T]) named(name string) (*serdeType[T], error) {
	if t, ok := s.byName[name]; ok {
		return t, nil
	}
	var found *serdeType[T]
	known := make([]string, 0, len(s.types))
	for _, t := range s.types {
		known = append(known, t.ShortName())
		if t.ShortName() == name {
			if found != nil {
				return nil, fmt.Errorf("%w: %s is short for %s and for %s: give the full name", ErrUnknownType, name, found.Name, t.Name)
			}
			found = t
		}
	}
	if found == nil {
		return nil, fmt.Errorf("%w: %q on topic %s: known are %s", ErrUnknownType, name, s.topic, strings.Join(known, ", "))
	}
	return found, nil
}

// fromJSON turns a document into the Avro of a record.
func (s *shape) fromJSON(doc []byte) ([]byte, error) {
	// encoding/json would put a replacement character in the place of what is not UTF-8, and so lose it silently.
	if !utf8.Valid(doc) {
		return nil, errors.New("the document is not UTF-8")
	}
	if !json.Valid(doc) {
		var v any
		return nil, json.Unmarshal(doc, &v)
	}
	return s.appendJSON(nil, doc)
}

// inField puts a field before what is wrong in it: "field a.b[3]: …".
func inField(step string, err error) error {
	if in, ok := errors.AsType[*fieldError](err); ok {
		joined := step + "." + in.path
		if strings.HasPrefix(in.path, "[") {
			joined = step + in.path
		}
		return &fieldError{path: joined, err: in.err}
	}
	return &fieldError{path: step, err: err}
}

type fieldError struct {
	path string
	err  error
}

func (e *fieldError) Error() string { return "field " + e.path + ": " + e.err.Error() }
func (e *fieldError) Unwrap() error { return e.err }

// appendJSON appends the Avro of one valid JSON value.
func (s *shape) appendJSON(dst []byte, doc []byte) ([]byte, error) {
	doc = bytes.TrimSpace(doc)
	switch s.kind {
	case kindRecord:
		return s.appendRecordJSON(dst, doc)
	case kindArray:
		return s.appendArrayJSON(dst, doc)
	case kindMap:
		return s.appendMapJSON(dst, doc)
	case kindUnion:
		nullAt, other, otherAt := s.null()
		switch {
		case other == nil:
			return dst, fmt.Errorf("a union of more than null and one type has no plain JSON")
		case string(doc) == "null":
			return appendLong(dst, int64(nullAt)), nil
		}
		return other.appendJSON(appendLong(dst, int64(otherAt)), doc)
	case kindNull:
		if string(doc) != "null" {
			return dst, s.wrong(doc, "null")
		}
		return dst, nil
	case kindBoolean:
		switch string(doc) {
		case "true", "false":
			return appendBoolean(dst, doc[0] == 't'), nil
		}
		return dst, s.wrong(doc, "true or false")
	case kindInt, kindLong, kindFloat, kindDouble:
		return s.appendNumberJSON(dst, doc)
	}
	return s.appendTextJSON(dst, doc)
}

func (s *shape) appendRecordJSON(dst, doc []byte) ([]byte, error) {
	members, err := s.members(doc)
	if err != nil {
		return dst, err
	}
	values := make(map[string]json.RawMessage, len(members))
	for _, m := range members {
		if !slices.ContainsFunc(s.fields, func(f shapeField) bool { return f.name == m.name }) {
			return dst, inField(m.name, fmt.Errorf("%s has no such field, it has %s", s.name, s.fieldNames()))
		}
		values[m.name] = m.value
	}
	for _, f := range s.fields {
		value, ok := values[f.name]
		switch {
		case ok:
			if dst, err = f.shape.appendJSON(dst, value); err != nil {
				return dst, inField(f.name, err)
			}
		case f.def != nil:
			dst = append(dst, f.def...)
		default:
			return dst, inField(f.name, fmt.Errorf("is missing and has no default: give %s", f.shape.wants()))
		}
	}
	return dst, nil
}

func (s *shape) fieldNames() string {
	if len(s.fields) == 0 {
		return "none"
	}
	names := make([]string, len(s.fields))
	for i, f := range s.fields {
		names[i] = f.name
	}
	return strings.Join(names, ", ")
}

func (s *shape) appendMapJSON(dst, doc []byte) ([]byte, error) {
	members, err := s.members(doc)
	if err != nil {
		return dst, err
	}
	if len(members) > 0 {
		dst = appendLong(dst, int64(len(members)))
	}
	for _, m := range members {
		if dst, err = s.item.appendJSON(appendBytes(dst, m.name), m.value); err != nil {
			return dst, inField(m.name, err)
		}
	}
	return append(dst, 0), nil
}

func (s *shape) appendArrayJSON(dst, doc []byte) ([]byte, error) {
	var values []json.RawMessage
	if err := json.Unmarshal(doc, &values); err != nil || doc[0] != '[' {
		return dst, s.wrong(doc, s.wants())
	}
	if len(values) > 0 {
		dst = appendLong(dst, int64(len(values)))
	}
	var err error
	for i, v := range values {
		if dst, err = s.item.appendJSON(dst, v); err != nil {
			return dst, inField(fmt.Sprintf("[%d]", i), err)
		}
	}
	return append(dst, 0), nil
}

type member struct {
	name  string
	value json.RawMessage
}

// members reads an object in order; encoding/json's maps would hide a name that is there twice.
func (s *shape) members(doc []byte) ([]member, error) {
	if doc[0] != '{' {
		return nil, s.wrong(doc, s.wants())
	}
	dec := json.NewDecoder(bytes.NewReader(doc))
	if _, err := dec.Token(); err != nil {
		return nil, err
	}
	var members []member
	seen := map[string]bool{}
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return nil, err
		}
		m := member{name: key.(string)} // what stands before a colon of valid JSON is a string
		if err := dec.Decode(&m.value); err != nil {
			return nil, err
		}
		if seen[m.name] {
			return nil, inField(m.name, errors.New("is given twice"))
		}
		seen[m.name] = true
		members = append(members, m)
	}
	return members, nil
}

// wants says what JSON a value of this shape is.
func (s *shape) wants() string {
	switch s.kind {
	case kindBoolean:
		return "true or false"
	case kindInt, kindLong:
		if s.logical == "" {
			return fmt.Sprintf("a whole number (%s)", s)
		}
	case kindFloat, kindDouble:
		return fmt.Sprintf("a number (%s)", s)
	case kindArray:
		return "a list"
	case kindMap, kindRecord:
		return "an object"
	case kindEnum:
		return "one of " + strings.Join(s.symbols, ", ")
	case kindUnion:
		if _, other, _ := s.null(); other != nil {
			return "null or " + other.wants()
		}
	}
	return fmt.Sprintf("a string (%s)", s)
}

// mostShown is how much of a wrong value an error shows, in bytes.
const mostShown = 40

// wrong says what was given and what should have been.
func (s *shape) wrong(doc []byte, want string) error {
	got := string(doc)
	if len(got) > mostShown {
		got = strings.ToValidUTF8(got[:mostShown], "") + "…"
	}
	return fmt.Errorf("is %s: give %s", got, want)
}
