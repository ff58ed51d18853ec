package schemas

import (
	"context"
	"encoding/binary"
	"fmt"
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

// schema is a schema in all the forms the codec needs.
type schema struct {
	name  string // full name of its record
	text  string
	hamba hamba.Schema
	avro  *avro.Schema
	shape *shape
}

// decoder reads bytes of one schema into one struct.
type decoder struct {
	wire *shape // of the bytes
	val  hamba.ValDecoder
}

// encoder writes one struct as bytes of one schema.
type encoder struct {
	wire *shape
	val  hamba.ValEncoder
}

// parse compiles a schema's text. Each goes into a cache of names of its own: two versions of a record share its name.
func parse(text string) (s *schema, err error) {
	defer recoverTo(&err, "parse schema")
	parsed, err := avro.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("%w: schema: %w", ErrMalformed, err)
	}
	root := parsed.Root()
	if root.Type != "record" {
		return nil, fmt.Errorf("%w: a schema of type %s, not a record", ErrUnknownType, root.Type)
	}
	h, err := hamba.ParseWithCache(text, "", &hamba.SchemaCache{})
	if err != nil {
		return nil, fmt.Errorf("%w: schema: %w", ErrMalformed, err)
	}
	sh, err := newShape(parsed)
	if err != nil {
		return nil, fmt.Errorf("%w: schema: %w", ErrMalformed, err)
	}
	name := root.Name
	if root.Namespace != "" {
		name = root.Namespace + "." + root.Name
	}
	return &schema{name: name, text: text, hamba: h, avro: parsed, shape: sh}, nil
}

// decoder makes what reads bytes of the writer's schema into a struct made for the reader's. typ is the pointer's type.
func (c *Codec) decoder(writer, reader *schema, typ reflect2.Type) (d decoder, err error) {
	defer recoverTo(&err, "make decoder of "+reader.name)
	if writer.text == reader.text {
		return decoder{wire: reader.shape, val: c.api.DecoderOf(reader.hamba, typ)}, nil
	}
	if err := readable(writer.avro, reader.avro); err != nil {
		return decoder{}, fmt.Errorf("%w: %w", ErrIncompatible, err)
	}
	// A fresh one each time: it remembers answers by a fingerprint that overlooks defaults.
	resolved, err := hamba.NewSchemaCompatibility().Resolve(reader.hamba, writer.hamba)
	if err != nil {
		return decoder{}, fmt.Errorf("%w: %w", ErrIncompatible, err)
	}
	return decoder{wire: writer.shape, val: c.api.DecoderOf(resolved, typ)}, nil
}

// decode fills record, a pointer to the struct that d was made for.
func (c *Codec) decode(d *decoder, body []byte, record any) (err error) {
	if err := d.wire.check(body, c.limits.MaxItems); err != nil {
		return err
	}
	defer recoverTo(&err, "decode")
	r := c.readers.Get().(*hamba.Reader)
	defer c.readers.Put(r)
	r.Reset(body)
	r.Error = nil
	d.val.Decode(reflect2.PtrOf(record), r)
	if r.Error != nil {
		return fmt.Errorf("%w: %w", ErrMalformed, r.Error)
	}
	return nil
}

// encode appends the Avro of record, a pointer to the struct that t was made for. What it appends, decode reads.
func (c *Codec) encode(dst []byte, e *encoder, record any) (out []byte, err error) {
	defer recoverTo(&err, "encode")
	w := c.writers.Get().(*hamba.Writer)
	defer c.writers.Put(w)
	w.Reset(nil)
	w.Error = nil
	e.val.Encode(reflect2.PtrOf(record), w)
	if w.Error != nil {
		return dst, w.Error
	}
	body := w.Buffer()
	if n := wireHeader + len(body); n > c.limits.MaxBytes {
		return dst, fmt.Errorf("%w: %d bytes, at most %d", ErrTooLarge, n, c.limits.MaxBytes)
	}
	if err := e.wire.check(body, c.limits.MaxItems); err != nil {
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

// writer gives the schema with an id, from the cache or from the registry.
func (c *Codec) writer(ctx context.Context, id int) (*schema, error) { return c.written.get(ctx, id) }
