package schemas_test

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/ledgerline-es/ledgerline/schemas"
	"github.com/ledgerline-es/ledgerline/schemas/account"
)

func depositedType(t testing.TB) schemas.Type[account.Event] {
	t.Helper()
	for _, typ := range account.Kind.Events {
		if typ.ShortName() == "MoneyDeposited" {
			return typ
		}
	}
	t.Fatal("no type MoneyDeposited")
	return schemas.Type[account.Event]{}
}

// withoutFields is a schema before fields were added.
func withoutFields(t testing.TB, schema string, names ...string) string {
	return edit(t, schema, func(record map[string]any) {
		record["fields"] = slices.DeleteFunc(record["fields"].([]any), func(f any) bool {
			return slices.Contains(names, f.(map[string]any)["name"].(string))
		})
	})
}

// withFields is a schema after fields were added, the first of them at the beginning.
func withFields(t testing.TB, schema string, fields ...map[string]any) string {
	return edit(t, schema, func(record map[string]any) {
		for _, f := range fields {
			record["fields"] = append([]any{f}, record["fields"].([]any)...)
		}
	})
}

func TestDecode_OlderAndNewerEvents(t *testing.T) {
	srv := newServer(t)
	today := depositedType(t).Schema
	older := withoutFields(t, today, "category", "counterparty")
	newer := withFields(t, today, map[string]any{"name": "channel", "type": "string", "default": ""}, map[string]any{"name": "tags", "type": map[string]any{"type": "array", "items": "string"}, "default": []any{}})
	if err := schemas.CheckCompatible(schemas.FullTransitive, newer, []string{older, today}); err != nil {
		t.Fatal(err)
	}
	s := schemas.NewSerde(schemas.NewCodec(srv.reg), "account.events", schemas.FullTransitive, account.Kind.Events...)
	for _, c := range []struct {
		name, schema string
		value        map[string]any
		want         *account.MoneyDeposited
	}{
		{"older", older, map[string]any{"amount_minor": 5, "balance_minor": 7, "currency": "CZK", "operation": "vklad"}, &account.MoneyDeposited{AmountMinor: 5, BalanceMinor: 7, Currency: "CZK", Operation: "vklad"}},
		{"newer", newer, map[string]any{"tags": []any{"a", "b"}, "channel": "app", "amount_minor": 5, "balance_minor": 7, "currency": "CZK", "operation": "vklad", "category": "mzda", "counterparty": "x"}, &account.MoneyDeposited{AmountMinor: 5, BalanceMinor: 7, Currency: "CZK", Operation: "vklad", Category: "mzda", Counterparty: "x"}},
	} {
		id := srv.written(t, "versions-"+c.name, c.schema)
		data := wire(id, encodeAs(t, c.schema, c.value))
		got, err := s.Decode(t.Context(), data)
		if err != nil || !reflect.DeepEqual(got, account.Event(c.want)) {
			t.Errorf("%s: %+v, %v; want %+v", c.name, got, err, c.want)
		}
		for n := 5; n < len(data); n++ {
			if _, err := s.Decode(t.Context(), data[:n]); !errors.Is(err, schemas.ErrTruncated) {
				t.Errorf("%s: the first %d of %d bytes: %v", c.name, n, len(data), err)
			}
		}
		if _, err := s.Decode(t.Context(), append(data, 0)); !errors.Is(err, schemas.ErrTrailingBytes) {
			t.Errorf("%s: one byte more: %v", c.name, err)
		}
	}
}

func TestDecode_SchemasThatCannotBeRead(t *testing.T) {
	srv := newServer(t)
	today := depositedType(t).Schema
	s := schemas.NewSerde(schemas.NewCodec(srv.reg), "account.events", schemas.FullTransitive, account.Kind.Events...)
	for subject, c := range map[string]struct {
		schema string
		want   error
		says   string
	}{
		"no amount":      {withoutFields(t, today, "amount_minor"), schemas.ErrIncompatible, "amount_minor"},
		"amount as text": {strings.Replace(today, `"amount_minor","type":"long"`, `"amount_minor","type":"string"`, 1), schemas.ErrIncompatible, "amount_minor"},
		"another record": {`{"type":"record","name":"MoneyBurnt","namespace":"ledgerline.account","fields":[]}`, schemas.ErrUnknownType, "ledgerline.account.MoneyBurnt"},
		"other space":    {`{"type":"record","name":"MoneyDeposited","namespace":"other","fields":[]}`, schemas.ErrUnknownType, "other.MoneyDeposited"},
		"no record":      {`"string"`, schemas.ErrUnknownType, "string"},
		"recursive":      {`{"type":"record","name":"MoneyDeposited","namespace":"ledgerline.account","fields":[{"name":"x","type":["null","MoneyDeposited"]}]}`, schemas.ErrMalformed, "holds itself"},
	} {
		id := srv.written(t, subject, c.schema)
		for range 2 { // the second answer is from memory
			if v, err := s.Decode(t.Context(), wire(id, []byte{2, 2, 2, 'x'})); !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%s: %+v, %v; want %v, saying %q", subject, v, err, c.want, c.says)
			}
		}
	}
}

