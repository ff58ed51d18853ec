package clickhouse_test

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"

	"github.com/ledgerline-es/ledgerline/projector"
	"github.com/ledgerline-es/ledgerline/projector/clickhouse"
	"github.com/ledgerline-es/ledgerline/projector/internal/logtest"
)

// gate stands between a sink and the server. It holds up inserts into a table, or cuts one.
type gate struct {
	server *server
	url    string

	mu      sync.Mutex
	inserts map[string]int // by table
	table   string         // whose inserts are held, or cut
	skip    int            // of these, as many pass
	cut     bool
	blocked chan struct{} // closed when one is held
	open    chan struct{}
}

func (s *server) gate() *gate {
	s.t.Helper()
	target, err := url.Parse(s.url)
	if err != nil {
		s.t.Fatal(err)
	}
	g := &gate{server: s, inserts: map[string]int{}}
	proxy := httputil.NewSingleHostReverseProxy(target)
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if g.pass(r) {
			proxy.ServeHTTP(w, r)
			return
		}
		panic(http.ErrAbortHandler)
	}))
	s.t.Cleanup(front.Close)
	s.t.Cleanup(g.release)
	g.url = strings.Replace(s.url, target.Host, strings.TrimPrefix(front.URL, "http://"), 1)
	return g
}

// pass waits while a request is held, and reports whether it may go on.
func (g *gate) pass(r *http.Request) bool {
	query := r.URL.Query().Get("query")
	if !strings.HasPrefix(query, "INSERT INTO") {
		return true
	}
	into, _, _ := strings.Cut(query, "(")
	g.mu.Lock()
	for _, table := range []string{"entries__g1", "ledger"} {
		if strings.Contains(into, "`"+table+"`") {
			g.inserts[table]++
		}
	}
	if g.table == "" || !strings.Contains(into, "`"+g.table+"`") || g.skip > 0 {
		if g.table != "" && strings.Contains(into, "`"+g.table+"`") {
			g.skip--
		}
		g.mu.Unlock()
		return true
	}
	if g.cut {
		g.table, g.cut = "", false
		g.mu.Unlock()
		return false
	}
	open := g.open
	close(g.blocked)
	g.table = ""
	g.mu.Unlock()
	<-open
	return true
}

// hold holds up the next insert into a table, but for the first ones; the channel is closed when it has come.
func (g *gate) hold(table string, but ...int) (blocked <-chan struct{}) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.table, g.skip, g.cut, g.blocked, g.open = table, 0, false, make(chan struct{}), make(chan struct{})
	for _, n := range but {
		g.skip += n
	}
	return g.blocked
}

// fail cuts the next insert into a table.
func (g *gate) fail(table string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.table, g.skip, g.cut = table, 0, true
}

// release lets go on what is held.
func (g *gate) release() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.open != nil {
		close(g.open)
		g.open = nil
	}
}

// seen is how many inserts into a table there were.
func (g *gate) seen(table string) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.inserts[table]
}

// member opens a store behind the gate and claims some partitions.
func (g *gate) member(b *logtest.Bench, partitions ...int32) projector.Store {
	g.server.t.Helper()
	store, _ := g.server.memberAt(g.server.sink(func(c *clickhouse.Config) { c.URL = g.url }), b, partitions...)
	return store
}

func async(f func() error) <-chan error {
	done := make(chan error, 1)
	go func() { done <- f() }()
	return done
}
