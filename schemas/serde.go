package schemas

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"sync"
	"sync/atomic"

	"github.com/modern-go/reflect2"
	"golang.org/x/sync/errgroup"
)

// Serde reads and writes the records of one topic: the types it is given, and no other. T is a generated pointer type, or
// the sealed interface that all its types belong to. Safe for concurrent use.
type Serde[T Record] struct {
	codec  *Codec
	topic  string
	level  Compatibility
	types  []*serdeType[T]
	byName map[string]*serdeType[T]
	byGo   map[uintptr]*serdeType[T] // by runtime type of the pointer

	mu      sync.Mutex                              // held to change readers
	readers atomic.Pointer[map[int]*serdeReader[T]] // by the writer's schema id; never changed, but replaced
	invalid error                                   // of a type that was given: every method reports it
}

// serdeType is one record type that this process knows.
type serdeType[T Record] struct {
	Type[T]
	schema *schema
	goType reflect2.Type // of the pointer
	coder  *structCoder
	id     atomic.Int64 // of its schema in the registry; 0 before it is registered
}

// serdeReader reads values written with one schema.
type serdeReader[T Record] struct {
	typ        *serdeType[T]
	resolution *resolution // nil when the schema is the type's own
	err        error       // why its values cannot be read, which will not change
}

// NewSerde makes a serde; it does no I/O. A type whose schema and struct do not belong together is reported by every
// method, Register first.
func NewSerde[T Record](c *Codec, topic string, level Compatibility, types ...Type[T]) *Serde[T] {
	s := &Serde[T]{codec: c, topic: topic, level: level, byName: map[string]*serdeType[T]{}, byGo: map[uintptr]*serdeType[T]{}}
	for _, t := range types {
		st, err := newSerdeType(c, t)
		if err == nil && s.byName[t.Name] != nil {
			err = errors.New("is given twice")
		}
		if err != nil {
			s.invalid = errors.Join(s.invalid, fmt.Errorf("type %s of topic %s: %w", t.Name, topic, err))
			continue
		}
		s.types = append(s.types, st)
		s.byName[t.Name] = st
		s.byGo[st.goType.RType()] = st
	}
	return s
}

func newSerdeType[T Record](c *Codec, t Type[T]) (st *serdeType[T], err error) {
	defer recoverTo(&err, "prepare")
	sch, err := readSchema(t.Schema)
	if err != nil {
		return nil, err
	}
	empty := any(t.New())
	typ := reflect2.TypeOf(empty)
	switch {
	case reflect2.IsNil(empty) || typ.Kind() != reflect.Pointer || typ.Type1().Elem().Kind() != reflect.Struct:
		return nil, fmt.Errorf("its New gives %T, not a pointer to a struct", empty)
	case sch.name != t.Name:
		return nil, fmt.Errorf("its schema is of record %s", sch.name)
	case t.New().AvroName() != t.Name:
		return nil, fmt.Errorf("its struct is record %s", t.New().AvroName())
	}
	coder, err := c.structCoder(sch, typ)
	if err != nil {
		return nil, err
	}
	if err := c.try(coder, t.New()); err != nil {
		return nil, err
	}
	return &serdeType[T]{Type: t, schema: sch, goType: typ, coder: coder}, nil
}

// Topic is the topic whose records this serde reads and writes.
func (s *Serde[T]) Topic() string { return s.topic }

