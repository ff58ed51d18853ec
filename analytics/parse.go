package analytics

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Query is one question of a catalogue.
type Query struct { //nolint:recvcheck // set fills it in while its file is read; nothing changes it after
	Name       string        `json:"name"`       // the file's, without .sql
	Title      string        `json:"title"`      // a few words, as for a panel
	Answers    string        `json:"answers"`    // the question
	Projection string        `json:"projection"` // whose rows it reads
	Params     []Param       `json:"params"`
	MaxRows    int           `json:"max_rows"` // more are cut off, and the answer says so
	Timeout    time.Duration `json:"-"`        // after which the server gives up
	Notes      string        `json:"notes,omitempty"`

	EventTime string `json:"event_time"` // the column of its table that says when an event happened
	SQL       string `json:"-"`
}

// Limits of a question that states none.
const (
	defaultMaxRows = 1000
	defaultTimeout = 10 * time.Second
)

var (
	namePattern       = regexp.MustCompile(`^[a-z][a-z0-9-]*$`)
	headerPattern     = regexp.MustCompile(`^-- ([a-z]+): *(.*)$`)
	projectionPattern = regexp.MustCompile(`^([A-Za-z0-9._-]+), event time ([A-Za-z_][A-Za-z0-9_]*)$`)
	limitPattern      = regexp.MustCompile(`^(\d+) rows(?:, (\S+))?$`)
	placeholder       = regexp.MustCompile(`\{([A-Za-z_][A-Za-z0-9_]*) *: *([^{}]+)\}`)
	selects           = regexp.MustCompile(`(?i)^(SELECT|WITH)\b`)
	overrides         = regexp.MustCompile(`(?i)\b(SETTINGS|FORMAT|INTO\s+OUTFILE)\b`)
	quotedOrComment   = regexp.MustCompile(`(?s)'(?:[^'\\]|\\.|'')*'|--[^\n]*|/\*.*?\*/`)
)

// parseQuery reads a file: its header, then one SELECT. The error holds everything that is wrong with it.
func parseQuery(name, text string) (Query, error) {
	q := Query{Name: name, MaxRows: defaultMaxRows, Timeout: defaultTimeout, Params: []Param{}}
	var errs []error
	if !namePattern.MatchString(name) {
		errs = append(errs, fmt.Errorf("the name %q stands in addresses and on command lines: use small letters, digits and -", name))
	}
	header, body := splitHeader(text)
	seen := map[string]bool{}
	for _, field := range header {
		if seen[field.key] && field.key != "param" {
			errs = append(errs, fmt.Errorf("header %q stands there twice", field.key))
		}
		seen[field.key] = true
		if err := q.set(field.key, field.value); err != nil {
			errs = append(errs, err)
		}
	}
	for _, key := range []string{"title", "answers", "projection"} {
		if !seen[key] {
			errs = append(errs, fmt.Errorf("header %q is missing: begin the file with a line -- %s: …", key, key))
		}
	}
	q.SQL = strings.TrimSuffix(strings.TrimSpace(body), ";")
	errs = append(errs, q.checkSQL()...)
	return q, errors.Join(errs...)
}

type headerField struct{ key, value string }

// splitHeader takes the comment lines at the beginning of a file; a line that is indented behind its -- goes on with the
// one before it.
func splitHeader(text string) (header []headerField, body string) {
	lines := strings.Split(strings.ReplaceAll(text, "\r\n", "\n"), "\n")
	for i, line := range lines {
		if m := headerPattern.FindStringSubmatch(line); m != nil {
			header = append(header, headerField{m[1], strings.TrimSpace(m[2])})
			continue
		}
		more, ok := strings.CutPrefix(line, "--   ")
		if !ok || len(header) == 0 {
			return header, strings.Join(lines[i:], "\n")
		}
		header[len(header)-1].value += " " + strings.TrimSpace(more)
	}
	return header, ""
}

func (q *Query) set(key, value string) error {
	switch key {
	case "title":
		q.Title = value
	case "answers":
		q.Answers = value
	case "notes":
		q.Notes = value
	case "projection":
		m := projectionPattern.FindStringSubmatch(value)
		if m == nil {
			return fmt.Errorf("projection %q cannot be read: write its name, then: , event time COLUMN", value)
		}
		q.Projection, q.EventTime = m[1], m[2]
	case "limit":
		m := limitPattern.FindStringSubmatch(value)
		if m == nil {
			return fmt.Errorf("limit %q cannot be read: write it as 1000 rows, 10s", value)
		}
		rows, err := strconv.Atoi(m[1])
		if err != nil || rows < 1 || rows > 1_000_000 {
			return fmt.Errorf("limit of %s rows: give 1 to 1000000: an answer is held in memory", m[1])
		}
		q.MaxRows = rows
		if m[2] == "" {
			return nil
		}
		if q.Timeout, err = time.ParseDuration(m[2]); err != nil || q.Timeout < time.Second || q.Timeout > 10*time.Minute {
			return fmt.Errorf("limit of %s: give a time from 1s to 10m", m[2])
		}
	case "param":
		p, err := parseParam(value)
		if err != nil {
			return err
		}
		if slices.ContainsFunc(q.Params, func(other Param) bool { return other.Name == p.Name }) {
			return fmt.Errorf("param %s is declared twice", p.Name)
		}
		if slices.Contains(reserved, p.Name) {
			return fmt.Errorf("param %s: over HTTP every question has %s: take another name", p.Name, strings.Join(reserved, ", "))
		}
		q.Params = append(q.Params, p)
	default:
		return fmt.Errorf("header %q is not known: there are title, answers, projection, param, limit, notes", key)
	}
	return nil
}

// checkSQL holds the statement against its header.
func (q Query) checkSQL() (errs []error) {
	bare := quotedOrComment.ReplaceAllString(q.SQL, " ")
	switch {
	case !selects.MatchString(strings.TrimSpace(bare)):
		errs = append(errs, errors.New("the statement must begin with SELECT or WITH: a question changes nothing"))
	case strings.Contains(bare, ";"):
		errs = append(errs, errors.New("there is more than one statement: a question is one SELECT"))
	}
	if m := overrides.FindString(bare); m != "" {
		errs = append(errs, fmt.Errorf("%s stands in the statement: limits are the header's (-- limit: 1000 rows, 10s), the form of the answer is the asker's", strings.ToUpper(m)))
	}
	used := map[string]string{}
	for _, m := range placeholder.FindAllStringSubmatch(bare, -1) {
		name, typ := m[1], strings.TrimSpace(m[2])
		i := slices.IndexFunc(q.Params, func(p Param) bool { return p.Name == name })
		switch {
		case i < 0:
			errs = append(errs, fmt.Errorf("{%s:%s} is not declared: add a line -- param: %s %s = default, what it is for", name, typ, name, typ))
		case q.Params[i].Type != typ:
			errs = append(errs, fmt.Errorf("{%s:%s} was declared as %s: make them agree", name, typ, q.Params[i].Type))
		}
		used[name] = typ
	}
	for _, p := range q.Params {
		if _, ok := used[p.Name]; !ok {
			errs = append(errs, fmt.Errorf("param %s is declared and not used; the statement uses %v", p.Name, slices.Sorted(maps.Keys(used))))
		}
	}
	return errs
}
