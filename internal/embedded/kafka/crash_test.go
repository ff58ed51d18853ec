package kafka_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ledgerline-es/ledgerline/internal/embedded/kafka"
	"github.com/ledgerline-es/ledgerline/internal/process"
)

const (
	patience   = 2 * time.Minute
	partitions = 12
)

// topics take part in every transaction, with every partition of theirs: the more markers, the easier to tear.
var topics = []string{"facts", "replies", "states"}

// ledger is what the load did and what it was told.
type ledger struct {
	mu     sync.Mutex
	acked  map[string]bool // transactions whose commit was acknowledged
	denied map[string]bool // … and those that were aborted on purpose
}

// load runs transactions until the broker is gone. Each writes one record to every partition and commits an offset.
func (l *ledger) load(ctx context.Context, addr, name string) error {
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.TransactionalID(name), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.TransactionTimeout(20*time.Second), kgo.ProducerLinger(0), kgo.MetadataMinAge(10*time.Millisecond))
	if err != nil {
		return err
	}
	defer cl.Close()
	for n := 0; ; n++ {
		id := name + "/" + strconv.Itoa(n)
		if err := cl.BeginTransaction(); err != nil {
			return err
		}
		for _, topic := range topics {
			for p := range partitions {
				cl.Produce(ctx, &kgo.Record{Topic: topic, Partition: int32(p), Value: []byte(id)}, nil)
			}
		}
		if err := cl.Flush(ctx); err != nil {
			return err
		}
		commit := kgo.TransactionEndTry(n%5 != 4)
		if err := cl.EndTransaction(ctx, commit); err != nil {
			return err
		}
		l.mu.Lock()
		if commit {
			l.acked[id] = true
		} else {
			l.denied[id] = true
		}
		l.mu.Unlock()
	}
}

func (l *ledger) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.acked)
}

// check reads all that is committed: each transaction in every partition once, or in none, and what was acknowledged.
func (l *ledger) check(t *testing.T, addr string) (transactions int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cl := newClient(t, addr, kgo.ConsumeTopics(topics...), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.KeepControlRecords())
	defer cl.Close() // not later: once the broker is gone it takes a second
	ends, err := kadm.NewClient(cl).ListEndOffsets(ctx, topics...)
	if err != nil {
		t.Fatal(err)
	}
	missing := map[string]bool{} // partitions not read to their end
	ends.Each(func(o kadm.ListedOffset) {
		if o.Offset > 0 {
			missing[fmt.Sprint(o.Topic, o.Partition)] = true
		}
	})
	seen := map[string]map[string]int{}
	for len(missing) > 0 {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatalf("%d partitions do not come to their end, such as %v: %v", len(missing), first(missing), err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			where := fmt.Sprint(r.Topic, r.Partition)
			if end, ok := ends.Lookup(r.Topic, r.Partition); ok && r.Offset == end.Offset-1 {
				delete(missing, where)
			}
			if r.Attrs.IsControl() {
				return
			}
			id := string(r.Value)
			if seen[id] == nil {
				seen[id] = map[string]int{}
			}
			seen[id][where]++
		})
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for id, where := range seen {
		if len(where) != len(topics)*partitions {
			t.Errorf("transaction %s is torn: in %d of %d partitions", id, len(where), len(topics)*partitions)
		}
		for p, n := range where {
			if n != 1 {
				t.Errorf("transaction %s is %d times in %s", id, n, p)
			}
		}
		if l.denied[id] {
			t.Errorf("transaction %s was aborted and is there", id)
		}
	}
	for id := range l.acked {
		if seen[id] == nil {
			t.Errorf("transaction %s was acknowledged and is gone", id)
		}
	}
	return len(seen)
}

func first(m map[string]bool) string {
	for k := range m {
		return k
	}
	return ""
}

// round runs load on the broker until enough is committed, and ends the broker by end.
func (l *ledger) round(t *testing.T, addr, name string, enough int, end func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	before := l.count()
	var load sync.WaitGroup
	for p := range 3 {
		load.Go(func() { _ = l.load(ctx, addr, fmt.Sprintf("%s-%d", name, p)) }) // it ends with the broker
	}
	waitFor(t, "transactions are committed", func() bool { return l.count() > before+enough })
	end()
	cancel()
	load.Wait()
}

// Killed itself, again and again, in the middle of transactions: none is torn, none that was acknowledged is gone, and
// readers of what is committed come to the end at once.
func TestKilledUnderLoad_NoTransactionIsTorn(t *testing.T) {
	const kills = 12
	dir := t.TempDir()
	l := newLedger()
	for kill := range kills {
		s := start(t, dir)
		if kill == 0 {
			createTopics(t, s.Addr())
		} else {
			l.check(t, s.Addr())
		}
		l.round(t, s.Addr(), fmt.Sprint("load-", kill), 20+kill, func() {
			if err := s.Kill(); err != nil {
				t.Fatal(err)
			}
			<-s.Done()
		})
		if t.Failed() {
			t.FailNow()
		}
	}
	s := start(t, dir)
	t.Logf("%d transactions, %d acknowledged, after %d kills", l.check(t, s.Addr()), l.count(), kills)
	if err := s.Stop(t.Context()); err != nil {
		t.Error(err)
	}
}

// Its parent killed instead: it closes with transactions open, and the next start aborts them.
func TestParentKilledUnderLoad_NothingStaysOpen(t *testing.T) {
	dir := t.TempDir()
	l := newLedger()
	for kill := range 3 {
		file := filepath.Join(t.TempDir(), "addr")
		parent, err := process.Start(t.Context(), process.Spec{Role: parentRole.Name, Args: []string{dir, file}})
		if err != nil {
			t.Fatal(err)
		}
		addr := await(t, parent, file)
		if kill == 0 {
			createTopics(t, addr)
		} else {
			l.check(t, addr)
		}
		l.round(t, addr, fmt.Sprint("load-", kill), 20+kill, func() {
			if err := parent.Kill(); err != nil {
				t.Fatal(err)
			}
			<-parent.Done()
		})
	}
	s := start(t, dir)
	l.check(t, s.Addr())
	if err := s.Stop(t.Context()); err != nil {
		t.Error(err)
	}
}

func newLedger() *ledger { return &ledger{acked: map[string]bool{}, denied: map[string]bool{}} }

func start(t *testing.T, dir string) *kafka.Server {
	t.Helper()
	s, err := kafka.Start(t.Context(), kafka.Config{Dir: dir, Log: os.Stderr})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func createTopics(t *testing.T, addr string) {
	t.Helper()
	forever := "-1"
	cl := newClient(t, addr)
	defer cl.Close()
	created, err := kadm.NewClient(cl).CreateTopics(t.Context(), partitions, 1, map[string]*string{"retention.ms": &forever}, topics...)
	if err == nil {
		err = created.Error()
	}
	if err != nil {
		t.Fatal(err)
	}
}

func waitFor(t *testing.T, what string, cond func() bool) {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("not within %s: %s", patience, what)
		}
	}
}
