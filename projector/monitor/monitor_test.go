package monitor_test

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"

	"github.com/ledgerline-es/ledgerline/internal/kit"
	"github.com/ledgerline-es/ledgerline/projector"
	"github.com/ledgerline-es/ledgerline/projector/internal/logtest"
	"github.com/ledgerline-es/ledgerline/projector/monitor"
)

func TestMain(m *testing.M) { kit.Main(m, logtest.Role()) }

// scrape is what one scrape of a registry gives: name{label="value",…} to value.
type scrape map[string]float64

func scrapeOf(t *testing.T, reg *prometheus.Registry) scrape {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	values := scrape{}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, fmt.Sprintf("%s=%q", l.GetName(), l.GetValue()))
			}
			slices.Sort(labels)
			value := m.GetGauge().GetValue() + m.GetCounter().GetValue() + float64(m.GetHistogram().GetSampleCount())
			values[family.GetName()+"{"+strings.Join(labels, ",")+"}"] = value
		}
	}
	return values
}

// of gives a series of a partition; ok is false when there is none.
func (s scrape) of(name, group, topic string, partition int) (float64, bool) {
	v, ok := s[fmt.Sprintf(`%s{group=%q,partition="%d",topic=%q}`, name, group, partition, topic)]
	return v, ok
}

func (s scrape) projection(name string) (float64, bool) {
	v, ok := s[fmt.Sprintf(`projection_lag{projector=%q}`, name)]
	return v, ok
}

// starts runs a monitor until the test ends, or stop is called.
func starts(t *testing.T, cfg monitor.Config, readers ...monitor.Reader) (*prometheus.Registry, *monitor.Monitor) {
	t.Helper()
	reg := prometheus.NewRegistry()
	cfg.Registerer = reg
	if cfg.Interval == 0 {
		cfg.Interval = 100 * time.Millisecond
	}
	m := monitor.New(cfg, readers...)
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- m.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return reg, m
}

