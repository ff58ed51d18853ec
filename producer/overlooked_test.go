package producer_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ledgerline-es/ledgerline/producer"
)

// blind keeps the fetches of one client from the brokers: of the first that a producer's session has, once it is to begin.
type blind struct {
	mu    sync.Mutex
	of    []byte // the client's id
	begun bool
	kept  int
}

func (b *blind) begin() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.begun = true
}

// keeps reports whether a request is not to reach a broker: its length in four bytes, its key and version in two each, a number in four,
// and the client's id behind its length in two.
func (b *blind) keeps(request []byte) bool {
	if len(request) < 14 || binary.BigEndian.Uint16(request[4:]) != uint16((&kmsg.FetchRequest{}).Key()) {
		return false
	}
	id := request[14:min(len(request), 14+int(binary.BigEndian.Uint16(request[12:])))]
	b.mu.Lock()
	defer b.mu.Unlock()
	if !bytes.Contains(id, []byte(".producer-")) { // not that of a session
		return false
	}
	if b.of == nil {
		b.of = bytes.Clone(id)
	}
	if !b.begun || !bytes.Equal(id, b.of) {
		return false
	}
	b.kept++
	return true
}

func (b *blind) dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return &blindConn{conn, b}, nil
}

type blindConn struct {
	net.Conn
	blind *blind
}

func (c *blindConn) Write(b []byte) (int, error) {
	if c.blind.keeps(b) {
		return len(b), nil
	}
	return c.Conn.Write(b)
}

// A session whose client fetches nothing any more, and says nothing, sees that commands wait, and is replaced.
func TestP13_ClientThatFetchesNothing_IsReplaced(t *testing.T) {
	s := newSystem(t)
	b, metrics := &blind{}, prometheus.NewRegistry()
	s.change = func(c *producer.Config) {
		c.Client, c.Metrics, c.SessionTimeout = []kgo.Opt{kgo.Dialer(b.dial)}, metrics, time.Minute
	}
	s.start()
	c := s.client()
	expect(t, s.publish(c, open("acc-1", 1)), producer.Accepted, "")
	b.begin()
	for range 4 { // a fetch may have been under way
		expect(t, s.publish(c, deposit("acc-1", 1)), producer.Accepted, "")
	}
	if n := gauge(t, metrics, "ledgerline_producer_sessions_total"); n != 2 || b.kept == 0 {
		t.Errorf("%v sessions, and %d fetches were kept from the brokers", n, b.kept)
	}
	if events := s.history()["acc-1"]; len(events) != 6 {
		t.Errorf("%d events, wanted 6", len(events))
	}
}
