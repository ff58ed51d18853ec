package generate

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/twmb/avro"
)

// model is a folder as Go sees it.
type model struct {
	isKind  bool
	records []*record // those with a file of their own: commands, events, state, or plain ones
	nested  []named   // what they hold, in order of first mention
	imports map[string]bool
}

// record is one schema file.
type record struct {
	source
	goStruct
	fullName string
}

// named is a Go type that a nested record, enum or fixed became: one of its fields is set.
type named struct {
	record *goStruct
	enum   *goEnum
	fixed  *goFixed
}

type goStruct struct {
	name, doc string
	fields    []goField
}

type goField struct {
	name, avro, typ, doc string
}

type goEnum struct {
	name, doc string
	values    []goValue
}

type goValue struct{ name, symbol string }

type goFixed struct {
	name, doc string
	size      int
}

// resolver turns Avro types into Go types, and remembers which Go names are taken by what.
type resolver struct {
	model
	defined map[string]definition // by full Avro name
	taken   map[string]string     // Go name → what has it
}

type definition struct {
	goName string
	node   avro.SchemaNode
	path   string
}

// position says where in a file the resolver stands, for errors.
type position struct {
	path  string
	field string // dotted; empty at the record itself
}

func (p position) at(field string) position {
	if p.field != "" {
		field = p.field + "." + field
	}
	return position{path: p.path, field: field}
}

func (p position) errorf(format string, args ...any) error {
	where := p.path
	if p.field != "" {
		where += ": field " + p.field
	}
	return fmt.Errorf("%s: %w", where, fmt.Errorf(format, args...))
}

func resolve(f *folder) (*model, error) {
	r := &resolver{
		model:   model{isKind: f.isKind, imports: map[string]bool{}},
		defined: map[string]definition{},
		taken:   map[string]string{},
	}
	if f.isKind {
		for _, name := range []string{"Kind", "Command", "Event"} {
			r.taken[name] = "the generated " + name
		}
	}
	// The files' own records first: a nested record must not take one of their names.
	for _, s := range f.sources {
		p := position{path: s.path}
		full := s.root.Namespace + "." + s.root.Name
		if old, ok := r.defined[full]; ok {
			return nil, p.errorf("record %s is in %s too: a record has one file", full, old.path)
		}
		name, err := r.take(p, s.root.Name, full)
		if err != nil {
			return nil, err
		}
		expanded := s.root.ExpandReferences()
		r.defined[full] = definition{goName: name, node: *expanded, path: s.path}
		r.records = append(r.records, &record{source: s, fullName: full, goStruct: goStruct{name: name}})
		if !f.isKind {
			if _, err := r.take(p, s.root.Name+"Type", "the generated variable of "+full); err != nil {
				return nil, err
			}
		}
	}
	for _, rec := range r.records {
		st, err := r.structOf(position{path: rec.path}, rec.name, r.defined[rec.fullName].node)
		if err != nil {
			return nil, err
		}
		for _, field := range st.fields {
			if field.name == "AvroName" {
				return nil, position{path: rec.path, field: field.avro}.errorf("its Go name AvroName is taken by the record's method: rename the field")
			}
		}
		rec.goStruct = *st
	}
	return &r.model, nil
}

// take reserves a Go name.
func (r *resolver) take(p position, avroName, what string) (string, error) {
	name := goName(avroName)
	if other, ok := r.taken[name]; ok {
		return "", p.errorf("%s would be %s in Go, and so is %s: rename one of them", what, name, other)
	}
	r.taken[name] = what
	return name, nil
}

