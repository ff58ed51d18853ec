package kafka

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/ledgerline-es/ledgerline/internal/process"
)

// Config of a Server.
type Config struct {
	Dir    string    // holds its data and nothing else; required; made if missing
	Listen string    // loopback address and port; default 127.0.0.1:0, a free port
	Log    io.Writer // the broker's log; default none
}

// Validate names the field, the value and the remedy.
func (c Config) Validate() error {
	if c.Dir == "" {
		return errors.New("kafka: Dir is empty: name a folder for the data")
	}
	if c.Listen == "" {
		return nil
	}
	host, port, err := net.SplitHostPort(c.Listen)
	if err != nil {
		return fmt.Errorf("kafka: Listen is %q: give host:port", c.Listen)
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return fmt.Errorf("kafka: Listen is %q: the embedded broker knows no users, give a loopback address such as 127.0.0.1", c.Listen)
	}
	if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
		return fmt.Errorf("kafka: Listen is %q: give a port from 0 to 65535", c.Listen)
	}
	return nil
}

// Server is a running broker.
type Server struct {
	process *process.Process
	addr    string
}

const (
	roleName = "kafka"
	// startTimeout bounds opening the data of an earlier run, and waiting for that to end.
	startTimeout = time.Minute
	stopTimeout  = 30 * time.Second
)

type options struct{ Dir, Listen string }

// Start starts the broker and returns once it answers.
func Start(ctx context.Context, cfg Config) (*Server, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.Listen == "" {
		cfg.Listen = "127.0.0.1:0"
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	s, err := start(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("start the embedded Kafka on %s: %w", cfg.Dir, err)
	}
	return s, nil
}

func start(ctx context.Context, cfg Config) (*Server, error) {
	dir, err := filepath.Abs(cfg.Dir)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	hold, err := process.LockFile(ctx, filepath.Join(dir, "lock"), nil)
	if err != nil {
		return nil, fmt.Errorf("another process uses this folder: %w", err)
	}
	if err := os.Remove(endpoint(dir)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, errors.Join(err, hold.Close())
	}
	args, err := json.Marshal(options{dir, cfg.Listen})
	if err != nil {
		return nil, errors.Join(err, hold.Close())
	}
	p, err := process.Start(ctx, process.Spec{Name: roleName, Role: roleName, Args: []string{string(args)}, Log: cfg.Log, StopTimeout: stopTimeout, Hold: hold})
	if err != nil {
		return nil, err
	}
	addr, err := awaitEndpoint(ctx, p, endpoint(dir))
	if err != nil {
		_ = p.Kill() // it did not come up: there is nothing to close
		<-p.Done()
		return nil, err
	}
	return &Server{process: p, addr: addr}, nil
}

func endpoint(dir string) string   { return filepath.Join(dir, "endpoint") }
func dataFolder(dir string) string { return filepath.Join(dir, "data") }

func awaitEndpoint(ctx context.Context, p *process.Process, file string) (string, error) {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		if addr, err := os.ReadFile(file); err == nil {
			return string(addr), nil
		}
		select {
		case <-tick.C:
		case <-p.Done():
			return "", errors.Join(errors.New("it ended at once"), p.Err())
		case <-ctx.Done():
			return "", fmt.Errorf("it does not answer: %w; its last lines:\n%s", ctx.Err(), p.LogTail())
		}
	}
}

// Addr is the address it listens on, host:port.
func (s *Server) Addr() string { return s.addr }

// Pid is the child's.
func (s *Server) Pid() int { return s.process.Pid() }

// Stop closes the broker: what was written is there at the next start.
func (s *Server) Stop(ctx context.Context) error { return s.process.Stop(ctx) }

// Kill ends the child with SIGKILL.
func (s *Server) Kill() error { return s.process.Kill() }

// Done is closed when the child has ended; Err says how.
func (s *Server) Done() <-chan struct{} { return s.process.Done() }

// Err is nil while the child runs and after a clean stop.
func (s *Server) Err() error { return s.process.Err() }

// Role is the child: the broker itself. A binary that calls Start passes it to process.Dispatch.
func Role() process.Role { return process.Role{Name: roleName, Run: run} }

func run(ctx context.Context, args []string) error {
	var o options
	if len(args) != 1 {
		return fmt.Errorf("role %s wants one argument, got %d", roleName, len(args))
	}
	if err := json.Unmarshal([]byte(args[0]), &o); err != nil {
		return fmt.Errorf("read the options: %w", err)
	}
	host, port, err := net.SplitHostPort(o.Listen)
	if err != nil {
		return err
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		return err
	}
	mended, err := mend(dataFolder(o.Dir), time.Now())
	if err != nil {
		return fmt.Errorf("mend the data of an earlier run: %w", err)
	}
	if mended.Aborted > 0 {
		fmt.Fprintf(os.Stderr, "kafka: aborted %d open transactions of an earlier run, the end of %d was half written\n", mended.Aborted, mended.Undone)
	}
	cluster, err := kfake.NewCluster(
		kfake.NumBrokers(1),
		kfake.ClusterID(rand.Text()), // of a new cluster: an old one keeps its own
		kfake.Ports(number),
		kfake.ListenFn(func(network, address string) (net.Listener, error) {
			_, port, err := net.SplitHostPort(address)
			if err != nil {
				return nil, err
			}
			return new(net.ListenConfig).Listen(ctx, network, net.JoinHostPort(host, port))
		}),
		kfake.DataDir(dataFolder(o.Dir)),
		kfake.WithLogger(kfake.BasicLogger(os.Stderr, kfake.LogLevelError)), // else it would fail to save in silence
		kfake.BrokerConfigs(map[string]string{
			// Its cleaner passes over the last stable offset and drops markers of aborted transactions.
			"log.cleaner.backoff.ms": "9000000000000",
			// A transaction of somebody who went away holds up all readers until then. Java's default is just that long.
			"transaction.max.timeout.ms": "60000",
		}),
	)
	if err != nil {
		return err
	}
	defer cluster.Close()
	addrs := cluster.ListenAddrs()
	if err := writeFile(endpoint(o.Dir), addrs[0]); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}

// writeFile writes a file that is there whole or not at all.
func writeFile(path, text string) error {
	next := path + ".next"
	if err := os.WriteFile(next, []byte(text), 0o600); err != nil {
		return err
	}
	return os.Rename(next, path)
}
