package kit_test

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/ledgerline-es/ledgerline/internal/kit"
)

const (
	comesSoon = 30 * time.Second
	stays     = 100 * time.Millisecond // whoever lets pass does so within a millisecond
)

// echo is a broker that answers each request with itself, and says what it has got.
type echo struct {
	addr string
	got  chan string
}

func startEcho(t *testing.T) *echo {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	e := &echo{l.Addr().String(), make(chan string, 100)}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				for in := bufio.NewReader(conn); ; {
					frame, err := readFrame(in)
					if err != nil {
						return
					}
					e.got <- string(frame[6:])
					if _, err := conn.Write(frame); err != nil {
						return
					}
				}
			}()
		}
	}()
	return e
}

func readFrame(in io.Reader) ([]byte, error) {
	length := make([]byte, 4)
	if _, err := io.ReadFull(in, length); err != nil {
		return nil, err
	}
	body := make([]byte, binary.BigEndian.Uint32(length))
	_, err := io.ReadFull(in, body)
	return slices.Concat(length, body), err
}

// caller is a client of it.
type caller struct {
	t *testing.T
	net.Conn
}

func call(t *testing.T, l *kit.Link) caller {
	t.Helper()
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", l.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return caller{t, conn}
}

func (c caller) send(key uint16, text string) {
	c.t.Helper()
	frame := binary.BigEndian.AppendUint32(nil, uint32(2+len(text)))
	frame = append(binary.BigEndian.AppendUint16(frame, key), text...)
	for _, part := range [][]byte{frame[:5], frame[5:]} { // as the network may cut it up
		if _, err := c.Write(part); err != nil {
			c.t.Fatal(err)
		}
	}
}

func (c caller) hears(text string) {
	c.t.Helper()
	if frame, err := c.within(comesSoon); err != nil || string(frame[6:]) != text {
		c.t.Fatalf("heard %q, %v, wanted %q", frame, err, text)
	}
}

func (c caller) hearsNothing() {
	c.t.Helper()
	if frame, err := c.within(stays); !errors.Is(err, os.ErrDeadlineExceeded) {
		c.t.Fatalf("heard %q, %v, wanted silence", frame, err)
	}
}

func (c caller) within(d time.Duration) ([]byte, error) {
	if err := c.SetReadDeadline(time.Now().Add(d)); err != nil {
		c.t.Fatal(err)
	}
	return readFrame(c)
}

func (e *echo) gets(t *testing.T, text string) {
	t.Helper()
	select {
	case got := <-e.got:
		if got != text {
			t.Fatalf("the broker got %q, wanted %q", got, text)
		}
	case <-time.After(comesSoon):
		t.Fatalf("the broker did not get %q", text)
	}
}

func (e *echo) getsNothing(t *testing.T) {
	t.Helper()
	select {
	case got := <-e.got:
		t.Fatalf("the broker got %q, wanted nothing", got)
	case <-time.After(stays):
	}
}

func TestLink_PassesHoldsAndBreaks(t *testing.T) {
	const endTxn, other = 26, 0
	e := startEcho(t)
	l := kit.StartLink(t, e.addr)
	c := call(t, l)
	round := func(c caller, text string) {
		t.Helper()
		c.send(other, text)
		e.gets(t, text)
		c.hears(text)
	}
	round(c, "whole")

	l.Cut()
	c.send(other, "both ways")
	e.getsNothing(t)
	late := call(t, l) // the kernel accepts; nothing comes of it
	late.send(other, "late")
	e.getsNothing(t)
	c.hearsNothing()
	l.Heal()
	for range 2 { // in either order
		<-e.got
	}
	c.hears("both ways")
	late.hears("late")

	l.CutAnswers()
	c.send(other, "no answer")
	e.gets(t, "no answer")
	c.hearsNothing()
	l.Heal()
	c.hears("no answer")

	l.CutRequests()
	c.send(other, "no request")
	e.getsNothing(t)
	l.Heal()
	e.gets(t, "no request")
	c.hears("no request")

	hit := l.CutAfter(endTxn)
	round(c, "not yet")
	c.send(endTxn, "the end")
	e.gets(t, "the end")
	<-hit
	c.send(other, "behind it")
	e.getsNothing(t)
	c.hearsNothing()
	l.Reset()
	if _, err := c.within(comesSoon); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("after a reset: %v, wanted a broken connection", err)
	}
	e.getsNothing(t)
	c = call(t, l)
	round(c, "anew")

	const delay = 50 * time.Millisecond
	l.Slow(delay, 1000)
	began := time.Now()
	round(c, string(make([]byte, 100))) // there and back
	if took := time.Since(began); took < delay+200*time.Millisecond {
		t.Errorf("it took %v at 1000 bytes a second and a delay of %v", took, delay)
	}
	l.Heal()
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestLink_BrokerAway_ConnectionsBreak(t *testing.T) {
	away, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := kit.StartLink(t, away.Addr().String())
	if err := away.Close(); err != nil {
		t.Fatal(err)
	}
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", l.Addr())
	if err == nil {
		_, err = caller{t, conn}.within(comesSoon)
		_ = conn.Close()
	}
	if !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("a broker that is away: %v, wanted a reset", err)
	}
}
