package projector

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are what one projector counts. All carry the label projector.
type metrics struct {
	events    *prometheus.CounterVec // topic, partition
	writes    prometheus.Counter
	seconds   prometheus.Histogram
	visible   prometheus.Histogram
	retries   *prometheus.CounterVec // stage
	fenced    prometheus.Counter
	rebuild   prometheus.Gauge
	up        prometheus.Gauge
	buffered  prometheus.Gauge
	lagEvents *prometheus.GaugeVec // topic, partition
	lagTime   *prometheus.GaugeVec // topic, partition
}

// newMetrics registers the metrics. A second projector of the same name, in the same process, adds to the first one's.
func newMetrics(reg prometheus.Registerer, projector string) (*metrics, error) {
	labels := prometheus.Labels{"projector": projector}
	opts := func(name, help string) prometheus.Opts {
		return prometheus.Opts{Name: name, Help: help, ConstLabels: labels}
	}
	m := &metrics{
		events: prometheus.NewCounterVec(prometheus.CounterOpts(opts("projector_events_total", "Events whose rows are stored.")), []string{"topic", "partition"}),
		writes: prometheus.NewCounter(prometheus.CounterOpts(opts("projector_writes_total", "Writes to the store that succeeded."))),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "projector_write_seconds", Help: "How long a successful write to the store took.", ConstLabels: labels,
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 15)}),
		visible: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "projector_visible_seconds", Help: "From the record's timestamp to the rows being stored, of the oldest event of each partition's batch.", ConstLabels: labels,
			Buckets: prometheus.ExponentialBuckets(0.002, 2, 16)}),
		retries:   prometheus.NewCounterVec(prometheus.CounterOpts(opts("projector_retries_total", "Attempts that failed and are made again.")), []string{"stage"}),
		fenced:    prometheus.NewCounter(prometheus.CounterOpts(opts("projector_fenced_total", "Writes that were refused because the store stood elsewhere."))),
		rebuild:   prometheus.NewGauge(prometheus.GaugeOpts(opts("projection_rebuild_required", "1 when the projection's declaration is not the one its table was built from."))),
		up:        prometheus.NewGauge(prometheus.GaugeOpts(opts("projector_up", "1 while the projector has a share of the work and nothing fails."))),
		buffered:  prometheus.NewGauge(prometheus.GaugeOpts(opts("projector_buffered_bytes", "Records between Kafka and the store."))),
		lagEvents: prometheus.NewGaugeVec(prometheus.GaugeOpts(opts("projector_lag_records", "Records of a partition, up to its last stable offset, that the store does not have yet.")), []string{"topic", "partition"}),
		lagTime:   prometheus.NewGaugeVec(prometheus.GaugeOpts(opts("projector_lag_seconds", "Age of the oldest event read and not yet stored; 0 when all are.")), []string{"topic", "partition"}),
	}
	var errs []error
	m.events = register(reg, m.events, &errs)
	m.writes = register(reg, m.writes, &errs)
	m.seconds = register(reg, m.seconds, &errs)
	m.visible = register(reg, m.visible, &errs)
	m.retries = register(reg, m.retries, &errs)
	m.fenced = register(reg, m.fenced, &errs)
	m.rebuild = register(reg, m.rebuild, &errs)
	m.up = register(reg, m.up, &errs)
	m.buffered = register(reg, m.buffered, &errs)
	m.lagEvents = register(reg, m.lagEvents, &errs)
	m.lagTime = register(reg, m.lagTime, &errs)
	for _, stage := range []string{"claim", "decode", "fetch", "write"} {
		m.retries.WithLabelValues(stage) // a counter that is not there can't be 0
	}
	return m, errors.Join(errs...)
}

func register[C prometheus.Collector](reg prometheus.Registerer, c C, errs *[]error) C {
	if reg == nil {
		return c
	}
	err := reg.Register(c)
	if there, ok := errors.AsType[prometheus.AlreadyRegisteredError](err); ok {
		if old, same := there.ExistingCollector.(C); same {
			return old
		}
	}
	if err != nil {
		*errs = append(*errs, err)
	}
	return c
}