func TestCheckCompatible_Verdicts(t *testing.T) {
	rec := func(field string) string {
		return `{"type":"record","name":"R","namespace":"n","fields":[{"name":"keep","type":"long"}` + field + `]}`
	}
	typ := func(t string) string { return rec(`,{"name":"f","type":` + t + `}`) }
	logical := func(base, logical string) string {
		return typ(`{"type":"` + base + `","logicalType":"` + logical + `"}`)
	}
	decimal := func(p, s string) string {
		return typ(`{"type":"bytes","logicalType":"decimal","precision":` + p + `,"scale":` + s + `}`)
	}
	const (
		neither = iota
		backward
		forward
		both
	)
	for name, c := range map[string]struct {
		old, next string
		can       int
		says      string
	}{
		"same":                   {typ(`"long"`), typ(`"long"`), both, ""},
		"doc alone":              {rec(`,{"name":"f","type":"long"}`), rec(`,{"name":"f","type":"long","doc":"x"}`), both, ""},
		"added with default":     {rec(``), rec(`,{"name":"f","type":"long","default":0}`), both, ""},
		"added without":          {rec(``), rec(`,{"name":"f","type":"long"}`), forward, "f"},
		"removed with default":   {rec(`,{"name":"f","type":"long","default":0}`), rec(``), both, ""},
		"removed without":        {rec(`,{"name":"f","type":"long"}`), rec(``), backward, "f"},
		"default given":          {rec(`,{"name":"f","type":"long"}`), rec(`,{"name":"f","type":"long","default":1}`), both, ""},
		"int to long":            {typ(`"int"`), typ(`"long"`), backward, "f"},
		"long to int":            {typ(`"long"`), typ(`"int"`), forward, "f"},
		"string to bytes":        {typ(`"string"`), typ(`"bytes"`), both, ""},
		"long to string":         {typ(`"long"`), typ(`"string"`), neither, "f"},
		"made nullable":          {typ(`"long"`), typ(`["null","long"]`), backward, "f"},
		"union turned":           {typ(`["null","long"]`), typ(`["long","null"]`), both, ""},
		"renamed":                {rec(`,{"name":"f","type":"long"}`), rec(`,{"name":"g","type":"long"}`), neither, ""},
		"renamed with alias":     {rec(`,{"name":"f","type":"long"}`), rec(`,{"name":"g","type":"long","aliases":["f"]}`), backward, "f"},
		"symbol added":           {typ(`{"type":"enum","name":"E","symbols":["A"]}`), typ(`{"type":"enum","name":"E","symbols":["A","B"]}`), backward, "B"},
		"symbol with default":    {typ(`{"type":"enum","name":"E","symbols":["A"],"default":"A"}`), typ(`{"type":"enum","name":"E","symbols":["A","B"],"default":"A"}`), both, ""},
		"fixed grown":            {typ(`{"type":"fixed","name":"F","size":4}`), typ(`{"type":"fixed","name":"F","size":5}`), neither, "fixed"},
		"millis to micros":       {logical("long", "timestamp-millis"), logical("long", "timestamp-micros"), neither, "timestamp-micros"},
		"micros to millis":       {logical("long", "timestamp-micros"), logical("long", "timestamp-millis"), neither, "timestamp-millis"},
		"number to time":         {typ(`"long"`), logical("long", "timestamp-micros"), neither, "timestamp-micros"},
		"time of day to micros":  {logical("int", "time-millis"), logical("long", "time-micros"), neither, "f"},
		"scale 2 to 3":           {decimal("9", "2"), decimal("9", "3"), neither, "decimal"},
		"precision 9 to 12":      {decimal("9", "2"), decimal("12", "2"), neither, "decimal"},
		"bytes to decimal":       {typ(`"bytes"`), decimal("9", "2"), neither, "decimal"},
		"string to uuid":         {typ(`"string"`), logical("string", "uuid"), both, ""},
		"unit deep in a union":   {typ(`["null",{"type":"array","items":{"type":"long","logicalType":"timestamp-millis"}}]`), typ(`["null",{"type":"array","items":{"type":"long","logicalType":"timestamp-micros"}}]`), neither, "timestamp"},
		"nested field added":     {typ(`{"type":"record","name":"N","fields":[]}`), typ(`{"type":"record","name":"N","fields":[{"name":"deep","type":"long"}]}`), forward, "deep"},
		"unknown logical change": {logical("string", "email"), logical("string", "phone"), both, ""},
	} {
		for level, want := range map[schemas.Compatibility]bool{
			schemas.BackwardTransitive: c.can&backward != 0, schemas.ForwardTransitive: c.can&forward != 0,
			schemas.FullTransitive: c.can == both, schemas.None: true,
		} {
			err := schemas.CheckCompatible(level, c.next, []string{c.old})
			if (err == nil) != want {
				t.Errorf("%s under %s: %v; want compatible %v", name, level, err, want)
				continue
			}
			if err != nil && (!errors.Is(err, schemas.ErrIncompatible) || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), "version 1")) {
				t.Errorf("%s under %s: %v; want it to say %q and which version", name, level, err, c.says)
			}
		}
	}
	// All earlier versions count, not the last alone.
	v1, v2, v3 := rec(`,{"name":"f","type":"long"}`), rec(``), rec(`,{"name":"f","type":"string","default":""}`)
	if err := schemas.CheckCompatible(schemas.BackwardTransitive, v3, []string{v1, v2}); !errors.Is(err, schemas.ErrIncompatible) || !strings.Contains(err.Error(), "version 1") {
		t.Errorf("against version 1: %v", err)
	}
	if err := schemas.CheckCompatible(schemas.BackwardTransitive, "{", nil); err == nil {
		t.Error("an invalid schema was taken")
	}
}
