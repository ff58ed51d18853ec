package producer_test

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ledgerline-es/ledgerline/producer"
)

// deaf cuts the connection at the answer to the next EndTxn: the broker has done it, the client does not hear of it. While it
// is away, no connection can be made either.
type deaf struct {
	armed, away, stay atomic.Bool // stay: be away from the cut on
	cuts              atomic.Int32
}

func (d *deaf) dial(ctx context.Context, network, address string) (net.Conn, error) {
	if d.away.Load() {
		return nil, errors.New("the network is away")
	}
	conn, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return &deafConn{Conn: conn, deaf: d}, nil
}

type deafConn struct {
	net.Conn
	deaf *deaf
	cut  atomic.Bool
}

var endTxn = uint16((&kmsg.EndTxnRequest{}).Key())

func (c *deafConn) Write(b []byte) (int, error) {
	// A request is its length in four bytes, then its key.
	if len(b) > 6 && binary.BigEndian.Uint16(b[4:]) == endTxn && c.deaf.armed.CompareAndSwap(true, false) {
		c.cut.Store(true)
		c.deaf.away.Store(c.deaf.stay.Load())
	} else if c.deaf.away.Load() {
		return 0, io.ErrClosedPipe
	}
	return c.Conn.Write(b)
}

func (c *deafConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if c.cut.Load() {
		c.deaf.cuts.Add(1)
		_ = c.Conn.Close() // it is cut either way
		return 0, io.ErrUnexpectedEOF
	}
	return n, err
}

func TestP2_AnswerToTheCommitLost_OneEffect(t *testing.T) {
	onBoth(t, func(t *testing.T, s *system) {
		cut := &deaf{}
		metrics := prometheus.NewRegistry()
		s.change = func(c *producer.Config) {
			c.Client, c.Metrics, c.TransactionTimeout = []kgo.Opt{kgo.Dialer(cut.dial)}, metrics, time.Second
		}
		s.start()
		c := s.client()
		s.publish(c, open("acc-1", 0))
		// Heard of on another connection.
		const rounds = 3
		for range rounds {
			cut.armed.Store(true)
			expect(t, s.publish(c, deposit("acc-1", 1)), producer.Accepted, "")
			expect(t, s.publish(c, deposit("acc-1", 1)), producer.Accepted, "")
		}
		if n := cut.cuts.Load(); n < rounds {
			t.Errorf("%d answers were lost, wanted %d", n, rounds)
		}
		if n := len(s.history()["acc-1"]); n != 1+2*rounds {
			t.Errorf("%d events, wanted %d", n, 1+2*rounds)
		}
		// Never heard of: the session ends, and the next one reads in the log what became of it.
		cut.stay.Store(true)
		cut.armed.Store(true)
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		pending, err := c.Send(ctx, deposit("acc-1", 1))
		if err != nil {
			t.Fatal(err)
		}
		s.await("the outcome to be unknown", func() error {
			if n := transactions(t, metrics, "unknown"); n == 0 {
				return errors.New("none is")
			}
			return nil
		})
		cut.away.Store(false)
		r, err := pending.Wait(ctx)
		if err != nil {
			t.Fatal(err)
		}
		expect(t, r, producer.Accepted, "")
		expect(t, s.publish(c, deposit("acc-1", 1)), producer.Accepted, "")
		if n := len(s.history()["acc-1"]); n != 3+2*rounds {
			t.Errorf("%d events, wanted %d", n, 3+2*rounds)
		}
	})
}

// transactions reads a counter.
func transactions(t *testing.T, metrics *prometheus.Registry, result string) float64 {
	t.Helper()
	families, err := metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != "ledgerline_producer_transactions_total" {
			continue
		}
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if l.GetName() == "result" && l.GetValue() == result {
					return m.GetCounter().GetValue()
				}
			}
		}
	}
	return 0
}
