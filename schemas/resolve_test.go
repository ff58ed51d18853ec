package schemas

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/twmb/avro"
)

func record(fields string) string {
	return `{"type":"record","name":"R","namespace":"n","fields":[` + fields + `]}`
}

func resolved(t *testing.T, writer, reader string) *resolution {
	t.Helper()
	w, err := readSchema(record(writer))
	if err != nil {
		t.Fatal(err)
	}
	r, err := readSchema(record(reader))
	if err != nil {
		t.Fatal(err)
	}
	res, err := resolveSchemas(w, r)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

// What generated code cannot have, other readers may: unions of several types, renamed fields, many fields.
func TestResolve_BeyondGeneratedCode(t *testing.T) {
	many := func(order func(i int) int) string {
		fields := make([]string, 40)
		for i := range fields {
			fields[i] = `{"name":"f` + string(rune('a'+order(i)%26)) + strings.Repeat("x", order(i)/26) + `","type":"int"}`
		}
		return strings.Join(fields, ",")
	}
	var backwards, forwards []byte
	for i := range 40 {
		backwards = appendLong(backwards, int64(39-i))
		forwards = appendLong(forwards, int64(i))
	}
	for name, c := range map[string]struct {
		writer, reader string
		in, out        []byte
	}{
		"renamed":                             {`{"name":"old","type":"long"},{"name":"x","type":"string"}`, `{"name":"y","type":"string","aliases":["x"]},{"name":"new","type":"long","aliases":["older","old"]}`, []byte("\x0e\x02!"), []byte("\x02!\x0e")},
		"into the union's branch of its type": {`{"name":"f","type":"string"}`, `{"name":"f","type":["null","bytes","string"]}`, []byte("\x02!"), []byte("\x04\x02!")},
		"into the union's first that will do": {`{"name":"f","type":"int"}`, `{"name":"f","type":["null","double","long"]}`, []byte("\x02"), []byte("\x02\x00\x00\x00\x00\x00\x00\xf0\x3f")},
		"union to union, each by its type":    {`{"name":"f","type":["int","string","null"]}`, `{"name":"f","type":["null","string","int"]}`, []byte("\x00\x08"), []byte("\x04\x08")},
		"union to its one type":               {`{"name":"f","type":["int"]}`, `{"name":"f","type":"long"}`, []byte("\x00\x08"), []byte("\x08")},
		"named branches":                      {`{"name":"f","type":[{"type":"enum","name":"E","symbols":["A"]},{"type":"fixed","name":"F","size":1}]}`, `{"name":"f","type":[{"type":"fixed","name":"F","size":1},{"type":"enum","name":"E","symbols":["B","A"]}]}`, []byte("\x02!"), []byte("\x00!")},
		"forty fields turned round":           {many(func(i int) int { return 39 - i }), many(func(i int) int { return i }), backwards, forwards},
	} {
		got, err := resolved(t, c.writer, c.reader).apply(nil, c.in, 1000, 1000)
		if err != nil || !bytes.Equal(got, c.out) {
			t.Errorf("%s: %x, %v; want %x", name, got, err, c.out)
			continue
		}
		// The other library, decoding without a struct, finds the same.
		w, r := avro.MustParse(record(c.writer)), avro.MustParse(record(c.reader))
		both, err := avro.Resolve(w, r)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var ours, theirs any
		if _, err := r.Decode(got, &ours); err != nil {
			t.Errorf("%s: ours: %v", name, err)
		}
		if _, err := both.Decode(c.in, &theirs); err != nil {
			t.Errorf("%s: theirs: %v", name, err)
		}
		if a, b := must(r.EncodeJSON(ours, avro.TaggedUnions())), must(r.EncodeJSON(theirs, avro.TaggedUnions())); a != b {
			t.Errorf("%s: ours %s, theirs %s", name, a, b)
		}
	}
}

func must(b []byte, err error) string {
	if err != nil {
		return err.Error()
	}
	return string(b)
}

func TestResolve_DefaultsDoNotGrowWithoutLimit(t *testing.T) {
	r := resolved(t, `{"name":"f","type":{"type":"array","items":{"type":"record","name":"I","fields":[]}}}`,
		`{"name":"f","type":{"type":"array","items":{"type":"record","name":"I","fields":[{"name":"long","type":"string","default":"`+strings.Repeat("x", 1000)+`"}]}}}`)
	in := append(appendLong(nil, 10_000), 0)
	if out, err := r.apply(nil, in, 20_000, 1<<20); !errors.Is(err, ErrTooLarge) || len(out) > 2<<20 {
		t.Errorf("%d bytes, %v", len(out), err)
	}
	if out, err := r.apply(nil, in, 20_000, 1<<24); err != nil || len(out) < 10_000_000 {
		t.Errorf("%d bytes, %v", len(out), err)
	}
	if _, err := r.apply(nil, in, 9_999, 1<<24); !errors.Is(err, ErrTooLarge) {
		t.Errorf("more items than allowed: %v", err)
	}
}

func TestResolve_BlocksAndSizes(t *testing.T) {
	r := resolved(t, `{"name":"f","type":{"type":"array","items":"int"}},{"name":"m","type":{"type":"map","values":"int"}}`, `{"name":"m","type":{"type":"map","values":"double"}},{"name":"f","type":{"type":"array","items":"double"}}`)
	// Two blocks, the second with its size; a map of one block with its size.
	in := []byte("\x02\x02\x03\x04\x04\x06\x00\x01\x06\x02k\x02\x00")
	want := "\x02\x02k\x00\x00\x00\x00\x00\x00\xf0\x3f\x00\x02\x00\x00\x00\x00\x00\x00\xf0\x3f\x04\x00\x00\x00\x00\x00\x00\x00\x40\x00\x00\x00\x00\x00\x00\x08\x40\x00"
	got, err := r.apply(nil, in, 1000, 1000)
	if err != nil || string(got) != want {
		t.Errorf("%x, %v; want %x", got, err, want)
	}
	in[3]++ // the block's size is now one too many
	if got, err := r.apply(nil, in, 1000, 1000); !errors.Is(err, ErrMalformed) {
		t.Errorf("a block of another size: %x, %v", got, err)
	}
}
