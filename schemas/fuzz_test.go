package schemas_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/ledgerline-es/ledgerline/internal/generate/everything"
	"github.com/ledgerline-es/ledgerline/schemas"
	"github.com/ledgerline-es/ledgerline/schemas/account"
)

// sentinels are the errors that Decode may give for a value; there is no other way to fail.
var sentinels = []error{schemas.ErrNotWireFormat, schemas.ErrTruncated, schemas.ErrTrailingBytes, schemas.ErrMalformed, schemas.ErrTooLarge, schemas.ErrUnknownSchema, schemas.ErrUnknownType}

func isSentinel(err error) bool {
	for _, s := range sentinels {
		if errors.Is(err, s) {
			return true
		}
	}
	return false
}

// FuzzDecode reads any bytes as every type, of today's schema and of other versions. Nothing panics, an error is one of
// this package's, memory stays bounded, and what does decode gives the same when it is written and read again.
func FuzzDecode(f *testing.F) {
	srv, s := everythingSerde(f)
	today := everythingType(f).Schema
	ids := []int{
		srv.written(f, "fuzz-0", today),
		srv.written(f, "fuzz-1", withoutFields(f, today, "flag", "places", "at", "maybe_place")),
		srv.written(f, "fuzz-2", withFields(f, today,
			map[string]any{"name": "nothings", "type": map[string]any{"type": "array", "items": "null"}},
			map[string]any{"name": "more", "type": map[string]any{"type": "map", "values": map[string]any{"type": "array", "items": "double"}}})),
		srv.written(f, "fuzz-3", otherTypes(f, today)),
		// A field of nothings alone takes no bytes, however many there are.
		srv.written(f, "fuzz-4", `{"type":"record","name":"Everything","namespace":"ledgerline.everything","fields":[{"name":"holes","type":{"type":"array","items":"null"}}]}`),
	}
	v, err := s.FromJSON("Everything", []byte("{}"))
	if err != nil {
		f.Fatal(err)
	}
	whole, err := s.Append(nil, v)
	if err != nil {
		f.Fatal(err)
	}
	for i := range ids {
		f.Add(uint8(i), whole[5:])
		f.Add(uint8(i), whole[5:len(whole)/2])
	}
	for _, hostile := range hostiles {
		for i := range ids {
			f.Add(uint8(i), hostile)
		}
	}
	f.Fuzz(func(t *testing.T, which uint8, body []byte) {
		v, err := s.Decode(t.Context(), wire(ids[int(which)%len(ids)], body))
		if err != nil {
			if !isSentinel(err) {
				t.Fatalf("not an error of ours: %v", err)
			}
			return
		}
		data, err := s.Append(nil, v)
		if errors.Is(err, schemas.ErrTooLarge) {
			return
		}
		if err != nil {
			t.Fatalf("read but not written: %v\n%+v", err, v)
		}
		again, err := s.Decode(t.Context(), data)
		if err != nil {
			t.Fatalf("written but not read: %v", err)
		}
		twice, err := s.Append(nil, again)
		if err != nil {
			t.Fatal(err)
		}
		// Maps come in any order; then the bytes are the same only in number.
		if len(twice) != len(data) || len(v.(*everything.Everything).Counts) < 2 && len(v.(*everything.Everything).ByName) < 2 && len(v.(*everything.Everything).MapOfHoles) < 2 && !bytes.Equal(twice, data) {
			t.Fatalf("%x became %x", data, twice)
		}
	})
}

// otherTypes is a schema of types that become those of today's.
func otherTypes(t testing.TB, schema string) string {
	return edit(t, schema, func(record map[string]any) {
		types := map[string]any{
			"text": "bytes", "exact": "long", "big": "int", "maybe_big": "int", "surely_text": []any{"null", "bytes"},
			"color":  map[string]any{"type": "enum", "name": "Color", "symbols": []any{"PINK", "OTHER", "RED"}},
			"matrix": map[string]any{"type": "array", "items": map[string]any{"type": "array", "items": "int"}},
		}
		for _, f := range record["fields"].([]any) {
			f := f.(map[string]any)
			if typ, ok := types[f["name"].(string)]; ok {
				f["type"] = typ
				delete(f, "default")
			}
		}
	})
}

// FuzzDecodeEvent is FuzzDecode for the events of the account kind, header included.
func FuzzDecodeEvent(f *testing.F) {
	srv := newServer(f)
	s := schemas.NewSerde(schemas.NewCodec(srv.reg), "account.events", schemas.FullTransitive, account.Kind.Events...)
	if err := s.Register(f.Context()); err != nil {
		f.Fatal(err)
	}
	kept, err := filepath.Glob("account/testdata/golden/*/*.hex")
	if err != nil || len(kept) == 0 {
		f.Fatal("no golden bytes", err)
	}
	for _, path := range kept {
		text, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		body, err := hex.DecodeString(strings.TrimSpace(string(text)))
		if err != nil {
			f.Fatal(err)
		}
		for id := range 7 {
			f.Add(wire(id, body))
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		v, err := s.Decode(t.Context(), data)
		if err != nil {
			if !isSentinel(err) {
				t.Fatalf("not an error of ours: %v", err)
			}
			return
		}
		again, err := s.Append(nil, v)
		if err != nil {
			t.Fatal(err)
		}
		if len(again) > len(data) { // a number may have been written longer than it must
			t.Fatalf("%x became %x", data, again)
		}
	})
}

