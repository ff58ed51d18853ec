// Package registry is a schema registry in this process, for the demo and for tests. It speaks the protocol of
// Confluent's, checks what is registered as those do, and keeps it in a folder.
//
// The protocol is franz-go's srfake; what that lacks is here: schemas are validated (422 with the reason), compatibility
// is checked by the subject's level (409 with the reason), and ids are the same after a restart, since values written
// with them last.
package registry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"
)

// Config says where the registry listens and what it keeps.
type Config struct {
	Dir    string       // folder for what is registered, made if need be; default "": in memory only
	Listen string       // host:port; default "127.0.0.1:0", a free port
	Log    *slog.Logger // default: none
}

func (c Config) withDefaults() Config {
	if c.Listen == "" {
		c.Listen = "127.0.0.1:0"
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}

// Validate names a field that cannot be.
func (c Config) Validate() error {
	if _, _, err := net.SplitHostPort(c.withDefaults().Listen); err != nil {
		return fmt.Errorf("registry: Listen is %q: give host:port, such as 127.0.0.1:8081: %w", c.Listen, err)
	}
	return nil
}

// Server is a running registry.
type Server struct {
	handler *Handler
	http    *http.Server
	addr    net.Addr
	served  chan struct{} // closed when no connection is taken any more; requests may still be under way
	done    chan struct{} // closed when the folder is free too
	once    sync.Once
	err     error // why it ended by itself; set before served is closed
}

// Start starts the registry and returns once it answers. ctx bounds the starting alone. A port that is taken, and a
// folder whose file is damaged or in use by another process, are errors that name it.
func Start(ctx context.Context, cfg Config) (*Server, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	h, err := NewHandler(cfg.Dir)
	if err != nil {
		return nil, err
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", cfg.Listen)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("registry: listen on %s: %w", cfg.Listen, err), h.Close())
	}
	s := &Server{
		handler: h,
		addr:    l.Addr(),
		served:  make(chan struct{}),
		done:    make(chan struct{}),
		http: &http.Server{
			Handler:           h,
			ReadHeaderTimeout: 10 * time.Second,
			ReadTimeout:       30 * time.Second,
			WriteTimeout:      30 * time.Second,
			IdleTimeout:       2 * time.Minute,
			ErrorLog:          slog.NewLogLogger(cfg.Log.Handler(), slog.LevelWarn),
		},
	}
	go func() {
		err := s.http.Serve(l)
		if errors.Is(err, http.ErrServerClosed) {
			close(s.served) // Stop or Kill does the rest
			return
		}
		s.err = fmt.Errorf("registry on %s: %w", s.addr, err)
		close(s.served)
		if err := s.release(); err != nil {
			cfg.Log.Warn("registry ended", "error", err)
		}
	}()
	cfg.Log.Info("registry started", "url", s.URL(), "dir", cfg.Dir)
	return s, nil
}

// Addr is where it listens, as host:port.
func (s *Server) Addr() string { return s.addr.String() }

// URL is what clients are given.
func (s *Server) URL() string { return "http://" + s.Addr() }

// Done is closed when the server has ended.
func (s *Server) Done() <-chan struct{} { return s.done }

// Err says, after Done, why the server ended by itself; nil after Stop and Kill.
func (s *Server) Err() error {
	select {
	case <-s.done:
		return s.err
	default:
		return nil
	}
}

// Stop ends the server when the requests under way are answered, or at ctx's end. It may be repeated.
func (s *Server) Stop(ctx context.Context) error {
	err := s.http.Shutdown(ctx)
	if err != nil {
		err = fmt.Errorf("registry on %s: stop: %w", s.addr, err)
		_ = s.http.Close() // what is still open did not end in time
	}
	return errors.Join(err, s.release())
}

// Kill ends the server without waiting for requests; only a change that is being written is finished.
func (s *Server) Kill() error {
	return errors.Join(s.http.Close(), s.release())
}

func (s *Server) release() (err error) {
	<-s.served
	s.once.Do(func() {
		err = s.handler.Close()
		close(s.done)
	})
	return err
}
