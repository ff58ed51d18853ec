package api

import (
	"context"
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"

	"github.com/ledgerline-es/ledgerline/producer"
	"github.com/ledgerline-es/ledgerline/schemas"
	"github.com/ledgerline-es/ledgerline/schemas/ledgerline"
)

// Write is what every write takes, to embed in an operation's input.
type Write struct {
	Key     string `header:"Idempotency-Key" maxLength:"200" doc:"The command's id. Sending the request again with the same key and body has no further effect and gets the same answer; another body for the same aggregate, or another caller, is refused. Keys of different aggregates are different keys. Default: a new one."`
	IfMatch string `header:"If-Match" doc:"The ETag of a summary: refuse with 409 when the aggregate is at another version." example:"\"7\""`
	Expect  string `query:"expected_version" pattern:"^[0-9]{1,18}$" doc:"As If-Match, as a plain number; 0: it must not exist."`
	Wait    string `query:"wait" doc:"How long to wait for the reply, such as 2s; then 202." example:"2s"`
}

// Receipt is an accepted command.
type Receipt struct {
	CommandID                   string
	Version                     int64 // of the aggregate after it
	FirstSequence, LastSequence int64 // of its events
	Duplicate                   bool  // it was accepted before, and this is the answer of then
}

// Late is the answer to a write whose reply did not come in time: 202, and where to look.
type Late struct { //nolint:errname // an answer that huma takes as an error
	CommandID string `json:"command_id"`
	Status    string `json:"status" enum:"pending" doc:"the brokers have the command, and its reply is not here yet"`

	location string
}

func (l *Late) Error() string  { return "command " + l.CommandID + " is not answered yet" }
func (l *Late) GetStatus() int { return http.StatusAccepted }

// GetHeaders says where the reply will be.
func (l *Late) GetHeaders() http.Header {
	h := http.Header{"Retry-After": {"1"}}
	if l.location != "" {
		h.Set("Location", l.location)
	}
	return h
}

var (
	_ huma.StatusError  = (*Late)(nil)
	_ huma.HeadersError = (*Late)(nil)
)

// Submit publishes a command and waits for its reply. Of cmd it needs the aggregate's id and the record; the rest comes
// from the request. The answer gets the version (ETag) and the position. An error is the answer: a rejection (422), a
// conflict (409), a failure (500), what can't be done now (503), or [Late] (202).
func (a *API) Submit(ctx context.Context, kind string, in Write, cmd producer.Command) (*Receipt, error) {
	w := a.writers[kind]
	if w == nil {
		return nil, NewProblem(http.StatusInternalServerError, CodeInternal, "the domain has no aggregate of kind %q", kind)
	}
	wait, err := in.apply(ctx, a, &cmd)
	if err != nil {
		return nil, err
	}
	client, why := w.current()
	if why != nil {
		return nil, unavailable(CodeStarting, "commands can't be published yet: %v", why)
	}
	seen := w.follower.expect(commandKey{cmd.AggregateID, cmd.CommandID})
	defer seen.forget()
	deadline := time.Now().Add(wait)
	reply, late, err := w.send(ctx, client, cmd, wait)
	switch {
	case err != nil:
		return nil, err
	case late:
		a.metrics.late.Inc()
		return nil, &Late{CommandID: cmd.CommandID, Status: "pending", location: w.commandPath(cmd.AggregateID, cmd.CommandID)}
	}
	x := exchangeOf(ctx)
	x.position = w.positionOf(ctx, seen, cmd.AggregateID, reply, time.Until(deadline))
	if reply.Outcome != producer.Accepted {
		return nil, problemOfReply(reply)
	}
	x.etag = ETag(reply.Version)
	return &Receipt{CommandID: reply.CommandID, Version: reply.Version, FirstSequence: reply.FirstSequence, LastSequence: reply.LastSequence, Duplicate: reply.Duplicate}, nil
}

// NewID is the id of an aggregate that a write makes: a UUIDv7, or, when the request has an Idempotency-Key, made from that
// and from who asks, so that the request sent again meets the same aggregate.
func (in Write) NewID(ctx context.Context) string {
	if in.Key == "" {
		return uuid.Must(uuid.NewV7()).String()
	}
	return uuid.NewHash(sha256.New(), uuid.NameSpaceOID, []byte(Principal(ctx)+"\x00"+in.Key), 8).String()
}

// ETag is the entity tag of an aggregate's version.
func ETag(version int64) string { return `"` + strconv.FormatInt(version, 10) + `"` }

// HasETag says whether an If-None-Match header names a version (RFC 9110, 13.1.2): alone, in a list, weak, or as *.
func HasETag(header string, version int64) bool {
	for tag := range strings.SplitSeq(header, ",") {
		if tag = strings.TrimSpace(tag); tag == "*" || strings.TrimPrefix(tag, "W/") == ETag(version) {
			return true
		}
	}
	return false
}

