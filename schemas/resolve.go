package schemas

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"unicode/utf8"
)

// resolution turns bytes that follow the writer's shape into bytes that follow the reader's, by Avro's rules of schema
// resolution. The Avro library resolves too, while it decodes into a struct; but it gives other defaults for some
// logical types, takes milliseconds for microseconds when a unit changed, and does not end on a schema that holds
// itself. Turning the bytes first leaves it one thing to do: decode a schema into its own struct.
type resolution struct {
	how      how
	from, to *shape
	item     *resolution       // of an array's or map's items; of the value for a reader's union
	fields   []fieldResolution // of a record, in the reader's order
	writes   []int             // of a record: for each of the writer's fields the reader's it becomes, -1 for none
	branches []*resolution     // of a writer's union, in its order
	branch   int               // of a reader's union: the branch that the value becomes
	symbols  []int             // of an enum: for each of the writer's symbols the reader's
}

type how int

const (
	howCopy   how = iota // the bytes mean the same
	howText              // bytes become a string: if they are UTF-8
	howNumber            // int or long becomes float or double, float becomes double
	howEnum
	howList
	howRecord
	howFromUnion
	howIntoUnion
)

type fieldResolution struct {
	*resolution        // nil: the writer has no such field
	def         []byte // then this is written
}

// resolveShapes reports, with the field, why values of one shape cannot be read as the other.
func resolveShapes(from, to *shape) (*resolution, error) {
	if identical(from, to) {
		return &resolution{how: howCopy, from: from, to: to}, nil
	}
	r := &resolution{from: from, to: to}
	var err error
	switch {
	case from.kind == kindUnion:
		r.how = howFromUnion
		r.branches = make([]*resolution, len(from.branches))
		for i, b := range from.branches {
			if r.branches[i], err = resolveShapes(b, to); err != nil {
				return nil, fmt.Errorf("union branch %s: %w", b, err)
			}
		}
		return r, nil
	case to.kind == kindUnion:
		r.how = howIntoUnion
		r.branch, r.item, err = intoUnion(from, to)
		return r, err
	case !sameMeaning(from, to):
		return nil, fmt.Errorf("%s cannot be read as %s: the same bytes would say another value", from.described(), to.described())
	case from.kind != to.kind:
		return r, r.promote()
	}
	switch from.kind {
	case kindRecord:
		return r, r.resolveRecord()
	case kindArray, kindMap:
		r.how = howList
		r.item, err = resolveShapes(from.item, to.item)
		return r, err
	case kindEnum:
		return r, r.resolveEnum()
	case kindFixed:
		return nil, fmt.Errorf("fixed %s of %d bytes cannot be read as %s of %d", from.name, from.size, to.name, to.size)
	}
	return r, nil // a primitive type, which is the same but for what does not count
}

// identical reports whether the bytes of one shape are those of the other, and mean the same.
func identical(a, b *shape) bool {
	if a.kind != b.kind || a.size != b.size || !sameMeaning(a, b) || !slices.Equal(a.symbols, b.symbols) ||
		len(a.fields) != len(b.fields) || len(a.branches) != len(b.branches) {
		return false
	}
	for i := range a.fields {
		if a.fields[i].name != b.fields[i].name || !identical(a.fields[i].shape, b.fields[i].shape) {
			return false
		}
	}
	for i := range a.branches {
		if !identical(a.branches[i], b.branches[i]) {
			return false
		}
	}
	return a.item == nil || identical(a.item, b.item)
}

// sameMeaning reports whether logical types agree. A UUID is a string's form and not its meaning.
func sameMeaning(a, b *shape) bool {
	meaning := func(s *shape) string {
		switch s.logical {
		case "", logicalUUID:
			return ""
		}
		return s.described()
	}
	return meaning(a) == meaning(b)
}

// described is the shape's name with a decimal's digits.
func (s *shape) described() string {
	if s.logical == logicalDecimal {
		return fmt.Sprintf("decimal(%d,%d)", s.precision, s.scale)
	}
	return s.String()
}

func intoUnion(from, to *shape) (int, *resolution, error) {
	// The branch of the same type first; only then one that the type can become.
	for _, sameKind := range []bool{true, false} {
		for i, b := range to.branches {
			if (b.kind == from.kind) != sameKind {
				continue
			}
			if r, err := resolveShapes(from, b); err == nil {
				return i, r, nil
			}
		}
	}
	_, other, _ := to.null()
	if other != nil {
		// There is one branch to say something about.
		_, err := resolveShapes(from, other)
		return 0, nil, err
	}
	return 0, nil, fmt.Errorf("%s is no branch of the reader's union", from.described())
}

func (r *resolution) promote() error {
	switch from, to := r.from.kind, r.to.kind; {
	case from == kindInt && to == kindLong, from == kindString && to == kindBytes:
		r.how = howCopy
	case from == kindBytes && to == kindString:
		r.how = howText
	case (from == kindInt || from == kindLong) && (to == kindFloat || to == kindDouble), from == kindFloat && to == kindDouble:
		r.how = howNumber
	default:
		return fmt.Errorf("%s cannot be read as %s", r.from.described(), r.to.described())
	}
	return nil
}

func (r *resolution) resolveEnum() error {
	r.how = howEnum
	for _, symbol := range r.from.symbols {
		i := r.to.symbol(symbol)
		if i < 0 {
			i = r.to.symbol(r.to.otherwise)
		}
		if i < 0 {
			return fmt.Errorf("enum %s: the reader has no symbol %s, and no default for the unknown", r.to.name, symbol)
		}
		r.symbols = append(r.symbols, i)
	}
	return nil
}

