package clickhouse

import "strings"

// token is one lexical element of a statement. Comments and blanks are no tokens.
type token struct {
	kind       tokenKind
	start, end int
}

type tokenKind uint8

const (
	endToken    tokenKind = iota // the text ends here
	wordToken                    // a bare identifier, keyword or number
	quotedToken                  // '…', "…", `…` or a heredoc
	punctToken                   // any other character
	brokenToken                  // a quote or comment that does not end in this text

)

const maxHereDocTag = 64

// lexer splits a statement into tokens by ClickHouse's rules: enough to find where its data begins and what it is, never
// to judge whether it is right.
type lexer struct {
	text string
	pos  int
}

func (l *lexer) next() token {
	if broken := l.skipBlanks(); broken {
		return token{kind: brokenToken, start: l.pos, end: len(l.text)}
	}
	start := l.pos
	if start == len(l.text) {
		return token{kind: endToken, start: start, end: start}
	}
	c := l.text[start]
	switch {
	case isWordByte(c):
		for l.pos < len(l.text) && isWordByte(l.text[l.pos]) {
			l.pos++
		}
		return token{kind: wordToken, start: start, end: l.pos}
	case c == '\'' || c == '"' || c == '`':
		return l.quoted(c)
	case c == '$':
		if t, ok := l.hereDoc(); ok {
			return t
		}
	}
	l.pos++
	return token{kind: punctToken, start: start, end: l.pos}
}

func isWordByte(c byte) bool {
	return c == '_' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= 0x80
}

// skipBlanks passes over white space and comments, and says whether a comment does not end.
func (l *lexer) skipBlanks() (broken bool) {
	for l.pos < len(l.text) {
		rest := l.text[l.pos:]
		switch {
		case strings.IndexByte(" \t\r\n\f\v\x00", rest[0]) >= 0:
			l.pos++
		case strings.HasPrefix(rest, "--"), strings.HasPrefix(rest, "# "), strings.HasPrefix(rest, "#!"):
			if n := strings.IndexByte(rest, '\n'); n >= 0 {
				l.pos += n + 1
			} else {
				l.pos = len(l.text)
			}
		case strings.HasPrefix(rest, "/*"):
			n := strings.Index(rest[2:], "*/")
			if n < 0 {
				return true
			}
			l.pos += 2 + n + 2
		default:
			return false
		}
	}
	return false
}

// quoted reads to the closing quote; a backslash escapes, and so does the quote doubled.
func (l *lexer) quoted(quote byte) token {
	start := l.pos
	for i := start + 1; i < len(l.text); i++ {
		switch {
		case l.text[i] == '\\':
			i++
		case l.text[i] == quote && i+1 < len(l.text) && l.text[i+1] == quote:
			i++
		case l.text[i] == quote:
			l.pos = i + 1
			return token{kind: quotedToken, start: start, end: l.pos}
		}
	}
	l.pos = len(l.text)
	return token{kind: brokenToken, start: start, end: l.pos}
}

// hereDoc reads $tag$ … $tag$.
func (l *lexer) hereDoc() (token, bool) {
	rest := l.text[l.pos:]
	n := strings.IndexByte(rest[1:min(len(rest), maxHereDocTag)], '$')
	if n < 0 {
		return token{}, false
	}
	tag := rest[:n+2]
	for i := 1; i < len(tag)-1; i++ {
		if !isWordByte(tag[i]) {
			return token{}, false
		}
	}
	body := strings.Index(rest[len(tag):], tag)
	if body < 0 {
		return token{}, false
	}
	t := token{kind: quotedToken, start: l.pos, end: l.pos + len(tag) + body + len(tag)}
	l.pos = t.end
	return t, true
}

// is compares a bare word with a keyword in upper case.
func (l *lexer) is(t token, keyword string) bool {
	return t.kind == wordToken && strings.EqualFold(l.text[t.start:t.end], keyword)
}

func (l *lexer) punct(t token, c byte) bool { return t.kind == punctToken && l.text[t.start] == c }
