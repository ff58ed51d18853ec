package generate

import (
	"strings"

	"github.com/twmb/avro"
)

// typeOf gives the Go type that holds an Avro type.
//
//	boolean, int, long, float, double, string   bool, int32, int64, float32, float64, string
//	bytes                                       []byte
//	timestamp-micros, timestamp-millis, date    time.Time (UTC; finer parts are cut off, a date must be midnight)
//	time-millis, time-micros                    time.Duration since midnight
//	decimal                                     *big.Rat, never nil, exact at the schema's scale or it is not encoded
//	uuid                                        string, or for fixed the fixed's type
//	enum E                                      type E string, with a constant for each symbol
//	fixed F                                     type F [size]byte
//	record R                                    R, by value
//	array of T, map of T                        []T, map[string]T
//	["null", T]                                 *T; []byte and []T stay as they are, nil is null
func (r *resolver) typeOf(p position, n avro.SchemaNode) (string, error) {
	if n.LogicalType != "" {
		return r.logicalType(p, n)
	}
	switch n.Type {
	case "boolean":
		return "bool", nil
	case "int":
		return "int32", nil
	case "long":
		return "int64", nil
	case "float":
		return "float32", nil
	case "double":
		return "float64", nil
	case "string":
		return "string", nil
	case "bytes":
		return "[]byte", nil
	case "array":
		item, err := r.typeOf(p.at("[]"), *n.Items)
		return "[]" + item, err
	case "map":
		value, err := r.typeOf(p.at("{}"), *n.Values)
		return "map[string]" + value, err
	case "union":
		return r.nullable(p, n)
	case "record":
		return r.define(p, n, func(name string) (named, error) {
			s, err := r.structOf(p, name, n)
			return named{record: s}, err
		})
	case "enum":
		return r.define(p, n, func(name string) (named, error) {
			e, err := r.enumOf(p, name, n)
			return named{enum: e}, err
		})
	case "fixed":
		return r.define(p, n, func(name string) (named, error) {
			return named{fixed: &goFixed{name: name, doc: n.Doc, size: n.Size}}, nil
		})
	case "null":
		return "", p.errorf("is always null and so says nothing: remove it, or make it a union of null and a type")
	case "error":
		return "", p.errorf("is of type error, which belongs to Avro's RPC protocol: use a record")
	}
	// What ExpandReferences left a name is a type that holds itself.
	return "", p.errorf("record %s holds itself: records that repeat inside themselves cannot be bounded: use an array beside it, or ids", n.Type)
}

func (r *resolver) logicalType(p position, n avro.SchemaNode) (string, error) {
	switch n.Type + " " + n.LogicalType {
	case "long timestamp-micros", "long timestamp-millis", "int date":
		r.imports["time"] = true
		return "time.Time", nil
	case "int time-millis", "long time-micros":
		r.imports["time"] = true
		return "time.Duration", nil
	case "string uuid":
		return "string", nil
	case "bytes decimal", "fixed decimal":
		r.imports["math/big"] = true
		return "*big.Rat", nil
	case "fixed uuid":
		n.LogicalType = ""
		return r.typeOf(p, n)
	}
	var remedy string
	switch {
	case strings.HasSuffix(n.LogicalType, "-nanos"):
		remedy = "use timestamp-micros: the platform keeps microseconds"
	case strings.HasPrefix(n.LogicalType, "local-timestamp"):
		remedy = "use timestamp-micros in UTC, and a string field for the time zone if it matters"
	case n.LogicalType == "duration":
		remedy = "use a long whose doc names its unit"
	default:
		remedy = "use one of timestamp-micros, timestamp-millis (long), date, time-millis (int), time-micros (long), decimal (bytes, fixed), uuid (string, fixed), or leave logicalType out"
	}
	return "", p.errorf("logical type %q of %s is not supported: %s", n.LogicalType, n.Type, remedy)
}

func (r *resolver) nullable(p position, n avro.SchemaNode) (string, error) {
	var other *avro.SchemaNode
	nulls := 0
	for i := range n.Branches {
		if n.Branches[i].Type == "null" {
			nulls++
		} else {
			other = &n.Branches[i]
		}
	}
	if len(n.Branches) != 2 || nulls != 1 {
		return "", p.errorf("is a union of %s: only [\"null\", T] is supported: make it a record with nullable fields, or several commands or events", branchNames(n))
	}
	switch {
	case other.Type == "map":
		return "", p.errorf("is a nullable map: make it a map with default {}")
	case other.LogicalType == "decimal":
		return "", p.errorf("is a nullable decimal: make it a decimal with a default, or a nullable record that holds one")
	}
	typ, err := r.typeOf(p, *other)
	if err != nil {
		return "", err
	}
	if strings.HasPrefix(typ, "[]") {
		return typ, nil
	}
	return "*" + typ, nil
}

func branchNames(n avro.SchemaNode) string {
	names := make([]string, len(n.Branches))
	for i, b := range n.Branches {
		names[i] = b.Type
		if b.Name != "" {
			names[i] = b.Name
		}
	}
	return strings.Join(names, ", ")
}

func (r *resolver) enumOf(p position, name string, n avro.SchemaNode) (*goEnum, error) {
	e := &goEnum{name: name, doc: n.Doc}
	for _, symbol := range n.Symbols {
		value, err := r.take(p, n.Name+"_"+symbol, "symbol "+symbol+" of enum "+n.Name)
		if err != nil {
			return nil, err
		}
		e.values = append(e.values, goValue{name: value, symbol: symbol})
	}
	return e, nil
}
