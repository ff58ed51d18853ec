package analytics_test

import (
	"errors"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/ledgerline-es/ledgerline/analytics"
)

const goodHeader = "-- title: T\n-- answers: Q?\n-- projection: analytics, event time business_time\n"

func open(t *testing.T, files map[string]string) (*analytics.Catalogue, error) {
	t.Helper()
	folder := fstest.MapFS{}
	for name, text := range files {
		folder[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return analytics.Open(folder)
}

func TestOpen_ReadsHeaderAndStatement(t *testing.T) {
	c, err := open(t, map[string]string{
		"one.sql": goodHeader + "-- param: n UInt16 = 5 [1..9], how many\n-- param: s String = 'a' (a|b), which\n-- limit: 7 rows, 3s\n" +
			"-- notes: first\n--   and second: more\n-- an ordinary comment\nSELECT 1 AS x -- {not:String} a parameter; nor 'two' statements\nWHERE {n:UInt16} > 0 AND '{nor:this}' != {s:String};\n",
		"notes.txt":   "no question",
		"sub/two.sql": "below the folder",
	})
	if err != nil {
		t.Fatal(err)
	}
	all := c.Queries()
	if len(all) != 1 {
		t.Fatalf("%d questions", len(all))
	}
	q := all[0]
	if q.Name != "one" || q.Title != "T" || q.Answers != "Q?" || q.Projection != "analytics" || q.EventTime != "business_time" || q.MaxRows != 7 || q.Timeout.Seconds() != 3 ||
		q.Notes != "first and second: more" || len(q.Params) != 2 || q.Params[0].Max != "9" || strings.Join(q.Params[1].Values, "") != "ab" || strings.HasSuffix(q.SQL, ";") {
		t.Errorf("read as %+v", q)
	}
	if c, err := analytics.Open(nil); err != nil || len(c.Queries()) != 0 {
		t.Errorf("no folder gives %v", err)
	}
}

func TestOpen_NamesEveryMistakeAndItsRemedy(t *testing.T) {
	for what, test := range map[string]struct{ text, want string }{
		"no header":                 {"SELECT 1", `header "title" is missing: begin the file with a line -- title: …`},
		"an unknown header":         {goodHeader + "-- colour: red\nSELECT 1", `header "colour" is not known`},
		"a header twice":            {goodHeader + "-- title: U\nSELECT 1", `header "title" stands there twice`},
		"a projection without time": {"-- title: T\n-- answers: Q?\n-- projection: analytics\nSELECT 1", "event time COLUMN"},
		"an insert":                 {goodHeader + "INSERT INTO a SELECT 1", "must begin with SELECT or WITH"},
		"two statements":            {goodHeader + "SELECT 1; DROP TABLE a", "more than one statement"},
		"settings":                  {goodHeader + "SELECT 1 SETTINGS readonly = 0", "limits are the header's"},
		"a format":                  {goodHeader + "SELECT 1 FORMAT CSV", "the form of the answer is the asker's"},
		"undeclared":                {goodHeader + "SELECT {n:UInt8}", "add a line -- param: n UInt8 = default"},
		"unused":                    {goodHeader + "-- param: n UInt8 = 1, x\nSELECT 1", "param n is declared and not used"},
		"declared otherwise":        {goodHeader + "-- param: n UInt8 = 1, x\nSELECT {n:UInt16}", "{n:UInt16} was declared as UInt8: make them agree"},
		"declared twice":            {goodHeader + "-- param: n UInt8 = 1, x\n-- param: n UInt8 = 1, x\nSELECT {n:UInt8}", "declared twice"},
		"a type that cannot be":     {goodHeader + "-- param: n Tuple = 1, x\nSELECT {n:Tuple}", "use one of Bool, Date, Date32"},
		"a default out of range":    {goodHeader + "-- param: n UInt8 = 12 [1..9], x\nSELECT {n:UInt8}", `its default "12": give 1 to 9`},
		"a default of another type": {goodHeader + "-- param: n UInt8 = x, x\nSELECT {n:UInt8}", "give a whole number"},
		"a broken pattern":          {goodHeader + "-- param: s String = '' matches /(/, x\nSELECT {s:String}", "its pattern"},
		"a pattern for a number":    {goodHeader + "-- param: n UInt8 = 1 matches /1/, x\nSELECT {n:UInt8}", "are for a String"},
		"a range for a text":        {goodHeader + "-- param: s String = 'a' [a..b], x\nSELECT {s:String}", "a range is for numbers and dates"},
		"a broken range":            {goodHeader + "-- param: n UInt8 = 1 [a..9], x\nSELECT {n:UInt8}", `its least value "a"`},
		"a param without default":   {goodHeader + "-- param: n UInt8, x\nSELECT {n:UInt8}", "write name Type = default"},
		"a name that is taken":      {goodHeader + "-- param: format String = '', x\nSELECT {format:String}", "take another name"},
		"too many rows":             {goodHeader + "-- limit: 2000000 rows\nSELECT 1", "give 1 to 1000000"},
		"too long":                  {goodHeader + "-- limit: 2 rows, 1h\nSELECT 1", "give a time from 1s to 10m"},
		"a limit in words":          {goodHeader + "-- limit: few\nSELECT 1", "write it as 1000 rows, 10s"},
	} {
		_, err := open(t, map[string]string{"one.sql": test.text, "two.sql": goodHeader + "SELECT 1"})
		if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), "one.sql") || strings.Contains(err.Error(), "two.sql") {
			t.Errorf("%s: %v, want %q", what, err, test.want)
		}
	}
	if _, err := open(t, map[string]string{"Über.sql": goodHeader + "SELECT 1"}); err == nil || !strings.Contains(err.Error(), "small letters") {
		t.Errorf("a name with other letters: %v", err)
	}
}

