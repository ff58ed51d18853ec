package schemas_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/avro"
	"pgregory.net/rapid"

	"github.com/ledgerline-es/ledgerline/internal/generate/everything"
	"github.com/ledgerline-es/ledgerline/schemas"
)

// A writer's schema is drawn as some version that the reader's could have come from or could become: fields left out,
// added, moved, narrower types, enums with other symbols, unions the other way round. What the codec makes of the
// writer's bytes must be what the other library's resolution makes of them, or both must refuse the pair.
func TestDecode_OtherVersionsAsTheOtherLibraryReadsThem(t *testing.T) {
	srv, s := everythingSerde(t)
	reader, err := avro.Parse(everythingType(t).Schema)
	if err != nil {
		t.Fatal(err)
	}
	drawn, read, refused := 0, 0, 0
	rapid.Check(t, func(rt *rapid.T) {
		text, value, otherUnit := drawWriter(rt, everythingType(t).Schema)
		writer, err := avro.Parse(text)
		if err != nil {
			rt.Fatalf("the drawn schema is wrong: %v\n%s", err, text)
		}
		body, err := writer.AppendEncode(nil, value)
		if err != nil {
			rt.Fatalf("the drawn value is wrong: %v\n%s\n%v", err, text, value)
		}
		drawn++
		id := srv.written(t, fmt.Sprintf("drawn-%d", drawn), text)
		got, err := s.Decode(t.Context(), wire(id, body))
		resolved, otherErr := avro.Resolve(writer, reader)
		if otherErr != nil {
			refused++
			if !errors.Is(err, schemas.ErrIncompatible) {
				rt.Fatalf("the other library refuses: %v; the codec gave %+v, %v\n%s", otherErr, got, err, text)
			}
			return
		}
		// Here the codec is stricter: another unit makes another time of the same bytes.
		if otherUnit {
			if !errors.Is(err, schemas.ErrIncompatible) {
				rt.Fatalf("a changed unit was taken: %+v, %v\n%s", got, err, text)
			}
			return
		}
		want := &everything.Everything{}
		if _, otherErr = resolved.Decode(body, want); otherErr != nil {
			if err == nil {
				rt.Fatalf("the other library refuses the value: %v; the codec gave %+v\n%s", otherErr, got, text)
			}
			return
		}
		read++
		if err != nil {
			rt.Fatalf("the other library reads it, the codec says %v\n%s", err, text)
		}
		if !same(tidy(got.(*everything.Everything)), tidy(want)) {
			rt.Fatalf("codec %+v\nother %+v\n%s\n%v", got, want, text, value)
		}
	})
	t.Logf("%d pairs drawn, %d read, %d refused by both", drawn, read, refused)
	if read < drawn/2 {
		t.Errorf("only %d of %d pairs were compared", read, drawn)
	}
}

// tidy makes empty and nil the same where a schema knows no difference.
func tidy(e *everything.Everything) *everything.Everything {
	e.Tags = slices.Concat([]string{}, e.Tags)
	e.Places = slices.Concat([]everything.Place{}, e.Places)
	e.Matrix = slices.Concat([][]int32{}, e.Matrix)
	for i := range e.Matrix {
		e.Matrix[i] = slices.Concat([]int32{}, e.Matrix[i])
	}
	e.Holes = slices.Concat([]*int64{}, e.Holes)
	e.Raw = slices.Concat([]byte{}, e.Raw)
	return e
}

func everythingType(t testing.TB) schemas.Type[everything.Command] {
	t.Helper()
	for _, typ := range everything.Kind.Commands {
		if typ.ShortName() == "Everything" {
			return typ
		}
	}
	t.Fatal("no type Everything")
	return schemas.Type[everything.Command]{}
}

