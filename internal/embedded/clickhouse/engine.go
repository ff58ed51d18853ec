package clickhouse

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/ledgerline-es/ledgerline/internal/embedded/clickhouse/chdb"
)

// engine hands out connections to the library: one a request, and no more at a time than there are places.
type engine struct {
	lib     *chdb.Library
	options []string
	version string

	queries chan struct{} // places anybody may take
	inserts chan struct{} // places that inserts alone may take

	mu   sync.Mutex // guards root
	root *chdb.Conn // keeps the engine alive, and kills the queries of others

	sessions sessions
}

// bootEngine loads the library and opens the data folder of dir.
func bootEngine(o roleOptions) (*engine, error) {
	lib, err := chdb.Open(o.Library)
	if err != nil {
		return nil, err
	}
	// Without a configuration file of its own the engine would read whatever the machine has in the usual places.
	if err := os.WriteFile(configFile(o.Dir), []byte("<clickhouse></clickhouse>\n"), 0o600); err != nil {
		return nil, fmt.Errorf("write the engine's configuration: %w", err)
	}
	e := &engine{
		lib: lib,
		options: []string{
			"--path=" + dataFolder(o.Dir),
			"--config-file=" + configFile(o.Dir),
			"--implicit_select=0", // the library takes "1+1" for a query; a server does not
		},
		queries: make(chan struct{}, o.Queries),
		inserts: make(chan struct{}, o.Inserts),
	}
	e.sessions.open = map[string]*session{}
	if e.root, err = lib.Connect(e.options...); err != nil {
		return nil, fmt.Errorf("open %s: %w", dataFolder(o.Dir), err)
	}
	r, err := e.root.Query("SELECT version()", "TabSeparatedRaw")
	if err != nil {
		return nil, fmt.Errorf("ask the engine for its version: %w", err)
	}
	e.version = strings.TrimSpace(string(r.Bytes()))
	r.Close()
	return e, nil
}

// close ends the engine in good order. No request may be running.
func (e *engine) close() {
	e.sessions.closeAll()
	e.mu.Lock()
	defer e.mu.Unlock()
	e.root.Close()
}

// place waits for a free place; an insert may take one of those kept for inserts.
func (e *engine) place(ctx context.Context, insert bool) (release func(), err error) {
	var kept chan struct{} // nil: never ready
	if insert {
		kept = e.inserts
	}
	select {
	case e.queries <- struct{}{}:
		return func() { <-e.queries }, nil
	case kept <- struct{}{}:
		return func() { <-e.inserts }, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// setting is one that a request brought along.
type setting struct{ name, value string }

// conn is a connection prepared for one request.
type conn struct {
	*chdb.Conn
	tag string // stands in the setting log_comment of its queries: how they are found among those that run
}

func (e *engine) connect() (conn, error) {
	c := conn{tag: rand.Text()}
	var err error
	c.Conn, err = e.lib.Connect(append(e.options, "--log_comment="+c.tag)...)
	return c, err
}

var settingName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// prepare gives the connection the request's settings and database; readOnly locks it for good.
func (c conn) prepare(settings []setting, database string, readOnly bool) error {
	var set []string
	for _, s := range settings {
		if !settingName.MatchString(s.name) {
			return chdb.Errorf(115, "UNKNOWN_SETTING", "Unknown setting '%s'", s.name)
		}
		set = append(set, s.name+" = "+quoteString(s.value))
	}
	var statements []string
	if database != "" {
		statements = append(statements, "USE "+quoteName(database))
	}
	if len(set) > 0 {
		statements = append(statements, "SET "+strings.Join(set, ", "))
	}
	if readOnly {
		// In a statement of its own, and the last: it holds against SETTINGS in the query only when set this way.
		statements = append(statements, "SET readonly = 1")
	}
	for _, s := range statements {
		r, err := c.Query(s, "Null")
		if err != nil {
			return err
		}
		r.Close()
	}
	return nil
}

func quoteString(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(s) + "'"
}

func quoteName(s string) string {
	return "`" + strings.NewReplacer(`\`, `\\`, "`", "\\`").Replace(s) + "`"
}

// acquire waits for a place and a connection prepared for the request. The caller gives both back by release, and says
// whether a statement failed.
func (e *engine) acquire(ctx context.Context, rq request, insert bool) (c conn, release func(failed bool), err error) {
	free, err := e.place(ctx, insert)
	if err != nil {
		return conn{}, nil, err
	}
	if rq.session == "" {
		c, err = e.connect()
		release = func(bool) {
			c.Close()
			free()
		}
	} else {
		c, err = e.sessions.take(rq.session, rq.sessionCheck, e.connect)
		release = func(failed bool) {
			if failed {
				c.rinse()
			}
			e.sessions.giveBack(rq.session, rq.sessionTimeout, rq.sessionClose)
			free()
		}
	}
	if err != nil {
		free()
		return conn{}, nil, err
	}
	if err := c.prepare(rq.settings, rq.database, rq.readOnly); err != nil {
		release(true)
		return conn{}, nil, err
	}
	return c, release, nil
}

// rinse takes out of a connection what a failed statement has left there: the rows it had put out before it failed, which
// would come at the head of the next answer.
func (c conn) rinse() {
	if r, err := c.Query("SELECT 1", "Null"); err == nil {
		r.Close()
	}
}

const killInterval = 50 * time.Millisecond

// killWhenDone ends what runs on c once ctx is done. The caller calls stop when its statement has returned, and before it
// gives the connection back.
func (e *engine) killWhenDone(ctx context.Context, c conn) (stop func()) {
	ended, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		select {
		case <-ended:
			return
		case <-ctx.Done():
		}
		// Once may be too early: a query is known to the engine only after it has been parsed and planned.
		again := time.NewTicker(killInterval)
		defer again.Stop()
		for {
			e.kill(c.tag)
			select {
			case <-ended:
				return
			case <-again.C:
			}
		}
	}()
	return func() {
		close(ended)
		<-stopped
	}
}

func (e *engine) kill(tag string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	// ASYNC: the engine counts a query as running until its connection moves on, so waiting for its end would be for ever.
	if r, err := e.root.Query("KILL QUERY WHERE Settings['log_comment'] = '"+tag+"' ASYNC", "Null"); err == nil {
		r.Close()
	}
}
