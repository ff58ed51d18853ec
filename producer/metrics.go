package producer

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Outcomes that only metrics know: a repeated command has its first reply's outcome, a forwarded one has none yet.
const (
	outcomeDuplicate = "duplicate"
	outcomeForwarded = "forwarded"
	outcomeScheduled = "scheduled" // it waits for its time
	outcomeCancelled = "cancelled" // it waited, and is not wanted any more
)

// Results of a transaction.
const (
	resultCommitted = "committed"
	resultAborted   = "aborted" // by a rebalance: its commands are decided again by whoever owns them
	resultFailed    = "failed"  // something could not be written
	resultUnknown   = "unknown" // no answer to the commit
)

type metrics struct {
	commands           *prometheus.CounterVec // by outcome
	sent               prometheus.Counter
	answers            *prometheus.CounterVec // by outcome
	deadLetters        prometheus.Counter
	transactions       *prometheus.CounterVec // by result
	transactionSeconds prometheus.Histogram
	batch              prometheus.Histogram // commands a transaction
	restoreSeconds     prometheus.Histogram
	restoredEvents     prometheus.Counter
	sessions           prometheus.Counter
	fenced             prometheus.Counter
	hung               prometheus.Gauge
	waiting            *prometheus.GaugeVec // by reason
	throttled          prometheus.Counter
	scheduled          prometheus.Gauge
	due                dueTimes
	overdue            prometheus.GaugeFunc
	scheduleDelay      prometheus.Histogram
	partitions         prometheus.Gauge
	aggregates         prometheus.Gauge
	remembered         prometheus.Gauge
	stateBytes         prometheus.Gauge
	stateLoads         prometheus.Counter
	snapshots          prometheus.Counter
	recalled           prometheus.Counter
	purged             prometheus.Counter
	standbys           prometheus.Gauge
	standbysWanted     prometheus.Gauge
	standbyLag         prometheus.Gauge
	standbyOffset      *prometheus.GaugeVec
}

