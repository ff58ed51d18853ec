package schemas

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
)

// writtenSchemas remembers the schemas that values were written with, by id. An id's schema never changes, so what is
// known is kept; that an id is unknown is believed for a moment only, since a client may have registered it just now.
type writtenSchemas struct {
	load func(ctx context.Context, id int) (text string, err error)

	known   sync.Map // int → *schema
	flight  singleflight.Group
	mu      sync.Mutex
	missing map[int]missing
}

type missing struct {
	err   error
	until time.Time
}

const (
	missingFor  = 2 * time.Second  // how long an unknown id is not asked for again
	maxMissing  = 1024             // unknown ids remembered; hostile values could name billions
	loadTimeout = 10 * time.Second // of one question to the registry
)

func (w *writtenSchemas) get(ctx context.Context, id int) (*schema, error) {
	if s, ok := w.known.Load(id); ok {
		return s.(*schema), nil
	}
	if err := w.remembered(id); err != nil {
		return nil, err
	}
	// The question is asked once for all who wait for it, and goes on when one of them stops waiting.
	answer := w.flight.DoChan(strconv.Itoa(id), func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), loadTimeout)
		defer cancel()
		return w.fetch(ctx, id)
	})
	select {
	case <-ctx.Done():
		return nil, fmt.Errorf("schema id %d: %w: %w", id, ErrRegistryUnavailable, context.Cause(ctx))
	case a := <-answer:
		if a.Err != nil {
			return nil, a.Err
		}
		return a.Val.(*schema), nil
	}
}

// fetch asks the registry, whatever is remembered.
func (w *writtenSchemas) fetch(ctx context.Context, id int) (*schema, error) {
	text, err := w.load(ctx, id)
	if err == nil {
		var s *schema
		if s, err = readSchema(text); err == nil {
			w.known.Store(id, s)
			w.forget(id)
			return s, nil
		}
		err = fmt.Errorf("schema id %d: %w", id, err)
	}
	if !errors.Is(err, ErrRegistryUnavailable) {
		w.remember(id, err)
	}
	return nil, err
}

func (w *writtenSchemas) remember(id int, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	if len(w.missing) >= maxMissing {
		clear(w.missing)
	}
	if w.missing == nil {
		w.missing = map[int]missing{}
	}
	w.missing[id] = missing{err: err, until: now.Add(missingFor)}
}

func (w *writtenSchemas) forget(id int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.missing, id)
}

func (w *writtenSchemas) remembered(id int) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	m, ok := w.missing[id]
	if !ok {
		return nil
	}
	if time.Now().After(m.until) {
		delete(w.missing, id)
		return nil
	}
	return m.err
}
