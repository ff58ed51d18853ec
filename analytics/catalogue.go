package analytics

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// Catalogue is a set of questions, each a file NAME.sql.
type Catalogue struct {
	queries []Query // by name
}

// Open reads every .sql file of a folder, not of those below it. The error tells everything that is wrong with each of
// them. nil is a folder without files.
func Open(files fs.FS) (*Catalogue, error) {
	c := &Catalogue{}
	if files == nil {
		return c, nil
	}
	names, err := fs.Glob(files, "*.sql")
	if err != nil {
		return nil, err
	}
	var errs []error
	for _, name := range names {
		text, err := fs.ReadFile(files, name)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		q, err := parseQuery(strings.TrimSuffix(path.Base(name), ".sql"), string(text))
		if err != nil {
			errs = append(errs, fmt.Errorf("question %s: %w", name, err))
		}
		c.queries = append(c.queries, q)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return c, nil
}

// Queries are all questions, by name.
func (c *Catalogue) Queries() []Query { return slices.Clone(c.queries) }

// Query finds a question; the error is an *UnknownQueryError.
func (c *Catalogue) Query(name string) (Query, error) {
	var names []string
	for _, q := range c.queries {
		if q.Name == name {
			return q, nil
		}
		names = append(names, q.Name)
	}
	return Query{}, &UnknownQueryError{Name: name, Names: names}
}

// Values checks what a question is asked with and gives the value of each of its parameters, defaults where none was
// given. The error is of *ParamError, one for each that is wrong, joined.
func (q Query) Values(given map[string]string) (map[string]string, error) {
	values := make(map[string]string, len(q.Params))
	var errs []error
	for _, p := range q.Params {
		text, ok := given[p.Name]
		if !ok {
			values[p.Name] = p.Default
			continue
		}
		value, err := p.value(text)
		if err != nil {
			errs = append(errs, &ParamError{Query: q.Name, Param: p.Name, Value: text, Remedy: err.Error()})
		}
		values[p.Name] = value
	}
	var names []string
	for _, p := range q.Params {
		names = append(names, p.Name)
	}
	for _, name := range sortedKeys(given) {
		if _, ok := values[name]; !ok {
			remedy := "it has no parameters"
			if len(names) > 0 {
				remedy = "there is no such parameter: there are " + strings.Join(names, ", ")
			}
			errs = append(errs, &ParamError{Query: q.Name, Param: name, Value: given[name], Remedy: remedy})
		}
	}
	return values, errors.Join(errs...)
}
