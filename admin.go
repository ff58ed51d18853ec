package ledgerline

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/ledgerline-es/ledgerline/internal/cli"
)

// adminSetting is the address of a role's admin listener: each role has another default, so that all run side by side.
func adminSetting(address string) cli.Setting {
	check := checkListen
	if address == "" { // the setting of all roles has no default
		check = orNone(checkListen)
	}
	return cli.Setting{Key: "admin.listen", Default: address, Help: "address of /metrics, /healthz, /readyz and /debug/pprof", Check: check}
}

// admin serves what operators and machines ask a role.
type admin struct {
	registry *prometheus.Registry
	listener net.Listener
	server   *http.Server
	parts    map[string]func() error // what must be ready
}

// listenAdmin takes the address; nothing is served before serve.
func (a *App) listenAdmin(ctx context.Context) (*admin, error) {
	address := a.values.String("admin.listen")
	l, err := listen(ctx, address, "admin-listen")
	if err != nil {
		return nil, err
	}
	reg := prometheus.NewRegistry()
	reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), newBuildInfo())
	s := &admin{registry: reg, listener: l, parts: map[string]func() error{}}
	reg.MustRegister(readyGauge{s})
	return s, nil
}

// readyGauge tells a scrape what /readyz tells a person.
type readyGauge struct{ admin *admin }

var readyDesc = prometheus.NewDesc("ledgerline_ready", "1 when a part of this process is ready; /readyz says why one is not.", []string{"part"}, nil)

// Describe implements prometheus.Collector.
func (readyGauge) Describe(out chan<- *prometheus.Desc) { out <- readyDesc }

// Collect implements prometheus.Collector.
func (g readyGauge) Collect(out chan<- prometheus.Metric) {
	for name, ask := range g.admin.parts {
		ready := 1.0
		if ask() != nil {
			ready = 0
		}
		out <- prometheus.MustNewConstMetric(readyDesc, prometheus.GaugeValue, ready, name)
	}
}

// listen takes an address; when it is taken, the error names the port and the flag.
func listen(ctx context.Context, address, flag string) (net.Listener, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("--%s %s: %w; give another address, or stop what listens there", flag, address, err)
	}
	return l, nil
}

// serve answers until ctx ends.
func (s *admin) serve(ctx context.Context) error {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(s.registry, promhttp.HandlerOpts{Registry: s.registry}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", s.ready)
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	s.server = &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		<-ctx.Done()
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		defer cancel()
		if s.server.Shutdown(grace) != nil {
			_ = s.server.Close() // whoever still asks has had his time
		}
	}()
	err := s.server.Serve(s.listener)
	if errors.Is(err, http.ErrServerClosed) {
		<-stopped
		return nil
	}
	return err
}

// ready answers 200 when every part is, else 503; either way with each part's reason.
func (s *admin) ready(w http.ResponseWriter, _ *http.Request) {
	state := map[string]string{}
	code := http.StatusOK
	for name, ask := range s.parts {
		state[name] = partReady
		if err := ask(); err != nil {
			state[name], code = err.Error(), http.StatusServiceUnavailable
		}
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(readiness{code == http.StatusOK, state}) //nolint:errchkjson // the asker may be gone
}

// partReady stands where an error's text would.
const partReady = "ready"

type readiness struct {
	Ready bool              `json:"ready"`
	Parts map[string]string `json:"parts"`
}

// unready gives the reasons of those parts that are not ready, but for some.
func (s *admin) unready(butFor ...string) error {
	var errs []error
	for name, ask := range s.parts {
		if slices.Contains(butFor, name) {
			continue
		}
		if err := ask(); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", name, err))
		}
	}
	return errors.Join(errs...)
}
