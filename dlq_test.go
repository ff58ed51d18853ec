package ledgerline_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ledgerline-es/ledgerline"
	"github.com/ledgerline-es/ledgerline/bank"
	"github.com/ledgerline-es/ledgerline/internal/embedded/registry"
	"github.com/ledgerline-es/ledgerline/internal/kit"
	"github.com/ledgerline-es/ledgerline/internal/logread"
	"github.com/ledgerline-es/ledgerline/internal/process"
	"github.com/ledgerline-es/ledgerline/internal/rights"
	"github.com/ledgerline-es/ledgerline/producer"
	"github.com/ledgerline-es/ledgerline/schemas"
	"github.com/ledgerline-es/ledgerline/schemas/account"
	ledger "github.com/ledgerline-es/ledgerline/schemas/ledgerline"
)

// shop is a bank whose rules are broken until they are mended, on Apache Kafka, with a producer at work.
type shop struct {
	t      *testing.T
	domain ledgerline.Domain
	broken *atomic.Bool
	deaf   *atomic.Bool                   // its rules break on answers
	held   *atomic.Pointer[chan struct{}] // closed: the rules go on
	topics schemas.Topics
	flags  []string
	client *kgo.Client
}

func newShop(t *testing.T, flags ...string) *shop {
	t.Helper()
	s := &shop{t: t, broken: &atomic.Bool{}, deaf: &atomic.Bool{}, held: &atomic.Pointer[chan struct{}]{}, domain: bank.Domain()}
	s.broken.Store(true)
	rules := bank.Account
	rules.Decide = func(state account.State, c account.Command, m producer.Meta) producer.Decision[account.Event] {
		switch c.(type) {
		case *account.DepositMoney, *account.CreditTransfer:
			if s.broken.Load() {
				panic("out of ink")
			}
			if held := s.held.Load(); held != nil {
				<-*held
			}
		}
		return bank.Account.Decide(state, c, m)
	}
	rules.Replied = func(state account.State, r *ledger.Reply, m producer.Meta) producer.Decision[account.Event] {
		if s.deaf.Load() {
			panic("out of ears")
		}
		return bank.Account.Replied(state, r, m)
	}
	s.domain.Aggregates = []producer.Definition{rules}
	prefix := kit.Prefix(t)
	s.topics = schemas.TopicsOf(prefix, "account")
	s.client = kit.Kafka(t).Client(t, kgo.RecordPartitioner(kgo.ManualPartitioner()))
	reg, err := registry.Start(t.Context(), registry.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := reg.Stop(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	s.flags = []string{"--kafka-brokers", kit.Kafka(t).Brokers()[0], "--registry-url", reg.URL(), "--topic-prefix", prefix}
	s.must(0, "topics", "create", "--kafka-replication", "1")
	port, err := process.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	var out, said kit.Output
	go func() {
		defer close(ended)
		ledgerline.Run(ctx, s.domain, s.with(append([]string{"producer", "--kafka-replication", "1", "--admin-listen", fmt.Sprintf("127.0.0.1:%d", port)}, flags...)...), &out, &said)
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
		if t.Failed() {
			t.Log(said.String())
		}
	})
	return s
}

func (s *shop) with(args ...string) []string { return append(args, s.flags...) }

func (s *shop) run(args ...string) (code int, out, said string) {
	s.t.Helper()
	var o, e bytes.Buffer
	code = ledgerline.Run(s.t.Context(), s.domain, s.with(args...), &o, &e)
	return code, o.String(), e.String()
}

func (s *shop) must(wantCode int, args ...string) string {
	s.t.Helper()
	code, out, said := s.run(args...)
	if code != wantCode {
		s.t.Fatalf("%v: exit code %d, wanted %d\n%s%s", args, code, wantCode, out, said)
	}
	return out
}

type foundLetter struct {
	ID        string
	Aggregate string `json:"aggregate_id"`
	CommandID string `json:"command_id"`
	Type      string
	Code      string
	Error     string
	Stack     string
	Origin    string
	Attempts  int
	Settled   string
	Hopeless  string
	Data      json.RawMessage
	Hex       string
	Headers   []struct{ Key, Value string }
}

// letters are what list prints, by command id.
func (s *shop) letters(args ...string) map[string]foundLetter {
	s.t.Helper()
	var docs []foundLetter
	if err := json.Unmarshal([]byte(s.must(0, append([]string{"dlq", "list", "--json"}, args...)...)), &docs); err != nil {
		s.t.Fatal(err)
	}
	all := map[string]foundLetter{}
	for _, d := range docs {
		all[d.CommandID] = d
	}
	return all
}

// publish writes a record as a stranger does, and gives the id that its reply would have.
func (s *shop) publish(rec *kgo.Record) string {
	s.t.Helper()
	if rec.Topic == "" {
		rec.Topic = s.topics.Commands
	}
	if err := s.client.ProduceSync(s.t.Context(), rec).FirstErr(); err != nil {
		s.t.Fatal(err)
	}
	return fmt.Sprintf("%s/%d/%d", rec.Topic, rec.Partition, rec.Offset)
}

func (s *shop) await(check func() error) {
	s.t.Helper()
	kit.Await(s.t, time.Minute, check)
}

func TestP5_DeadLetters_AreShownRetriedOnceAndDropped(t *testing.T) {
	s := newShop(t)
	s.must(0, "publish", "account", "OpenAccount", "--id", "ann", `{"owner":"ann","currency":"EUR"}`, "--timeout", "60s")
	s.must(5, "publish", "account", "DepositMoney", "--id", "ann", "--command-id", "pay-1", "--principal", "teller", `{"amount_minor":7}`)
	key := s.publish(&kgo.Record{Key: []byte("no id at all, " + strings.Repeat("x", 5000)), Value: []byte{1}})
	unreadable := s.publish(&kgo.Record{Key: []byte("ann"), Partition: schemas.Partition("ann", 12), Value: []byte{9, 8, 7}})
	s.await(func() error {
		if n := len(s.letters()); n != 3 {
			return fmt.Errorf("%d letters", n)
		}
		return nil
	})

	open := s.letters()
	pay := open["pay-1"]
	if pay.Code != producer.CodePanic || pay.Error != "panic: out of ink" || pay.Attempts != 1 || pay.Aggregate != "ann" || pay.Type != "DepositMoney" {
		t.Errorf("list says %+v", pay)
	}
	if open[key].Code != producer.CodeBadKey || open[unreadable].Code != producer.CodeUndecodable {
		t.Errorf("list says %+v", open)
	}
	if out := s.must(0, "dlq", "list"); strings.Count(out, " open ") != 3 || !strings.Contains(out, "out of ink") || len(out) > 2500 { // a long key makes no line long
		t.Errorf("list prints\n%s", out)
	}
	if some := s.letters("--code", "panic,bad_key", "--since", "1h", "--kind", "account"); len(some) != 2 {
		t.Errorf("--code finds %v", some)
	}
	if some := s.letters("--limit", "1"); len(some) != 1 {
		t.Errorf("--limit finds %v", some)
	}
	if some := s.letters("--since", "2030-01-01T00:00:00Z"); len(some) != 0 {
		t.Errorf("--since finds %v", some)
	}
	var shown foundLetter
	if err := json.Unmarshal([]byte(s.must(0, "dlq", "show", pay.ID, "--json")), &shown); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(shown.Data), `"amount_minor": 7`) || !strings.Contains(shown.Stack, "dlq_test.go") || len(shown.Headers) == 0 {
		t.Errorf("show says %+v", shown)
	}
	if out := s.must(0, "dlq", "show", pay.ID); !strings.Contains(out, `ce_authid: "teller"`) || !strings.Contains(out, "amount_minor") {
		t.Errorf("show prints\n%s", out)
	}
	if out := s.must(0, "dlq", "show", open[unreadable].ID); !strings.Contains(out, "bytes        090807") {
		t.Errorf("show prints\n%s", out)
	}

	// Nothing is mended yet: it dies again, and the new letter says so.
	s.must(0, "dlq", "retry", pay.ID)
	s.await(func() error {
		if again := s.letters()["pay-1"]; again.Attempts != 2 || again.ID == pay.ID {
			return fmt.Errorf("after a retry there is %+v", again)
		}
		return nil
	})
	if out := s.must(1, "dlq", "retry", pay.ID); !strings.Contains(out, "it is settled already: retried") {
		t.Errorf("a second retry prints %q", out)
	}

	s.broken.Store(false)
	out := s.must(1, "dlq", "retry", "--all") // what has no hope stays
	for _, want := range []string{`retried; command "pay-1"`, "is left as it is: trying again would come to the same: its key is no aggregate id", `retried; command "` + unreadable + `"`} {
		if !strings.Contains(out, want) {
			t.Errorf("retry --all prints\n%s\nwanted %q", out, want)
		}
	}
	s.await(func() error {
		if out := s.must(0, "events", "account", "ann"); strings.Count(out, `"command_id":"pay-1"`) != 1 || !strings.Contains(out, `"principal":"teller"`) {
			return fmt.Errorf("the events are\n%s", out)
		}
		if again := s.letters()[unreadable]; again.Attempts != 2 || again.Code != producer.CodeUndecodable {
			return fmt.Errorf("of the bytes that nobody can read there is %+v", again)
		}
		return nil
	})

	if out := s.must(0, "dlq", "drop", "--all", "--code", "bad_key"); !strings.Contains(out, open[key].ID+" dropped") {
		t.Errorf("drop prints %q", out)
	}
	s.must(0, "dlq", "drop", s.letter(unreadable).ID)
	s.noLetters()
	if out := s.must(0, "dlq", "list", "--settled"); strings.Count(out, " retried ") != 3 || strings.Count(out, " dropped ") != 2 {
		t.Errorf("list --settled prints\n%s", out)
	}
	if out := s.must(0, "dlq", "show", open[key].ID); !strings.Contains(out, "state        dropped") {
		t.Errorf("show prints\n%s", out)
	}
	for args, want := range map[string]string{
		"show account/0/999999":        "there is no such dead letter",
		"show account/99/0":            "there is no such dead letter",
		"show account/x/0":             "names no dead letter",
		"show thing/0/0":               `no aggregate kind "thing"`,
		"retry":                        "or --all",
		"retry --all account/0/0":      "or --all",
		"retry --code x account/0/0":   "go with --all",
		"list --kind thing":            `no aggregate kind "thing"`,
		"list --since yesterday":       "--since is",
		"drop account/0/999999 --json": "",
	} {
		if code, out, said := s.run(append([]string{"dlq"}, strings.Fields(args)...)...); code == 0 || !strings.Contains(said, want) {
			t.Errorf("dlq %s: exit code %d\n%s%s\nwanted %q", args, code, out, said, want)
		}
	}
}

