package analytics

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"

	ch "github.com/ClickHouse/clickhouse-go/v2"

	"github.com/ledgerline-es/ledgerline/projector"
)

// UnknownQueryError says that a catalogue has no question of that name.
type UnknownQueryError struct {
	Name  string
	Names []string // that there are
}

func (e *UnknownQueryError) Error() string {
	if len(e.Names) == 0 {
		return fmt.Sprintf("there is no question %q: the catalogue is empty", e.Name)
	}
	return fmt.Sprintf("there is no question %q: there are %s", e.Name, strings.Join(e.Names, ", "))
}

// ParamError says what is wrong with a value that a question was asked with.
type ParamError struct{ Query, Param, Value, Remedy string }

func (e *ParamError) Error() string {
	return fmt.Sprintf("%s: parameter %s is %q: %s", e.Query, e.Param, e.Value, e.Remedy)
}

// ErrTooLong says that the server gave a question up after its time limit.
var ErrTooLong = errors.New("it took too long")

// ErrUnavailable says that there was no answer, of any kind: the question may be asked again.
var ErrUnavailable = errors.New("ClickHouse does not answer")

// explain puts a server's refusal in words that help.
func explain(q Query, err error) error {
	var x *ch.Exception
	switch {
	case err == nil:
		return nil
	case errors.Is(err, projector.ErrNotBuilt) || errors.Is(err, context.Canceled):
		return err
	case !errors.As(err, &x):
		return fmt.Errorf("ask %s: %w", q.Name, unavailable(err))
	}
	switch x.Code {
	case 159, 160: // timeout exceeded, too slow
		return fmt.Errorf("%s: %w: more than %s: ask for less, or raise the limit in its header", q.Name, ErrTooLong, q.Timeout)
	case 164: // a user's own profile is read-only and may not even set limits
		return fmt.Errorf("ask %s: %w: give the user a profile with readonly = 0 or 2: the question itself is asked with readonly = 1", q.Name, err)
	case 497, 516, 192, 193:
		return fmt.Errorf("ask %s: %w: the user needs SELECT on the projection's database and on database ledgerline", q.Name, err)
	}
	return fmt.Errorf("ask %s: %w", q.Name, err)
}

// unavailable takes out of what the driver says what it was doing: connecting, mostly, in several layers.
func unavailable(err error) error {
	if errors.Is(err, ErrUnavailable) { // it was us who gave up
		return ErrUnavailable
	}
	if at, ok := errors.AsType[*url.Error](err); ok {
		return fmt.Errorf("%w: %w", ErrUnavailable, at.Err)
	}
	text := err.Error()
	if _, answer, ok := strings.Cut(text, "[HTTP "); ok {
		return fmt.Errorf("%w: what answers there is something else: HTTP %.200s", ErrUnavailable, answer)
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}

// passing are the refusals that another time may not meet: too much at once, no memory, network, shutdown.
func passing(code int32) bool {
	switch code {
	case 202, 203, 209, 210, 236, 241, 242, 252, 279, 319, 425, 735:
		return true
	}
	return false
}
