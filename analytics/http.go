package analytics

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"reflect"
	"strconv"
	"strings"

	ch "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/danielgtaylor/huma/v2"

	"github.com/ledgerline-es/ledgerline/projector"
)

// formatParam chooses the form of an answer over HTTP: json or csv.
const formatParam = "format"

const (
	typeJSON = "application/json"
	typeCSV  = "text/csv"
)

// listing is the body of GET /analytics.
type listing struct {
	Items []listed `json:"items"`
}

type listed struct {
	Query
	Href string `json:"href"`
}

// asked is a question as it came over HTTP.
type asked struct {
	Accept string `header:"Accept"`
	values url.Values
}

// Resolve keeps what stands behind the question mark: each question has parameters of its own.
func (a *asked) Resolve(ctx huma.Context) []error {
	u := ctx.URL()
	var err error
	if a.values, err = url.ParseQuery(u.RawQuery); err != nil {
		return []error{&huma.ErrorDetail{Message: "the query string cannot be read: percent-encode what is not a letter or digit", Location: "query", Value: u.RawQuery}}
	}
	return nil
}

type askedByName struct {
	asked
	Name string `path:"query"`
}

type answered struct {
	ContentType string `header:"Content-Type"`
	Position    string `header:"Ledgerline-Position"`
	Vary        string `header:"Vary"`
	Timing      string `header:"Server-Timing"`
	Body        []byte
}

// Register adds GET /analytics, which lists the questions, and GET /analytics/NAME for each of them. An answer is JSON, or
// CSV with Accept: text/csv or ?format=csv. An answer that is still exact is given again without asking the server anew:
// see [Desk].
func (c *Catalogue) Register(api huma.API, conn ch.Conn) {
	desk := NewDesk(c, conn)
	huma.Register(api, huma.Operation{
		OperationID: "list-analytics", Method: http.MethodGet, Path: "/analytics", Tags: []string{"analytics"},
		Summary: "What can be asked",
	}, func(context.Context, *struct{}) (*struct{ Body listing }, error) {
		l := listing{Items: []listed{}}
		for _, q := range c.queries {
			l.Items = append(l.Items, listed{Query: q, Href: "/analytics/" + q.Name})
		}
		return &struct{ Body listing }{l}, nil
	})
	for _, q := range c.queries {
		huma.Register(api, q.operation(api), func(ctx context.Context, in *asked) (*answered, error) {
			return desk.serve(ctx, q.Name, in)
		})
	}
	// What the catalogue does not have is answered with what it has.
	huma.Register(api, huma.Operation{
		OperationID: "ask-analytics", Method: http.MethodGet, Path: "/analytics/{query}", Tags: []string{"analytics"}, Hidden: true,
		Summary: "Ask by name",
	}, func(ctx context.Context, in *askedByName) (*answered, error) {
		return desk.serve(ctx, in.Name, &in.asked)
	})
}

// operation describes a question for the API's documentation.
func (q Query) operation(api huma.API) huma.Operation {
	op := huma.Operation{
		OperationID: "ask-" + q.Name, Method: http.MethodGet, Path: "/analytics/" + q.Name, Tags: []string{"analytics"},
		Summary: q.Title, Description: strings.TrimSpace(q.Answers + "\n\n" + q.Notes),
		Errors: []int{http.StatusUnprocessableEntity, http.StatusServiceUnavailable, http.StatusGatewayTimeout},
		Responses: map[string]*huma.Response{"200": {
			Description: "The answer, and how far in the log it reaches",
			Content: map[string]*huma.MediaType{
				typeJSON: {Schema: huma.SchemaFromType(api.OpenAPI().Components.Schemas, reflect.TypeFor[Answer]())},
				typeCSV:  {Schema: &huma.Schema{Type: huma.TypeString}},
			},
		}},
	}
	for _, p := range q.Params {
		op.Parameters = append(op.Parameters, &huma.Param{Name: p.Name, In: "query", Description: p.Doc, Schema: p.schema()})
	}
	op.Parameters = append(op.Parameters, &huma.Param{Name: formatParam, In: "query", Description: "json or csv; the Accept header says it too",
		Schema: &huma.Schema{Type: huma.TypeString, Enum: []any{"json", "csv"}}})
	return op
}

