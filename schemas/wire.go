package schemas

import (
	"encoding/binary"
	"fmt"
	"math"
	"unicode/utf8"
)

// check walks over bytes that claim to be a record of this shape, and makes sure that they are one, all of it and
// nothing after it. The Avro library underneath trusts what it reads: a length is believed before its bytes are there,
// and what is cut short becomes zeros. After check there is nothing left to believe.
func (s *shape) check(b []byte, maxItems int) error {
	w := walk{b: b, items: maxItems}
	if err := w.value(s); err != nil {
		return err
	}
	if rest := len(b) - w.at; rest > 0 {
		return fmt.Errorf("%w: %d of %d", ErrTrailingBytes, rest, len(b))
	}
	return nil
}

// walk stands somewhere in an Avro value.
type walk struct {
	b     []byte
	at    int
	items int // of arrays and maps that may still come
	limit int // of the bytes that a resolution may give
}

func (w *walk) value(s *shape) error {
	switch s.kind {
	case kindRecord:
		for i := range s.fields {
			if err := w.value(s.fields[i].shape); err != nil {
				return inField(s.fields[i].name, err)
			}
		}
		return nil
	case kindString:
		text, err := w.bytes()
		if err == nil && !utf8.Valid(text) {
			return fmt.Errorf("%w: a string is not UTF-8", ErrMalformed)
		}
		return err
	case kindLong:
		n, err := w.long()
		if err == nil && s.logical != "" {
			return s.timeOfDayFits(n)
		}
		return err
	case kindInt:
		n, err := w.int()
		if err == nil && s.logical != "" {
			return s.timeOfDayFits(int64(n))
		}
		return err
	case kindBoolean:
		_, err := w.boolean()
		return err
	case kindNull:
		return nil
	case kindFloat, kindDouble:
		_, err := w.take(s.least)
		return err
	case kindBytes:
		b, err := w.bytes()
		if err == nil && s.logical == logicalDecimal {
			return s.decimalFits(b)
		}
		return err
	case kindFixed:
		b, err := w.take(s.size)
		if err == nil && s.logical == logicalDecimal {
			return s.decimalFits(b)
		}
		return err
	case kindEnum:
		_, err := w.index(len(s.symbols), "symbol")
		return err
	case kindUnion:
		i, err := w.index(len(s.branches), "union branch")
		if err != nil {
			return err
		}
		return w.value(s.branches[i])
	default:
		return w.list(s, func(int64) {}, func() error {
			if s.kind == kindMap {
				if err := w.key(); err != nil {
					return err
				}
			}
			return w.value(s.item)
		})
	}
}

func (w *walk) key() error {
	key, err := w.bytes()
	if err == nil && !utf8.Valid(key) {
		return fmt.Errorf("%w: a map's key is not UTF-8", ErrMalformed)
	}
	return err
}

// list walks over the blocks of an array or map; it calls block before each, with its number of items, and each for every
// item.
func (w *walk) list(s *shape, block func(n int64), each func() error) error {
	least := s.item.least
	if s.kind == kindMap {
		least++
	}
	for {
		n, size, err := w.block()
		if err != nil || n == 0 {
			return err
		}
		if n > int64(w.items) {
			return fmt.Errorf("%w: %s of %d items and more, the limit for all lists together is reached", ErrTooLarge, s, n)
		}
		if int64(least)*n > int64(len(w.b)-w.at) {
			return fmt.Errorf("%w: %s of %d items, and %d bytes left", ErrTruncated, s, n, len(w.b)-w.at)
		}
		w.items -= int(n)
		block(n)
		start := w.at
		for range n {
			if err := each(); err != nil {
				return err
			}
		}
		if size >= 0 && int64(w.at-start) != size {
			return fmt.Errorf("%w: a block of %s says %d bytes and has %d", ErrMalformed, s, size, w.at-start)
		}
	}
}

// block reads a block's header: how many items it has, and its size in bytes, -1 when it does not say.
func (w *walk) block() (n, size int64, err error) {
	if n, err = w.long(); err != nil || n >= 0 {
		return n, -1, err
	}
	if n == math.MinInt64 {
		return 0, 0, fmt.Errorf("%w: a block of 2^63 items", ErrMalformed)
	}
	if size, err = w.long(); err == nil && size < 0 {
		err = fmt.Errorf("%w: a block of %d bytes", ErrMalformed, size)
	}
	return -n, size, err
}

func (w *walk) take(n int) ([]byte, error) {
	if n > len(w.b)-w.at {
		return nil, fmt.Errorf("%w: %d bytes left of %d", ErrTruncated, len(w.b)-w.at, n)
	}
	b := w.b[w.at : w.at+n]
	w.at += n
	return b, nil
}

func (w *walk) bytes() ([]byte, error) {
	n, err := w.long()
	if err != nil {
		return nil, err
	}
	if n < 0 {
		return nil, fmt.Errorf("%w: a length of %d", ErrMalformed, n)
	}
	if n > int64(len(w.b)-w.at) {
		return nil, fmt.Errorf("%w: %d bytes left of %d", ErrTruncated, len(w.b)-w.at, n)
	}
	return w.take(int(n))
}

func (w *walk) long() (int64, error) {
	// One byte is the most common: small numbers, lengths, counts.
	if w.at < len(w.b) && w.b[w.at] < 0x80 {
		u := uint64(w.b[w.at])
		w.at++
		return int64(u>>1) ^ -int64(u&1), nil
	}
	u, n := binary.Uvarint(w.b[w.at:])
	if n == 0 {
		return 0, fmt.Errorf("%w: in a number", ErrTruncated)
	}
	if n < 0 {
		return 0, fmt.Errorf("%w: a number of more than 64 bits", ErrMalformed)
	}
	w.at += n
	return int64(u>>1) ^ -int64(u&1), nil
}

func (w *walk) int() (int32, error) {
	n, err := w.long()
	if err == nil && n != int64(int32(n)) {
		err = fmt.Errorf("%w: an int of %d", ErrMalformed, n)
	}
	return int32(n), err
}

func (w *walk) index(n int, what string) (int, error) {
	i, err := w.int()
	if err == nil && (i < 0 || int(i) >= n) {
		err = fmt.Errorf("%w: %s %d of %d", ErrMalformed, what, i, n)
	}
	return int(i), err
}

func (w *walk) boolean() (bool, error) {
	b, err := w.take(1)
	if err != nil {
		return false, err
	}
	if b[0] > 1 {
		return false, fmt.Errorf("%w: a boolean of 0x%02x", ErrMalformed, b[0])
	}
	return b[0] == 1, nil
}

func appendLong(dst []byte, n int64) []byte {
	return binary.AppendUvarint(dst, uint64(n)<<1^uint64(n>>63))
}

func appendBytes[T string | []byte](dst []byte, b T) []byte {
	return append(appendLong(dst, int64(len(b))), b...)
}

func appendBoolean(dst []byte, b bool) []byte {
	if b {
		return append(dst, 1)
	}
	return append(dst, 0)
}

func appendFloat(dst []byte, n float32) []byte {
	return binary.LittleEndian.AppendUint32(dst, math.Float32bits(n))
}

func appendDouble(dst []byte, n float64) []byte {
	return binary.LittleEndian.AppendUint64(dst, math.Float64bits(n))
}
