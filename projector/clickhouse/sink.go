package clickhouse

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/url"
	"strings"
	"sync"
	"time"

	ch "github.com/ClickHouse/clickhouse-go/v2"

	"github.com/ledgerline-es/ledgerline/projector"
)

// StoreName is what Projection.StoreName gives for tables of this package.
const StoreName = "clickhouse"

// Columns that the sink fills beside the projection's own. The table must have the first two, and the third if an event
// can give several rows.
const (
	columnPartition = "_partition" // Int32
	columnOffset    = "_offset"    // Int64
	columnRow       = "_row"       // UInt32: which of the event's rows, from 0
)

// Table is a ClickHouse table that people query as database.name. create is one CREATE TABLE statement with {{table}}
// where the name of the physical table goes. It must declare _partition Int32 and _offset Int64, which are not among
// columns, and set non_replicated_deduplication_window.
func Table[R any](database, name, create string, columns ...projector.Column[R]) projector.Table[R] {
	return projector.Table[R]{Store: StoreName, Schema: database, Name: name, Create: create, Columns: columns}
}

// Config says how to reach the server and how to write to it. Only URL has no default.
type Config struct {
	// URL is http://user:password@host:8123, https://… or clickhouse://user:password@host:9000 for the native protocol;
	// its parameters are those of clickhouse-go's DSN.
	URL string
	// DatabasePrefix stands before the names of all databases, so that several installations can share a server.
	// Default: none.
	DatabasePrefix string
	// Interval is the least time between two rounds of inserts while there is work. Shorter makes rows visible sooner and
	// more parts to merge. Default 250 ms.
	Interval time.Duration
	// MaxRows is the most events of one partition in an insert. Default 100,000.
	MaxRows int
	// Inserts is how many inserts of a projection run at once. Default 4.
	Inserts int
	// Stall is the longest stall of a member after which an insert of it may still arrive and must be recognised as a
	// repetition. Preflight refuses a table whose deduplication window is shorter than what can be inserted in that time.
	// Default 30 s.
	Stall time.Duration
	// SettleWait is how long a snapshot waits for a range that is being written. Default 5 s.
	SettleWait time.Duration
	// Logger takes the log. Default: none.
	Logger *slog.Logger
}

