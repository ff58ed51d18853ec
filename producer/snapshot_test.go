package producer_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ledgerline-es/ledgerline/internal/kit"
	"github.com/ledgerline-es/ledgerline/producer"
	"github.com/ledgerline-es/ledgerline/schemas"
	"github.com/ledgerline-es/ledgerline/schemas/account"
	"github.com/ledgerline-es/ledgerline/schemas/ledgerline"
)

// bounded is a system whose producers keep few events out of snapshots, and count what they restore.
type bounded struct {
	*system
	counted  *prometheus.Registry
	state    string
	accounts int
	deposits int // of each account, so far
}

const boundedTail = 50 // events of a partition that are in no snapshot

func newBounded(t *testing.T, state string) *bounded {
	s := &bounded{system: newSystem(t), state: state, accounts: 30}
	s.change = func(c *producer.Config) {
		s.counted = prometheus.NewRegistry()
		c.Metrics, c.StateDir, c.SnapshotEvents, c.MemoryAggregates = s.counted, s.state, boundedTail, 16
	}
	return s
}

// fill has each account take n deposits of 1 more.
func (s *bounded) fill(n int) {
	s.t.Helper()
	c := s.client()
	var waiting []*producer.Pending
	for a := range s.accounts {
		if s.deposits == 0 {
			s.publish(c, open(fmt.Sprint("acc-", a), 0))
		}
	}
	for range n {
		for a := range s.accounts {
			p, err := c.Send(s.t.Context(), deposit(fmt.Sprint("acc-", a), 1))
			if err != nil {
				s.t.Fatal(err)
			}
			waiting = append(waiting, p)
		}
		for _, p := range waiting {
			reply, err := p.Wait(s.t.Context())
			if err != nil {
				s.t.Fatal(err)
			}
			expect(s.t, reply, producer.Accepted, "")
		}
		waiting = waiting[:0]
	}
	s.deposits += n
}

// whole holds the history against what was deposited: one deposit more on each account knows what came before.
func (s *bounded) whole() {
	s.t.Helper()
	s.fill(1)
	for id, events := range s.history() {
		last, ok := events[len(events)-1].(*account.MoneyDeposited)
		if !ok || len(events) != s.deposits+1 || last.BalanceMinor != int64(s.deposits) {
			s.t.Fatalf("%s: %d events, the last %+v; %d deposits were accepted", id, len(events), last, s.deposits)
		}
	}
}

func (s *bounded) restored() int {
	s.t.Helper()
	families, err := s.counted.Gather()
	if err != nil {
		s.t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "ledgerline_producer_restored_events_total" {
			return int(f.GetMetric()[0].GetCounter().GetValue())
		}
	}
	s.t.Fatal("restored events are not counted")
	return 0
}

// all is how many events there are.
func (s *bounded) all() int { return s.accounts * (s.deposits + 1) }

// Whoever takes over reads the snapshots and the events since, not the whole log. What can be in no snapshot yet: the tail, one
// transaction's events behind it, and an event of each account.
func TestP4_TakeOverReadsTheTail(t *testing.T) {
	s := newBounded(t, "")
	r := s.start()
	s.fill(60)
	r.stop()
	r = s.start()
	if got, most := s.restored(), 4*boundedTail+3*s.accounts; got > most || got == 0 {
		t.Errorf("%d of %d events read, at most %d should be", got, s.all(), most)
	}
	s.whole()
	r.stop()

	// Other rules: what was kept under the old ones is of no use, and nothing else is lost.
	s.def = revised
	s.start()
	if got, all := s.restored(), s.all(); got != all {
		t.Errorf("%d events read to evolve %d anew", got, all)
	}
	c := s.client()
	for a := range s.accounts {
		reply := s.publish(c, producer.Command{AggregateID: fmt.Sprint("acc-", a), Record: &account.WithdrawMoney{AmountMinor: int64(s.deposits) + 1000}})
		expect(t, reply, producer.Accepted, "") // each counts a thousand more under the new rules
	}
}

// revised are the rules with a bonus for everybody who was ever there.
var revised = func() producer.Definition {
	r := rules
	r.Revision = 1
	r.Evolve = func(s account.State, e account.Event) account.State {
		before := s.BalanceMinor
		s = evolve(s, e)
		switch e := e.(type) {
		case *account.AccountOpened:
			s.BalanceMinor = 1000
		case *account.MoneyDeposited:
			s.BalanceMinor = before + e.AmountMinor
		case *account.MoneyWithdrawn:
			s.BalanceMinor = before - e.AmountMinor
		}
		return s
	}
	return r
}()

