package schemas

import (
	"bytes"
	"fmt"
	"math/big"
	"reflect"
	"time"
)

// fits reports why a struct cannot hold all that a shape has, or has more than it. A field without its like would be
// passed over in silence, and its value lost.
func (s *shape) fits(t reflect.Type) error {
	switch s.kind {
	case kindRecord:
		if t.Kind() != reflect.Struct {
			return fmt.Errorf("%s is no struct", t)
		}
		tags := map[string]bool{}
		for f := range t.Fields() {
			tags[f.Tag.Get("avro")] = true
		}
		for _, f := range s.fields {
			field, ok := fieldOf(t, f.name)
			if !ok {
				return inField(f.name, fmt.Errorf("%s has no field with the tag `avro:%q`", t, f.name))
			}
			delete(tags, f.name)
			if err := f.shape.fits(field.Type); err != nil {
				return inField(f.name, err)
			}
		}
		for tag := range tags {
			return fmt.Errorf("%s has a field with the tag `avro:%q`, the schema has not", t, tag)
		}
	case kindArray, kindMap:
		if t.Kind() != reflect.Slice && t.Kind() != reflect.Map {
			return fmt.Errorf("%s cannot hold %s", t, s)
		}
		return s.item.fits(t.Elem())
	case kindUnion:
		if _, other, _ := s.null(); other != nil && t.Kind() == reflect.Pointer {
			return other.fits(t.Elem())
		}
	}
	return nil // what is left, a trial value shows
}

func fieldOf(t reflect.Type, tag string) (reflect.StructField, bool) {
	for f := range t.Fields() {
		if f.Tag.Get("avro") == tag && f.IsExported() {
			return f, true
		}
	}
	return reflect.StructField{}, false
}

// try decodes a value with something in every place into an empty record, and encodes it again: the same bytes must come
// back, or the struct's types are not the schema's.
func (c *Codec) try(sc *structCoder, empty any) error {
	trial := sc.shape.appendTrial(nil)
	if err := c.decode(sc, nil, trial, empty); err != nil {
		return err
	}
	again, err := c.encode(nil, sc, empty)
	if err == nil && !bytes.Equal(trial, again) {
		err = fmt.Errorf("%T does not give back what it was given", empty)
	}
	return err
}

func (s *shape) appendTrial(dst []byte) []byte {
	switch s.kind {
	case kindNull:
		return dst
	case kindBoolean:
		return append(dst, 1)
	case kindFloat:
		return appendFloat(dst, 1)
	case kindDouble:
		return appendDouble(dst, 1)
	case kindString:
		return appendBytes(dst, "x")
	case kindBytes:
		return appendBytes(dst, []byte{1})
	case kindFixed:
		return append(dst, make([]byte, s.size)...)
	case kindRecord:
		for _, f := range s.fields {
			dst = f.shape.appendTrial(dst)
		}
		return dst
	case kindArray:
		return append(s.item.appendTrial(appendLong(dst, 1)), 0)
	case kindMap:
		return append(s.item.appendTrial(appendBytes(appendLong(dst, 1), "k")), 0)
	case kindUnion:
		for i, b := range s.branches {
			if b.kind != kindNull {
				return b.appendTrial(appendLong(dst, int64(i)))
			}
		}
		return appendLong(dst, 0)
	}
	return appendLong(dst, 0) // numbers; an enum's first symbol
}

// delicate reports whether the shape has values of which the Avro library would lose a part in silence, so that they
// need a look before they are encoded: decimals, dates and times of day.
func (s *shape) isDelicate() bool {
	switch s.logical {
	case logicalDecimal, logicalDate, logicalTimeMillis, logicalTimeMicros:
		return true
	}
	for _, f := range s.fields {
		if f.shape.isDelicate() {
			return true
		}
	}
	for _, b := range s.branches {
		if b.isDelicate() {
			return true
		}
	}
	return s.item != nil && s.item.isDelicate()
}

// holds reports a value that the shape could not hold to the last digit.
func (s *shape) holds(v reflect.Value) error {
	switch s.kind {
	case kindRecord:
		for _, f := range s.fields {
			if !f.shape.isDelicate() {
				continue
			}
			field, _ := fieldOf(v.Type(), f.name)
			if err := f.shape.holds(v.FieldByIndex(field.Index)); err != nil {
				return inField(f.name, err)
			}
		}
		return nil
	case kindArray:
		for i := range v.Len() {
			if err := s.item.holds(v.Index(i)); err != nil {
				return inField(fmt.Sprintf("[%d]", i), err)
			}
		}
		return nil
	case kindMap:
		for it := v.MapRange(); it.Next(); {
			if err := s.item.holds(it.Value()); err != nil {
				return inField(it.Key().String(), err)
			}
		}
		return nil
	case kindUnion:
		_, other, _ := s.null()
		switch {
		case v.IsNil():
			return nil
		case v.Kind() == reflect.Pointer:
			return other.holds(v.Elem())
		}
		return other.holds(v)
	}
	switch v := v.Interface().(type) {
	case *big.Rat:
		return s.holdsDecimal(v)
	case time.Time:
		if v.Unix()%(24*60*60) != 0 || v.Nanosecond() != 0 {
			return fmt.Errorf("is %s: a date is midnight in UTC", v.Format(time.RFC3339Nano))
		}
	case time.Duration:
		if v < 0 || v >= 24*time.Hour {
			return fmt.Errorf("is %s: a time of day is from 0 to 24 h", v)
		}
	}
	return nil
}

func (s *shape) holdsDecimal(r *big.Rat) error {
	if r == nil {
		return fmt.Errorf("is nil: a decimal has a value, 0 if need be")
	}
	unscaled := new(big.Rat).Mul(r, new(big.Rat).SetInt(new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(s.scale)), nil)))
	if !unscaled.IsInt() {
		return fmt.Errorf("is %s, which has more than %d digits after the point: round it first", r, s.scale)
	}
	if digits := decimalDigits(unscaled.Num()); digits > s.precision {
		return fmt.Errorf("is %s, which has %d digits: at most %d", r.FloatString(s.scale), digits, s.precision)
	}
	return nil
}
