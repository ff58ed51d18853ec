package schemas

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// appendNumberJSON appends the Avro of a JSON value for int, long, float or double, and for the logical types over them.
func (s *shape) appendNumberJSON(dst, doc []byte) ([]byte, error) {
	if s.logical != "" {
		var text string
		if doc[0] != '"' || json.Unmarshal(doc, &text) != nil {
			return dst, s.wrong(doc, s.wants())
		}
		n, err := s.parseLogicalLong(text)
		if err != nil {
			return dst, err
		}
		if s.kind == kindInt && n != int64(int32(n)) {
			return dst, fmt.Errorf("is %s, out of range", text)
		}
		return appendLong(dst, n), nil
	}
	text := string(doc)
	switch s.kind {
	case kindInt, kindLong:
		bits := 64
		if s.kind == kindInt {
			bits = 32
		}
		if strings.Trim(text, "-0123456789") != "" {
			return dst, s.wrong(doc, s.wants())
		}
		n, err := strconv.ParseInt(text, 10, bits)
		if err != nil {
			return dst, fmt.Errorf("is %s, out of range: a %s has %d bits", text, s, bits)
		}
		return appendLong(dst, n), nil
	case kindFloat:
		n, err := s.parseFloat(doc, 32)
		return appendFloat(dst, float32(n)), err
	default:
		n, err := s.parseFloat(doc, 64)
		return appendDouble(dst, n), err
	}
}

func (s *shape) parseFloat(doc []byte, bits int) (float64, error) {
	switch string(doc) {
	case `"NaN"`:
		return math.NaN(), nil
	case `"Infinity"`:
		return math.Inf(1), nil
	case `"-Infinity"`:
		return math.Inf(-1), nil
	}
	if doc[0] != '-' && (doc[0] < '0' || doc[0] > '9') {
		return 0, s.wrong(doc, s.wants())
	}
	n, err := strconv.ParseFloat(string(doc), bits)
	if err != nil {
		return 0, fmt.Errorf("is %s, out of range of a %s", doc, s)
	}
	return n, nil
}

// appendTextJSON appends the Avro of a JSON value for what is a string in JSON.
func (s *shape) appendTextJSON(dst, doc []byte) ([]byte, error) {
	text := string(doc)
	if doc[0] == '"' {
		if err := json.Unmarshal(doc, &text); err != nil {
			return dst, err
		}
	} else if s.logical != logicalDecimal || doc[0] != '-' && (doc[0] < '0' || doc[0] > '9') {
		return dst, s.wrong(doc, s.wants())
	}
	switch {
	case s.kind == kindEnum:
		i := s.symbol(text)
		if i < 0 {
			return dst, s.wrong(doc, s.wants())
		}
		return appendLong(dst, int64(i)), nil
	case s.logical == logicalDecimal:
		n, err := s.parseDecimal(text)
		if err != nil {
			return dst, err
		}
		b := twosComplement(n)
		if s.kind == kindBytes {
			return appendBytes(dst, b), nil
		}
		if len(b) > s.size {
			return dst, fmt.Errorf("%s does not fit into %d bytes", text, s.size)
		}
		fill := byte(0)
		if n.Sign() < 0 {
			fill = 0xff
		}
		for range s.size - len(b) {
			dst = append(dst, fill)
		}
		return append(dst, b...), nil
	case s.logical == logicalUUID:
		b, err := parseUUID(text)
		if err != nil {
			return dst, err
		}
		if s.kind == kindFixed {
			return append(dst, b...), nil
		}
		return appendBytes(dst, text), nil
	case s.kind == kindString:
		return appendBytes(dst, text), nil
	}
	b, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return dst, s.wrong(doc, "base64")
	}
	if s.kind == kindFixed {
		if len(b) != s.size {
			return dst, fmt.Errorf("has %d bytes: give %d", len(b), s.size)
		}
		return append(dst, b...), nil
	}
	return appendBytes(dst, b), nil
}

// toJSON writes a record's Avro, which has been checked, as JSON.
func (s *shape) toJSON(body []byte) ([]byte, error) {
	w := walk{b: body, items: math.MaxInt}
	out, err := w.json(make([]byte, 0, 2*len(body)+64), s)
	if err != nil {
		return nil, fmt.Errorf("%s to JSON: %w", s.name, err)
	}
	return out, nil
}

