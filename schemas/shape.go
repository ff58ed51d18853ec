package schemas

import (
	"errors"
	"fmt"

	"github.com/twmb/avro"
)

// shape is a schema compiled for walking over bytes that claim to follow it. A shape never holds itself: its depth is
// bounded by the schema, never by the data.
type shape struct {
	kind      kind
	logical   string
	precision int // of a decimal
	scale     int
	name      string // of a record, enum or fixed: its short name
	size      int    // of a fixed, in bytes
	symbols   []string
	otherwise string       // of an enum: the symbol read for one that is unknown; empty for none
	fields    []shapeField // of a record
	item      *shape       // of an array or map
	branches  []*shape     // of a union
	least     int          // bytes that every value of it has at least
}

type shapeField struct {
	name    string
	aliases []string
	shape   *shape
	def     []byte // the default as Avro; nil without one
}

type kind int

const (
	kindNull kind = iota
	kindBoolean
	kindInt
	kindLong
	kindFloat
	kindDouble
	kindString
	kindBytes
	kindFixed
	kindEnum
	kindArray
	kindMap
	kindRecord
	kindUnion
)

var kinds = map[string]kind{
	"null": kindNull, "boolean": kindBoolean, "int": kindInt, "long": kindLong, "float": kindFloat, "double": kindDouble,
	"string": kindString, "bytes": kindBytes, "fixed": kindFixed, "enum": kindEnum, "array": kindArray, "map": kindMap,
	"record": kindRecord, "union": kindUnion,
}

var errRecursive = errors.New("a record that holds itself is not supported: use an array, or ids")

// newShape compiles a parsed schema.
func newShape(s *avro.Schema) (*shape, error) {
	// What cannot be expanded is a name inside its own definition.
	return shapeOf(*s.Root().ExpandReferences())
}

func shapeOf(n avro.SchemaNode) (*shape, error) {
	k, ok := kinds[n.Type]
	if !ok {
		return nil, fmt.Errorf("%w (%s)", errRecursive, n.Type)
	}
	s := &shape{kind: k, name: n.Name, size: n.Size, symbols: n.Symbols, otherwise: n.EnumDefault}
	if knownLogical[n.Type+" "+n.LogicalType] {
		s.logical, s.precision, s.scale = n.LogicalType, n.Precision, n.Scale
	}
	switch k {
	case kindArray, kindMap:
		of := n.Items
		if k == kindMap {
			of = n.Values
		}
		item, err := shapeOf(*of)
		if err != nil {
			return nil, err
		}
		s.item, s.least = item, 1
	case kindRecord:
		for _, f := range n.Fields {
			of, err := shapeOf(f.Type)
			if err != nil {
				return nil, inField(f.Name, err)
			}
			field := shapeField{name: f.Name, aliases: f.Aliases, shape: of}
			if f.HasDefault {
				if field.def, err = of.appendDefault([]byte{}, f.Default); err != nil {
					return nil, inField(f.Name, fmt.Errorf("default: %w", err))
				}
			}
			s.fields = append(s.fields, field)
			s.least += of.least
		}
	case kindUnion:
		s.least = 1
		for _, b := range n.Branches {
			of, err := shapeOf(b)
			if err != nil {
				return nil, err
			}
			s.branches = append(s.branches, of)
		}
	case kindFixed:
		s.least = n.Size
	case kindNull:
	case kindFloat:
		s.least = 4
	case kindDouble:
		s.least = 8
	default:
		s.least = 1
	}
	return s, nil
}

// knownLogical are the logical types that say something here; by Avro's rules all others are passed over.
var knownLogical = map[string]bool{
	"long timestamp-micros": true, "long timestamp-millis": true, "int date": true, "int time-millis": true,
	"long time-micros": true, "string uuid": true, "fixed uuid": true, "bytes decimal": true, "fixed decimal": true,
}

