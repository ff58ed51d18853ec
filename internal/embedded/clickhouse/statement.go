package clickhouse

import (
	"strings"

	"github.com/ledgerline-es/ledgerline/internal/embedded/clickhouse/chdb"
)

// statement is what the front must know of a text before the engine sees it.
type statement struct {
	sql    string // the statement; of an insert with data, what stands before VALUES or FORMAT
	format string // what its FORMAT clause names, or "Values"; "" when it names none
	insert bool   // an INSERT whose rows follow
	data   int    // where in the text they begin
	rows   bool   // SELECT or WITH: can be streamed
	totals bool   // … but not WITH TOTALS, whose last row comes by another way
}

// The engine is a library, and its client side comes with it. Some statements make that client read its standard input
// or files, or write them. Over HTTP a server does none of it, and our standard input is the parent's pipe.
var (
	errManyStatements = chdb.Errorf(62, "SYNTAX_ERROR", "Multi-statements are not allowed over HTTP: send them one by one")
	errOutfile        = chdb.Errorf(254, "INTO_OUTFILE_NOT_ALLOWED", "INTO OUTFILE is not allowed over HTTP: the answer itself carries the rows")
	errInfile         = chdb.Errorf(48, "NOT_IMPLEMENTED", "FROM INFILE is not supported over HTTP: send the rows in the body")
	errInput          = chdb.Errorf(48, "NOT_IMPLEMENTED", "The embedded engine does not support the input() function: insert into a table, then select from it")
	errNoData         = chdb.Errorf(62, "SYNTAX_ERROR", "INSERT needs VALUES, FORMAT or SELECT")
	errEmptyQuery     = chdb.Errorf(62, "SYNTAX_ERROR", "Empty query")
	errOpenQuote      = chdb.Errorf(62, "SYNTAX_ERROR", "A quote or a comment of the query is not closed, or the query is larger than %d bytes before its data", maxStatement)
)

// parseStatement reads the beginning of text, which is all of the request or, when it carries rows, enough of it.
func parseStatement(text string) (statement, error) {
	l := &lexer{text: text}
	first := l.next()
	for l.punct(first, '(') {
		first = l.next()
	}
	switch {
	case first.kind == endToken:
		return statement{}, errEmptyQuery
	case first.kind == brokenToken:
		return statement{}, errOpenQuote
	case l.is(first, "INSERT"):
		return parseInsert(l)
	}
	return parseQuery(l, statement{sql: text, rows: l.is(first, "SELECT") || l.is(first, "WITH")})
}

// parseInsert finds where the rows begin. What the statement looks like before that is the engine's business.
func parseInsert(l *lexer) (statement, error) {
	t := l.next()
	for l.is(t, "INTO") || l.is(t, "TABLE") || l.is(t, "FUNCTION") {
		t = l.next()
	}
	// The table's name may be any word, even one that means something below.
	for t = l.next(); l.punct(t, '.'); t = l.next() {
		l.next()
	}
	for depth := 0; ; t = l.next() {
		switch {
		case t.kind == endToken:
			return statement{}, errNoData
		case t.kind == brokenToken:
			return statement{}, errOpenQuote
		case l.punct(t, '('):
			// INSERT INTO t (SELECT …) has no list of columns.
			ahead := *l
			if inner := ahead.next(); depth == 0 && (l.is(inner, "SELECT") || l.is(inner, "WITH")) {
				return parseInsertSelect(l)
			}
			depth++
		case l.punct(t, ')'):
			depth--
		case depth > 0:
		case l.is(t, "SELECT"), l.is(t, "WITH"):
			return parseInsertSelect(l)
		case l.is(t, "FROM"):
			return statement{}, errInfile
		case l.is(t, "VALUES"):
			return statement{sql: strings.TrimSpace(l.text[:t.start]), format: "Values", insert: true, data: t.end}, nil
		case l.is(t, "FORMAT"):
			name := l.next()
			if name.kind != wordToken {
				return statement{}, errNoData
			}
			return statement{sql: strings.TrimSpace(l.text[:t.start]), format: l.text[name.start:name.end], insert: true, data: dataAfterFormat(l.text, name.end)}, nil
		}
	}
}

// dataAfterFormat passes over the rest of the line of FORMAT, as the engine's own parser does: further blanks belong to
// the data.
func dataAfterFormat(text string, pos int) int {
	for pos < len(text) && strings.IndexByte(" \t\f", text[pos]) >= 0 {
		pos++
	}
	if pos < len(text) && text[pos] == '\r' {
		pos++
	}
	if pos < len(text) && text[pos] == '\n' {
		pos++
	}
	return pos
}

func parseInsertSelect(l *lexer) (statement, error) {
	s, err := parseQuery(l, statement{sql: l.text})
	if err != nil {
		return s, err
	}
	again := &lexer{text: l.text}
	for t := again.next(); t.kind != endToken; t = again.next() {
		if again.is(t, "INPUT") {
			if t = again.next(); again.punct(t, '(') {
				return statement{}, errInput
			}
		}
	}
	return s, nil
}

// parseQuery reads on to the end of a statement without data of its own.
func parseQuery(l *lexer, s statement) (statement, error) {
	var before, named token // the token before, and the word after a FORMAT that stood just before it
	for t := l.next(); ; before, t = t, l.next() {
		ends := t.kind == endToken || l.punct(t, ';')
		if named.kind == wordToken && (ends || l.is(t, "SETTINGS")) {
			s.format = l.text[named.start:named.end]
		}
		named = token{}
		switch {
		case t.kind == endToken:
			return s, nil
		case t.kind == brokenToken:
			return statement{}, errOpenQuote
		case l.punct(before, ';') && !ends:
			return statement{}, errManyStatements
		case l.is(before, "INTO") && l.is(t, "OUTFILE"):
			return statement{}, errOutfile
		case l.is(before, "WITH") && l.is(t, "TOTALS"):
			s.totals = true
		case l.is(before, "FORMAT"):
			named = t
		}
	}
}

// isNative says whether a format is read and written in Native blocks.
func isNative(format string) bool { return strings.EqualFold(format, "Native") }
