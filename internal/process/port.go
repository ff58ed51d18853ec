package process

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"syscall"
)

const (
	portLow      = 15000
	portHigh     = 32000
	portAttempts = 200
)

// FreePort finds a TCP port on 127.0.0.1 that nobody listens on. It lies below the range from which the kernel takes the
// ports of outgoing connections: so none of those can sit on it while a server that was killed is down and to be started
// on it again.
func FreePort() (int, error) {
	low, high := portLow, min(portHigh, outgoingPortsFrom())
	if high <= low {
		return anyPort() // an unusual range: take what the kernel gives
	}
	var last error
	for range portAttempts {
		port := low + rand.IntN(high-low) //nolint:gosec // any port will do
		if last = PortFree(net.JoinHostPort("127.0.0.1", strconv.Itoa(port))); last == nil {
			return port, nil
		}
	}
	return 0, fmt.Errorf("no free port on 127.0.0.1 between %d and %d after %d attempts: %w", low, high, portAttempts, last)
}

// PortFree says why nobody can listen on an address now: taken, not permitted, not ours.
func PortFree(addr string) error {
	l, free, err := listenBriefly(addr)
	if err != nil {
		return err
	}
	defer free()
	return l.Close()
}

func anyPort() (int, error) {
	l, free, err := listenBriefly("127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("no free port on 127.0.0.1: %w", err)
	}
	defer free()
	addr, ok := l.Addr().(*net.TCPAddr)
	if !ok {
		return 0, errors.Join(fmt.Errorf("listener's address is a %T", l.Addr()), l.Close())
	}
	return addr.Port, l.Close()
}

// listenBriefly listens while nothing forks: a child forked meanwhile would hold the socket until its exec, and so keep
// the port taken although we have closed it. free is called after the close.
func listenBriefly(addr string) (l net.Listener, free func(), err error) {
	syscall.ForkLock.RLock()
	l, err = new(net.ListenConfig).Listen(context.Background(), "tcp", addr)
	if err != nil {
		syscall.ForkLock.RUnlock()
		return nil, nil, err
	}
	return l, syscall.ForkLock.RUnlock, nil
}

// outgoingPortsFrom is where the kernel's range for outgoing connections begins.
func outgoingPortsFrom() int {
	const elsewhere = 49152 // IANA's, which other systems keep to
	text, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")
	if err != nil {
		return elsewhere
	}
	fields := bytes.Fields(text)
	if len(fields) == 0 {
		return elsewhere
	}
	from, err := strconv.Atoi(string(fields[0]))
	if err != nil {
		return elsewhere
	}
	return from
}