// What came from another aggregate goes back to where only producers write; what only says so does not.
func TestDeadLetterRetried_GoesBackToWhereItWasRead(t *testing.T) {
	s := newShop(t)
	p := schemas.Partition("ann", 12)
	inner := s.publish(&kgo.Record{Topic: s.topics.Internal, Key: []byte("ann"), Partition: p, Value: []byte{1}})
	forged := s.topics.Internal + "/0/77"
	s.publish(&kgo.Record{Key: []byte("ann"), Partition: p, Value: []byte{2}, Headers: []kgo.RecordHeader{{Key: schemas.HeaderOrigin, Value: []byte(forged)}}})
	attempts := func(n int) func() error {
		return func() error {
			for _, id := range []string{inner, forged} {
				if l := s.letters()[id]; l.Attempts != n {
					return fmt.Errorf("of %s there is %+v, wanted %d attempts", id, l, n)
				}
			}
			return nil
		}
	}
	s.await(attempts(1))
	s.must(0, "dlq", "retry", "--all")
	s.await(attempts(2))
	for id, topic := range map[string]string{inner: s.topics.Internal, forged: s.topics.Commands} {
		if out := s.must(0, "dlq", "show", s.letter(id).ID, "--json"); !strings.Contains(out, `"value": "`+topic+`"`) {
			t.Errorf("%s was not retried by %s:\n%s", id, topic, out)
		}
	}
}

