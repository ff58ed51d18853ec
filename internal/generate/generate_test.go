package generate_test

import (
	"bytes"
	"fmt"
	"go/format"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ledgerline-es/ledgerline/internal/generate"
)

// folders are those whose code is kept in this module; schemas/generate.go and the Makefile name the same.
var folders = []string{"everything", "../../schemas/account", "../../schemas/ledgerline"}

func TestGeneratedCodeIsUpToDate(t *testing.T) {
	for _, dir := range folders {
		if err := generate.Check(dir); err != nil {
			t.Error(err)
		}
	}
}

func TestFolders_FindsKindsAndPlainRecords(t *testing.T) {
	have, err := generate.Folders("../..")
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"../../examples/orders/schemas/order", "../../internal/generate/everything", "../../schemas/account", "../../schemas/ledgerline"}
	if !slices.Equal(have, want) {
		t.Errorf("found %v, wanted %v", have, want)
	}
	if at, err := generate.Folders("../../schemas/account/commands"); err != nil || len(at) != 1 || at[0] != "../../schemas/account" {
		t.Errorf("in a kind's folder of commands it finds %v, %v", at, err)
	}
	if _, err := generate.Folders(t.TempDir()); err == nil || !strings.Contains(err.Error(), "there are no .avsc files in or below") {
		t.Errorf("in an empty folder it says %v", err)
	}
}

func TestGenerate_SameBytesEachTimeAndFormatted(t *testing.T) {
	for _, dir := range folders {
		first, err := generate.Generate(dir)
		if err != nil {
			t.Fatal(err)
		}
		for range 5 {
			again, err := generate.Generate(dir)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(first[0].Content, again[0].Content) {
				t.Fatalf("%s: the second time the code is another", dir)
			}
		}
		formatted, err := format.Source(first[0].Content)
		if err != nil || !bytes.Equal(formatted, first[0].Content) {
			t.Errorf("%s: not gofmt'd: %v", dir, err)
		}
		if !bytes.HasPrefix(first[0].Content, []byte("// Code generated ")) || !bytes.Contains(first[0].Content, []byte("; DO NOT EDIT.\n")) {
			t.Errorf("%s: tools cannot tell that the code is generated", dir)
		}
	}
}

// folder writes schemas into a folder of a kind's name.
func folder(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "shop")
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func record(name, fields string) string {
	return fmt.Sprintf(`{"type":"record","name":%q,"namespace":"shop","fields":[%s]}`, name, fields)
}

func field(name, typ string) string { return fmt.Sprintf(`{"name":%q,"type":%s}`, name, typ) }

