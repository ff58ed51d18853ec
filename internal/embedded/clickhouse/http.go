package clickhouse

import (
	"bufio"
	"context"
	"errors"
	"io"
	"maps"
	"mime"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/ledgerline-es/ledgerline/internal/embedded/clickhouse/chdb"
)

// front serves ClickHouse's HTTP interface over an engine.
type front struct {
	engine   *engine
	readOnly []string        // user names
	stopping context.Context // done when running statements are to end
	host     string          // our display name
}

const (
	maxStatement = 256 << 10 // what may stand before an insert's rows: the engine's own max_query_size
	maxQuery     = 16 << 20  // a statement without rows
)

func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if why := guard(r); why != "" {
		http.Error(w, why, http.StatusForbidden)
		return
	}
	switch r.URL.Path {
	case "/ping", "/replicas_status":
		_, _ = io.WriteString(w, "Ok.\n")
		return
	case "/":
	default:
		http.Error(w, "There is no handle "+r.URL.Path+"\n\nUse / or /ping for health checks, and / with a query, in the URL or as the body of a POST, for anything else.", http.StatusNotFound)
		return
	}
	if !slices.Contains([]string{http.MethodGet, http.MethodHead, http.MethodPost}, r.Method) {
		w.Header().Set("Allow", "GET, HEAD, POST")
		http.Error(w, "use GET, HEAD or POST", http.StatusMethodNotAllowed)
		return
	}
	rq := f.readRequest(r)
	for name, value := range map[string]string{
		"X-ClickHouse-Server-Display-Name": f.host,
		"X-ClickHouse-Query-Id":            rq.queryID,
		"X-ClickHouse-Timezone":            "UTC",
	} {
		w.Header().Set(name, value)
	}
	if err := f.run(w, r, rq); err != nil {
		f.fail(w, err)
	}
}

// run finds out what the request wants and has it done. An error it returns has not been answered yet.
func (f *front) run(w http.ResponseWriter, r *http.Request, rq request) error {
	body, err := requestBody(r, rq)
	if err != nil {
		return err
	}
	defer body.Close()
	var text io.Reader = body
	if rq.query != "" {
		text = io.MultiReader(strings.NewReader(rq.query+"\n"), body)
	}
	return f.runText(w, r, rq, bufio.NewReaderSize(text, maxStatement))
}

// runText runs the statement at the beginning of source, with the rows behind it if it is an insert.
func (f *front) runText(w http.ResponseWriter, r *http.Request, rq request, source *bufio.Reader) error {
	head, err := source.Peek(maxStatement)
	whole := errors.Is(err, io.EOF)
	if err != nil && !whole {
		return err
	}
	if whole && len(head) == 0 && r.Method != http.MethodPost {
		_, _ = io.WriteString(w, "Ok.\n")
		return nil
	}
	text := string(head)
	st, err := parseStatement(text)
	if !whole && !st.insert {
		rest, readErr := io.ReadAll(io.LimitReader(source, maxQuery+1))
		if readErr != nil {
			return readErr
		}
		if len(rest) > maxQuery {
			return errStatementSize
		}
		text = string(rest)
		st, err = parseStatement(text)
		if st.insert {
			st, err = statement{}, errOpenQuote // its rows begin beyond what was looked at
		}
	}
	if err != nil {
		return err
	}
	if st.insert {
		if r.Method != http.MethodPost {
			return errReadOnlyGet
		}
		_, _ = source.Discard(st.data)
		return f.insert(w, r, rq, st, source)
	}
	return f.query(w, r, rq, st)
}

// fail answers with the error's status, code and text.
func (f *front) fail(w http.ResponseWriter, err error) {
	e := asEngineError(err)
	h := w.Header()
	h.Set("X-ClickHouse-Exception-Code", strconv.Itoa(e.Code))
	h.Set("Content-Type", "text/plain; charset=UTF-8")
	h.Del("Content-Encoding")
	h.Set("X-Content-Type-Options", "nosniff") // the text quotes the query: no browser may take it for a page
	w.WriteHeader(statusOf(e.Code))
	_, _ = io.WriteString(w, textOf(e, f.engine.version)+"\n") //nolint:gosec // G705: plain text, and said to be
}

