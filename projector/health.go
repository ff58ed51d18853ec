package projector

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// errNotStarted is Ready's answer before Run.
var errNotStarted = errors.New("not started")

// health is what Ready answers from: what each stage waits for or fails at.
type health struct {
	mu      sync.Mutex
	started bool
	fatal   error
	stages  map[string]trouble // by stage: "write", "claim", "decode", "fetch", "open"
}

type trouble struct {
	err   error
	since time.Time
}

// failing notes that a stage does not get on, and since when.
func (h *health) failing(stage string, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.started = true
	if h.stages == nil {
		h.stages = make(map[string]trouble)
	}
	t, before := h.stages[stage]
	if !before {
		t.since = time.Now()
	}
	t.err = err
	h.stages[stage] = t
}

func (h *health) fine(stage string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.started = true
	delete(h.stages, stage)
}

func (h *health) stop(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.started, h.fatal = true, err
}

// ready is nil, or the reasons why not.
func (h *health) ready() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case !h.started:
		return errNotStarted
	case h.fatal != nil:
		return fmt.Errorf("stopped: %w", h.fatal)
	case len(h.stages) == 0:
		return nil
	}
	var why reasons
	for _, stage := range slices.Sorted(maps.Keys(h.stages)) {
		t := h.stages[stage]
		why = append(why, fmt.Errorf("%s, for %s: %w", stage, time.Since(t.since).Round(time.Millisecond), t.err))
	}
	return why
}

// reasons are errors that are told on one line.
type reasons []error

func (r reasons) Error() string {
	texts := make([]string, len(r))
	for i, err := range r {
		texts[i] = err.Error()
	}
	return strings.Join(texts, "; ")
}

func (r reasons) Unwrap() []error { return r }
