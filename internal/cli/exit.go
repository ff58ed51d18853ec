package cli

import (
	"errors"
	"fmt"
)

// Exit codes that all commands share. Others are the command's own.
const (
	ExitOK      = 0
	ExitFailure = 1
	ExitUsage   = 2
)

// ExitError ends the program with a code. Err may be nil: then everything was said already.
type ExitError struct {
	Code int
	Err  error
}

func (e *ExitError) Error() string {
	if e.Err == nil {
		return fmt.Sprintf("exit status %d", e.Code)
	}
	return e.Err.Error()
}

func (e *ExitError) Unwrap() error { return e.Err }

// Exit ends the program with a code; nil for code 0 without an error.
func Exit(code int, err error) error {
	if code == ExitOK && err == nil {
		return nil
	}
	return &ExitError{Code: code, Err: err}
}

// Usage marks an error as one of the caller: what was asked for makes no sense.
func Usage(err error) error { return &ExitError{Code: ExitUsage, Err: err} }

// Code gives the exit code of what a command returned, and the error to print, if any. An ExitError counts also inside
// other errors, which are then printed whole.
func Code(err error) (int, error) {
	if err == nil {
		return ExitOK, nil
	}
	exit, ok := errors.AsType[*ExitError](err)
	switch {
	case !ok:
		return ExitFailure, err
	case err == error(exit): //nolint:errorlint // the very same, not one that holds it
		return exit.Code, exit.Err
	}
	return exit.Code, err
}
