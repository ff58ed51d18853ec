package clickhouse

import (
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"time"
)

// Config says how to start the engine. Only Dir must be set.
type Config struct {
	Dir     string // everything it keeps; made when missing, and locked while it runs
	Listen  string // default 127.0.0.1:0, a free port
	Library string // libchdb's file; default: fetched once into the user's cache

	Queries int // statements at the same time; further ones wait. Default 16
	Inserts int // places beside them that only inserts take. Default 4

	// ReadOnlyUsers are user names whose requests can read and change nothing, not even settings. Default: none.
	ReadOnlyUsers []string

	StartTimeout time.Duration // until it answers; default 2 min: it loads every table, and the library may be cold
	StopTimeout  time.Duration // for running statements to end, then to be killed, and for the engine to close; default 30 s. Start waits as long for a predecessor on the same folder
	Log          io.Writer     // receives what the engine and its front print; nil keeps the last lines for errors
}

func (c Config) withDefaults() Config {
	if c.Listen == "" {
		c.Listen = "127.0.0.1:0"
	}
	if c.Queries == 0 {
		c.Queries = 16
	}
	if c.Inserts == 0 {
		c.Inserts = 4
	}
	if c.StartTimeout == 0 {
		c.StartTimeout = 2 * time.Minute
	}
	if c.StopTimeout == 0 {
		c.StopTimeout = 30 * time.Second
	}
	return c
}

// Validate names what is wrong and what to do about it.
func (c Config) Validate() error {
	c = c.withDefaults()
	var errs []error
	if c.Dir == "" {
		errs = append(errs, errors.New("clickhouse: Dir is empty: name a folder for its data"))
	}
	if _, _, err := net.SplitHostPort(c.Listen); err != nil {
		errs = append(errs, fmt.Errorf("clickhouse: Listen %q is no address: give host:port, such as 127.0.0.1:8123 (%w)", c.Listen, err))
	}
	if c.Queries < 1 || c.Inserts < 1 {
		errs = append(errs, fmt.Errorf("clickhouse: Queries %d and Inserts %d must be at least 1", c.Queries, c.Inserts))
	}
	if c.StartTimeout < 0 || c.StopTimeout < 0 {
		errs = append(errs, fmt.Errorf("clickhouse: StartTimeout %s and StopTimeout %s must be positive", c.StartTimeout, c.StopTimeout))
	}
	return errors.Join(errs...)
}

// The files in Config.Dir.
func dataFolder(dir string) string   { return filepath.Join(dir, "data") }
func lockFile(dir string) string     { return filepath.Join(dir, "lock") }
func endpointFile(dir string) string { return filepath.Join(dir, "endpoint") }
func configFile(dir string) string   { return filepath.Join(dir, "engine.xml") }
