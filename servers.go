package ledgerline

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/ledgerline-es/ledgerline/internal/deps"
	"github.com/ledgerline-es/ledgerline/internal/embedded/clickhouse"
	"github.com/ledgerline-es/ledgerline/internal/embedded/kafka"
	"github.com/ledgerline-es/ledgerline/internal/embedded/postgres"
	"github.com/ledgerline-es/ledgerline/internal/embedded/registry"
)

// embeddedServer is one of the demo's own servers.
type embeddedServer interface {
	Addr() string
	Stop(ctx context.Context) error
	Done() <-chan struct{}
	Err() error
}

// servers are those that the demo started; where it was given a real one there is none.
type servers struct {
	app  *App
	list []startedServer // in the order in which they are stopped
	logs []*os.File
}

type startedServer struct {
	name   string
	server embeddedServer
}

// startServers starts what is not given as a real server, side by side, and sets the addresses for everything else.
func startServers(ctx context.Context, d *demo) (*servers, error) {
	s := &servers{app: d.app}
	type part struct {
		name, listen, given string
		start               func(ctx context.Context, dir, address string, log *os.File) (embeddedServer, error)
		set                 func(embeddedServer) (key string, value any)
	}
	parts := []part{
		{"postgres", "postgres.listen", "postgres.url", func(ctx context.Context, dir, address string, log *os.File) (embeddedServer, error) {
			return postgres.Start(ctx, postgres.Config{Dir: dir, Listen: address, Log: log, Progress: d.app.Err})
		}, func(e embeddedServer) (string, any) { return "postgres.url", e.(*postgres.Server).URL() }},
		{"clickhouse", "clickhouse.listen", "clickhouse.url", func(ctx context.Context, dir, address string, log *os.File) (embeddedServer, error) {
			// Fetched here, where it shows: the server's own log goes to a file.
			if _, err := deps.Fetch(ctx, deps.ClickHouse, d.app.Err); err != nil {
				return nil, err
			}
			return clickhouse.Start(ctx, clickhouse.Config{Dir: dir, Listen: address, Log: log})
		}, func(e embeddedServer) (string, any) { return "clickhouse.url", e.(*clickhouse.Server).URL() }},
		{"registry", "registry.listen", "registry.url", func(ctx context.Context, dir, address string, _ *os.File) (embeddedServer, error) {
			return registry.Start(ctx, registry.Config{Dir: dir, Listen: address, Log: d.app.log})
		}, func(e embeddedServer) (string, any) { return "registry.url", e.(*registry.Server).URL() }},
		{"kafka", "kafka.listen", "kafka.brokers", func(ctx context.Context, dir, address string, log *os.File) (embeddedServer, error) {
			return kafka.Start(ctx, kafka.Config{Dir: dir, Listen: address, Log: log})
		}, func(e embeddedServer) (string, any) { return "kafka.brokers", []string{e.Addr()} }},
	}
	// First of all: nothing is to be started, and stopped again, for a port that is taken.
	for _, p := range parts {
		if d.app.values.Given(p.given) {
			continue
		}
		if err := free(ctx, d.listenAddress(p.listen), strings.ReplaceAll(p.listen, ".", "-")); err != nil {
			return nil, err
		}
	}
	started := make([]embeddedServer, len(parts))
	var group errgroup.Group
	for i, p := range parts {
		if d.app.values.Given(p.given) {
			continue // a real one
		}
		address := d.listenAddress(p.listen)
		dir := filepath.Join(d.dir, p.name)
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, err
		}
		log, err := os.OpenFile(filepath.Join(d.dir, p.name+".log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
		if err != nil {
			return nil, err
		}
		s.logs = append(s.logs, log)
		group.Go(func() error {
			begin := time.Now()
			server, err := p.start(ctx, dir, address, log)
			if err != nil {
				return err
			}
			started[i] = server
			fmt.Fprintf(d.app.Err, "%-10s %s (%v)\n", p.name, server.Addr(), time.Since(begin).Round(10*time.Millisecond))
			return nil
		})
	}
	err := group.Wait()
	values := map[string]any{}
	for i, p := range parts {
		if started[i] == nil {
			continue
		}
		s.list = append(s.list, startedServer{p.name, started[i]})
		key, value := p.set(started[i])
		values[key] = value
		switch p.name {
		case "kafka": // one broker holds one copy
			values["kafka.replication"], values["kafka.min-insync"] = 1, 1
			s.app.links.kafka = nil // it wants no TLS and no login, whatever is set for others
		case "registry":
			s.app.links.registry = nil
		}
	}
	if err != nil {
		return nil, errors.Join(err, s.stop())
	}
	return s, d.app.values.Set(values)
}

// free finds out early that an address is taken, to name the flag that gives another.
func free(ctx context.Context, address, flag string) error {
	l, err := listen(ctx, address, flag)
	if err != nil {
		return fmt.Errorf("%w; --free-ports finds addresses for all servers", err)
	}
	return l.Close()
}

// watch ends the demo when one of its servers does.
func (s *servers) watch(ctx context.Context, fail context.CancelCauseFunc) {
	for _, e := range s.list {
		go func() {
			select {
			case <-ctx.Done():
			case <-e.server.Done():
				fail(fmt.Errorf("%s ended: %w", e.name, errors.Join(e.server.Err(), errors.New("start the demo again: its data are kept"))))
			}
		}()
	}
}

// addresses are those that clients use.
func (s *servers) addresses() Addresses {
	v := s.app.values
	return Addresses{Kafka: strings.Join(v.Strings("kafka.brokers"), ","), Registry: v.String("registry.url"), Postgres: v.String("postgres.url"), ClickHouse: v.String("clickhouse.url")}
}

// stopTimeout bounds the end of one server.
const stopTimeout = 45 * time.Second

func (s *servers) stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	stopped := make([]error, len(s.list))
	var group errgroup.Group
	for i, e := range s.list {
		group.Go(func() error {
			if err := e.server.Stop(ctx); err != nil {
				stopped[i] = fmt.Errorf("stop %s: %w", e.name, err)
			}
			return nil
		})
	}
	_ = group.Wait() // each error is kept
	err := errors.Join(stopped...)
	for _, log := range s.logs {
		err = errors.Join(err, log.Close())
	}
	return err
}