// Register makes the types known to the registry: it sets each subject's compatibility level and registers each schema,
// under the subject "<topic>-<full name>". It may be repeated: what is there stays, and what is registered is not asked for
// again. An error names the subject and the registry's reason; it wraps ErrIncompatible when earlier versions object,
// ErrRegistryUnavailable when a later try may help. Append needs it.
func (s *Serde[T]) Register(ctx context.Context) error {
	if s.invalid != nil {
		return s.invalid
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(4) // a registry answers in milliseconds; a start should not wait for them one by one
	for _, t := range s.types {
		if t.id.Load() == 0 {
			g.Go(func() error { return s.register(ctx, t) })
		}
	}
	return g.Wait()
}

func (s *Serde[T]) register(ctx context.Context, t *serdeType[T]) error {
	subject := Subject(s.topic, t.Name)
	id, err := s.codec.reg.register(ctx, subject, t.Schema, s.level)
	if err != nil {
		return err
	}
	// What is written under the id is read by whatever the registry has there: that must be what was meant.
	there, err := s.codec.written.fetch(ctx, id)
	if err != nil {
		return fmt.Errorf("read back subject %s: %w", subject, err)
	}
	if there.name != t.Name || there.shapeErr != nil || !identical(there.shape, t.schema.shape) {
		return fmt.Errorf("register subject %s: the registry gave id %d, under which it has another schema: %s", subject, id, there.text)
	}
	s.setReader(id, &serdeReader[T]{typ: t})
	t.id.Store(int64(id))
	return nil
}

// Append appends a record in Confluent wire format to dst. It fails with ErrNotRegistered before Register, with
// ErrUnknownType for a record that is not of the serde's types, with ErrTooLarge beyond the codec's limits, and for a
// record that its schema cannot hold, such as a nil pointer. dst is then returned as it was.
func (s *Serde[T]) Append(dst []byte, v T) ([]byte, error) {
	if s.invalid != nil {
		return dst, s.invalid
	}
	t, err := s.typeOf(v)
	if err != nil {
		return dst, err
	}
	id := t.id.Load()
	if id == 0 {
		return dst, fmt.Errorf("encode %s for topic %s: %w: call Register first", t.Name, s.topic, ErrNotRegistered)
	}
	out := binary.BigEndian.AppendUint32(append(dst, wireMagic), uint32(id))
	if out, err = s.codec.encode(out, t.coder, v); err != nil {
		return dst, fmt.Errorf("encode %s for topic %s: %w", t.Name, s.topic, err)
	}
	return out, nil
}

// typeOf finds the type of a record by its Go type: a name alone could be claimed by any.
func (s *Serde[T]) typeOf(v T) (*serdeType[T], error) {
	record := any(v)
	if record == nil || reflect2.IsNil(record) {
		return nil, fmt.Errorf("encode for topic %s: the record is nil", s.topic)
	}
	t, ok := s.byGo[reflect2.RTypeOf(record)]
	if !ok {
		return nil, fmt.Errorf("encode for topic %s: %w: %T (%s)", s.topic, ErrUnknownType, record, v.AvroName())
	}
	return t, nil
}

// Decode reads a value. The schema it was written with is asked from the registry once and resolved to the one this
// process has: fields that are new here take their defaults, fields that are gone are passed over. An error wraps one of
// this package's: ErrRegistryUnavailable says nothing about the value, all others do.
func (s *Serde[T]) Decode(ctx context.Context, data []byte) (T, error) {
	var none T
	r, body, err := s.reader(ctx, data)
	if err != nil {
		return none, err
	}
	v := r.typ.New()
	if err := s.codec.decode(r.typ.coder, r.resolution, body, v); err != nil {
		return none, fmt.Errorf("decode %s: %w", r.typ.Name, err)
	}
	return v, nil
}

// TypeOf gives the type of a value without reading its record, and may ask the registry as Decode does.
func (s *Serde[T]) TypeOf(ctx context.Context, data []byte) (Type[T], error) {
	r, _, err := s.reader(ctx, data)
	if err != nil {
		return Type[T]{}, err
	}
	return r.typ.Type, nil
}

// reader finds what reads the value, and gives the value's record.
func (s *Serde[T]) reader(ctx context.Context, data []byte) (*serdeReader[T], []byte, error) {
	if s.invalid != nil {
		return nil, nil, s.invalid
	}
	id, body, err := s.codec.schemaID(data)
	if err != nil {
		return nil, nil, err
	}
	if readers := s.readers.Load(); readers != nil {
		if r, ok := (*readers)[id]; ok {
			return r, body, r.err
		}
	}
	writer, err := s.codec.written.get(ctx, id)
	if err != nil {
		return nil, nil, err
	}
	r := s.newReader(id, writer)
	s.setReader(id, r)
	return r, body, r.err
}

func (s *Serde[T]) newReader(id int, writer *schema) *serdeReader[T] {
	t, ok := s.byName[writer.name]
	if !ok {
		return &serdeReader[T]{err: fmt.Errorf("schema id %d on topic %s: %w: %s", id, s.topic, ErrUnknownType, writer.name)}
	}
	if writer.text == t.Schema {
		return &serdeReader[T]{typ: t}
	}
	r, err := resolveSchemas(writer, t.schema)
	if err != nil {
		return &serdeReader[T]{err: fmt.Errorf("schema id %d on topic %s: %w", id, s.topic, err)}
	}
	return &serdeReader[T]{typ: t, resolution: r}
}

// setReader is rare, once for each schema; looking up is not, and takes no lock.
func (s *Serde[T]) setReader(id int, r *serdeReader[T]) {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := map[int]*serdeReader[T]{}
	if old := s.readers.Load(); old != nil {
		maps.Copy(next, *old)
	}
	next[id] = r
	s.readers.Store(&next)
}