func TestCheck_MissingStaleAndEdited(t *testing.T) {
	dir := folder(t, map[string]string{"Sale.avsc": record("Sale", field("a", `"long"`))})
	if err := generate.Check(dir); err == nil || !strings.Contains(err.Error(), "shop.gen.go is missing") {
		t.Fatalf("nothing generated yet: %v", err)
	}
	changed, err := generate.Write(dir)
	if err != nil || len(changed) != 1 {
		t.Fatalf("wrote %v, %v", changed, err)
	}
	if err := generate.Check(dir); err != nil {
		t.Fatal(err)
	}
	if changed, err = generate.Write(dir); err != nil || len(changed) != 0 {
		t.Fatalf("wrote %v, %v though nothing had changed", changed, err)
	}
	if err := os.WriteFile(filepath.Join(dir, "Sale.avsc"), []byte(record("Sale", field("b", `"long"`))), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := generate.Check(dir); err == nil || !strings.Contains(err.Error(), "stale") {
		t.Fatalf("a schema changed: %v", err)
	}
}

func TestGenerate_ErrorsNameFileFieldAndRemedy(t *testing.T) {
	const ok = `"long"`
	one := func(typ string) map[string]string {
		return map[string]string{"Sale.avsc": record("Sale", field("price", typ))}
	}
	kind := func(change map[string]string) map[string]string {
		files := map[string]string{
			"state.avsc":          record("State", field("a", ok)),
			"commands/Buy.avsc":   record("Buy", field("a", ok)),
			"events/Bought.avsc":  record("Bought", field("a", ok)),
			"events/Shipped.avsc": record("Shipped", field("a", ok)),
		}
		for name, content := range change {
			if content == "" {
				delete(files, name)
				continue
			}
			files[name] = content
		}
		return files
	}
	for name, c := range map[string]struct {
		files map[string]string
		says  []string
	}{
		"nothing there":      {map[string]string{"README": "x"}, []string{"holds no schemas"}},
		"not JSON":           {map[string]string{"Sale.avsc": "{\n\"type\": \"record\",\n}"}, []string{"Sale.avsc:3", "not JSON"}},
		"unknown type":       {one(`"money"`), []string{"Sale.avsc: field price", "money"}},
		"wrong default":      {map[string]string{"Sale.avsc": record("Sale", `{"name":"a","type":"long","default":"x"}`)}, []string{"Sale.avsc: field a", "default"}},
		"huge default":       {map[string]string{"Sale.avsc": record("Sale", `{"name":"a","type":"long","default":9007199254740993}`)}, []string{"Sale.avsc: field a", "2^53"}},
		"no namespace":       {map[string]string{"Sale.avsc": `{"type":"record","name":"Sale","fields":[]}`}, []string{"Sale.avsc", "namespace"}},
		"not a record":       {map[string]string{"Sale.avsc": `{"type":"enum","name":"Sale","namespace":"shop","symbols":["A"]}`}, []string{"Sale.avsc", "an enum", "record"}},
		"file's other name":  {map[string]string{"Sales.avsc": record("Sale", "")}, []string{"Sales.avsc", "Sale.avsc"}},
		"several types":      {one(`["null","long","string"]`), []string{"field price", "null, long, string"}},
		"one-sided union":    {one(`["long"]`), []string{"field price", "union"}},
		"null":               {one(`"null"`), []string{"field price", "always null"}},
		"nullable map":       {one(`["null",{"type":"map","values":"long"}]`), []string{"field price", "default {}"}},
		"nullable decimal":   {one(`["null",{"type":"bytes","logicalType":"decimal","precision":4}]`), []string{"field price", "nullable decimal"}},
		"nanoseconds":        {one(`{"type":"long","logicalType":"timestamp-nanos"}`), []string{"field price", "timestamp-micros"}},
		"local time":         {one(`{"type":"long","logicalType":"local-timestamp-micros"}`), []string{"field price", "time zone"}},
		"duration":           {one(`{"type":"fixed","name":"D","size":12,"logicalType":"duration"}`), []string{"field price", "unit"}},
		"unknown logical":    {one(`{"type":"string","logicalType":"email"}`), []string{"field price", `"email"`}},
		"logical beside":     {map[string]string{"Sale.avsc": record("Sale", `{"name":"a","type":"long","logicalType":"timestamp-micros"}`)}, []string{"field a", "beside the type"}},
		"holds itself":       {one(`["null","Sale"]`), []string{"field price", "holds itself"}},
		"deep down":          {one(`{"type":"array","items":{"type":"record","name":"Line","fields":[{"name":"x","type":"null"}]}}`), []string{"Sale.avsc: field price.[].x"}},
		"names meet":         {map[string]string{"Sale.avsc": record("Sale", field("a_b", ok)+","+field("aB", ok))}, []string{"field aB", "AB", "a_b"}},
		"symbols meet":       {one(`{"type":"enum","name":"E","symbols":["red","RED"]}`), []string{"field price", "symbol RED"}},
		"method's name":      {map[string]string{"Sale.avsc": record("Sale", field("avro_name", ok))}, []string{"field avro_name", "AvroName"}},
		"type's name":        {map[string]string{"Sale.avsc": record("Sale", ""), "SaleType.avsc": record("SaleType", "")}, []string{"SaleType"}},
		"taken by Kind":      {kind(map[string]string{"events/Kind.avsc": record("Kind", "")}), []string{"Kind.avsc", "the generated Kind"}},
		"no state":           {kind(map[string]string{"state.avsc": ""}), []string{"no state.avsc"}},
		"no commands":        {kind(map[string]string{"commands/Buy.avsc": ""}), []string{"no commands"}},
		"no events":          {kind(map[string]string{"events/Bought.avsc": "", "events/Shipped.avsc": ""}), []string{"no events"}},
		"plain in a kind":    {kind(map[string]string{"Extra.avsc": record("Extra", "")}), []string{"Extra.avsc", "commands or events"}},
		"both ways":          {kind(map[string]string{"commands/Bought.avsc": record("Bought", "")}), []string{"Bought.avsc", "commands/Bought.avsc"}},
		"nested differently": {kind(map[string]string{"events/Bought.avsc": record("Bought", field("l", `{"type":"record","name":"L","fields":[{"name":"x","type":"int"}]}`)), "events/Shipped.avsc": record("Shipped", field("l", `{"type":"record","name":"L","fields":[{"name":"x","type":"long"}]}`))}), []string{"Shipped.avsc: field l", "shop.L", "Bought.avsc"}},
	} {
		_, err := generate.Generate(folder(t, c.files))
		if err == nil {
			t.Errorf("%s: no error", name)
			continue
		}
		for _, s := range c.says {
			if !strings.Contains(err.Error(), s) {
				t.Errorf("%s: %v does not say %q", name, err, s)
			}
		}
	}
	bad := filepath.Join(t.TempDir(), "my-shop")
	if _, err := generate.Generate(bad); err == nil || !strings.Contains(err.Error(), "my-shop") {
		t.Errorf("a folder whose name is no identifier: %v", err)
	}
}

func TestGenerate_SharedNestedTypeIsOneGoType(t *testing.T) {
	line := `{"type":"record","name":"Line","fields":[{"name":"sku","type":"string"}]}`
	files, err := generate.Generate(folder(t, map[string]string{
		"state.avsc":         record("State", field("last", `["null",`+line+`]`)),
		"commands/Buy.avsc":  record("Buy", field("lines", `{"type":"array","items":`+line+`}`)),
		"events/Bought.avsc": record("Bought", field("first", line)+","+field("second", `"Line"`)),
	}))
	if err != nil {
		t.Fatal(err)
	}
	code := string(files[0].Content)
	if n := strings.Count(code, "type Line struct"); n != 1 {
		t.Errorf("type Line is declared %d times", n)
	}
	for _, want := range []string{"Last *Line `avro:\"last\"`", "Lines []Line", "First  Line", "Second Line"} {
		if !strings.Contains(code, want) {
			t.Errorf("the code has no %q:\n%s", want, code)
		}
	}
}
