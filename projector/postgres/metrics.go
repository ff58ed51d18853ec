package postgres

import "github.com/prometheus/client_golang/prometheus"

// metrics are what a sink counts. Their names are those of every sink; the label store tells them apart.
type metrics struct {
	rows *prometheus.CounterVec // projector

	connections, connectionsMax, waits *prometheus.Desc
}

func newMetrics() *metrics {
	labels := prometheus.Labels{"store": StoreName}
	return &metrics{
		rows:           prometheus.NewCounterVec(prometheus.CounterOpts{Name: "sink_rows_total", Help: "Rows written, and committed.", ConstLabels: labels}, []string{"projector"}),
		connections:    prometheus.NewDesc("sink_connections", "Connections to the store, by state: used or idle.", []string{"state"}, labels),
		connectionsMax: prometheus.NewDesc("sink_connections_max", "Most connections to the store.", nil, labels),
		waits:          prometheus.NewDesc("sink_connection_wait_seconds_total", "Time spent waiting for a connection.", nil, labels),
	}
}

// Describe implements prometheus.Collector.
func (s *Sink) Describe(out chan<- *prometheus.Desc) {
	s.metrics.rows.Describe(out)
	out <- s.metrics.connections
	out <- s.metrics.connectionsMax
	out <- s.metrics.waits
}

// Collect implements prometheus.Collector: register the sink to see what it does. What has not connected yet has no
// connections to tell of.
func (s *Sink) Collect(out chan<- prometheus.Metric) {
	s.metrics.rows.Collect(out)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pool == nil {
		return
	}
	stat := s.pool.Stat()
	gauge := func(d *prometheus.Desc, value float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	gauge(s.metrics.connections, float64(stat.AcquiredConns()), "used")
	gauge(s.metrics.connections, float64(stat.IdleConns()), "idle")
	gauge(s.metrics.connectionsMax, float64(stat.MaxConns()))
	out <- prometheus.MustNewConstMetric(s.metrics.waits, prometheus.CounterValue, stat.EmptyAcquireWaitTime().Seconds())
}