func newMetrics(reg prometheus.Registerer, kind string) *metrics {
	labels := prometheus.Labels{"kind": kind}
	opts := func(name, help string) prometheus.Opts {
		return prometheus.Opts{Namespace: "ledgerline", Subsystem: "producer", Name: name, Help: help, ConstLabels: labels}
	}
	histogram := func(name, help string, buckets []float64) prometheus.Histogram {
		return prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: "ledgerline", Subsystem: "producer", Name: name, Help: help, ConstLabels: labels, Buckets: buckets,
		})
	}
	m := &metrics{
		commands:           prometheus.NewCounterVec(prometheus.CounterOpts(opts("commands_total", "Commands processed, by outcome.")), []string{"outcome"}),
		sent:               prometheus.NewCounter(prometheus.CounterOpts(opts("messages_sent_total", "Commands and answers sent to other aggregates."))),
		answers:            prometheus.NewCounterVec(prometheus.CounterOpts(opts("answers_total", "Answers that aggregates got from others to what they had sent, by outcome.")), []string{"outcome"}),
		deadLetters:        prometheus.NewCounter(prometheus.CounterOpts(opts("dead_letters_total", "Commands kept as dead letters."))),
		transactions:       prometheus.NewCounterVec(prometheus.CounterOpts(opts("transactions_total", "Kafka transactions, by result.")), []string{"result"}),
		transactionSeconds: histogram("transaction_seconds", "Time from begin to committed.", prometheus.ExponentialBuckets(0.001, 2, 14)),
		batch:              histogram("transaction_commands", "Commands decided in one transaction.", prometheus.ExponentialBuckets(1, 4, 8)),
		restoreSeconds:     histogram("restore_seconds", "Time to rebuild the state of newly assigned partitions.", prometheus.ExponentialBuckets(0.01, 2, 14)),
		restoredEvents:     prometheus.NewCounter(prometheus.CounterOpts(opts("restored_events_total", "Events read to rebuild state."))),
		sessions:           prometheus.NewCounter(prometheus.CounterOpts(opts("sessions_total", "Sessions started: 1 and one for each time that all state was dropped."))),
		fenced:             prometheus.NewCounter(prometheus.CounterOpts(opts("fenced_transactions_total", "Transactions of dead producers aborted at take-over."))),
		hung:               prometheus.NewGauge(prometheus.GaugeOpts(opts("hung_transactions", "Transactions that hold up this member's partitions for longer than any of a producer may be open."))),
		waiting:            newWaitingGauge(opts("waiting", "Members of the group that wait for Kafka, by reason: nothing is lost by it.")),
		throttled:          prometheus.NewCounter(prometheus.CounterOpts(opts("throttled_seconds_total", "Time for which brokers made this producer wait, since a quota was reached."))),
		scheduled:          prometheus.NewGauge(prometheus.GaugeOpts(opts("scheduled_commands", "Commands that wait for their time."))),
		scheduleDelay:      histogram("schedule_delay_seconds", "Time from when a scheduled command was due until it was decided.", prometheus.ExponentialBuckets(0.01, 2, 14)),
		partitions:         prometheus.NewGauge(prometheus.GaugeOpts(opts("partitions", "Partitions that this member decides."))),
		aggregates:         prometheus.NewGauge(prometheus.GaugeOpts(opts("aggregates", "Aggregates held in memory."))),
		remembered:         prometheus.NewGauge(prometheus.GaugeOpts(opts("remembered_commands", "Commands of the window, whose repetition would be recognised."))),
		stateBytes:         prometheus.NewGauge(prometheus.GaugeOpts(opts("state_bytes", "Size of local state, on disk or in memory."))),
		stateLoads:         prometheus.NewCounter(prometheus.CounterOpts(opts("state_loads_total", "Aggregates that were not in memory when a command came for them."))),
		recalled:           prometheus.NewCounter(prometheus.CounterOpts(opts("replies_recalled_total", "Replies read again, since a command may have been a repetition of theirs."))),
		purged:             prometheus.NewCounter(prometheus.CounterOpts(opts("purged_commands_total", "Old, processed commands deleted, markers of transactions among them."))),
		standbys:           prometheus.NewGauge(prometheus.GaugeOpts(opts("standby_partitions", "Partitions of other members of which this one has a copy, up to date but for the lag."))),
		standbysWanted:     prometheus.NewGauge(prometheus.GaugeOpts(opts("standby_wanted_partitions", "Partitions of other members of which this one is to have a copy."))),
		standbyLag:         prometheus.NewGauge(prometheus.GaugeOpts(opts("standby_lag_events", "Events that the copy which is furthest behind lacks, markers of transactions among them."))),
		standbyOffset:      prometheus.NewGaugeVec(prometheus.GaugeOpts(opts("standby_offset", "Offset in the events topic up to which the copy of a partition has come.")), []string{"partition"}),
		snapshots:          prometheus.NewCounter(prometheus.CounterOpts(opts("snapshots_total", "Snapshots of aggregates written."))),
	}
	m.overdue = prometheus.NewGaugeFunc(prometheus.GaugeOpts(opts("overdue_seconds", "For how long the first scheduled command has been due that is not fired, of those whose partitions this member decides.")),
		func() float64 { return m.due.overdue(time.Now()).Seconds() })
	if reg != nil {
		reg.MustRegister(m.commands, m.sent, m.answers, m.deadLetters, m.transactions, m.transactionSeconds, m.batch, m.restoreSeconds, m.restoredEvents,
			m.sessions, m.fenced, m.hung, m.waiting, m.throttled, m.scheduled, m.overdue, m.scheduleDelay, m.partitions, m.aggregates, m.remembered, m.stateBytes, m.stateLoads, m.snapshots, m.recalled, m.purged, m.standbys, m.standbysWanted, m.standbyLag, m.standbyOffset)
	}
	for _, outcome := range []string{Accepted, Rejected, Conflict, Error, outcomeDuplicate, outcomeForwarded, outcomeScheduled, outcomeCancelled} {
		m.commands.WithLabelValues(outcome) // a counter that is not there can't be 0
	}
	for _, outcome := range []string{Accepted, Rejected, Conflict, Error} {
		m.answers.WithLabelValues(outcome)
	}
	for _, result := range []string{resultCommitted, resultAborted, resultFailed, resultUnknown} {
		m.transactions.WithLabelValues(result)
	}
	return m
}

// dueTimes say of each session when the first scheduled command is due, by our clock.
type dueTimes struct {
	mu    sync.Mutex
	first map[*session]time.Time
}

// set says it of one session; the zero time: none waits.
func (d *dueTimes) set(s *session, at time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if at.IsZero() {
		delete(d.first, s)
		return
	}
	if d.first == nil {
		d.first = map[*session]time.Time{}
	}
	d.first[s] = at
}

// overdue is for how long the first one has been due.
func (d *dueTimes) overdue(now time.Time) (late time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, at := range d.first {
		late = max(late, now.Sub(at))
	}
	return late
}

// share is one session's part of a gauge that all sessions of a producer add to.
type share struct {
	of prometheus.Gauge
	is float64
}

func (s *share) set(value float64) {
	s.of.Add(value - s.is)
	s.is = value
}