// guard refuses what a web page in somebody's browser could send to us on a loopback address: without passwords a forged
// request is as good as a real one. Clients that are no browsers send none of these headers.
func guard(r *http.Request) (why string) {
	switch r.Header.Get("Sec-Fetch-Site") {
	case "", "none", "same-origin":
	default:
		return "a page of another site may not use this server"
	}
	if origin := r.Header.Get("Origin"); origin != "" && origin != "null" {
		if u, err := url.Parse(origin); err != nil || u.Host != r.Host {
			return "a page of another site may not use this server"
		}
	} else if origin == "null" {
		return "a page without an origin may not use this server"
	}
	// A name that somebody else's DNS points at a loopback address makes their page "same-origin".
	local, ok := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr)
	if ok && local.IP.IsLoopback() && !isAddress(r.Host) {
		return "Host " + strconv.Quote(r.Host) + " is not this server: use localhost or an address"
	}
	return ""
}

// isAddress says whether a Host names no name, or one that only this machine resolves.
func isAddress(hostPort string) bool {
	host := hostPort
	if h, _, err := net.SplitHostPort(hostPort); err == nil {
		host = h
	}
	host = strings.Trim(host, "[]")
	return host == "" || strings.EqualFold(host, "localhost") || net.ParseIP(host) != nil
}

// request is what URL and headers say.
type request struct {
	query    string
	database string
	format   string // when the statement names none
	protocol uint64 // client_protocol_version: the revision of Native that the client reads
	settings []setting
	params   []chdb.Param
	readOnly bool

	compress, decompress bool   // ClickHouse's own blocks
	method               string // … and how they are compressed: LZ4, ZSTD, NONE
	encode               bool   // HTTP compression is welcome
	wait                 bool   // answer only when all is known

	queryID        string
	session        string
	sessionTimeout time.Duration
	sessionCheck   bool
	sessionClose   bool
}

// readRequest sorts the URL's parameters. What is none of the interface's own is a setting.
func (f *front) readRequest(r *http.Request) request {
	rq := request{method: "LZ4", encode: true, sessionTimeout: defaultSessionTimeout,
		database: r.Header.Get("X-ClickHouse-Database"), format: r.Header.Get("X-ClickHouse-Format")}
	user := r.Header.Get("X-ClickHouse-User")
	if name, _, ok := r.BasicAuth(); ok && user == "" {
		user = name
	}
	values := r.URL.Query()
	var last []setting // after readonly nothing can be set any more
	for _, name := range slices.Sorted(maps.Keys(values)) {
		value := values[name][len(values[name])-1]
		truth := value == "1" || strings.EqualFold(value, "true")
		switch name {
		case "query":
			rq.query = value
		case "database":
			rq.database = value
		case "default_format":
			rq.format = value
		case "client_protocol_version":
			rq.protocol, _ = strconv.ParseUint(value, 10, 64)
		case "query_id":
			rq.queryID = value
		case "compress":
			rq.compress = truth
		case "decompress":
			rq.decompress = truth
		case "wait_end_of_query", "http_wait_end_of_query":
			rq.wait = truth
		case "enable_http_compression":
			rq.encode = truth
		case "network_compression_method":
			rq.method = strings.ToUpper(value)
		case "session_id":
			rq.session = value
		case "session_timeout":
			if n, err := strconv.Atoi(value); err == nil && n > 0 {
				rq.sessionTimeout = min(time.Duration(n)*time.Second, maxSessionTimeout)
			}
		case "session_check":
			rq.sessionCheck = truth
		case "close_session":
			rq.sessionClose = truth
		case "user":
			user = value
		case "readonly":
			last = append(last, setting{name, value})
		case "log_comment": // ours: queries are found by it. The engine keeps no query log that would show it
		case "password", "role", "quota_key", "stacktrace", "buffer_size", "network_zstd_compression_level":
		default:
			if p, ok := strings.CutPrefix(name, "param_"); ok {
				rq.params = append(rq.params, chdb.Param{Name: p, Value: value})
			} else {
				rq.settings = append(rq.settings, setting{name, value})
			}
		}
	}
	rq.settings = append(rq.settings, last...)
	rq.readOnly = user != "" && slices.Contains(f.readOnly, user)
	if rq.queryID == "" {
		rq.queryID = uuid.NewString()
	}
	return rq
}

// isMultipart says whether the body carries external tables.
func isMultipart(r *http.Request) bool {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	return err == nil && kind == "multipart/form-data"
}
