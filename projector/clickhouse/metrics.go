package clickhouse

import "github.com/prometheus/client_golang/prometheus"

// metrics are what a sink counts. Their names are those of every sink; the label store tells them apart.
type metrics struct {
	rows    *prometheus.CounterVec // projector
	inserts *prometheus.CounterVec // projector
	doubts  *prometheus.CounterVec // projector

	connections, connectionsMax *prometheus.Desc
}

func newMetrics() *metrics {
	labels := prometheus.Labels{"store": StoreName}
	counter := func(name, help string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help, ConstLabels: labels}, []string{"projector"})
	}
	return &metrics{
		rows:           counter("sink_rows_total", "Rows written, and committed."),
		inserts:        counter("sink_inserts_total", "Blocks inserted: each makes a part, which is merged later."),
		doubts:         counter("sink_doubts_total", "Ranges of unknown outcome that were compared with what is stored."),
		connections:    prometheus.NewDesc("sink_connections", "Connections to the store, by state: used or idle.", []string{"state"}, labels),
		connectionsMax: prometheus.NewDesc("sink_connections_max", "Most connections to the store.", nil, labels),
	}
}

// of makes the counters of a projection: a counter that is not there can't be 0.
func (m *metrics) of(projector string) {
	for _, c := range []*prometheus.CounterVec{m.rows, m.inserts, m.doubts} {
		c.WithLabelValues(projector)
	}
}

// Describe implements prometheus.Collector.
func (s *Sink) Describe(out chan<- *prometheus.Desc) {
	for _, c := range []*prometheus.CounterVec{s.metrics.rows, s.metrics.inserts, s.metrics.doubts} {
		c.Describe(out)
	}
	out <- s.metrics.connections
	out <- s.metrics.connectionsMax
}

// Collect implements prometheus.Collector: register the sink to see what it does. What has not connected yet has no
// connections to tell of.
func (s *Sink) Collect(out chan<- prometheus.Metric) {
	for _, c := range []*prometheus.CounterVec{s.metrics.rows, s.metrics.inserts, s.metrics.doubts} {
		c.Collect(out)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn == nil {
		return
	}
	stats := s.conn.Stats()
	gauge := func(d *prometheus.Desc, value int, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(value), labels...)
	}
	gauge(s.metrics.connections, stats.Open, "used")
	gauge(s.metrics.connections, stats.Idle, "idle")
	gauge(s.metrics.connectionsMax, stats.MaxOpenConns)
}
