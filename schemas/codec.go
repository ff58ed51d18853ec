package schemas

import (
	"encoding/binary"
	"fmt"
	"reflect"
	"sync"

	hamba "github.com/hamba/avro/v2"
	"github.com/modern-go/reflect2"
	"github.com/twmb/avro"
)

// Codec turns records into bytes and back, in Confluent wire format: 0x00, the schema's id in 4 bytes, Avro. It guards
// against bytes that lie: nothing it is given makes it panic, allocate beyond its limits, or give a record that is not
// all there. Safe for concurrent use.
type Codec struct {
	reg     *Registry
	api     hamba.API
	readers sync.Pool // *hamba.Reader
	writers sync.Pool // *hamba.Writer
	scratch sync.Pool // *[]byte
	written writtenSchemas
	limits  Limits
}

// Limits bound what a codec takes and makes.
type Limits struct {
	MaxBytes int // of one value, header included; default 1 MiB, Kafka's own default
	MaxItems int // of all arrays and maps in one value; default 65,536
}

// DefaultLimits are the limits of NewCodec.
func DefaultLimits() Limits { return Limits{MaxBytes: 1 << 20, MaxItems: 1 << 16} }

// Validate reports a limit that makes no sense.
func (l Limits) Validate() error {
	if l.MaxBytes < wireHeader+1 {
		return fmt.Errorf("limit MaxBytes is %d: give at least %d, such as %d", l.MaxBytes, wireHeader+1, DefaultLimits().MaxBytes)
	}
	if l.MaxItems < 1 {
		return fmt.Errorf("limit MaxItems is %d: give at least 1, such as %d", l.MaxItems, DefaultLimits().MaxItems)
	}
	return nil
}

// NewCodec makes a codec with DefaultLimits; it does no I/O.
func NewCodec(reg *Registry) *Codec {
	c, _ := NewLimitedCodec(reg, DefaultLimits())
	return c
}

// NewLimitedCodec is NewCodec with limits of one's own.
func NewLimitedCodec(reg *Registry, limits Limits) (*Codec, error) {
	if err := limits.Validate(); err != nil {
		return nil, err
	}
	c := &Codec{reg: reg, limits: limits}
	c.api = hamba.Config{
		MaxByteSliceSize:  limits.MaxBytes,
		MaxSliceAllocSize: limits.MaxItems,
		// Its caches go by a fingerprint that overlooks defaults; coders are kept here, by schema id, instead.
		DisableCaching: true,
		// Counts without sizes: every byte counts in a log that is kept for ever.
		DisableBlockSizeHeader: true,
	}.Freeze()
	c.readers.New = func() any { return hamba.NewReader(nil, 0, hamba.WithReaderConfig(c.api)) }
	c.writers.New = func() any { return hamba.NewWriter(nil, 512, hamba.WithWriterConfig(c.api)) }
	c.scratch.New = func() any { return new([]byte) }
	c.written.load = reg.schemaByID
	return c, nil
}

const (
	wireMagic  = 0
	wireHeader = 5 // magic byte and schema id
)

// schemaID takes the header off a value.
func (c *Codec) schemaID(data []byte) (id int, body []byte, err error) {
	switch {
	case len(data) < wireHeader:
		return 0, nil, fmt.Errorf("%w: %d bytes, the header alone has %d", ErrNotWireFormat, len(data), wireHeader)
	case data[0] != wireMagic:
		return 0, nil, fmt.Errorf("%w: first byte is 0x%02x, not 0x00", ErrNotWireFormat, data[0])
	case len(data) > c.limits.MaxBytes:
		return 0, nil, fmt.Errorf("%w: %d bytes, at most %d", ErrTooLarge, len(data), c.limits.MaxBytes)
	}
	return int(binary.BigEndian.Uint32(data[1:])), data[wireHeader:], nil
}

// schema is a schema in the forms that reading and resolving need.
type schema struct {
	name     string // full name of its record; of another type its type
	text     string
	avro     *avro.Schema
	shape    *shape // nil when shapeErr says why
	shapeErr error
}

