package clickhouse

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/ledgerline-es/ledgerline/internal/process"
)

// RoleName is the child's name in the list of processes.
const RoleName = "clickhouse"

// Role is the child: the engine and the HTTP server in front of it. A binary that calls Start passes it to
// process.Dispatch.
func Role() process.Role { return process.Role{Name: RoleName, Run: runRole} }

// roleOptions go from the parent to the child as its one argument.
type roleOptions struct {
	Dir, Listen, Library string
	Queries, Inserts     int
	ReadOnlyUsers        []string
	StopTimeout          time.Duration
}

// closeReserve is the part of StopTimeout that is kept for the engine to close its tables.
const closeReserve = 5 * time.Second

func runRole(ctx context.Context, args []string) error {
	var o roleOptions
	if len(args) != 1 {
		return fmt.Errorf("role %s wants one argument, got %d", RoleName, len(args))
	}
	if err := json.Unmarshal([]byte(args[0]), &o); err != nil {
		return fmt.Errorf("read the options: %w", err)
	}
	// The address first: it fails at once, the engine may take a while.
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", o.Listen)
	if err != nil {
		return fmt.Errorf("listen for ClickHouse's HTTP interface: %w", err)
	}
	defer listener.Close()
	e, err := bootEngine(o)
	if err != nil {
		return err
	}
	defer e.close()
	return serve(ctx, o, e, listener)
}

func serve(ctx context.Context, o roleOptions, e *engine, listener net.Listener) error {
	stopping, stop := context.WithCancel(context.Background())
	defer stop()
	host, _ := os.Hostname()
	server := &http.Server{
		Handler:           &front{engine: e, readOnly: o.ReadOnlyUsers, stopping: stopping, host: host},
		ReadHeaderTimeout: 30 * time.Second,
		IdleTimeout:       5 * time.Minute,
		MaxHeaderBytes:    1 << 20,
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	if err := writeEndpoint(o.Dir, listener.Addr().String()); err != nil {
		return err
	}
	select {
	case err := <-served:
		return fmt.Errorf("serve ClickHouse's HTTP interface: %w", err)
	case <-ctx.Done():
	}
	// What runs may end by itself for half of the time, and is killed then.
	patience := max(o.StopTimeout-closeReserve, o.StopTimeout/2)
	half := time.AfterFunc(patience/2, stop)
	defer half.Stop()
	deadline, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := server.Shutdown(deadline); err != nil {
		stop()
		return errors.Join(fmt.Errorf("statements still ran %s after they were to end", patience), server.Close())
	}
	return nil
}

// writeEndpoint tells the parent where we listen, once we do. The pid tells it from what an earlier child wrote.
func writeEndpoint(dir, addr string) error {
	temp := endpointFile(dir) + ".new"
	if err := os.WriteFile(temp, fmt.Appendf(nil, "%d %s", os.Getpid(), addr), 0o600); err != nil {
		return err
	}
	return os.Rename(temp, endpointFile(dir))
}

func readEndpoint(file string, pid int) (addr string, ok bool) {
	text, err := os.ReadFile(file)
	if err != nil {
		return "", false
	}
	return strings.CutPrefix(string(text), strconv.Itoa(pid)+" ")
}