// apply puts the request's own into the command.
func (in Write) apply(ctx context.Context, a *API, cmd *producer.Command) (wait time.Duration, err error) {
	if err := schemas.ValidateID(cmd.AggregateID); err != nil {
		return 0, NewProblem(http.StatusUnprocessableEntity, CodeInvalid, "%v", err)
	}
	if cmd.AggregateID == "." || cmd.AggregateID == ".." { // in a path they mean another one: nobody would find it again
		return 0, NewProblem(http.StatusUnprocessableEntity, CodeInvalid, "aggregate id %q means something else in a URL: give another one", cmd.AggregateID)
	}
	if strings.ContainsFunc(in.Key, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return 0, NewProblem(http.StatusUnprocessableEntity, CodeInvalid, "Idempotency-Key holds a character that is no visible ASCII: give a UUID, or your own id of the request")
	}
	if cmd.CommandID = in.Key; cmd.CommandID == "" {
		cmd.CommandID = uuid.Must(uuid.NewV7()).String()
	}
	cmd.Principal = Principal(ctx)
	expected := in.Expect
	if in.IfMatch != "" {
		tag := strings.TrimSuffix(strings.TrimPrefix(in.IfMatch, `"`), `"`)
		if expected != "" && expected != tag {
			return 0, NewProblem(http.StatusUnprocessableEntity, CodeInvalid, "If-Match is %s and expected_version %s: give one of them", in.IfMatch, expected)
		}
		expected = tag
	}
	if expected != "" {
		version, err := strconv.ParseUint(expected, 10, 63)
		if err != nil {
			return 0, NewProblem(http.StatusUnprocessableEntity, CodeInvalid, "If-Match is %.100s: give the ETag of a summary, such as \"7\"", in.IfMatch)
		}
		n := int64(version)
		cmd.ExpectedVersion = &n
	}
	return a.waitOf(in.Wait, a.cfg.WriteWait)
}

// waitOf reads ?wait.
func (a *API) waitOf(text string, none time.Duration) (time.Duration, error) {
	if text == "" {
		return none, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 || d > a.cfg.MaxWait {
		return 0, NewProblem(http.StatusUnprocessableEntity, CodeInvalid, "wait is %.40q: give a duration from 0s to %v, such as 2s", text, a.cfg.MaxWait)
	}
	return d, nil
}

// problemOfReply is the answer to a command that was not accepted.
func problemOfReply(r *ledgerline.Reply) *Problem {
	switch r.Outcome {
	case producer.Rejected:
		return NewProblem(http.StatusUnprocessableEntity, r.Code, "%s", r.Message)
	case producer.Conflict:
		return NewProblem(http.StatusConflict, r.Code, "%s; it is at version %d", r.Message, r.Version).withHeader("ETag", ETag(r.Version))
	case producer.Error:
		if r.Code == producer.CodeCommandIDReused {
			return NewProblem(http.StatusUnprocessableEntity, r.Code, "%s: take a new Idempotency-Key for another request", r.Message)
		}
		return NewProblem(http.StatusInternalServerError, r.Code, "the command could not be processed: %s", r.Message)
	}
	return NewProblem(http.StatusInternalServerError, CodeUnexpectedReply, "the reply has outcome %q: this API is older than the producer", r.Outcome)
}

// positionOf is the position of a write's answer: where its last event stands, as our reader of the log saw it; when it
// caused none, or was not seen in time, the end of its partition.
func (w *writer) positionOf(ctx context.Context, seen *sighting, id string, r *ledgerline.Reply, left time.Duration) Position {
	if r.Outcome == producer.Accepted && !r.Duplicate && r.LastSequence > 0 {
		if place, ok := seen.await(ctx, r.LastSequence, min(max(left, 10*time.Millisecond), time.Second)); ok {
			return Position{place}
		}
	}
	place, ok := w.follower.end(ctx, id)
	if !ok {
		return nil
	}
	return Position{place}
}

// ReplyBody is what became of a command.
type ReplyBody struct {
	CommandID     string `json:"command_id"`
	Outcome       string `json:"outcome" enum:"accepted,rejected,conflict,error"`
	Duplicate     bool   `json:"duplicate"`
	Code          string `json:"code"`
	Message       string `json:"message"`
	FirstSequence int64  `json:"first_sequence"`
	LastSequence  int64  `json:"last_sequence"`
	Version       int64  `json:"version"`
}

type commandInput struct {
	ID        string `path:"id" maxLength:"128"`
	CommandID string `path:"command_id" maxLength:"600"`
}

type commandOutput struct{ Body ReplyBody }

// CommandsAt registers the route under which the replies to a kind's commands are found, and where a late write sends its
// caller. path holds {id} and {command_id}: "/accounts/{id}/commands/{command_id}".
func (a *API) CommandsAt(kind, path string) {
	w := a.writers[kind]
	if w == nil {
		panic("api: the domain has no aggregate of kind " + kind)
	}
	w.location = path
	huma.Register(a.huma, huma.Operation{
		OperationID: kind + "-command", Method: http.MethodGet, Path: path, Tags: []string{kind},
		Summary:     "What became of a command",
		Description: "202 while its reply is not here yet, then the reply, for some minutes. Any instance knows, also one that was started since.",
	}, func(ctx context.Context, in *commandInput) (*commandOutput, error) {
		key := commandKey{in.ID, in.CommandID}
		reply, waits := w.replies.find(key), w.waitsFor(key)
		if reply == nil && !waits {
			var err error
			if reply, waits, err = w.lookUp(ctx, key); err != nil {
				return nil, unavailable(CodeLogUnavailable, "the log could not be asked what became of the command: ask again").
					Because(fmt.Errorf("look up command %s of %s: %w", in.CommandID, in.ID, err))
			}
		}
		switch {
		case reply != nil:
			if place, ok := w.follower.end(ctx, in.ID); ok {
				exchangeOf(ctx).position = Position{place}
			}
			return &commandOutput{ReplyBody(*reply)}, nil
		case waits:
			return nil, &Late{CommandID: in.CommandID, Status: "pending", location: w.commandPath(in.ID, in.CommandID)}
		}
		return nil, NewProblem(http.StatusNotFound, CodeCommandUnknown,
			"command %.200q of %s waits for no reply, and none was given in the last minutes: send the command again with the same Idempotency-Key to get its first reply", in.CommandID, in.ID)
	})
}

func (w *writer) commandPath(id, commandID string) string {
	return strings.NewReplacer("{id}", url.PathEscape(id), "{command_id}", url.PathEscape(commandID)).Replace(w.location)
}