// FuzzFromJSON reads any document; what it takes, ToJSON gives back in the same meaning.
func FuzzFromJSON(f *testing.F) {
	_, s := everythingSerde(f)
	v, err := s.FromJSON("Everything", []byte("{}"))
	if err != nil {
		f.Fatal(err)
	}
	doc, err := s.ToJSON(v)
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{"{}", string(doc), `{"big":-9223372036854775808,"ratio":"NaN","rate":"-99999.9999"}`, `{"origin":{"lat":1e308,"lon":-0}}`, `{"maybe_raw":"","text":"\ud800"}`, `[`, ``, "{\"a\":\xff}"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, doc []byte) {
		v, err := s.FromJSON("Everything", doc)
		if err != nil {
			if !errors.Is(err, schemas.ErrInvalidJSON) {
				t.Fatalf("not an error of ours: %v", err)
			}
			return
		}
		out, err := s.ToJSON(v)
		if errors.Is(err, schemas.ErrTooLarge) {
			return
		}
		if err != nil {
			t.Fatalf("taken but not given back: %v", err)
		}
		again, err := s.FromJSON("Everything", out)
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		if e := v.(*everything.Everything); e.Ratio == e.Ratio && e.Exact == e.Exact && !hasNaN(out) && !same(v, again) {
			t.Fatalf("%s became %+v, was %+v", out, again, v)
		}
	})
}

func hasNaN(doc []byte) bool { return bytes.Contains(doc, []byte(`"NaN"`)) }

// hostiles are bytes that have brought decoders down.
var hostiles = [][]byte{
	nil,
	{0x80}, // a number that does not end
	bytes.Repeat([]byte{0xff}, 11),
	{0xfe, 0xff, 0xff, 0xff, 0x0f}, // an array of 2^31 items
	{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01},    // of -2^63
	{0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01, 0}, // of 2^63-1
	{0x01, 0xfe, 0xff, 0xff, 0xff, 0x0f, 0, 0},                      // a block that says 2 GB
	bytes.Repeat([]byte{0x02, 0x00}, 1000),
	bytes.Repeat([]byte{0xfe, 0xff, 0x03}, 1000), // blocks of 32,767 nothings
}

// TestDecode_HostileBytesTakeLittleMemory measures what the fuzzers cannot: no value makes Decode allocate out of
// proportion.
func TestDecode_HostileBytesTakeLittleMemory(t *testing.T) {
	srv, s := everythingSerde(t)
	one := func(name, typ string) int {
		return srv.written(t, name, `{"type":"record","name":"Everything","namespace":"ledgerline.everything","fields":[`+typ+`]}`)
	}
	for name, id := range map[string]int{
		"array of longs":    one("h1", `{"name":"holes","type":{"type":"array","items":"long"}}`),
		"array of nothings": one("h2", `{"name":"holes","type":{"type":"array","items":"null"}}`),
		"map":               one("h3", `{"name":"counts","type":{"type":"map","values":"long"}}`),
		"text":              one("h4", `{"name":"text","type":"string"}`),
		"places":            one("h5", `{"name":"places","type":{"type":"array","items":{"type":"record","name":"Place","fields":[{"name":"lat","type":"int"},{"name":"lon","type":"int"}]}}}`),
		"passed over":       one("h6", `{"name":"gone","type":{"type":"array","items":{"type":"record","name":"N","fields":[]}}}`),
		"matrix":            one("h7", `{"name":"matrix","type":{"type":"array","items":{"type":"array","items":"int"}}}`),
		"decimal":           one("h8", `{"name":"rate","type":{"type":"bytes","logicalType":"decimal","precision":9,"scale":4}}`),
	} {
		bodies := append([][]byte{}, hostiles...)
		bodies = append(bodies, bytes.Repeat([]byte{0x02, 0x00}, 500_000), bytes.Repeat([]byte{0x80, 0x08}, 500_000),
			append([]byte{0xfe, 0xff, 0x7f}, make([]byte, 1_000_000)...), // as many of one byte as fit
			append([]byte{0xfe, 0x87, 0x7a}, bytes.Repeat([]byte{0x7f}, 999_000)...))
		for i, body := range bodies {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := s.Decode(t.Context(), wire(id, body))
			runtime.ReadMemStats(&after)
			if used := after.TotalAlloc - before.TotalAlloc; used > 32<<20 {
				t.Errorf("%s, body %d of %d bytes: %d MiB allocated, %v", name, i, len(body), used>>20, err)
			}
			if err != nil && !isSentinel(err) {
				t.Errorf("%s, body %d: %v", name, i, err)
			}
		}
	}
}