func TestValues_NameParameterValueAndRemedy(t *testing.T) {
	c, err := open(t, map[string]string{"q.sql": goodHeader + "-- param: n Int8 = 1 [-3..3], a number\n-- param: f Float64 = 1.5 [0..2], a fraction\n-- param: d Date = 2026-01-01, a day\n" +
		"-- param: b Bool = true, yes or no\n-- param: s String = '' (|a|b), one of them\n-- param: c String = '' matches /([A-Z]{3})?/, a code\n-- param: u UInt8 = 1, a small one\n" +
		"SELECT {n:Int8}, {f:Float64}, {d:Date}, {b:Bool}, {s:String}, {c:String}, {u:UInt8}"})
	if err != nil {
		t.Fatal(err)
	}
	q, err := c.Query("q")
	if err != nil {
		t.Fatal(err)
	}
	got, err := q.Values(map[string]string{"n": "+3", "f": "0.50", "b": "1", "c": "EUR"})
	if err != nil || got["n"] != "3" || got["f"] != "0.5" || got["b"] != "true" || got["d"] != "2026-01-01" || got["c"] != "EUR" || got["u"] != "1" {
		t.Errorf("values %v, %v", got, err)
	}
	for param, values := range map[string]map[string]string{
		"n": {"4": "give -3 to 3", "-4": "give -3 to 3", "x": "give a whole number", "": "give a whole number", "1e3": "give a whole number"},
		"f": {"NaN": "give a number", "2.1": "give 0 to 2", "1,5": "give a number"},
		"d": {"2026-02-30": "give a date", "2200-01-01": "give 1970-01-01 to 2149-06-06", "today()": "give a date"},
		"b": {"perhaps": "give true or false"},
		"s": {"c": "give one of , a, b", "a\x00": "without control characters", strings.Repeat("a", 300): "at most 256 bytes"},
		"c": {"EURO": "what matches ([A-Z]{3})?", "eur": "(a code)", "EUR\n": "without control characters"},
		"u": {"256": "give 0 to 255", "-1": "give 0 to 255"},
		"w": {"1": "there is no such parameter: there are n, f, d, b, s, c, u"},
	} {
		for value, want := range values {
			_, err := q.Values(map[string]string{param: value})
			var p *analytics.ParamError
			if !errors.As(err, &p) || p.Param != param || p.Value != value || !strings.Contains(err.Error(), want) {
				t.Errorf("%s=%q: %v, want %q", param, value, err, want)
			}
		}
	}
	_, err = q.Values(map[string]string{"n": "9", "u": "-1", "zz": ""})
	if err == nil || strings.Count(err.Error(), "\n") != 2 {
		t.Errorf("three mistakes at once: %v", err)
	}
	var unknown *analytics.UnknownQueryError
	if _, err := c.Query("w"); !errors.As(err, &unknown) || !strings.Contains(err.Error(), "there are q") {
		t.Errorf("another question: %v", err)
	}
}
