package monitor

import (
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// partitionLag is how far a group is behind in a partition.
type partitionLag struct {
	topic     string
	partition int32
	committed bool  // the group has an offset
	position  int64 // it, or where the group would begin
	records   int64
	age       time.Duration
	aged      bool // the age is known
}

// projectionLag is how far a projection is behind.
type projectionLag struct {
	projector string
	known     bool
	age       time.Duration // the largest of all partitions
	records   int64         // the sum
}

// metrics give a scrape the readings that are young enough.
type metrics struct {
	stale time.Duration

	lag, lagSeconds, offset, earliest, latest, undecided, open, projectionLag, projectionRecords, up, success *prometheus.Desc

	seconds     prometheus.Histogram
	fetches     prometheus.Counter
	bytes       prometheus.Counter
	storeErrors *prometheus.CounterVec // projector

	mu          sync.Mutex
	seen        bool // the last look was complete
	successAt   time.Time
	groups      map[string]reading[[]partitionLag]
	projections map[string]reading[projectionLag]
	logs        map[string]reading[map[int32]span]
}

// reading is a value with the time of its measurement.
type reading[T any] struct {
	of T
	at time.Time
}

func newMetrics(stale time.Duration) *metrics {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, labels, nil)
	}
	return &metrics{
		stale: stale,

		lag:               desc("kafka_consumergroup_group_lag", "End offset less the group's offset, as kafka-consumer-groups shows it.", "group", "topic", "partition"),
		lagSeconds:        desc("kafka_consumergroup_group_lag_seconds", "Age of the oldest committed record that the group has not processed; 0 when there is none.", "group", "topic", "partition"),
		offset:            desc("kafka_consumergroup_group_offset", "The offset that the group has committed.", "group", "topic", "partition"),
		earliest:          desc("kafka_partition_earliest_offset", "First offset of a partition.", "topic", "partition"),
		latest:            desc("kafka_partition_latest_offset", "End offset of a partition.", "topic", "partition"),
		undecided:         desc("kafka_partition_undecided_records", "Records behind the last stable offset: those of open transactions, and what waits behind them.", "topic", "partition"),
		open:              desc("kafka_partition_open_transaction_seconds", "For how long the oldest open transaction of a partition has been seen: its last stable offset stands still, and records wait behind it; 0 when none do.", "topic", "partition"),
		projectionLag:     desc("projection_lag", "Milliseconds since the oldest event was recorded that the projection does not hold; 0 when it holds all.", "projector"),
		projectionRecords: desc("projection_lag_records", "Offsets between the projection's position in its store and the last stable offsets, of all partitions.", "projector"),
		up:                desc("monitor_up", "1 when the last look saw all topics, groups and stores."),
		success:           desc("monitor_last_success_timestamp_seconds", "When a look last saw everything, in Unix time; 0: never."),

		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "monitor_look_seconds", Help: "How long a look took.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 13)}),
		fetches: prometheus.NewCounter(prometheus.CounterOpts{Name: "monitor_fetches_total", Help: "Requests for records, to learn their age."}),
		bytes:   prometheus.NewCounter(prometheus.CounterOpts{Name: "monitor_fetched_bytes_total", Help: "Bytes of records read, to learn their age."}),
		storeErrors: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "monitor_store_errors_total",
			Help: "Looks in which a projection's store did not say where it stands: the group's offsets were used."}, []string{"projector"}),

		groups: make(map[string]reading[[]partitionLag]), projections: make(map[string]reading[projectionLag]), logs: make(map[string]reading[map[int32]span]),
	}
}

func (m *metrics) looked(complete bool, at time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.seen = complete; complete {
		m.successAt = at
	}
}

func (m *metrics) group(name string, lags []partitionLag, at time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.groups[name] = reading[[]partitionLag]{lags, at}
}

func (m *metrics) projection(p projectionLag, at time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.projections[p.projector] = reading[projectionLag]{p, at}
}

func (m *metrics) topics(states map[string]*topicState, at time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for name, state := range states {
		if state.err == nil {
			m.logs[name] = reading[map[int32]span]{state.partitions, at}
		}
	}
}

// Describe implements prometheus.Collector.
func (m *metrics) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{m.lag, m.lagSeconds, m.offset, m.earliest, m.latest, m.undecided, m.open, m.projectionLag, m.projectionRecords, m.up, m.success} {
		out <- d
	}
	m.seconds.Describe(out)
	m.fetches.Describe(out)
	m.bytes.Describe(out)
	m.storeErrors.Describe(out)
}

// Collect implements prometheus.Collector.
func (m *metrics) Collect(out chan<- prometheus.Metric) {
	m.seconds.Collect(out)
	m.fetches.Collect(out)
	m.bytes.Collect(out)
	m.storeErrors.Collect(out)

	m.mu.Lock()
	defer m.mu.Unlock()
	gauge := func(d *prometheus.Desc, value float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	up, success := 0.0, 0.0
	if m.seen && time.Since(m.successAt) < m.stale {
		up = 1
	}
	if !m.successAt.IsZero() {
		success = float64(m.successAt.UnixMilli()) / 1000
	}
	gauge(m.up, up)
	gauge(m.success, success)
	for topic, r := range m.logs {
		if time.Since(r.at) > m.stale {
			continue
		}
		for id, p := range r.of {
			partition := strconv.Itoa(int(id))
			gauge(m.earliest, float64(p.start), topic, partition)
			gauge(m.latest, float64(p.end), topic, partition)
			gauge(m.undecided, float64(p.end-p.stable), topic, partition)
			gauge(m.open, p.open.Seconds(), topic, partition)
		}
	}
	for group, r := range m.groups {
		if time.Since(r.at) > m.stale {
			continue
		}
		for _, l := range r.of {
			partition := strconv.Itoa(int(l.partition))
			if l.committed {
				gauge(m.lag, float64(l.records), group, l.topic, partition)
				gauge(m.offset, float64(l.position), group, l.topic, partition)
			}
			if l.aged {
				gauge(m.lagSeconds, l.age.Seconds(), group, l.topic, partition)
			}
		}
	}
	for name, r := range m.projections {
		if time.Since(r.at) > m.stale {
			continue
		}
		gauge(m.projectionLag, float64(r.of.age)/float64(time.Millisecond), name)
		gauge(m.projectionRecords, float64(r.of.records), name)
	}
}
