package producer_test

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ledgerline-es/ledgerline/internal/kit"
	"github.com/ledgerline-es/ledgerline/producer"
	"github.com/ledgerline-es/ledgerline/schemas"
	"github.com/ledgerline-es/ledgerline/schemas/account"
)

// liar falsifies the broker's answer to the next request of a kind.
type liar struct {
	armed atomic.Pointer[lie]
	lied  atomic.Bool
}

type lie struct {
	to   kmsg.Request
	tell func(kmsg.Response) // the answer must keep its length
}

func (l *liar) dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return &liarConn{Conn: conn, liar: l}, nil
}

type liarConn struct {
	net.Conn
	liar *liar

	mu      sync.Mutex
	waiting *lie
	version int16
}

func (c *liarConn) Write(b []byte) (int, error) {
	// A request is its length in four bytes, its key and its version.
	if armed := c.liar.armed.Load(); armed != nil && len(b) > 8 && int16(binary.BigEndian.Uint16(b[4:])) == armed.to.Key() && c.liar.armed.CompareAndSwap(armed, nil) {
		c.mu.Lock()
		c.waiting, c.version = armed, int16(binary.BigEndian.Uint16(b[6:]))
		c.mu.Unlock()
	}
	return c.Conn.Write(b)
}

func (c *liarConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.mu.Lock()
	defer c.mu.Unlock()
	const header = 4 + 4 + 1 // length, correlation, tags
	if c.waiting == nil || n <= header {
		return n, err
	}
	resp := c.waiting.to.ResponseKind()
	resp.SetVersion(c.version)
	if readErr := resp.ReadFrom(b[header:n]); readErr == nil {
		c.waiting.tell(resp)
		c.liar.lied.Store(len(resp.AppendTo(nil)) == copy(b[header:n], resp.AppendTo(nil)))
	}
	c.waiting = nil
	return n, err
}

// The coordinator commits and says that it failed. The client then calls the transaction aborted; the log knows better.
func TestP2_CommitAnsweredWithAServersError_OneEffect(t *testing.T) {
	onBoth(t, func(t *testing.T, s *system) {
		l := &liar{}
		s.change = func(c *producer.Config) { c.Client = []kgo.Opt{kgo.Dialer(l.dial)} }
		s.start()
		c := s.client()
		s.publish(c, open("acc-1", 0))
		l.armed.Store(&lie{kmsg.NewPtrEndTxnRequest(), func(r kmsg.Response) { r.(*kmsg.EndTxnResponse).ErrorCode = kerr.UnknownServerError.Code }})
		expect(t, s.publish(c, deposit("acc-1", 1)), producer.Accepted, "")
		expect(t, s.publish(c, deposit("acc-1", 1)), producer.Accepted, "")
		if !l.lied.Load() {
			t.Error("no answer was falsified")
		}
		if n := len(s.history()["acc-1"]); n != 3 {
			t.Errorf("%d events, wanted 3", n)
		}
	})
}

// The group refuses the offsets at the last moment, as it does when the generation has moved on: what was decided is taken back and
// decided again, and the session goes on with what it knows.
func TestP1_OffsetsRefused_TakenBack(t *testing.T) {
	s := systemOn(t, kit.Kafka(t).Brokers(), kit.FakeRegistry(t), kit.Prefix(t))
	metrics, l := prometheus.NewRegistry(), &liar{}
	s.change = func(c *producer.Config) { c.Metrics, c.Client = metrics, []kgo.Opt{kgo.Dialer(l.dial)} }
	s.start()
	c := s.client()
	s.publish(c, open("acc-1", 0))
	l.armed.Store(&lie{kmsg.NewPtrTxnOffsetCommitRequest(), func(r kmsg.Response) {
		topics := r.(*kmsg.TxnOffsetCommitResponse).Topics
		topics[0].Partitions[0].ErrorCode = kerr.IllegalGeneration.Code
	}})
	r := s.publish(c, deposit("acc-1", 1))
	expect(t, r, producer.Accepted, "")
	if r.Duplicate || r.Version != 2 {
		t.Errorf("the reply is %+v", r)
	}
	expect(t, s.publish(c, deposit("acc-1", 1)), producer.Accepted, "")
	if !l.lied.Load() {
		t.Error("no answer was falsified")
	}
	if n := len(s.history()["acc-1"]); n != 3 {
		t.Errorf("%d events, wanted 3", n)
	}
	if n := transactions(t, metrics, "aborted"); n != 1 {
		t.Errorf("%v transactions aborted, wanted 1", n)
	}
	if n := gauge(t, metrics, "ledgerline_producer_sessions_total"); n != 1 {
		t.Errorf("%v sessions, wanted 1", n)
	}
}

// An event stands in a transaction that is not decided yet. A restore waits for it: whoever went on from what is committed would give
// its number to another event.
func TestP1_RestoreWaitsForWhatIsUndecided(t *testing.T) {
	s := newSystem(t)
	p := s.start()
	c := s.client()
	s.publish(c, open("acc-1", 0))
	p.stop()
	serde := schemas.NewSerde(schemas.NewCodec(s.registry), s.topics.Events, schemas.FullTransitive, account.Kind.Events...)
	if err := serde.Register(t.Context()); err != nil {
		t.Fatal(err)
	}
	value, err := serde.Append(nil, &account.MoneyDeposited{AmountMinor: 1, BalanceMinor: 1, Currency: "EUR"})
	if err != nil {
		t.Fatal(err)
	}
	writer := s.kafka(kgo.TransactionalID("undecided"), kgo.TransactionTimeout(time.Minute))
	if err := writer.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	event := &kgo.Record{Topic: s.topics.Events, Partition: schemas.Partition("acc-1", 4), Key: []byte("acc-1/2"), Value: value}
	if err := writer.ProduceSync(t.Context(), event).FirstErr(); err != nil {
		t.Fatal(err)
	}
	p = s.launch()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	pending, err := c.Send(ctx, deposit("acc-1", 1))
	if err != nil {
		t.Fatal(err)
	}
	select { // whoever does not wait answers within milliseconds
	case <-pending.Done():
		t.Error("a command was answered while an event before it was undecided")
	case <-time.After(2 * time.Second):
	}
	if err := writer.EndTransaction(t.Context(), kgo.TryCommit); err != nil {
		t.Fatal(err)
	}
	r, err := pending.Wait(ctx)
	if err = errors.Join(err, p.Ready()); err != nil {
		t.Fatal(err)
	}
	if r.FirstSequence != 3 {
		t.Errorf("the reply is %+v, wanted event 3", r)
	}
	if n := len(s.history()["acc-1"]); n != 3 {
		t.Errorf("%d events, wanted 3", n)
	}
}
