package producer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ledgerline-es/ledgerline/schemas"
)

// A writer whose brokers are away, or take nothing, waits: nothing is lost by that. The client tries again by itself and keeps to itself
// why. So what it waits for is looked for from outside, and told to the operator: by Ready, in the log, and by a metric.

// Reasons to wait, as the metric names them.
const (
	waitBrokers = "brokers" // they do not answer
	waitLeader  = "leader"  // a partition has none
	waitInsync  = "insync"  // fewer copies are in sync than a write needs
	waitQuota   = "quota"   // brokers make this client wait
	waitSlow    = "slow"    // all is there, and a transaction is not done yet
)

func waitReasons() []string {
	return []string{waitBrokers, waitLeader, waitInsync, waitQuota, waitSlow}
}

const (
	waitsAfter = 3 * time.Second // that something lasts before it is called waiting: leaders move in less
	lookEvery  = 5 * time.Second // while all seems to be well
	lookTime   = 2 * time.Second // that a broker has to answer
)

// waiting knows what one member waits for. It outlives sessions: a cause that ends one is mostly there in the next.
type waiting struct {
	cfg     Config
	topics  schemas.Topics
	state   *status
	log     *slog.Logger
	metrics *metrics
	began   atomic.Int64 // when the transaction that is under way was handed to Kafka, in nanoseconds; 0: none is
	held    atomic.Int64 // until when brokers make us wait for a quota
	warned  atomic.Int64 // when that was last said

	limit   int     // commands that a transaction may have; 0: as many as are polled
	brokers []int32 // as of the last look; none: ask those that the producer was started with
	owned   []int32 // the last partitions that it had

	mu    sync.Mutex
	cause cause     // as of the last look
	since time.Time // of the cause
	told  string    // reason that the metric and Ready tell; "": none
}

// cause is why a member waits; none: its text is "".
type cause struct{ reason, text string }

// transaction notes that a transaction was handed to Kafka. The function that it gives notes that it is done.
func (w *waiting) transaction() (done func()) {
	w.began.Store(time.Now().UnixNano())
	return func() { w.began.Store(0) }
}

// room is how many commands the next transaction may have. What brokers do not take before it times out would be tried again for ever: so
// a transaction that failed, or nearly, has the next one be of half its size, and one that was quick lets it grow.
func (w *waiting) room(n int) int {
	if w.limit == 0 {
		return n
	}
	return min(n, w.limit)
}

func (w *waiting) failed(commands int) { w.limit = max(1, commands/2) }

func (w *waiting) committed(commands int, took time.Duration) {
	switch {
	case took > w.cfg.TransactionTimeout/2:
		w.failed(commands)
	case w.limit > 0 && commands >= w.limit && took < w.cfg.TransactionTimeout/4:
		if w.limit *= 2; w.limit >= w.cfg.MaxPollRecords {
			w.limit = 0
		}
	}
}

// OnBrokerThrottle implements kgo.HookBrokerThrottle.
func (w *waiting) OnBrokerThrottle(broker kgo.BrokerMetadata, wait time.Duration, _ bool) {
	if wait <= 0 {
		return
	}
	w.metrics.throttled.Add(wait.Seconds())
	now := time.Now().UnixNano()
	if until := now + int64(wait); until > w.held.Load() {
		w.held.Store(until)
	}
	if last := w.warned.Load(); now-last > int64(time.Minute) && w.warned.CompareAndSwap(last, now) {
		w.log.Warn("throttled by Kafka", "reason", quotaReached, "broker", broker.NodeID, "for", wait.String())
	}
}

const quotaReached = "a quota is reached: raise producer_byte_rate, consumer_byte_rate or request_percentage of this producer's user or client id, if it is to be quicker"