func (r *resolver) structOf(p position, name string, n avro.SchemaNode) (*goStruct, error) {
	s := &goStruct{name: name, doc: n.Doc}
	seen := map[string]string{}
	for _, f := range n.Fields {
		fp := p.at(f.Name)
		field := goField{name: goName(f.Name), avro: f.Name, doc: fieldDoc(f)}
		if other, ok := seen[field.name]; ok {
			return nil, fp.errorf("would be %s in Go, and so is field %s: rename one of them", field.name, other)
		}
		seen[field.name] = f.Name
		if _, ok := f.Props["logicalType"]; ok {
			return nil, fp.errorf("logicalType stands beside the type, where readers overlook it: write \"type\": {\"type\": …, \"logicalType\": …}")
		}
		if err := checkDefault(fp, f); err != nil {
			return nil, err
		}
		typ, err := r.typeOf(fp, f.Type)
		if err != nil {
			return nil, err
		}
		field.typ = typ
		s.fields = append(s.fields, field)
	}
	return s, nil
}

// checkDefault refuses what some codecs, ours among them, cannot keep: they hold numbers as float64 on the way.
func checkDefault(p position, f avro.SchemaField) error {
	const exact = 1 << 53
	if n, ok := f.Default.(int64); ok && (n > exact || n < -exact) {
		return p.errorf("default %d is beyond ±2^53, where codecs lose digits: use a smaller default, or a nullable field", n)
	}
	return nil
}

// define gives the Go name of a nested named type; build is called when it is met first.
func (r *resolver) define(p position, n avro.SchemaNode, build func(goName string) (named, error)) (string, error) {
	full := n.Name
	if n.Namespace != "" {
		full = n.Namespace + "." + n.Name
	}
	if d, ok := r.defined[full]; ok {
		if !reflect.DeepEqual(plainNode(d.node), plainNode(n)) {
			return "", p.errorf("%s is defined otherwise in %s: one name has one definition", full, d.path)
		}
		return d.goName, nil
	}
	name, err := r.take(p, n.Name, full)
	if err != nil {
		return "", err
	}
	r.defined[full] = definition{goName: name, node: n, path: p.path}
	at := len(r.nested)
	r.nested = append(r.nested, named{}) // its place, before what it holds itself
	built, err := build(name)
	if err != nil {
		return "", err
	}
	r.nested[at] = built
	return name, nil
}

// plainNode is what counts when two definitions of one name are compared.
func plainNode(n avro.SchemaNode) any {
	type field struct {
		name, doc  string
		typ        any
		def        any
		hasDefault bool
	}
	type node struct {
		typ, logical, name, space string
		fields                    []field
		items, values             any
		branches                  []any
		symbols                   []string
		size, precision, scale    int
		enumDefault               string
	}
	out := node{
		typ: n.Type, logical: n.LogicalType, name: n.Name, space: n.Namespace, symbols: n.Symbols, size: n.Size,
		precision: n.Precision, scale: n.Scale, enumDefault: n.EnumDefault,
	}
	for _, f := range n.Fields {
		out.fields = append(out.fields, field{f.Name, f.Doc, plainNode(f.Type), f.Default, f.HasDefault})
	}
	if n.Items != nil {
		out.items = plainNode(*n.Items)
	}
	if n.Values != nil {
		out.values = plainNode(*n.Values)
	}
	for _, b := range n.Branches {
		out.branches = append(out.branches, plainNode(b))
	}
	return out
}

// fieldDoc is the field's doc, and its default where Go's zero value would be taken for it.
func fieldDoc(f avro.SchemaField) string {
	doc := strings.TrimSpace(f.Doc)
	var def string
	switch v := f.Default.(type) {
	case string:
		def = fmt.Sprintf("%q", v)
	case bool, int32, int64, float32, float64:
		def = fmt.Sprint(v)
	default:
		def = "in the schema"
	}
	if f.HasDefault && !isZero(f.Default) {
		doc = strings.TrimSpace(doc + " Default " + def + ".")
	}
	return doc
}

func isZero(v any) bool {
	switch v := v.(type) {
	case nil:
		return true
	case []any:
		return len(v) == 0
	case []byte:
		return len(v) == 0
	case map[string]any:
		return len(v) == 0
	}
	return reflect.ValueOf(v).IsZero()
}

// byRole gives the records of one role.
func (m *model) byRole(want role) []*record {
	return slices.DeleteFunc(slices.Clone(m.records), func(r *record) bool { return r.role != want })
}