// However many operators try at the same time, a letter is published again once.
func TestP2_DeadLetterRetriedByMany_IsPublishedOnce(t *testing.T) {
	s := newShop(t)
	s.must(0, "publish", "account", "OpenAccount", "--id", "ann", `{"owner":"ann","currency":"EUR"}`, "--timeout", "60s")
	s.must(5, "publish", "account", "DepositMoney", "--id", "ann", "--command-id", "pay-1", `{"amount_minor":7}`)
	s.broken.Store(false)
	id := s.letter("pay-1").ID
	var done atomic.Int32
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for range 3 { // one who was fenced by another tries again
				code, out, said := s.run("dlq", "retry", id)
				if code == 0 {
					done.Add(1)
				}
				if strings.Contains(out, "settled already") {
					return
				}
				if code != 0 && !strings.Contains(said, "another operator") {
					t.Errorf("exit code %d, said %s%s", code, out, said)
				}
			}
		})
	}
	group.Wait()
	if done.Load() != 1 {
		t.Errorf("%d say that they have retried it", done.Load())
	}
	s.publishedTwice("pay-1")
}

// An operator who died halfway leaves nothing behind: the next one aborts it, and does the whole.
func TestP2_DeadLetterRetriedByOneWhoDied_IsPublishedOnceByTheNext(t *testing.T) {
	s := newShop(t)
	s.must(0, "publish", "account", "OpenAccount", "--id", "ann", `{"owner":"ann","currency":"EUR"}`, "--timeout", "60s")
	s.must(5, "publish", "account", "DepositMoney", "--id", "ann", "--command-id", "pay-1", `{"amount_minor":7}`)
	s.broken.Store(false)
	id := s.letter("pay-1").ID
	prefix := strings.TrimSuffix(s.topics.Events, "account.events")
	dead := kit.Kafka(t).Client(t, kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.TransactionalID(rights.DeadLetterTransactions(prefix, "account")))
	if err := dead.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	p := schemas.Partition("ann", 12)
	for _, rec := range []*kgo.Record{
		{Topic: s.topics.Commands, Partition: p, Key: []byte("ann"), Value: []byte{1}, Headers: []kgo.RecordHeader{{Key: schemas.HeaderID, Value: []byte("pay-1")}}},
		{Topic: s.topics.DeadLetters, Partition: p, Headers: []kgo.RecordHeader{
			{Key: schemas.HeaderSettled, Value: []byte("retried")}, {Key: schemas.HeaderSettles, Value: []byte(strings.Replace(id, "account", s.topics.DeadLetters, 1))},
		}},
	} {
		if err := dead.ProduceSync(t.Context(), rec).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	if l := s.letters()["pay-1"]; l.ID != id {
		t.Errorf("while it is undecided, list shows %+v", l)
	}
	s.must(0, "dlq", "retry", id)
	s.publishedTwice("pay-1")
	s.noLetters()
}

// noLetters waits until no letter is open, and letter for the one of a command. A moment may pass before what is committed can be read.
func (s *shop) noLetters() {
	s.t.Helper()
	s.await(func() error {
		if left := s.letters(); len(left) != 0 {
			return fmt.Errorf("there are still %v", left)
		}
		return nil
	})
}

func (s *shop) letter(command string) (found foundLetter) {
	s.t.Helper()
	s.await(func() error {
		if found = s.letters()[command]; found.ID == "" {
			return fmt.Errorf("%s is no dead letter", command)
		}
		return nil
	})
	return found
}

// publishedTwice waits until a command was published a second time.
func (s *shop) publishedTwice(id string) {
	s.t.Helper()
	s.await(func() error {
		if n := s.published(id); n < 2 {
			return fmt.Errorf("the command was published %d times, wanted twice: once by its sender", n)
		} else if n > 2 {
			s.t.Fatalf("the command was published %d times", n)
		}
		return nil
	})
}

// published counts the committed commands under an id.
func (s *shop) published(id string) (n int) {
	s.t.Helper()
	adm := kadm.NewClient(s.client)
	topic, err := logread.Look(s.t.Context(), adm, s.topics.Commands)
	if err != nil {
		s.t.Fatal(err)
	}
	reader := logread.Reader{Client: []kgo.Opt{kgo.SeedBrokers(kit.Kafka(s.t).Brokers()...)}, StallTimeout: time.Minute}
	for p := range topic.Partitions {
		err := reader.Partition(s.t.Context(), topic, p, func(rec *kgo.Record) error {
			if value, _ := schemas.Header(rec, schemas.HeaderID); value == id {
				n++
			}
			return nil
		})
		if err != nil {
			s.t.Fatal(err)
		}
	}
	return n
}