// null gives the place of a union's null branch, and its other branch when there is just one.
func (s *shape) null() (at int, other *shape, otherAt int) {
	at = -1
	for i, b := range s.branches {
		if b.kind == kindNull {
			at = i
		} else {
			other, otherAt = b, i
		}
	}
	if len(s.branches) != 2 || at < 0 {
		return at, nil, 0
	}
	return at, other, otherAt
}

// appendDefault appends the Avro of a schema's default, as twmb/avro gives it: int32, int64, float32, float64, bool,
// string, []byte, []any, map[string]any or nil.
func (s *shape) appendDefault(dst []byte, v any) ([]byte, error) {
	switch s.kind {
	case kindNull:
		if v == nil {
			return dst, nil
		}
	case kindBoolean:
		if b, ok := v.(bool); ok {
			return appendBoolean(dst, b), nil
		}
	case kindInt:
		if n, ok := v.(int32); ok {
			return appendLong(dst, int64(n)), nil
		}
	case kindLong:
		if n, ok := v.(int64); ok {
			return appendLong(dst, n), nil
		}
	case kindFloat:
		if n, ok := v.(float32); ok {
			return appendFloat(dst, n), nil
		}
	case kindDouble:
		if n, ok := v.(float64); ok {
			return appendDouble(dst, n), nil
		}
	case kindString:
		if t, ok := v.(string); ok {
			return appendBytes(dst, t), nil
		}
	case kindBytes:
		if b, ok := v.([]byte); ok {
			return appendBytes(dst, b), nil
		}
	case kindFixed:
		if b, ok := v.([]byte); ok && len(b) == s.size {
			return append(dst, b...), nil
		}
	case kindEnum:
		if t, ok := v.(string); ok {
			if at := s.symbol(t); at >= 0 {
				return appendLong(dst, int64(at)), nil
			}
		}
	case kindArray, kindMap, kindRecord:
		return s.appendDefaults(dst, v)
	case kindUnion:
		for i, b := range s.branches {
			if (b.kind == kindNull) != (v == nil) {
				continue
			}
			if out, err := b.appendDefault(appendLong(dst, int64(i)), v); err == nil {
				return out, nil
			}
		}
	}
	return dst, fmt.Errorf("%T is no %s", v, s)
}

// appendDefaults is appendDefault for what holds other values.
func (s *shape) appendDefaults(dst []byte, v any) (_ []byte, err error) {
	switch v := v.(type) {
	case []any:
		if s.kind != kindArray {
			break
		}
		if len(v) > 0 {
			dst = appendLong(dst, int64(len(v)))
		}
		for _, e := range v {
			if dst, err = s.item.appendDefault(dst, e); err != nil {
				return dst, err
			}
		}
		return append(dst, 0), nil
	case map[string]any:
		if s.kind == kindRecord {
			return s.appendRecordDefault(dst, v)
		}
		if s.kind != kindMap {
			break
		}
		if len(v) > 0 {
			dst = appendLong(dst, int64(len(v)))
		}
		for key, e := range v {
			if dst, err = s.item.appendDefault(appendBytes(dst, key), e); err != nil {
				return dst, err
			}
		}
		return append(dst, 0), nil
	}
	return dst, fmt.Errorf("%T is no %s", v, s)
}

func (s *shape) appendRecordDefault(dst []byte, v map[string]any) (_ []byte, err error) {
	for _, f := range s.fields {
		e, ok := v[f.name]
		switch {
		case ok:
			if dst, err = f.shape.appendDefault(dst, e); err != nil {
				return dst, inField(f.name, err)
			}
		case f.def != nil:
			dst = append(dst, f.def...)
		default:
			return dst, inField(f.name, errors.New("is missing"))
		}
	}
	return dst, nil
}

func (s *shape) symbol(name string) int {
	for i, sym := range s.symbols {
		if sym == name {
			return i
		}
	}
	return -1
}

// String names the type as people know it.
func (s *shape) String() string {
	if s.logical != "" {
		return s.logical
	}
	for name, k := range kinds {
		if k == s.kind {
			if s.name != "" {
				return name + " " + s.name
			}
			return name
		}
	}
	return "unknown type"
}