// drawWriter draws a schema that is a neighbour of the given one, and a generic value of it. otherUnit says that a time of
// the reader's is in another unit there.
func drawWriter(t *rapid.T, schema string) (text string, value map[string]any, otherUnit bool) {
	var record map[string]any
	if err := json.Unmarshal([]byte(schema), &record); err != nil {
		t.Fatal(err)
	}
	d := &drawer{T: t, places: map[string]any{}}
	var fields []any
	value = map[string]any{}
	all := record["fields"].([]any)
	perm := rapid.Permutation(indices(len(all))).Draw(t, "order")
	if rapid.Bool().Draw(t, "in order") {
		perm = indices(len(all))
	}
	for _, i := range perm {
		f := all[i].(map[string]any)
		name := f["name"].(string)
		if rapid.IntRange(0, 3).Draw(t, "drop "+name) == 0 {
			continue
		}
		typ := d.neighbour(name, f["type"])
		fields = append(fields, map[string]any{"name": name, "type": typ})
		value[name] = d.value(name, typ)
		if rapid.IntRange(0, 5).Draw(t, "add after "+name) == 0 {
			extra := rapid.SampledFrom([]string{
				`"string"`, `"long"`, `{"type":"array","items":{"type":"record","name":"X_NAME","fields":[{"name":"a","type":["null","bytes"]},{"name":"b","type":"double"}]}}`,
				`{"type":"map","values":{"type":"enum","name":"X_NAME","symbols":["P","Q"]}}`, `["null","boolean","string"]`, `{"type":"fixed","name":"X_NAME","size":3}`,
			}).Draw(t, "extra")
			var typ any
			if err := json.Unmarshal([]byte(strings.ReplaceAll(extra, "X_NAME", "X"+name)), &typ); err != nil {
				t.Fatal(err)
			}
			fields = append(fields, map[string]any{"name": "x_" + name, "type": typ})
			value["x_"+name] = d.value("x_"+name, typ)
		}
	}
	record["fields"] = fields
	out, err := json.Marshal(record)
	if err != nil {
		t.Fatal(err)
	}
	return string(out), value, d.otherUnit
}

func indices(n int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = i
	}
	return out
}

type drawer struct {
	*rapid.T
	places    map[string]any // named types defined so far
	otherUnit bool
}

// narrower are the types that Avro promotes to a type.
var narrower = map[string][]string{
	"long": {"int"}, "float": {"int", "long"}, "double": {"int", "long", "float"}, "string": {"bytes"}, "bytes": {"string"},
}

// neighbour draws a type that the type could have been. A name that is used before its definition was dropped or moved
// takes the definition along.
func (d *drawer) neighbour(label string, typ any) any {
	switch typ := typ.(type) {
	case string:
		if def, ok := everythingNames[typ]; ok {
			if _, ok := d.places[typ]; ok {
				return typ
			}
			return d.neighbour(label, def)
		}
		if typ != "null" && rapid.IntRange(0, 999).Draw(d.T, "break "+label) == 577 {
			return map[string]any{"type": "array", "items": "boolean"}
		}
		if n := narrower[typ]; n != nil && rapid.IntRange(0, 2).Draw(d.T, "narrow "+label) == 0 {
			return rapid.SampledFrom(n).Draw(d.T, "narrower "+label)
		}
		return typ
	case []any:
		branches := make([]any, len(typ))
		for i, b := range typ {
			branches[i] = d.neighbour(fmt.Sprintf("%s|%d", label, i), b)
		}
		switch rapid.IntRange(0, 3).Draw(d.T, "union "+label) {
		case 0:
			slices.Reverse(branches)
		case 1:
			for _, b := range branches {
				if b != "null" {
					return b
				}
			}
		}
		return branches
	case map[string]any:
		out := map[string]any{}
		maps.Copy(out, typ)
		name, named := typ["name"].(string)
		if named {
			if _, ok := d.places[name]; ok {
				return name
			}
		}
		switch typ["type"] {
		case "array":
			out["items"] = d.neighbour(label+"[]", typ["items"])
		case "map":
			out["values"] = d.neighbour(label+"{}", typ["values"])
		case "enum":
			symbols := rapid.SampledFrom([][]any{
				{"RED", "green", "DARK_BLUE", "OTHER"}, {"OTHER", "DARK_BLUE", "green", "RED"}, {"RED"}, {"PINK", "RED", "green", "OTHER"}, {"PINK"},
			}).Draw(d.T, "symbols")
			out["symbols"] = symbols
			delete(out, "default")
		case "record":
			fields := slices.Clone(typ["fields"].([]any))
			switch rapid.IntRange(0, 3).Draw(d.T, "place") {
			case 0:
				fields = fields[:2] // without the label, which has a default
			case 1:
				slices.Reverse(fields)
			case 2:
				fields = append(fields, map[string]any{"name": "height", "type": "int"})
			}
			for i, f := range fields {
				f := f.(map[string]any)
				fields[i] = map[string]any{"name": f["name"], "type": d.neighbour(label+"."+f["name"].(string), f["type"])}
			}
			out["fields"] = fields
		case "long":
			if typ["logicalType"] == "timestamp-micros" && rapid.IntRange(0, 9).Draw(d.T, "unit "+label) == 0 {
				out["logicalType"] = "timestamp-millis"
				d.otherUnit = true
			}
		}
		if named {
			d.places[name] = out
		}
		return out
	}
	d.Fatalf("no such type: %v", typ)
	return nil
}

