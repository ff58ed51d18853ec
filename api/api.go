package api

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"
	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sync/errgroup"
)

// API is the HTTP side of one domain. Its routes are registered between New and Run.
type API struct {
	cfg     Config
	log     *slog.Logger
	metrics *metrics
	router  *chi.Mux
	huma    huma.API
	started time.Time

	followers map[string]*follower // by kind
	writers   map[string]*writer   // by kind
	stands    *stands
	caches    []cache
}

// cache is a Cache of any value.
type cache interface {
	counts() (name string, hits, misses int64)
	size() int
	close()
}

// New makes an API. It does no I/O.
func New(cfg Config) (*API, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	m, err := newMetrics(cfg.Metrics)
	if err != nil {
		return nil, fmt.Errorf("register metrics of the API: %w", err)
	}
	a := &API{
		cfg: cfg, log: cfg.Logger, metrics: m, router: chi.NewMux(), started: time.Now(),
		followers: map[string]*follower{}, writers: map[string]*writer{}, stands: newStands(cfg.Postgres, m),
	}
	for _, def := range cfg.Aggregates {
		kind := def.KindName()
		a.followers[kind] = newFollower(a, kind)
		a.writers[kind] = newWriter(a, def, a.followers[kind])
	}
	a.router.Use(a.observe, a.guard, middleware.GetHead)
	a.router.NotFound(func(w http.ResponseWriter, r *http.Request) {
		a.refuse(w, NewProblem(http.StatusNotFound, CodeNotFound, "there is no %.200s: %s lists what there is", r.URL.Path, docsPath))
	})
	a.router.MethodNotAllowed(func(w http.ResponseWriter, r *http.Request) {
		a.refuse(w, NewProblem(http.StatusMethodNotAllowed, CodeMethod, "%s does not go with %.200s: %s lists what there is", r.Method, r.URL.Path, docsPath))
	})
	a.huma = a.newHuma()
	a.registerDocs()
	a.registerStats()
	return a, nil
}

// Huma is where operations are registered. Their errors are problems, also those that huma makes.
func (a *API) Huma() huma.API { return a.huma }

// Postgres has the projections' tables. Select reads from them with the position that the rows are of.
func (a *API) Postgres() *pgxpool.Pool { return a.cfg.Postgres }

// Run serves on the listener, which it closes, and keeps the connections, until ctx ends.
func (a *API) Run(ctx context.Context, l net.Listener) error {
	// The connections outlive the last request.
	background, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	var work errgroup.Group
	keep := func(run func(context.Context)) {
		work.Go(func() error { run(background); return nil })
	}
	for _, f := range a.followers {
		keep(f.run)
	}
	for _, w := range a.writers {
		keep(w.run)
	}
	keep(a.stands.run)
	keep(a.measure)
	if t := a.cfg.Tokens; t != nil {
		keep(func(ctx context.Context) { t.follow(ctx, a.log) })
	}
	err := a.serve(ctx, l)
	cancel()
	_ = work.Wait() // none of them fails
	for _, c := range a.caches {
		c.close()
	}
	return err
}

// measure keeps the gauges.
func (a *API) measure(ctx context.Context) {
	every := time.NewTicker(time.Second)
	defer every.Stop()
	for {
		for _, c := range a.caches {
			name, _, _ := c.counts()
			a.metrics.cached.WithLabelValues(name).Set(float64(c.size()))
		}
		select {
		case <-ctx.Done():
			return
		case <-every.C:
		}
	}
}

// Ready gives the reasons why not all requests can be answered; nil when they can.
func (a *API) Ready() error {
	errs := []error{a.stands.ready()}
	for kind, w := range a.writers {
		if err := w.ready(); err != nil {
			errs = append(errs, fmt.Errorf("commands of %s: %w", kind, err))
		}
	}
	for kind, f := range a.followers {
		if err := f.ready(); err != nil {
			errs = append(errs, fmt.Errorf("events of %s: %w", kind, err))
		}
	}
	return errors.Join(errs...)
}
