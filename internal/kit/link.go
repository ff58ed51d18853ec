package kit

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/ledgerline-es/ledgerline/internal/process"
)

// Link is the way from clients to a broker: a proxy that can be cut, in one direction or both, and slowed. While it is cut nothing is
// lost, as in a network that sends again: what was sent is held, new connections hang, and nobody is told. Heal delivers what is held;
// Reset breaks the connections instead, as a network does that was away for long.
type Link struct {
	to       string
	listener net.Listener
	working  sync.WaitGroup

	mu       sync.Mutex
	changed  chan struct{} // closed at each change
	cut      [2]bool
	delay    time.Duration
	rate     int // bytes a second, 0: as many as come
	cutAfter int16
	hit      chan struct{} // closed when a request of that kind was passed on; nil: none is waited for
	conns    map[*linked]bool
}

// way is a direction.
type way int

const (
	requests way = iota // from clients to the broker
	answers             // back
)

// StartLink starts a link to an address. It ends with the test.
func StartLink(t testing.TB, to string) *Link {
	t.Helper()
	port, err := process.FreePort() // below those of outgoing connections
	if err != nil {
		t.Fatal(err)
	}
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		t.Fatal(err)
	}
	l := &Link{to: to, listener: listener, changed: make(chan struct{}), conns: map[*linked]bool{}}
	var accepting sync.WaitGroup
	accepting.Go(l.accept)
	t.Cleanup(func() {
		_ = listener.Close() // that it ends is all that matters
		accepting.Wait()
		l.Reset()
		l.working.Wait()
	})
	return l
}

// Addr is where clients connect to.
func (l *Link) Addr() string { return l.listener.Addr().String() }

// Dial goes over the link whatever the address, for clients of a broker that advertises its own.
func (l *Link) Dial(ctx context.Context, network, _ string) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, network, l.Addr())
}

// Cut cuts both ways.
func (l *Link) Cut() { l.change(func() { l.cut = [2]bool{true, true} }) }

// CutRequests lets answers pass, and holds what clients send.
func (l *Link) CutRequests() { l.change(func() { l.cut = [2]bool{requests: true} }) }

// CutAnswers lets requests pass, and holds what the broker sends.
func (l *Link) CutAnswers() { l.change(func() { l.cut = [2]bool{answers: true} }) }

// CutAfter cuts both ways when the next request of a kind (its API key) has been passed on, before its answer. The channel is closed then.
func (l *Link) CutAfter(key int16) <-chan struct{} {
	hit := make(chan struct{})
	l.change(func() { l.cutAfter, l.hit = key, hit })
	return hit
}

// Slow delays each request, and lets so many bytes a second pass in each direction of a connection (0: as many as come).
func (l *Link) Slow(delay time.Duration, rate int) {
	l.change(func() { l.delay, l.rate = delay, rate })
}

// Heal lets everything pass again, also what was held.
func (l *Link) Heal() {
	l.change(func() { l.cut, l.delay, l.rate, l.hit = [2]bool{}, 0, 0, nil })
}

// Reset breaks all connections, with what is held, and lets new ones pass.
func (l *Link) Reset() {
	l.change(func() {
		for c := range l.conns {
			c.close()
		}
	})
	l.Heal()
}

func (l *Link) change(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f()
	close(l.changed)
	l.changed = make(chan struct{})
}

func (l *Link) accept() {
	for {
		conn, err := l.listener.Accept()
		if err != nil {
			return // closed
		}
		c := &linked{link: l, client: conn.(*net.TCPConn), closed: make(chan struct{})}
		l.change(func() { l.conns[c] = true })
		l.working.Go(c.run)
	}
}

// linked is a connection over a link.
type linked struct {
	link   *Link
	client *net.TCPConn
	broker *net.TCPConn // nil until the link lets it through

	once   sync.Once
	closed chan struct{}
}

// close breaks the connection: with the link's lock held, or by whoever runs it.
func (c *linked) close() {
	c.once.Do(func() {
		close(c.closed)
		_ = c.client.SetLinger(0) // a reset, not an end in good order: clients take the latter, as the first thing, for a broker that wants TLS
		_ = c.client.Close()
	})
}

func (c *linked) run() {
	defer c.link.change(func() { delete(c.link.conns, c) })
	defer c.close()
	if !c.pass(requests, 0) {
		return
	}
	conn, err := new(net.Dialer).Dial("tcp", c.link.to)
	if err != nil {
		return // the broker is away
	}
	c.broker = conn.(*net.TCPConn)
	defer c.broker.Close()
	var both sync.WaitGroup
	both.Go(c.carryRequests)
	both.Go(c.carryAnswers)
	done := make(chan struct{})
	go func() { both.Wait(); close(done) }()
	select {
	case <-done:
	case <-c.closed:
		_ = c.broker.Close() // both see it
		<-done
	}
}

// pass waits until so many bytes may go a way, and reports whether they still can.
func (c *linked) pass(w way, n int) bool {
	for slept := false; ; {
		c.link.mu.Lock()
		cut, changed, wait := c.link.cut[w], c.link.changed, time.Duration(0)
		if n > 0 && w == requests {
			wait = c.link.delay
		}
		if c.link.rate > 0 {
			wait += time.Duration(n) * time.Second / time.Duration(c.link.rate)
		}
		c.link.mu.Unlock()
		if !cut && (slept || wait == 0) {
			return true
		}
		var over <-chan time.Time
		if !cut {
			over, slept = time.After(wait), true
			changed = nil
		}
		select {
		case <-changed:
		case <-over:
		case <-c.closed:
			return false
		}
	}
}

// carryRequests passes on one request after another: its length in four bytes, then its key.
func (c *linked) carryRequests() {
	var frame bytes.Buffer
	for {
		frame.Reset()
		if _, err := io.CopyN(&frame, c.client, 4); err != nil {
			break
		}
		if _, err := io.CopyN(&frame, c.client, int64(binary.BigEndian.Uint32(frame.Bytes()))); err != nil {
			break
		}
		if !c.pass(requests, frame.Len()) {
			return
		}
		hit := c.last(frame.Bytes())
		if _, err := c.broker.Write(frame.Bytes()); err != nil {
			break
		}
		if hit != nil {
			close(hit)
		}
	}
	c.endWay(requests, c.broker)
}

// last cuts the link before a request that it was to be cut after is passed on, lest its answer be quicker.
func (c *linked) last(frame []byte) (hit chan struct{}) {
	if len(frame) < 6 {
		return nil
	}
	l := c.link
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.hit == nil || binary.BigEndian.Uint16(frame[4:]) != uint16(l.cutAfter) {
		return nil
	}
	hit, l.hit = l.hit, nil
	l.cut = [2]bool{true, true}
	return hit
}

func (c *linked) carryAnswers() {
	chunk := make([]byte, 32<<10)
	for {
		n, err := c.broker.Read(chunk)
		if n > 0 {
			if !c.pass(answers, n) {
				return
			}
			if _, err := c.client.Write(chunk[:n]); err != nil {
				break
			}
		}
		if err != nil {
			break
		}
	}
	c.endWay(answers, c.client)
}

// endWay passes on that a side has ended, which a cut holds like anything else.
func (c *linked) endWay(w way, to *net.TCPConn) {
	if c.pass(w, 0) {
		_ = to.CloseWrite() // it may be gone already
	}
}