func (w *walk) json(dst []byte, s *shape) ([]byte, error) {
	switch s.kind {
	case kindRecord:
		dst = append(dst, '{')
		for i, f := range s.fields {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = append(appendQuoted(dst, f.name), ':')
			var err error
			if dst, err = w.json(dst, f.shape); err != nil {
				return dst, err
			}
		}
		return append(dst, '}'), nil
	case kindArray, kindMap:
		return w.listJSON(dst, s)
	case kindUnion:
		i, err := w.index(len(s.branches), "union branch")
		if err != nil {
			return dst, err
		}
		return w.json(dst, s.branches[i])
	case kindNull:
		return append(dst, "null"...), nil
	case kindBoolean:
		b, err := w.boolean()
		return strconv.AppendBool(dst, b), err
	case kindInt, kindLong:
		n, err := w.long()
		if s.logical != "" {
			return appendQuoted(dst, s.formatLogicalLong(n)), err
		}
		return strconv.AppendInt(dst, n, 10), err
	case kindFloat, kindDouble:
		return w.floatJSON(dst, s)
	case kindEnum:
		i, err := w.index(len(s.symbols), "symbol")
		if err != nil {
			return dst, err
		}
		return appendQuoted(dst, s.symbols[i]), nil
	}
	return w.textJSON(dst, s)
}

func (w *walk) listJSON(dst []byte, s *shape) ([]byte, error) {
	open, end := byte('['), byte(']')
	if s.kind == kindMap {
		open, end = '{', '}'
	}
	dst = append(dst, open)
	first := true
	err := w.list(s, func(int64) {}, func() error {
		if !first {
			dst = append(dst, ',')
		}
		first = false
		if s.kind == kindMap {
			key, err := w.bytes()
			if err != nil {
				return err
			}
			dst = append(appendQuoted(dst, string(key)), ':')
		}
		var err error
		dst, err = w.json(dst, s.item)
		return err
	})
	return append(dst, end), err
}

func (w *walk) floatJSON(dst []byte, s *shape) ([]byte, error) {
	b, err := w.take(s.least)
	if err != nil {
		return dst, err
	}
	var n float64
	bits := 64
	if s.kind == kindFloat {
		bits, n = 32, float64(math.Float32frombits(binary.LittleEndian.Uint32(b)))
	} else {
		n = math.Float64frombits(binary.LittleEndian.Uint64(b))
	}
	switch {
	case math.IsNaN(n):
		return append(dst, `"NaN"`...), nil
	case math.IsInf(n, 1):
		return append(dst, `"Infinity"`...), nil
	case math.IsInf(n, -1):
		return append(dst, `"-Infinity"`...), nil
	}
	return strconv.AppendFloat(dst, n, 'g', -1, bits), nil
}

// textJSON writes string, bytes and fixed.
func (w *walk) textJSON(dst []byte, s *shape) ([]byte, error) {
	var (
		b   []byte
		err error
	)
	if s.kind == kindFixed {
		b, err = w.take(s.size)
	} else {
		b, err = w.bytes()
	}
	if err != nil {
		return dst, err
	}
	switch {
	case s.logical == logicalDecimal:
		return appendQuoted(dst, formatDecimal(unscaled(b), s.scale)), nil
	case s.kind == kindString:
		return appendQuoted(dst, string(b)), nil
	case s.logical == logicalUUID:
		return appendQuoted(dst, formatUUID(b)), nil
	}
	return appendQuoted(dst, base64.StdEncoding.EncodeToString(b)), nil
}

// appendQuoted writes a JSON string; the text is UTF-8.
func appendQuoted(dst []byte, text string) []byte {
	dst = append(dst, '"')
	for _, r := range text {
		switch {
		case r == '"' || r == '\\':
			dst = append(dst, '\\', byte(r))
		case r == '\n':
			dst = append(dst, '\\', 'n')
		case r == '\t':
			dst = append(dst, '\\', 't')
		case r == '\r':
			dst = append(dst, '\\', 'r')
		case r < ' ' || r == 0x7f || r == '\u2028' || r == '\u2029':
			dst = fmt.Appendf(dst, `\u%04x`, r)
		default:
			dst = append(dst, string(r)...)
		}
	}
	return append(dst, '"')
}