// readSchema compiles a schema's text.
func readSchema(text string) (s *schema, err error) {
	defer recoverTo(&err, "read schema")
	parsed, err := avro.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("%w: not a valid Avro schema: %w", ErrMalformed, err)
	}
	root := parsed.Root()
	s = &schema{text: text, avro: parsed, name: root.Type}
	if root.Type == "record" {
		s.name = root.Name
		if root.Namespace != "" {
			s.name = root.Namespace + "." + root.Name
		}
	}
	if s.shape, err = newShape(parsed); err != nil {
		s.shapeErr = fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return s, nil
}

// structCoder is the Avro library's part: it turns bytes of one schema into the struct made for it, and back. Nothing is
// asked of it that differs from that: what was written with another schema is resolved before.
type structCoder struct {
	shape    *shape
	delicate bool // shape has values to look at before they are encoded
	decoder  hamba.ValDecoder
	encoder  hamba.ValEncoder
}

// structCoder makes the coder of a schema and a struct; typ is the type of a pointer to it.
func (c *Codec) structCoder(s *schema, typ reflect2.Type) (sc *structCoder, err error) {
	defer recoverTo(&err, "make coder of "+s.name)
	if s.shapeErr != nil {
		return nil, s.shapeErr
	}
	// Each schema into a cache of names of its own: two versions of a record share its name.
	h, err := hamba.ParseWithCache(s.text, "", &hamba.SchemaCache{})
	if err != nil {
		return nil, fmt.Errorf("%w: schema: %w", ErrMalformed, err)
	}
	if err := s.shape.fits(typ.Type1().Elem()); err != nil {
		return nil, err
	}
	return &structCoder{shape: s.shape, delicate: s.shape.isDelicate(), decoder: c.api.DecoderOf(h, typ), encoder: c.api.EncoderOf(h, typ)}, nil
}

// decode fills record, a pointer to the coder's struct, from bytes of the coder's schema, or of another one that r turns
// into it.
func (c *Codec) decode(sc *structCoder, r *resolution, body []byte, record any) error {
	if r == nil || r.how == howCopy {
		if err := sc.shape.check(body, c.limits.MaxItems); err != nil {
			return err
		}
		return c.fill(sc, body, record)
	}
	scratch := c.scratch.Get().(*[]byte)
	defer c.scratch.Put(scratch)
	own, err := r.apply((*scratch)[:0], body, c.limits.MaxItems, maxGrowth*c.limits.MaxBytes)
	if err != nil {
		return err
	}
	*scratch = own
	return c.fill(sc, own, record)
}

// maxGrowth is how many times the largest value a resolved one may be.
const maxGrowth = 8

// fill decodes bytes that are known to be good. The library copies what it keeps of them.
func (c *Codec) fill(sc *structCoder, body []byte, record any) (err error) {
	defer recoverTo(&err, "decode")
	r := c.readers.Get().(*hamba.Reader)
	defer c.readers.Put(r)
	r.Reset(body)
	r.Error = nil
	sc.decoder.Decode(reflect2.PtrOf(record), r)
	r.Reset(nil) // or the pool would keep the body
	if r.Error != nil {
		return fmt.Errorf("%w: %w", ErrMalformed, r.Error)
	}
	return nil
}

// encode appends the Avro of record, a pointer to the coder's struct. What it appends, decode reads.
func (c *Codec) encode(dst []byte, sc *structCoder, record any) (out []byte, err error) {
	defer recoverTo(&err, "encode")
	if sc.delicate {
		if err := sc.shape.holds(reflect.ValueOf(record).Elem()); err != nil {
			return dst, err
		}
	}
	w := c.writers.Get().(*hamba.Writer)
	defer c.writers.Put(w)
	w.Reset(nil)
	w.Error = nil
	sc.encoder.Encode(reflect2.PtrOf(record), w)
	if w.Error != nil {
		return dst, w.Error
	}
	body := w.Buffer()
	if n := wireHeader + len(body); n > c.limits.MaxBytes {
		return dst, fmt.Errorf("%w: %d bytes, at most %d", ErrTooLarge, n, c.limits.MaxBytes)
	}
	if err := sc.shape.check(body, c.limits.MaxItems); err != nil {
		return dst, err
	}
	return append(dst, body...), nil
}

// recoverTo turns a panic into an error: the Avro library panics on some values, and one bad value must not end the
// process.
func recoverTo(err *error, doing string) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("%w: %s: %v", ErrMalformed, doing, p)
	}
}
