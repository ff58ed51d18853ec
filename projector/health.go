package projector

import (
	"errors"
	"fmt"
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
	var why []string
	for stage, t := range h.stages {
		why = append(why, fmt.Sprintf("%s, for %s: %v", stage, time.Since(t.since).Round(time.Millisecond), t.err))
	}
	slices.Sort(why)
	return errors.New(strings.Join(why, "; "))
}