func (r *resolution) resolveRecord() error {
	r.how = howRecord
	r.fields = make([]fieldResolution, len(r.to.fields))
	r.writes = make([]int, len(r.from.fields))
	for i := range r.writes {
		r.writes[i] = -1
	}
	for i, to := range r.to.fields {
		at := slices.IndexFunc(r.from.fields, func(f shapeField) bool { return f.name == to.name })
		for _, alias := range to.aliases {
			if at < 0 {
				at = slices.IndexFunc(r.from.fields, func(f shapeField) bool { return f.name == alias })
			}
		}
		if at < 0 {
			if to.def == nil {
				return inField(to.name, fmt.Errorf("the writer has none, and the reader has no default for it"))
			}
			r.fields[i].def = to.def
			continue
		}
		of, err := resolveShapes(r.from.fields[at].shape, to.shape)
		if err != nil {
			return inField(to.name, err)
		}
		r.fields[i].resolution, r.writes[at] = of, i
	}
	return nil
}

// apply turns a whole value. What it gives has at most limit bytes: a default may be many times what it stands for.
func (r *resolution) apply(dst, body []byte, maxItems, limit int) ([]byte, error) {
	w := walk{b: body, items: maxItems, limit: limit}
	dst, err := w.resolve(dst, r)
	if err == nil && w.at < len(body) {
		err = fmt.Errorf("%w: %d of %d", ErrTrailingBytes, len(body)-w.at, len(body))
	}
	return dst, err
}

// resolve checks the value it stands before, and appends it as the reader's.
func (w *walk) resolve(dst []byte, r *resolution) ([]byte, error) {
	if len(dst) > w.limit {
		return dst, fmt.Errorf("%w: with the reader's defaults it has more than %d bytes", ErrTooLarge, w.limit)
	}
	switch r.how {
	case howRecord:
		return w.resolveRecord(dst, r)
	case howNumber:
		return w.resolveNumber(dst, r)
	case howText:
		text, err := w.bytes()
		if err == nil && !utf8.Valid(text) {
			err = fmt.Errorf("%w: bytes read as a string are not UTF-8", ErrMalformed)
		}
		return appendBytes(dst, text), err
	case howEnum:
		i, err := w.index(len(r.symbols), "symbol")
		if err != nil {
			return dst, err
		}
		return appendLong(dst, int64(r.symbols[i])), nil
	case howFromUnion:
		i, err := w.index(len(r.branches), "union branch")
		if err != nil {
			return dst, err
		}
		return w.resolve(dst, r.branches[i])
	case howIntoUnion:
		return w.resolve(appendLong(dst, int64(r.branch)), r.item)
	case howList:
		return w.resolveList(dst, r)
	}
	start := w.at
	if err := w.value(r.from); err != nil {
		return dst, err
	}
	return append(dst, w.b[start:w.at]...), nil
}

// resolveRecord writes the fields in the reader's order, which need not be the writer's.
func (w *walk) resolveRecord(dst []byte, r *resolution) (_ []byte, err error) {
	var few [16]int
	starts := few[:0]
	if len(r.fields) > len(few) {
		starts = make([]int, 0, len(r.fields))
	}
	starts = starts[:len(r.fields)]
	items := w.items
	for i, f := range r.from.fields {
		if to := r.writes[i]; to >= 0 {
			starts[to] = w.at
		}
		if err := w.value(f.shape); err != nil {
			return dst, inField(f.name, err)
		}
	}
	// The fields are gone over a second time; their items were counted in the first.
	end, left := w.at, w.items
	w.items = items
	for i, f := range r.fields {
		if f.resolution == nil {
			dst = append(dst, f.def...)
			continue
		}
		w.at = starts[i]
		if dst, err = w.resolve(dst, f.resolution); err != nil {
			return dst, inField(r.to.fields[i].name, err)
		}
	}
	w.at, w.items = end, left
	return dst, nil
}

func (w *walk) resolveNumber(dst []byte, r *resolution) ([]byte, error) {
	if r.from.kind == kindFloat {
		n, err := w.float()
		return appendDouble(dst, float64(n)), err
	}
	if r.from.kind == kindInt {
		n, err := w.int()
		if r.to.kind == kindFloat {
			return appendFloat(dst, float32(n)), err
		}
		return appendDouble(dst, float64(n)), err
	}
	n, err := w.long()
	if r.to.kind == kindFloat {
		return appendFloat(dst, float32(n)), err
	}
	return appendDouble(dst, float64(n)), err
}

// resolveList writes one block for each that it reads.
func (w *walk) resolveList(dst []byte, r *resolution) ([]byte, error) {
	err := w.list(r.from, func(n int64) { dst = appendLong(dst, n) }, func() error {
		if r.from.kind == kindMap {
			start := w.at
			if err := w.key(); err != nil {
				return err
			}
			dst = append(dst, w.b[start:w.at]...)
		}
		var err error
		dst, err = w.resolve(dst, r.item)
		return err
	})
	return append(dst, 0), err
}

func (w *walk) float() (float32, error) {
	b, err := w.take(4)
	if err != nil {
		return 0, err
	}
	return math.Float32frombits(binary.LittleEndian.Uint32(b)), nil
}