// watch looks until ctx ends. What it found last stays told: the next session looks at once.
func (w *waiting) watch(ctx context.Context, cl *kgo.Client, owned func() []int32) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for looked := (time.Time{}); ; {
		began := w.began.Load()
		overdue := began != 0 && time.Since(time.Unix(0, began)) > waitsAfter
		if overdue || w.waits() || time.Since(looked) > lookEvery {
			looked = time.Now()
			if now := owned(); len(now) > 0 { // else a session is about to begin, of a member that is likely to have again what it had
				w.owned = now
			}
			found := w.look(ctx, cl, w.owned, overdue)
			if ctx.Err() != nil {
				return
			}
			if overdue {
				w.found(found, time.Unix(0, began))
			} else {
				w.found(found, looked)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (w *waiting) waits() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.cause.text != ""
}

// found tells a cause that has lasted, and that it is over.
func (w *waiting) found(c cause, since time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if c.text == "" || w.cause.text == "" {
		w.since = since
	}
	w.cause = c
	switch {
	case c.text == "":
		w.tell(cause{})
	case w.told != "" || time.Since(w.since) > waitsAfter:
		w.tell(c)
	}
}

// over ends the waiting with the member.
func (w *waiting) over() { w.found(cause{}, time.Time{}) }

// tell is called with the lock held.
func (w *waiting) tell(c cause) {
	if c.text == "" {
		w.state.waits(nil)
	} else {
		w.state.waits(errors.New("waiting for Kafka: " + c.text))
	}
	if c.reason == w.told {
		return
	}
	if w.told != "" {
		w.metrics.waiting.WithLabelValues(w.told).Dec()
	}
	if c.reason != "" {
		w.metrics.waiting.WithLabelValues(c.reason).Inc()
		w.log.Warn("waiting for Kafka", "for", c.text, "reason", c.reason, "since", w.since.UTC().Format(time.RFC3339))
	} else {
		w.log.Info("waiting for Kafka is over", "reason", w.told)
	}
	w.told = c.reason
}

// look finds out what keeps Kafka from taking what this member writes.
func (w *waiting) look(ctx context.Context, cl *kgo.Client, owned []int32, overdue bool) cause {
	about, silent := w.ask(ctx, cl)
	if about == nil {
		return cause{waitBrokers, "no broker answers: " + strings.Join(silent.list(), ", ")}
	}
	if c := w.partitions(ctx, cl, about, silent, owned); c.text != "" || !overdue {
		return c
	}
	began := w.began.Load()
	switch {
	case began == 0: // it is done meanwhile
		return cause{}
	case len(silent) > 0:
		return cause{waitBrokers, "no answer from " + strings.Join(silent.list(), ", ") + ", which may coordinate the transactions or the group"}
	case w.held.Load() > began: // also by a transaction before it
		return cause{waitQuota, quotaReached}
	}
	return cause{waitSlow, "all brokers answer, and a transaction is under way for longer than " + waitsAfter.String() + ": brokers or their disks are slow, or the brokers can't reach each other"}
}

// silent are brokers that do not answer, by their ids.
type silent map[int32]string

func (s silent) list() []string {
	names := make([]string, 0, len(s))
	for _, name := range s {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// ask asks each broker for the topics. It gives one of the answers, and who did not answer.
func (w *waiting) ask(ctx context.Context, cl *kgo.Client) (about *kmsg.MetadataResponse, quiet silent) {
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	type broker struct {
		*kgo.Broker
		id   int32
		name string
	}
	var brokers []broker
	for _, id := range w.brokers {
		brokers = append(brokers, broker{cl.Broker(int(id)), id, fmt.Sprintf("broker %d", id)})
	}
	if len(brokers) == 0 {
		for i, seed := range cl.SeedBrokers() {
			brokers = append(brokers, broker{seed, int32(-1 - i), w.cfg.Brokers[i]})
		}
	}
	quiet = silent{}
	var mu sync.Mutex
	var asking sync.WaitGroup
	for _, b := range brokers {
		asking.Go(func() {
			req := kmsg.NewPtrMetadataRequest()
			for _, topic := range []string{w.topics.Commands, w.topics.Internal, w.topics.Events, w.topics.Snapshots, w.topics.Replies} {
				t := kmsg.NewMetadataRequestTopic()
				t.Topic = new(topic)
				req.Topics = append(req.Topics, t)
			}
			resp, err := b.Request(ctx, req)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				quiet[b.id] = b.name
			} else if meta, ok := resp.(*kmsg.MetadataResponse); ok && about == nil {
				about = meta
			}
		})
	}
	asking.Wait()
	w.brokers = nil // those that it was started with
	if about != nil {
		for _, b := range about.Brokers {
			w.brokers = append(w.brokers, b.NodeID)
		}
	}
	return about, quiet
}

// partitions looks for a partition of ours that can't be written or read.
func (w *waiting) partitions(ctx context.Context, cl *kgo.Client, about *kmsg.MetadataResponse, quiet silent, owned []int32) cause {
	causes, worst := map[string][]string{}, ""
	for _, t := range about.Topics {
		if t.Topic == nil || t.ErrorCode != 0 {
			continue // it is not made yet, or may not be seen: others say so
		}
		written := *t.Topic != w.topics.Commands && *t.Topic != w.topics.Internal
		needs := -1
		for _, p := range t.Partitions {
			if !slices.Contains(owned, p.Partition) {
				continue
			}
			where := fmt.Sprintf("%s partition %d", *t.Topic, p.Partition)
			switch {
			case p.Leader < 0 || p.ErrorCode == kerr.LeaderNotAvailable.Code:
				causes[waitLeader] = append(causes[waitLeader], fmt.Sprintf("%s has no leader: bring back one of the brokers %v", where, holders(p.ISR, p.Replicas)))
			case quiet[p.Leader] != "":
				causes[waitBrokers] = append(causes[waitBrokers], fmt.Sprintf("%s, which leads %s, does not answer", quiet[p.Leader], where))
			case written && len(p.ISR) < len(p.Replicas):
				if needs < 0 {
					needs = w.minInsync(ctx, cl, *t.Topic)
				}
				if len(p.ISR) < needs {
					away := slices.DeleteFunc(slices.Clone(p.Replicas), func(b int32) bool { return slices.Contains(p.ISR, b) })
					causes[waitInsync] = append(causes[waitInsync], fmt.Sprintf("NOT_ENOUGH_REPLICAS: %s has %d copies in sync of the %d that %s demands: bring back brokers %v",
						where, len(p.ISR), needs, minInsync, away))
				}
			}
		}
	}
	for _, reason := range waitReasons() {
		if worst == "" && len(causes[reason]) > 0 {
			worst = reason
		}
	}
	if worst == "" {
		return cause{}
	}
	first := slices.Min(causes[worst])
	if more := len(causes[worst]) - 1; more > 0 {
		first += fmt.Sprintf("; and so for %d more partitions", more)
	}
	return cause{worst, first}
}

// minInsync is how many copies of a topic must be in sync for a write to count.
func (w *waiting) minInsync(ctx context.Context, cl *kgo.Client, topic string) int {
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	configs, err := kadm.NewClient(cl).DescribeTopicConfigs(ctx, topic)
	if err != nil {
		return w.cfg.MinInsync
	}
	found, err := configs.On(topic, nil)
	if err != nil || found.Err != nil {
		return w.cfg.MinInsync
	}
	for _, c := range found.Configs {
		if c.Key == minInsync && c.Value != nil {
			if n, err := strconv.Atoi(*c.Value); err == nil {
				return n
			}
		}
	}
	return w.cfg.MinInsync
}

// newWaitingGauge is the metric of the reasons: how many members wait for each.
func newWaitingGauge(opts prometheus.Opts) *prometheus.GaugeVec {
	g := prometheus.NewGaugeVec(prometheus.GaugeOpts(opts), []string{"reason"})
	for _, reason := range waitReasons() {
		g.WithLabelValues(reason)
	}
	return g
}
