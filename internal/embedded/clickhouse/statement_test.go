package clickhouse

import (
	"errors"
	"strings"
	"testing"
)

func TestStatement_WhereTheRowsBegin(t *testing.T) {
	for _, c := range []struct{ text, sql, format, rows string }{
		{"INSERT INTO t VALUES (1)", "INSERT INTO t", "Values", " (1)"},
		{"insert into db.t (a, b) values(1,'x')", "insert into db.t (a, b)", "Values", "(1,'x')"},
		{"INSERT INTO t FORMAT CSV\n1,2\n", "INSERT INTO t", "CSV", "1,2\n"},
		{"INSERT INTO t FORMAT CSV \t\r\n 1,2", "INSERT INTO t", "CSV", " 1,2"},
		{"INSERT INTO t FORMAT Native\n\n\x01", "INSERT INTO t", "Native", "\n\x01"},
		{"INSERT INTO t FORMAT JSONEachRow {\"a\":1}", "INSERT INTO t", "JSONEachRow", `{"a":1}`},
		{"/* VALUES */ INSERT -- FORMAT x\n INTO t (`values`, \"format\", a) SETTINGS x='FORMAT y', async_insert=0 FORMAT TSV\n1", "/* VALUES */ INSERT -- FORMAT x\n INTO t (`values`, \"format\", a) SETTINGS x='FORMAT y', async_insert=0", "TSV", "1"},
		{"INSERT INTO values VALUES (1)", "INSERT INTO values", "Values", " (1)"},
		{"INSERT INTO format.select (from, values) FORMAT CSV\n", "INSERT INTO format.select (from, values)", "CSV", ""},
		{"INSERT INTO TABLE FUNCTION null('a Int8') VALUES (1)", "INSERT INTO TABLE FUNCTION null('a Int8')", "Values", " (1)"},
		{"INSERT INTO {db:Identifier}.{t:Identifier} FORMAT CSV\n7", "INSERT INTO {db:Identifier}.{t:Identifier}", "CSV", "7"},
		{"INSERT INTO t VALUES ('it''s; SELECT \\' FORMAT')", "INSERT INTO t", "Values", " ('it''s; SELECT \\' FORMAT')"},
	} {
		s, err := parseStatement(c.text)
		if err != nil || !s.insert || s.sql != c.sql || s.format != c.format || c.text[s.data:] != c.rows {
			t.Errorf("%q:\n got %+v rows %q, %v\nwant %q format %s rows %q", c.text, s, c.text[min(s.data, len(c.text)):], err, c.sql, c.format, c.rows)
		}
	}
}

func TestStatement_WithoutRows(t *testing.T) {
	for _, c := range []struct {
		text, format string
		rows, totals bool
	}{
		{"SELECT 1", "", true, false},
		{" -- hello\n(SELECT 1)", "", true, false},
		{"SELECT format FROM t", "", true, false},
		{"SELECT 1 FORMAT JSON", "JSON", true, false},
		{"SELECT 1 format json ; ", "json", true, false},
		{"SELECT 1 FORMAT CSV SETTINGS max_threads=1", "CSV", true, false},
		{"SELECT ' FORMAT CSV', $$ FORMAT JSON; $$, $a$ ' $a$", "", true, false},
		{"WITH 1 AS x SELECT x, count() GROUP BY x WITH TOTALS FORMAT TSV", "TSV", true, true},
		{"INSERT INTO t SELECT 1", "", false, false},
		{"INSERT INTO t (a) WITH 1 AS x SELECT x", "", false, false},
		{"INSERT INTO t (SELECT * FROM values('a Int8', 1))", "", false, false},
		{"CREATE TABLE t (a Int8) ENGINE = MergeTree ORDER BY a;;", "", false, false},
		{"SHOW TABLES FORMAT CSV", "CSV", false, false},
	} {
		s, err := parseStatement(c.text)
		if err != nil || s.insert || s.sql != c.text || s.format != c.format || s.rows != c.rows || s.totals != c.totals {
			t.Errorf("%q: got %+v, %v; want format %q rows %v totals %v", c.text, s, err, c.format, c.rows, c.totals)
		}
	}
}

func TestStatement_Refused(t *testing.T) {
	for text, want := range map[string]error{
		"":                                       errEmptyQuery,
		" -- nothing":                            errEmptyQuery,
		"SELECT 1; SELECT 2":                     errManyStatements,
		"SELECT 1;; DROP TABLE t":                errManyStatements,
		"SELECT 1 INTO /* */ OUTFILE '/tmp/x'":   errOutfile,
		"INSERT INTO t FROM INFILE 'x'":          errInfile,
		"INSERT INTO t SELECT * FROM input('a')": errInput,
		"INSERT INTO t":                          errNoData,
		"INSERT INTO t FORMAT":                   errNoData,
		"SELECT 'open":                           errOpenQuote,
		"SELECT /* open":                         errOpenQuote,
		"INSERT INTO t (`a":                      errOpenQuote,
	} {
		if s, err := parseStatement(text); !errors.Is(err, want) {
			t.Errorf("%q: got %+v, %v; want %v", text, s, err, want)
		}
	}
}

func FuzzStatement(f *testing.F) {
	for _, s := range []string{"INSERT INTO t VALUES (1)", "SELECT $a$ $a$ FORMAT x", "/*", "INSERT INTO a.b (`x`) FORMAT CSV\r\n1", "(((", "INSERT", "INSERT INTO t(SELECT 1)", "$", "a;b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := parseStatement(text)
		if err != nil {
			return
		}
		if s.insert && (s.data < len(s.sql) || s.data > len(text) || s.format == "") {
			t.Errorf("%q: %+v", text, s)
		}
		if !s.insert && s.sql != text {
			t.Errorf("%q: became %q", text, s.sql)
		}
		if s.insert && !strings.Contains(text, s.sql) {
			t.Errorf("%q: invented %q", text, s.sql)
		}
	})
}