func must[T any](v T, err error) func(t *testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// lagTopic is a topic whose partitions are each in another state, and a group that stands somewhere in each.
type lagTopic struct {
	name, group string
	admin       *kadm.Client
	client      *kgo.Client
}

// record is one of a partition, stamped as that long ago.
func (l lagTopic) record(partition int32, ago time.Duration) *kgo.Record {
	return &kgo.Record{Topic: l.name, Partition: partition, Value: []byte("v"), Timestamp: time.Now().Add(-ago)}
}

// transaction writes records and leaves the transaction open until it is ended.
func transaction(t *testing.T, id string, records ...*kgo.Record) *kgo.Client {
	t.Helper()
	client := kit.Kafka(t).Client(t, kgo.TransactionalID(id), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err := client.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	if err := client.ProduceSync(t.Context(), records...).FirstErr(); err != nil {
		t.Fatal(err)
	}
	return client
}

func end(t *testing.T, client *kgo.Client, commit bool) {
	t.Helper()
	if err := client.EndTransaction(t.Context(), kgo.TransactionEndTry(commit)); err != nil {
		t.Fatal(err)
	}
}

func (l lagTopic) commit(t *testing.T, offsets map[int32]int64) {
	t.Helper()
	all := kadm.Offsets{}
	for partition, at := range offsets {
		all.AddOffset(l.name, partition, at, -1)
	}
	if err := l.admin.CommitAllOffsets(t.Context(), l.group, all); err != nil {
		t.Fatal(err)
	}
}

// partitions of the test below, and what each shows.
const (
	marker      = iota // the group has all records; a marker is left: lag 1 by offsets, none in time
	behind             // three records behind, the oldest an hour old
	undecided          // a transaction is open: what is in it, and behind it, has no age yet
	aborted            // all that is left was aborted
	empty              // never written to
	deleted            // DeleteRecords went past the group's offset
	unread             // the group has no offset here
	afterMarker        // the group stands at a marker, a record follows
	emptied            // DeleteRecords to the end
	partitions
)

// The figures are held against Kafka's own tool, partition by partition; the ages against when the records were stamped.
func TestP12_LagAsKafkasToolShowsIt_AgesOfWhatCanBeRead(t *testing.T) {
	kafka := kit.Kafka(t)
	prefix := kit.Prefix(t)
	client := kafka.Client(t, kgo.RecordPartitioner(kgo.ManualPartitioner()))
	l := lagTopic{name: prefix + "log", group: prefix + "readers", admin: kadm.NewClient(client), client: client}
	must(l.admin.CreateTopic(t.Context(), partitions, 1, nil, l.name))(t)

	end(t, transaction(t, prefix+"a", l.record(marker, time.Hour), l.record(behind, 2*time.Hour), l.record(aborted, time.Hour), l.record(afterMarker, 3*time.Hour)), true)
	end(t, transaction(t, prefix+"b", l.record(aborted, 50*time.Minute)), false)
	for _, records := range [][]*kgo.Record{
		{l.record(behind, time.Hour), l.record(behind, 40*time.Minute), l.record(behind, 20*time.Minute)},
		{l.record(deleted, 5*time.Hour), l.record(deleted, 4*time.Hour), l.record(deleted, 30*time.Minute)},
		{l.record(unread, 25*time.Minute), l.record(unread, 5*time.Minute)},
		{l.record(afterMarker, 15*time.Minute)},
		{l.record(emptied, 45*time.Minute), l.record(emptied, 45*time.Minute)},
		{l.record(undecided, 6*time.Hour)},
	} {
		if err := client.ProduceSync(t.Context(), records...).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	open := transaction(t, prefix+"c", l.record(undecided, 35*time.Minute))
	if err := client.ProduceSync(t.Context(), l.record(undecided, 10*time.Minute)).FirstErr(); err != nil {
		t.Fatal(err)
	}
	var gone kadm.Offsets
	gone.AddOffset(l.name, deleted, 2, -1)
	gone.AddOffset(l.name, emptied, 2, -1)
	must(l.admin.DeleteRecords(t.Context(), gone))(t)
	l.commit(t, map[int32]int64{marker: 1, behind: 2, undecided: 1, aborted: 1, deleted: 0, afterMarker: 1, emptied: 0, empty: 0})

	reg, m := starts(t, monitor.Config{Client: []kgo.Opt{kgo.SeedBrokers(kafka.Brokers()...)}}, monitor.Reader{Group: l.group, Topics: []string{l.name}})
	holds := func(want map[int]time.Duration) {
		t.Helper()
		logtest.Eventually(t, func() error {
			if err := m.Ready(); err != nil {
				return err
			}
			s := scrapeOf(t, reg)
			for partition, age := range want {
				got, ok := s.of("kafka_consumergroup_group_lag_seconds", l.group, l.name, partition)
				if !ok || got < age.Seconds() || got > age.Seconds()+120 || age == 0 && got != 0 {
					return fmt.Errorf("partition %d: age %v s (there is one: %v), want %v", partition, got, ok, age)
				}
			}
			return nil
		})
	}
	ages := map[int]time.Duration{marker: 0, behind: time.Hour, undecided: 0, aborted: 0, empty: 0, deleted: 30 * time.Minute, unread: 25 * time.Minute, afterMarker: 15 * time.Minute, emptied: 0}
	holds(ages)
	equalsTool(t, reg, l)
	end(t, open, true)
	ages[undecided] = 35 * time.Minute
	holds(ages)
	equalsTool(t, reg, l)

	// What stands still costs nothing.
	before := scrapeOf(t, reg)
	logtest.Eventually(t, func() error {
		now := scrapeOf(t, reg)
		if now["monitor_look_seconds{}"] < before["monitor_look_seconds{}"]+5 {
			return fmt.Errorf("%v looks", now["monitor_look_seconds{}"])
		}
		if now["monitor_fetches_total{}"] != before["monitor_fetches_total{}"] {
			t.Errorf("%v fetches more, though nothing has moved", now["monitor_fetches_total{}"]-before["monitor_fetches_total{}"])
		}
		return nil
	})
}

// equalsTool compares with kafka-consumer-groups --describe: GROUP TOPIC PARTITION CURRENT-OFFSET LOG-END-OFFSET LAG …
func equalsTool(t *testing.T, reg *prometheus.Registry, l lagTopic) {
	t.Helper()
	out := kit.Kafka(t).Tool(t, "kafka-consumer-groups", "--describe", "--group", l.group)
	s := scrapeOf(t, reg)
	rows := 0
	for line := range strings.Lines(out) {
		f := strings.Fields(line)
		if len(f) < 6 || f[0] != l.group {
			continue
		}
		rows++
		partition := must(strconv.Atoi(f[2]))(t)
		for name, column := range map[string]int{"kafka_consumergroup_group_offset": 3, "kafka_consumergroup_group_lag": 5} {
			got, ok := s.of(name, l.group, l.name, partition)
			if shown := f[column]; ok && shown != strconv.Itoa(int(got)) || !ok && shown != "-" {
				t.Errorf("partition %d: the tool shows %s, %s is %v (there is one: %v)", partition, shown, name, got, ok)
			}
		}
	}
	if rows < partitions-1 { // it leaves out partitions without an offset, in some versions
		t.Errorf("the tool shows %d partitions:\n%s", rows, out)
	}
	if _, ok := s.of("kafka_consumergroup_group_lag", l.group, l.name, unread); ok {
		t.Error("a partition without an offset has a lag")
	}
}

// A batch larger than a shared answer may hold is asked for alone.
func TestLargeBatches_AreReadToo(t *testing.T) {
	kafka := kit.Kafka(t)
	prefix := kit.Prefix(t)
	client := kafka.Client(t, kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerBatchCompression(kgo.NoCompression()))
	l := lagTopic{name: prefix + "log", group: prefix + "readers", admin: kadm.NewClient(client), client: client}
	must(l.admin.CreateTopic(t.Context(), 3, 1, nil, l.name))(t)
	for partition := range int32(3) {
		rec := l.record(partition, time.Hour)
		rec.Value = []byte(strings.Repeat("x", 500_000))
		if err := client.ProduceSync(t.Context(), rec).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	reg, m := starts(t, monitor.Config{Client: []kgo.Opt{kgo.SeedBrokers(kafka.Brokers()...)}}, monitor.Reader{Group: l.group, Topics: []string{l.name}})
	logtest.Eventually(t, func() error {
		for partition := range 3 {
			if age, ok := scrapeOf(t, reg).of("kafka_consumergroup_group_lag_seconds", l.group, l.name, partition); !ok || age < 3600 {
				return fmt.Errorf("partition %d: age %v, ready says %w", partition, age, m.Ready())
			}
		}
		return nil
	})
}

// What cannot be seen is not shown: no topic, then a broker that dies and comes back.
func TestP12_BrokerAway_NothingIsShown(t *testing.T) {
	kafka := kit.Kafka(t)
	prefix := kit.Prefix(t)
	client := kafka.Client(t, kgo.RecordPartitioner(kgo.ManualPartitioner()))
	l := lagTopic{name: prefix + "log", group: prefix + "readers", admin: kadm.NewClient(client), client: client}
	cfg := monitor.Config{Client: []kgo.Opt{kgo.SeedBrokers(kafka.Brokers()...)}, Timeout: time.Second, Stale: 2 * time.Second}
	reg, m := starts(t, cfg, monitor.Reader{Group: l.group, Topics: []string{l.name}, Projector: "p"})
	shown := func(up float64, series bool) {
		t.Helper()
		logtest.Eventually(t, func() error {
			s := scrapeOf(t, reg)
			_, lag := s.projection("p")
			_, seconds := s.of("kafka_consumergroup_group_lag_seconds", l.group, l.name, 0)
			if s["monitor_up{}"] != up || lag != series || seconds != series {
				return fmt.Errorf("monitor_up %v, projection_lag there: %v, seconds there: %v; ready says %w", s["monitor_up{}"], lag, seconds, m.Ready())
			}
			return nil
		})
	}
	logtest.Eventually(t, func() error {
		if err := m.Ready(); err == nil || !strings.Contains(err.Error(), l.name) {
			return fmt.Errorf("the topic is missing, and ready says %w", err)
		}
		return nil
	})
	shown(0, false)
	must(l.admin.CreateTopic(t.Context(), 1, 1, nil, l.name))(t)
	shown(1, true)
	kafka.Kill9()
	shown(0, false)
	if err := m.Ready(); err == nil {
		t.Error("ready without a broker")
	}
	kafka.Restart(t)
	shown(1, true)
}

// An answer that takes long tells of the moment when it was asked for; a store that knows better says so.
func TestStoreIsSlow_LagIsAsOfTheQuestion(t *testing.T) {
	kafka := kit.Kafka(t)
	prefix := kit.Prefix(t)
	client := kafka.Client(t, kgo.RecordPartitioner(kgo.ManualPartitioner()))
	l := lagTopic{name: prefix + "log", group: prefix + "readers", admin: kadm.NewClient(client), client: client}
	must(l.admin.CreateTopic(t.Context(), 1, 1, nil, l.name))(t)
	rec := l.record(0, time.Hour)
	stamp := rec.Timestamp.Truncate(time.Millisecond)
	if err := client.ProduceSync(t.Context(), rec).FirstErr(); err != nil {
		t.Fatal(err)
	}
	asked := make(chan time.Time, 100)
	slow := func(context.Context) (map[int32]projector.SnapshotPosition, error) {
		asked <- time.Now()
		<-time.After(300 * time.Millisecond) // the slowness itself
		return map[int32]projector.SnapshotPosition{0: {}}, nil
	}
	exact := func(context.Context) (map[int32]projector.SnapshotPosition, error) {
		return map[int32]projector.SnapshotPosition{0: {AsOf: stamp.Add(7 * time.Second)}}, nil
	}
	reg, _ := starts(t, monitor.Config{Client: []kgo.Opt{kgo.SeedBrokers(kafka.Brokers()...)}, Interval: time.Hour},
		monitor.Reader{Group: l.group, Topics: []string{l.name}, Projector: "slow", Stored: slow},
		monitor.Reader{Group: l.group, Topics: []string{l.name}, Projector: "exact", Stored: exact})
	logtest.Eventually(t, func() error {
		s := scrapeOf(t, reg)
		if lag, ok := s.projection("exact"); !ok || lag != 7000 {
			return fmt.Errorf("lag %v ms (there is one: %v), want 7000", lag, ok)
		}
		return nil
	})
	lag, ok := scrapeOf(t, reg).projection("slow")
	last := <-asked
	for len(asked) > 0 {
		last = <-asked
	}
	if most := float64(last.Sub(stamp)) / 1e6; !ok || lag > most || lag < 3_600_000 {
		t.Errorf("lag %v ms (there is one: %v), want at most %v: so old was the record when the store was asked", lag, ok, most)
	}
}

// Where a transaction is left open nothing has an age any more, since nobody can see it; for how long that has been so is told by
// itself. Transactions that end, one after another, are no such thing.
func TestOpenTransaction_IsSeenToAge(t *testing.T) {
	kafka := kit.Kafka(t)
	prefix := kit.Prefix(t)
	client := kafka.Client(t, kgo.RecordPartitioner(kgo.ManualPartitioner()))
	l := lagTopic{name: prefix + "log", group: prefix + "readers", admin: kadm.NewClient(client), client: client}
	for _, topic := range []string{l.name, prefix + "unread"} {
		must(l.admin.CreateTopic(t.Context(), 2, 1, nil, topic))(t)
	}
	reg, _ := starts(t, monitor.Config{Client: []kgo.Opt{kgo.SeedBrokers(kafka.Brokers()...)}, Topics: []string{prefix + "unread"}},
		monitor.Reader{Group: l.group, Topics: []string{l.name}})
	open := func(topic string, partition int) float64 {
		v, ok := scrapeOf(t, reg)[fmt.Sprintf(`kafka_partition_open_transaction_seconds{partition="%d",topic=%q}`, partition, topic)]
		if !ok {
			return -1
		}
		return v
	}
	logtest.Eventually(t, func() error {
		for _, topic := range []string{l.name, prefix + "unread"} {
			if open(topic, 0) != 0 || open(topic, 1) != 0 {
				return fmt.Errorf("before all: %v, %v", open(topic, 0), open(topic, 1))
			}
		}
		return nil
	})
	unread := l.record(1, 0)
	unread.Topic = prefix + "unread"
	left := transaction(t, prefix+"left", l.record(1, time.Hour), unread)
	begun := time.Now()
	busy := transaction(t, prefix+"busy", l.record(0, 0))
	most := 0.0
	logtest.Eventually(t, func() error {
		end(t, busy, true)
		if err := busy.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		if err := busy.ProduceSync(t.Context(), l.record(0, 0)).FirstErr(); err != nil {
			t.Fatal(err)
		}
		most = max(most, open(l.name, 0))
		if a, b := open(l.name, 1), open(prefix+"unread", 1); a < 2 || b < 2 {
			return fmt.Errorf("left open for %v: %v s, %v s", time.Since(begun), a, b)
		}
		return nil
	})
	if a := open(l.name, 1); a > time.Since(begun).Seconds()+1 || most >= a {
		t.Errorf("left open for %v, it says %v s; where transactions follow one another %v s", time.Since(begun), a, most)
	}
	if age, ok := scrapeOf(t, reg).of("kafka_consumergroup_group_lag_seconds", l.group, l.name, 1); !ok || age != 0 {
		t.Errorf("what nobody can see has an age: %v, %v", age, ok)
	}
	end(t, left, false)
	end(t, busy, true)
	logtest.Eventually(t, func() error {
		for _, at := range []string{l.name, prefix + "unread"} {
			if a := open(at, 1) + open(l.name, 0); a != 0 {
				return fmt.Errorf("%s, after the end: %v s", at, a)
			}
		}
		return nil
	})
}

// When Run has returned, nothing of a monitor runs any more: neither the clients nor what asks the stores.
func TestEnded_LeavesNothingBehind(t *testing.T) {
	kafka := kit.Kafka(t)
	prefix := kit.Prefix(t)
	client := kafka.Client(t, kgo.RecordPartitioner(kgo.ManualPartitioner()))
	l := lagTopic{name: prefix + "log", group: prefix + "readers", admin: kadm.NewClient(client), client: client}
	must(l.admin.CreateTopic(t.Context(), 2, 1, nil, l.name))(t)
	if err := client.ProduceSync(t.Context(), l.record(0, time.Hour), l.record(1, time.Hour)).FirstErr(); err != nil {
		t.Fatal(err)
	}
	l.commit(t, map[int32]int64{0: 0, 1: 0})
	before := goleak.IgnoreCurrent()
	t.Run("work", func(t *testing.T) {
		stored := func(context.Context) (map[int32]projector.SnapshotPosition, error) {
			return map[int32]projector.SnapshotPosition{0: {}}, nil
		}
		reg, _ := starts(t, monitor.Config{Client: []kgo.Opt{kgo.SeedBrokers(kafka.Brokers()...)}},
			monitor.Reader{Group: l.group, Topics: []string{l.name}, Projector: "stored", Stored: stored})
		logtest.Eventually(t, func() error {
			if lag, ok := scrapeOf(t, reg).projection("stored"); !ok || lag < 3_600_000 {
				return fmt.Errorf("lag %v ms (there is one: %v)", lag, ok)
			}
			return nil
		})
	})
	goleak.VerifyNone(t, before)
}