// everythingNames are the types that Everything names, as it defines them.
var everythingNames = func() map[string]any {
	names := map[string]any{}
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case []any:
			for _, e := range v {
				walk(e)
			}
		case map[string]any:
			if name, ok := v["name"].(string); ok && v["type"] != nil && slices.Contains([]any{"record", "enum", "fixed"}, v["type"]) {
				names[name] = v
			}
			for _, e := range v {
				walk(e)
			}
		}
	}
	var record map[string]any
	for _, typ := range everything.Kind.Commands {
		if typ.ShortName() == "Everything" {
			_ = json.Unmarshal([]byte(typ.Schema), &record)
		}
	}
	walk(record["fields"])
	return names
}()

// value draws a generic value of a type.
func (d *drawer) value(label string, typ any) any {
	switch typ := typ.(type) {
	case string:
		switch typ {
		case "null":
			return nil
		case "boolean":
			return rapid.Bool().Draw(d.T, label)
		case "int":
			return rapid.Int32().Draw(d.T, label)
		case "long":
			return rapid.Int64Range(-1<<53, 1<<53).Draw(d.T, label)
		case "float":
			return rapid.Float32().Draw(d.T, label)
		case "double":
			return rapid.Float64().Draw(d.T, label)
		case "string":
			return rapid.String().Draw(d.T, label)
		case "bytes":
			return []byte(rapid.String().Draw(d.T, label)) // may be read as a string
		}
		return d.value(label, d.places[typ])
	case []any:
		i := rapid.IntRange(0, len(typ)-1).Draw(d.T, "branch of "+label)
		return d.value(label, typ[i])
	case map[string]any:
		switch typ["type"] {
		case "array":
			out := []any{}
			for i := range rapid.IntRange(0, 3).Draw(d.T, "length of "+label) {
				out = append(out, d.value(fmt.Sprintf("%s[%d]", label, i), typ["items"]))
			}
			return out
		case "map":
			out := map[string]any{}
			for i := range rapid.IntRange(0, 3).Draw(d.T, "length of "+label) {
				out[fmt.Sprint("k", i)] = d.value(fmt.Sprintf("%s{%d}", label, i), typ["values"])
			}
			return out
		case "record":
			out := map[string]any{}
			for _, f := range typ["fields"].([]any) {
				f := f.(map[string]any)
				out[f["name"].(string)] = d.value(label+"."+f["name"].(string), f["type"])
			}
			return out
		case "enum":
			return rapid.SampledFrom(typ["symbols"].([]any)).Draw(d.T, label)
		case "fixed":
			if typ["logicalType"] == "decimal" {
				return []byte{0, byte(rapid.IntRange(0, 15).Draw(d.T, label)), 7, 7} // fewer than its digits
			}
			size := int(reflect.ValueOf(typ["size"]).Convert(reflect.TypeFor[int]()).Int())
			return rapid.SliceOfN(rapid.Byte(), size, size).Draw(d.T, label)
		case "bytes":
			return []byte{byte(rapid.IntRange(0, 255).Draw(d.T, label)), 1}
		case "int":
			return rapid.Int32Range(0, 86399999).Draw(d.T, label)
		case "long":
			return rapid.Int64Range(0, 86399999999).Draw(d.T, label) // a time of day at most
		case "string":
			return "018f4d3c-7a00-7000-8000-000000000000"
		}
	}
	d.Fatalf("no such type: %v", typ)
	return nil
}
