package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"
)

// Codes of problems that the API itself answers; they stay what they are. A rejected command has the code of its rule, a
// failed one that of its reply (package producer).
const (
	CodeInvalid          = "invalid_request"    // 400, 422: the request is not what the operation takes
	CodeUnauthorized     = "unauthorized"       // 401: no token, or an unknown one
	CodeHostRefused      = "host_refused"       // 403: the Host header names another server
	CodeOriginRefused    = "origin_refused"     // 403: a page of another origin asks
	CodeNotFound         = "not_found"          // 404: there is no such route or thing
	CodeCommandUnknown   = "command_unknown"    // 404: no reply to that command is remembered
	CodeMethod           = "method_not_allowed" // 405
	CodeBodyTimeout      = "body_timeout"       // 408: the body did not come in time
	CodeBodyTooLarge     = "body_too_large"     // 413
	CodeMediaType        = "media_type"         // 415: bodies are JSON
	CodeGone             = "client_gone"        // 499: nobody reads this answer, it is for the metrics
	CodeInternal         = "internal"           // 500: a fault of ours; the log says which
	CodeBehind           = "behind"             // 503: the projection did not come as far as was asked, in time
	CodeStarting         = "starting"           // 503: connections are being made
	CodeStopping         = "stopping"           // 503: this instance is being stopped
	CodeLogUnavailable   = "log_unavailable"    // 503: Kafka does not take the command
	CodeNoProducer       = "no_producer"        // 503: commands are published and nobody answers them
	CodeOverloaded       = "overloaded"         // 503: too many writes wait
	CodeStoreUnavailable = "store_unavailable"  // 503: the database does not answer
	CodeTooSlow          = "too_slow"           // 504: a question took longer than it may
	CodeProjection       = "projection_missing" // 503: no projector has made the table yet
	CodeUnexpectedReply  = "unexpected_reply"   // 500: a reply with an outcome that this version does not know
	CodeNotAcceptable    = "not_acceptable"     // 406
	codeOther            = "http_error"         // what else the machinery refuses
)

// Problem is an answer that is none: problem+json (RFC 9457) with a stable code. Detail says what is wrong, where, and what
// to do.
type Problem struct { //nolint:errname // as RFC 9457 calls it
	Title  string  `json:"title" doc:"the status in words"`
	Status int     `json:"status" doc:"the HTTP status"`
	Code   string  `json:"code" doc:"stable code: of the API, or of the rule that rejected the command" example:"insufficient_funds"`
	Detail string  `json:"detail" doc:"what is wrong, and what to do"`
	Errors []Fault `json:"errors,omitempty" doc:"the places in the request that are wrong"`

	headers http.Header
	cause   error
}

// Fault is one place in a request that is wrong.
type Fault struct {
	Location string `json:"location" doc:"such as body.amount_minor or query.limit"`
	Message  string `json:"message"`
}

var (
	_ huma.StatusError       = (*Problem)(nil)
	_ huma.HeadersError      = (*Problem)(nil)
	_ huma.ContentTypeFilter = (*Problem)(nil)
)

// NewProblem makes an error that is answered as it is.
func NewProblem(status int, code, format string, args ...any) *Problem {
	return &Problem{Title: http.StatusText(status), Status: status, Code: code, Detail: fmt.Sprintf(format, args...)}
}

func (p *Problem) Error() string           { return p.Code + ": " + p.Detail }
func (p *Problem) GetStatus() int          { return p.Status }
func (p *Problem) GetHeaders() http.Header { return p.headers }

// ContentType makes problem+json of JSON.
func (p *Problem) ContentType(string) string { return problemJSON }

const problemJSON = "application/problem+json"

// Because keeps what failed inside for the log: names of servers and users are not for who asks.
func (p *Problem) Because(err error) *Problem {
	p.cause = err
	return p
}

// Unwrap gives what Because was told.
func (p *Problem) Unwrap() error { return p.cause }

// RetryAfter says when to try again, in whole seconds.
func (p *Problem) RetryAfter(after time.Duration) *Problem {
	return p.withHeader("Retry-After", strconv.Itoa(max(1, int(after.Round(time.Second).Seconds()))))
}

func (p *Problem) withHeader(key, value string) *Problem {
	if p.headers == nil {
		p.headers = http.Header{}
	}
	p.headers.Set(key, value)
	return p
}

// retryLater is what most 503 say.
const retryLater = time.Second

// unavailable is a 503 that is worth trying again.
func unavailable(code, format string, args ...any) *Problem {
	return NewProblem(http.StatusServiceUnavailable, code, format, args...).RetryAfter(retryLater)
}

// problemOf gives huma's own errors our form.
func problemOf(e *huma.ErrorModel) *Problem {
	p := NewProblem(e.Status, codeOf(e.Status), "%s", e.Detail)
	for _, d := range e.Errors {
		p.Errors = append(p.Errors, Fault{Location: d.Location, Message: d.Message})
	}
	if len(p.Errors) == 1 { // said in one line what else is spread over two places
		p.Detail = fmt.Sprintf("%s: %s %s", e.Detail, p.Errors[0].Location, p.Errors[0].Message)
	}
	if e.Status == http.StatusServiceUnavailable {
		p = p.RetryAfter(retryLater)
	}
	if e.Status == http.StatusInternalServerError { // what failed inside is for the log
		p.Detail, p.Errors = "something failed that should not; the server's log says what", nil
	}
	return p
}

func codeOf(status int) string {
	switch status {
	case http.StatusBadRequest, http.StatusUnprocessableEntity:
		return CodeInvalid
	case http.StatusUnauthorized:
		return CodeUnauthorized
	case http.StatusNotFound:
		return CodeNotFound
	case http.StatusMethodNotAllowed:
		return CodeMethod
	case http.StatusNotAcceptable:
		return CodeNotAcceptable
	case http.StatusRequestTimeout:
		return CodeBodyTimeout
	case http.StatusRequestEntityTooLarge:
		return CodeBodyTooLarge
	case http.StatusUnsupportedMediaType:
		return CodeMediaType
	case http.StatusInternalServerError:
		return CodeInternal
	case http.StatusServiceUnavailable:
		return CodeStoreUnavailable
	case http.StatusGatewayTimeout:
		return CodeTooSlow
	}
	return codeOther
}

// statusGone is what nginx counts requests as whose client went away.
const statusGone = 499

// gone is the answer when the request's own context has ended.
func gone(ctx context.Context) *Problem {
	if errors.Is(context.Cause(ctx), errStopping) {
		return unavailable(CodeStopping, "%v: ask again, another instance or this one started anew will answer", errStopping)
	}
	return NewProblem(statusGone, CodeGone, "the request ended before its answer: %v", context.Cause(ctx))
}
