package projector

import (
	"context"
	"errors"
	"fmt"
)

// ErrFenced says that another writer moved a position or owns it now: what was to be written is dropped, and the position
// is asked for again.
var ErrFenced = errors.New("fenced: another member writes this partition")

// ErrNotBuilt says that a projection has no table in its store yet.
var ErrNotBuilt = errors.New("the projection was never built")

// FatalError stops a projection: trying again cannot help, something has to be done.
type FatalError struct {
	Err    error
	Remedy string // what to do
}

func (e *FatalError) Error() string { return fmt.Sprintf("%v: %s", e.Err, e.Remedy) }

func (e *FatalError) Unwrap() error { return e.Err }

// Fatal wraps err as a FatalError with what to do about it.
func Fatal(err error, remedy string) error { return &FatalError{Err: err, Remedy: remedy} }

// RebuildRequiredError stops a projection whose declaration is not the one that its table was built from.
type RebuildRequiredError struct {
	Projection, Table string
	Stored, Wanted    string // fingerprints
}

func (e *RebuildRequiredError) Error() string {
	return fmt.Sprintf("projection %s: table %s was built from another CREATE text or mapping version (fingerprint %.12s…, now %.12s…): "+
		"go back to the declaration it was built from, or rebuild the projection: stop its projectors, drop the table's view and "+
		"the table itself, and delete the projection's rows from ledgerline.generations and ledgerline.offsets (Postgres) or ledgerline.ledger (ClickHouse)", e.Projection, e.Table, e.Stored, e.Wanted)
}

// verdict is what the engine does about an error. Every error of the read side is judged here.
type verdict int

const (
	retry  verdict = iota // wait and try again, for ever, visible in Ready
	fenced                // ask the store where it stands
	fatal                 // stop and say what to do
)

func judge(err error) verdict {
	var (
		stop    *FatalError
		rebuild *RebuildRequiredError
		poison  *EventError
	)
	switch {
	case errors.As(err, &stop), errors.As(err, &rebuild), errors.As(err, &poison):
		return fatal
	case errors.Is(err, ErrFenced):
		return fenced
	default: // the store or the registry is away, a deadlock, a full disk: all of them pass
		return retry
	}
}

// stopped reports whether err only says that ctx has ended.
func stopped(ctx context.Context, err error) bool {
	return ctx.Err() != nil && (errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded))
}
