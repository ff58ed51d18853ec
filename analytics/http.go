package analytics

import (
	"context"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	ch "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/danielgtaylor/huma/v2"

	"github.com/ledgerline-es/ledgerline/api"
	"github.com/ledgerline-es/ledgerline/projector"
	"github.com/ledgerline-es/ledgerline/schemas"
)

// Parameters of every question over HTTP, beside its own.
const (
	formatParam   = "format"   // json or csv
	positionParam = "position" // wait until the answer is at least of then …
	waitParam     = "wait"     // … and for how long
)

// reserved are names that a question's own parameters cannot have.
var reserved = []string{formatParam, positionParam, waitParam}

// How long a question waits for a position, unless it says, and at most.
const (
	defaultWait = time.Second
	mostWait    = 30 * time.Second
)

// CodeTooLong is the code of a question that its time limit ended (504).
const CodeTooLong = "too_long"

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
// see [Desk]. ?position=TOKEN, as in the header Ledgerline-Position of any answer of the API, waits until the projection
// holds the events before it, for as long as ?wait=2s says.
func (c *Catalogue) Register(on huma.API, conn ch.Conn) {
	desk := NewDesk(c, conn)
	huma.Register(on, huma.Operation{
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
		huma.Register(on, q.operation(on), func(ctx context.Context, in *asked) (*answered, error) {
			return desk.serve(ctx, q.Name, in)
		})
	}
	// What the catalogue does not have is answered with what it has.
	huma.Register(on, huma.Operation{
		OperationID: "ask-analytics", Method: http.MethodGet, Path: "/analytics/{query}", Tags: []string{"analytics"}, Hidden: true,
		Summary: "Ask by name",
	}, func(ctx context.Context, in *askedByName) (*answered, error) {
		return desk.serve(ctx, in.Name, &in.asked)
	})
}

// operation describes a question for the API's documentation.
func (q Query) operation(on huma.API) huma.Operation {
	op := huma.Operation{
		OperationID: "ask-" + q.Name, Method: http.MethodGet, Path: "/analytics/" + q.Name, Tags: []string{"analytics"},
		Summary: q.Title, Description: strings.TrimSpace(q.Answers + "\n\n" + q.Notes),
		Errors: []int{http.StatusUnprocessableEntity, http.StatusServiceUnavailable, http.StatusGatewayTimeout},
		Responses: map[string]*huma.Response{"200": {
			Description: "The answer, and how far in the log it reaches",
			Content: map[string]*huma.MediaType{
				typeJSON: {Schema: huma.SchemaFromType(on.OpenAPI().Components.Schemas, reflect.TypeFor[Answer]())},
				typeCSV:  {Schema: &huma.Schema{Type: huma.TypeString}},
			},
		}},
	}
	for _, p := range q.Params {
		op.Parameters = append(op.Parameters, &huma.Param{Name: p.Name, In: "query", Description: p.Doc, Schema: p.schema()})
	}
	op.Parameters = append(op.Parameters, &huma.Param{Name: formatParam, In: "query", Description: "json or csv; the Accept header says it too",
		Schema: &huma.Schema{Type: huma.TypeString, Enum: []any{"json", "csv"}}},
		&huma.Param{Name: positionParam, In: "query", Description: "the Ledgerline-Position of an earlier answer: wait until this one is at least of then", Schema: &huma.Schema{Type: huma.TypeString}},
		&huma.Param{Name: waitParam, In: "query", Description: "how long to wait, such as 2s; then 503, code behind", Schema: &huma.Schema{Type: huma.TypeString, Default: defaultWait.String()}})
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
	var twice []api.Fault
	for _, param := range sortedKeys(in.values) {
		if len(in.values[param]) > 1 {
			twice = append(twice, api.Fault{Location: "query." + param, Message: "it stands there more than once: give it once"})
		}
		if !slices.Contains(reserved, param) {
			given[param] = in.values[param][0]
		}
	}
	if len(twice) > 0 {
		return nil, invalid(name, twice...)
	}
	if err := d.await(ctx, name, in.values); err != nil {
		return nil, err
	}
	a, err := d.Ask(ctx, name, given)
	if err != nil {
		return nil, problem(name, err)
	}
	var body []byte
	if form == typeCSV {
		body, err = a.csv.bytes(a.WriteCSV)
	} else {
		body, err = a.json.bytes(a.WriteJSON)
	}
	if err != nil {
		return nil, err
	}
	return &answered{ContentType: form, Position: a.AsOf.Position().String(), Vary: "Accept", Timing: fmt.Sprintf("query;dur=%.1f", a.Took.Seconds()*1000), Body: body}, nil
}

const askAgain = 20 * time.Millisecond

// await waits until the projection of a question holds what the position asks for.
func (d *Desk) await(ctx context.Context, name string, values url.Values) error {
	want, err := schemas.ParsePosition(values.Get(positionParam))
	if err != nil {
		return invalid(name, api.Fault{Location: "query." + positionParam, Message: err.Error()})
	}
	wait := defaultWait
	if text := values.Get(waitParam); text != "" {
		if wait, err = time.ParseDuration(text); err != nil || wait < 0 || wait > mostWait {
			return invalid(name, api.Fault{Location: "query." + waitParam, Message: fmt.Sprintf("%q: give a duration from 0s to %v, such as 2s", text, mostWait)})
		}
	}
	if len(want) == 0 {
		return nil
	}
	q, err := d.catalogue.Query(name)
	if err != nil {
		return problem(name, err)
	}
	for deadline := time.Now().Add(wait); ; {
		reach, err := d.reach(ctx, q)
		if err != nil && !errors.Is(err, projector.ErrNotBuilt) {
			return problem(name, err)
		}
		behind := slices.ContainsFunc(want, func(p schemas.Place) bool {
			return err != nil || p.Log == schemas.LogOf(reach.Topic) && reach.Partitions[p.Partition].Stored < p.Next
		})
		if !behind {
			return nil
		}
		if !time.Now().Before(deadline) {
			return api.NewProblem(http.StatusServiceUnavailable, api.CodeBehind, "projection %s did not come to position %s within %v: ask again, or with a longer wait", q.Projection, want, wait).RetryAfter(time.Second)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(askAgain):
		}
	}
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
		return "", invalid("the question", api.Fault{Location: "query." + formatParam, Message: fmt.Sprintf("%q: give json or csv", format)})
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

// invalid is the answer to parameters that cannot be used.
func invalid(name string, faults ...api.Fault) *api.Problem {
	texts := make([]string, len(faults))
	for i, f := range faults {
		texts[i] = f.Location + " " + f.Message
	}
	p := api.NewProblem(http.StatusUnprocessableEntity, api.CodeInvalid, "%s cannot be asked so: %s", name, strings.Join(texts, "; "))
	p.Errors = faults
	return p
}

// problem turns an error into an answer.
func problem(name string, err error) error {
	var (
		unknown *UnknownQueryError
		refused *ch.Exception
	)
	switch faults := paramFaults(err); {
	case len(faults) > 0:
		return invalid(name, faults...)
	case errors.As(err, &unknown):
		return api.NewProblem(http.StatusNotFound, api.CodeNotFound, "%v", unknown)
	case errors.Is(err, projector.ErrNotBuilt):
		return api.NewProblem(http.StatusServiceUnavailable, api.CodeProjection, "%s has nothing to read yet: %v: start a projector and ask again", name, err).RetryAfter(time.Second)
	case errors.Is(err, ErrTooLong):
		return api.NewProblem(http.StatusGatewayTimeout, CodeTooLong, "%v", err)
	case errors.As(err, &refused) && !passing(refused.Code):
		return api.NewProblem(http.StatusInternalServerError, api.CodeInternal, "ClickHouse refused the question; the server's log says why").Because(err)
	}
	return api.NewProblem(http.StatusServiceUnavailable, api.CodeStoreUnavailable, "%v: ask again", ErrUnavailable).Because(err).RetryAfter(time.Second)
}

// paramFaults are the wrong parameters that an error tells of.
func paramFaults(err error) (faults []api.Fault) {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range joined.Unwrap() {
			faults = append(faults, paramFaults(e)...)
		}
		return faults
	}
	if p, ok := errors.AsType[*ParamError](err); ok {
		faults = append(faults, api.Fault{Location: "query." + p.Param, Message: fmt.Sprintf("%q: %s", p.Value, p.Remedy)})
	}
	return faults
}