// With local state a restart decodes next to nothing; and whatever is wrong with it, it is not believed.
func TestP4_LocalState(t *testing.T) {
	s := newBounded(t, t.TempDir())
	r := s.start()
	s.fill(20)
	r.stop()
	folder := func(p int) string { return filepath.Join(s.state, "account.producer", fmt.Sprint(p)) }
	keep := func(to string) string {
		t.Helper()
		if err := os.CopyFS(to, os.DirFS(s.state)); err != nil {
			t.Fatal(err)
		}
		return to
	}
	older := keep(filepath.Join(t.TempDir(), "older"))
	for _, c := range []struct {
		what  string
		wrong func()
	}{
		{"nothing is wrong", func() {}},
		{"it is an older copy", func() { s.state = older }},
		{"its files are damaged", func() {
			for p := range 4 {
				damage(t, folder(p))
			}
		}},
		{"it is another partition's", func() {
			aside := filepath.Join(t.TempDir(), "aside")
			for _, move := range [][2]string{{folder(0), aside}, {folder(1), folder(0)}, {aside, folder(1)}} {
				if err := os.Rename(move[0], move[1]); err != nil {
					t.Fatal(err)
				}
			}
		}},
		{"a file stands where a folder should", func() {
			if err := os.RemoveAll(folder(2)); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(filepath.Dir(folder(2)), "noise"), []byte("noise"), 0o600); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		t.Log("when ", c.what)
		c.wrong()
		r := s.start()
		s.whole()
		r.stop()
	}

	// Of a log that is not this one: the cluster, the topics and their ids are others, where a longer history has the same names.
	foreign := newBounded(t, keep(filepath.Join(t.TempDir(), "foreign")))
	r = foreign.start()
	foreign.fill(2)
	foreign.whole()
	r.stop()
}

// damage overwrites the middle of every file of tables.
func damage(t *testing.T, dir string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.sst"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no tables in %s: %v", dir, err)
	}
	manifests, err := filepath.Glob(filepath.Join(dir, "MANIFEST-*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range append(files, manifests...) {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		copy(b[len(b)/2:], strings.Repeat("x", 64))
		if err := os.WriteFile(file, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// A folder that another producer uses is left alone: who comes second does without, and takes part all the same.
func TestP4_LocalState_OfTwoProducersInOneFolder(t *testing.T) {
	s := newBounded(t, t.TempDir())
	first := s.start()
	s.fill(3)
	second := s.start()
	s.fill(3)
	first.stop()
	s.whole()
	second.stop()
	s.start()
	s.whole()
}

// Killed with local state in use, and back on it: what it has not on disk it reads again.
func TestP4_LocalState_AfterKill(t *testing.T) {
	s := realSystem(t)
	registry, state := kit.Registry(t).URL(), "state="+t.TempDir()
	p := s.spawn(registry, state)
	s.awaitTopics()
	l := s.load(8)
	for i := range 3 {
		l.work(s, l.answered()+200)
		if err := p.Kill(); err != nil {
			t.Fatal(err)
		}
		<-p.Done()
		t.Logf("killed %d times", i+1)
		p = s.spawn(registry, state)
	}
	l.work(s, l.answered()+200)
	s.check(l.stop())
	if err := p.Stop(context.Background()); err != nil {
		t.Error(err)
	}
}

// A snapshot that is not there to be read is not missed: a topic with snapshots of another schema, written by newer code that was
// rolled back, leads to the same states.
func TestP4_SnapshotsThatCannotBeRead(t *testing.T) {
	s := newBounded(t, "")
	r := s.start()
	s.fill(30)
	r.stop()
	serde := schemas.NewSerde(schemas.NewCodec(s.registry), s.topics.Snapshots, schemas.FullTransitive, ledgerline.SnapshotType)
	if err := serde.Register(t.Context()); err != nil {
		t.Fatal(err)
	}
	value, err := serde.Append(nil, &ledgerline.Snapshot{Sequence: 5, State: []byte{0, 0, 0, 99, 99, 1, 2, 3}})
	if err != nil {
		t.Fatal(err)
	}
	rec := &kgo.Record{Topic: s.topics.Snapshots, Partition: schemas.Partition("acc-3", 4), Key: []byte("acc-3"), Value: value}
	if err := s.kafka().ProduceSync(t.Context(), rec).FirstErr(); err != nil {
		t.Fatal(err)
	}
	s.start()
	if got, all := s.restored(), s.all(); got == 0 || got > all {
		t.Errorf("%d events read of %d", got, all)
	}
	s.whole()
}