func (c Config) withDefaults() Config {
	if c.Interval == 0 {
		c.Interval = 250 * time.Millisecond
	}
	if c.MaxRows == 0 {
		c.MaxRows = 100_000
	}
	if c.Inserts == 0 {
		c.Inserts = 4
	}
	if c.Stall == 0 {
		c.Stall = 30 * time.Second
	}
	if c.SettleWait == 0 {
		c.SettleWait = 5 * time.Second
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

// Validate names each field that cannot be used, its value and the remedy. Zero values mean the defaults.
func (c Config) Validate() error {
	var errs []error
	bad := func(field string, value any, remedy string) {
		errs = append(errs, fmt.Errorf("clickhouse config: %s is %v: %s", field, value, remedy))
	}
	c = c.withDefaults()
	if _, err := c.options(); err != nil {
		errs = append(errs, fmt.Errorf("clickhouse config: URL cannot be used: %w: give one such as http://host:8123 or clickhouse://host:9000", err))
	}
	if c.Interval < 10*time.Millisecond {
		bad("Interval", c.Interval, "give 10ms or more: each insert makes a part")
	}
	if c.MaxRows < 1 || c.MaxRows > 1_000_000 {
		bad("MaxRows", c.MaxRows, "give 1 to 1000000: what a server takes as one block")
	}
	if c.Inserts < 1 {
		bad("Inserts", c.Inserts, "give 1 or more")
	}
	if c.Stall < 0 || c.SettleWait < 0 {
		bad("Stall and SettleWait", fmt.Sprintf("%s and %s", c.Stall, c.SettleWait), "give durations above 0, or none for the defaults")
	}
	return errors.Join(errs...)
}

// options turns the URL into the driver's options.
func (c Config) options() (*ch.Options, error) {
	if c.URL == "" {
		return nil, errors.New("it is empty")
	}
	u, err := url.Parse(c.URL)
	if err != nil {
		return nil, errors.New("it is no URL") // the parser's own words would show a password
	}
	switch u.Scheme {
	case "http", "clickhouse", "tcp", "native":
	case "https":
		q := u.Query()
		q.Set("secure", "true") // the driver wants to be told twice
		u.RawQuery = q.Encode()
	default:
		return nil, fmt.Errorf("%q is no protocol that ClickHouse speaks", u.Scheme)
	}
	o, err := ch.ParseDSN(u.String())
	if err != nil {
		return nil, err
	}
	if o.MaxOpenConns == 0 {
		o.MaxOpenConns = 4 + 4*c.Inserts
	}
	if o.MaxIdleConns == 0 {
		o.MaxIdleConns = o.MaxOpenConns
	}
	if o.Compression == nil && o.Protocol == ch.Native {
		o.Compression = &ch.Compression{Method: ch.CompressionLZ4}
	}
	o.ClientInfo.Products = append(o.ClientInfo.Products, struct{ Name, Version string }{"ledgerline-projector", ""})
	return o, nil
}

// Sink is a ClickHouse server as a sink. It connects when it is first used.
type Sink struct {
	cfg     Config
	metrics *metrics

	mu        sync.Mutex
	conn      ch.Conn
	rowTables map[string]bool                   // by a table's quoted name: whether it has columnRow
	settled   map[string]map[int32]settledRange // by a table's quoted name and partition
}

var _ projector.Sink = (*Sink)(nil)

// New makes a sink. It does no I/O. Close it when no projector uses it any more.
func New(cfg Config) *Sink { return &Sink{cfg: cfg.withDefaults(), metrics: newMetrics()} }

// Close closes the connections.
func (s *Sink) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn != nil {
		_ = s.conn.Close() // there is nothing left to lose
		s.conn = nil
	}
}

// connection is the pool of connections. Making it connects to nothing yet.
func (s *Sink) connection() (ch.Conn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn != nil {
		return s.conn, nil
	}
	if err := s.cfg.Validate(); err != nil {
		return nil, projector.Fatal(err, "correct the configuration")
	}
	o, err := s.cfg.options()
	if err != nil {
		return nil, err
	}
	if s.conn, err = ch.Open(o); err != nil {
		return nil, fmt.Errorf("clickhouse connections: %w", err)
	}
	return s.conn, nil
}

// client speaks to the server for one projection.
type client struct {
	conn  ch.Conn
	books string // quoted name of the bookkeeping database
	table string // quoted name of the physical table, with its database
	view  string

	rowColumn bool // the table has columnRow
}

func (s *Sink) client(plan projector.Plan) (*client, error) {
	conn, err := s.connection()
	if err != nil {
		return nil, err
	}
	database := s.cfg.DatabasePrefix + plan.Schema
	return &client{
		conn:  conn,
		books: quote(s.cfg.DatabasePrefix + "ledgerline"),
		table: quote(database) + "." + quote(plan.Physical()),
		view:  quote(database) + "." + quote(plan.Table),
	}, nil
}

// settled are the settings of every statement that writes. Asynchronous inserts, the default since 26.3, would be
// acknowledged by a buffer and break the tokens.
func settled(more ch.Settings) ch.Settings {
	s := ch.Settings{"async_insert": 0, "wait_end_of_query": 1}
	maps.Copy(s, more)
	return s
}

func (c *client) exec(ctx context.Context, doing, sql string) error {
	return classify(doing, c.conn.Exec(ctx, sql))
}

// query runs a SELECT and calls row for each row.
func (c *client) query(ctx context.Context, doing, sql string, args []any, row func(scan func(...any) error) error) error {
	rows, err := c.conn.Query(ctx, sql, args...)
	if err != nil {
		return classify(doing, err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := row(rows.Scan); err != nil {
			return classify(doing, err)
		}
	}
	return classify(doing, rows.Err())
}

// insert inserts rows as one block. They come in pieces, of each its columns, all of one length.
func (c *client) insert(ctx context.Context, doing, table string, columns []ch.ColumnNameAndType, pieces [][]any, settings ch.Settings) error {
	quoted := make([]string, len(columns))
	for i, column := range columns {
		quoted[i] = quote(column.Name)
	}
	names := strings.Join(quoted, ", ")
	ctx = ch.Context(ctx, ch.WithSettings(settled(settings)), ch.WithColumnNamesAndTypes(columns))
	batch, err := c.conn.PrepareBatch(ctx, fmt.Sprintf("INSERT INTO %s (%s)", table, names))
	if err != nil {
		return classify(doing, err)
	}
	for i, column := range columns {
		for _, values := range pieces {
			if err := batch.Column(i).Append(values[i]); err != nil {
				_ = batch.Abort() // Close would send what is there
				return projector.Fatal(fmt.Errorf("%s: column %s %s: %w", doing, column.Name, column.Type, err), "make the projection's column and the CREATE text agree, then rebuild it")
			}
		}
	}
	return classify(doing, batch.Send())
}
