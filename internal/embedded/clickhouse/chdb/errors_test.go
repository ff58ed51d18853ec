package chdb

import "testing"

func TestParseError(t *testing.T) {
	for _, c := range []struct {
		text, name string
		code       int
	}{
		{"Code: 60. DB::Exception: Table b.nope does not exist. Maybe you meant system.one?. (UNKNOWN_TABLE)", "UNKNOWN_TABLE", 60},
		{"Code: 27. DB::Exception: Cannot parse input: expected ',' before: 'bad,x\n5': (at row 1)\n: While executing CSVRowInputFormat. (CANNOT_PARSE_INPUT_ASSERTION_FAILED) (version 26.7.2.1)", "CANNOT_PARSE_INPUT_ASSERTION_FAILED", 27},
		{"Code: 164. DB::Exception: Code: 164. DB::Exception: Cannot modify 'readonly' setting in readonly mode. (READONLY) (version 26.7.2.1). (READONLY)", "READONLY", 164},
		{"Code: 395. DB::Exception: boo (X) y: while executing 'FUNCTION throwIf(1)'. (FUNCTION_THROW_IF_VALUE_IS_NON_ZERO)", "FUNCTION_THROW_IF_VALUE_IS_NON_ZERO", 395},
		{"Code: 7. DB::Exception: no name", "", 7},
		{"something else", "", UnknownException},
		{"the query said: Code: 5.", "", UnknownException},
	} {
		e := parseError(c.text)
		if e.Code != c.code || e.Name != c.name || e.Error() != c.text {
			t.Errorf("%q: got %d %q", c.text, e.Code, e.Name)
		}
	}
	if e := Errorf(62, "SYNTAX_ERROR", "at %d", 5); parseError(e.Message).Code != 62 || parseError(e.Message).Name != "SYNTAX_ERROR" {
		t.Errorf("an error of our own does not read like the engine's: %s", e)
	}
}
