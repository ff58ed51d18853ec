package api

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	requests *prometheus.CounterVec   // route, method, code
	seconds  *prometheus.HistogramVec // route, method
	hits     *prometheus.CounterVec   // cache
	misses   *prometheus.CounterVec   // cache
	refused  *prometheus.CounterVec   // cache, reason: loaded, and not kept
	cached   *prometheus.GaugeVec     // cache
	pending  prometheus.Gauge
	late     prometheus.Counter
	waiting  prometheus.Gauge
	behind   prometheus.Counter
	events   *prometheus.CounterVec // kind
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	counter := func(name, help string) prometheus.CounterOpts { return prometheus.CounterOpts{Name: name, Help: help} }
	gauge := func(name, help string) prometheus.GaugeOpts { return prometheus.GaugeOpts{Name: name, Help: help} }
	m := &metrics{
		requests: prometheus.NewCounterVec(counter("api_requests_total", "Requests answered, by route, method and status."), []string{"route", "method", "code"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "api_request_seconds", Help: "Time from a request's headers to its answer.",
			// The targets are among them: a quantile is not to be guessed between two of them.
			Buckets: []float64{0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.3, 0.5, 1, 2, 5, 10, 30}}, []string{"route", "method"}),
		hits:    prometheus.NewCounterVec(counter("api_cache_hits_total", "Reads answered from the cache."), []string{"cache"}),
		misses:  prometheus.NewCounterVec(counter("api_cache_misses_total", "Reads for which the store was asked."), []string{"cache"}),
		refused: prometheus.NewCounterVec(counter("api_cache_refused_total", "Rows that were read and not kept, since they were below what the log had shown."), []string{"cache", "reason"}),
		cached:  prometheus.NewGaugeVec(gauge("api_cache_entries", "Rows in the cache."), []string{"cache"}),
		pending: prometheus.NewGauge(gauge("api_pending_writes", "Commands published or being published that have no reply yet.")),
		late:    prometheus.NewCounter(counter("api_late_writes_total", "Writes answered 202, since the reply did not come in time.")),
		waiting: prometheus.NewGauge(gauge("api_waiting_reads", "Reads that wait for a projection.")),
		behind:  prometheus.NewCounter(counter("api_behind_total", "Reads that gave up waiting for a projection.")),
		events:  prometheus.NewCounterVec(counter("api_log_events_total", "Events seen in the log."), []string{"kind"}),
	}
	if reg == nil {
		return m, nil
	}
	var errs []error
	for _, c := range []prometheus.Collector{m.requests, m.seconds, m.hits, m.misses, m.refused, m.cached, m.pending, m.late, m.waiting, m.behind, m.events} {
		errs = append(errs, reg.Register(c))
	}
	return m, errors.Join(errs...)
}