func (p Param) schema() *huma.Schema {
	s := &huma.Schema{Type: huma.TypeString, Default: p.Default, Pattern: p.Pattern}
	for _, v := range p.Values {
		s.Enum = append(s.Enum, v)
	}
	number := func(text string) *float64 {
		f, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return nil
		}
		return &f
	}
	switch {
	case strings.HasPrefix(p.Type, "Date"):
		s.Format = "date"
	case strings.Contains(p.Type, "Int"):
		s.Type, s.Default, s.Minimum, s.Maximum = huma.TypeInteger, number(p.Default), number(p.Min), number(p.Max)
	case p.Type == "Float64":
		s.Type, s.Default, s.Minimum, s.Maximum = huma.TypeNumber, number(p.Default), number(p.Min), number(p.Max)
	case p.Type == "Bool":
		s.Type, s.Default = huma.TypeBoolean, p.Default == "true"
	}
	return s
}

func (d *Desk) serve(ctx context.Context, name string, in *asked) (*answered, error) {
	form, err := in.form()
	if err != nil {
		return nil, err
	}
	given := map[string]string{}
	var twice []error
	for param, values := range in.values {
		if param == formatParam {
			continue
		}
		if len(values) > 1 {
			twice = append(twice, &huma.ErrorDetail{Message: "it stands there more than once: give it once", Location: "query." + param, Value: values})
		}
		given[param] = values[0]
	}
	if len(twice) > 0 {
		return nil, huma.Error422UnprocessableEntity(name+": parameters cannot be used", twice...)
	}
	answer, err := d.Ask(ctx, name, given)
	if err != nil {
		return nil, problem(name, err)
	}
	var b bytes.Buffer
	write := answer.WriteJSON
	if form == typeCSV {
		write = answer.WriteCSV
	}
	if err := write(&b); err != nil {
		return nil, err
	}
	return &answered{ContentType: form, Position: answer.AsOf.Position().String(), Vary: "Accept", Timing: fmt.Sprintf("query;dur=%.1f", answer.Took.Seconds()*1000), Body: b.Bytes()}, nil
}

// form is what the answer is to be written as. ?format comes before Accept: a browser sends an Accept of its own.
func (a *asked) form() (string, error) {
	switch format := a.values.Get(formatParam); format {
	case "json":
		return typeJSON, nil
	case "csv":
		return typeCSV, nil
	case "":
	default:
		return "", huma.Error422UnprocessableEntity("the form of the answer cannot be had",
			&huma.ErrorDetail{Message: fmt.Sprintf("%q: give json or csv", format), Location: "query." + formatParam, Value: format})
	}
	for part := range strings.SplitSeq(a.Accept, ",") {
		switch kind, _, _ := mime.ParseMediaType(part); kind {
		case typeCSV:
			return typeCSV, nil
		case typeJSON, "application/*", "*/*":
			return typeJSON, nil
		}
	}
	return typeJSON, nil
}

// problem turns an error into an answer.
func problem(name string, err error) error {
	var unknown *UnknownQueryError
	switch {
	case errors.As(err, &unknown):
		return huma.Error404NotFound(unknown.Error())
	case errors.Is(err, projector.ErrNotBuilt):
		return huma.Error503ServiceUnavailable(name + " has nothing to read yet: " + err.Error() + ": start a projector and ask again")
	case errors.Is(err, ErrTooLong), errors.Is(err, context.DeadlineExceeded):
		return huma.Error504GatewayTimeout(err.Error())
	}
	if details := paramDetails(err); len(details) > 0 {
		return huma.Error422UnprocessableEntity(name+": parameters cannot be used", details...)
	}
	return huma.Error503ServiceUnavailable("ClickHouse did not answer: " + err.Error())
}

// paramDetails are the wrong parameters that an error tells of.
func paramDetails(err error) (details []error) {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range joined.Unwrap() {
			details = append(details, paramDetails(e)...)
		}
		return details
	}
	if p, ok := errors.AsType[*ParamError](err); ok {
		details = append(details, &huma.ErrorDetail{Message: fmt.Sprintf("%q: %s", p.Value, p.Remedy), Location: "query." + p.Param, Value: p.Value})
	}
	return details
}
