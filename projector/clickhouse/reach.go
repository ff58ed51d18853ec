package clickhouse

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	ch "github.com/ClickHouse/clickhouse-go/v2"

	"github.com/ledgerline-es/ledgerline/projector"
)

// Reach is how far in the log the rows of a projection reach, as its ledger says.
type Reach struct {
	Projection string
	Generation int
	Table      string // that serves, with its database
	Topic      string
	Partitions map[int32]PartitionReach

	prefix    string
	rowColumn *bool // whether the table has columnRow; nil: nobody has looked
}

// PartitionReach says of one partition which events have their rows. Ranges are stored one after another, and each is
// recorded before it is inserted: so a SELECT that begins after the reach was read sees the rows of every event before
// Stored, and one that ended before it was read has seen none of an event at or behind Begun.
type PartitionReach struct {
	Stored int64 // every event before it has its rows
	Begun  int64 // no event at or behind it has rows; above Stored while a range is being inserted

	last ledgerState
}

// ReadReach reads how far a projection reaches. An earlier reach spares looking again at ranges that were stored then; nil
// is none. It only reads. The error is projector.ErrNotBuilt when there is no table yet. prefix stands before the names
// of databases, as in Config.
func ReadReach(ctx context.Context, conn ch.Conn, prefix, projection string, earlier *Reach) (*Reach, error) {
	r, doubt, err := readReach(ctx, conn, prefix, projection, earlier)
	if err != nil || len(doubt) == 0 {
		return r, err
	}
	database, table, _ := strings.Cut(r.Table, ".")
	c := &client{conn: conn, table: quote(database) + "." + quote(table)}
	if r.rowColumn == nil {
		r.rowColumn = new(bool)
		if err := c.findRowColumn(ctx, r.Table, r.rowColumn); err != nil {
			return nil, err
		}
	}
	c.rowColumn = *r.rowColumn
	counts, err := c.countRanges(ctx, doubt)
	if err != nil {
		return nil, err
	}
	for id, e := range doubt {
		if counts[id] >= e.rows {
			p := r.Partitions[id]
			p.Stored = p.Begun
			r.Partitions[id] = p
		}
	}
	return r, nil
}

// Again reads the ledger anew and nothing else: of a range that was begun since, it does not know whether it is stored.
func (r *Reach) Again(ctx context.Context, conn ch.Conn) (*Reach, error) {
	again, _, err := readReach(ctx, conn, r.prefix, r.Projection, r)
	return again, err
}

// readReach reads the ledger. Ranges that are not known to be stored are in doubt, and count as not stored.
func readReach(ctx context.Context, conn ch.Conn, prefix, projection string, earlier *Reach) (*Reach, map[int32]ledgerState, error) {
	c := &client{conn: conn, books: quote(prefix + "ledgerline")}
	r := &Reach{Projection: projection, Partitions: make(map[int32]PartitionReach), prefix: prefix}
	if earlier != nil {
		r.Generation, r.Table = earlier.Generation, earlier.Table
	}
	ledger, err := c.readServing(ctx, r)
	switch {
	case missing(err), err == nil && r.Table == "":
		return nil, nil, fmt.Errorf("projection %s in ClickHouse: %w", projection, projector.ErrNotBuilt)
	case err != nil:
		return nil, nil, err
	}
	same := earlier != nil && earlier.Generation == r.Generation
	if same {
		r.rowColumn = earlier.rowColumn
	}
	doubt := make(map[int32]ledgerState)
	for id, e := range ledger {
		p := PartitionReach{Stored: int64(e.last.next), Begun: int64(e.last.next), last: e}
		// A range is looked at once: what is stored stays so.
		seen := same && earlier.Partitions[id].last.sameRange(e) && earlier.Partitions[id].Stored == p.Stored
		if !seen && e.rows > 0 {
			doubt[id] = e
			p.Stored = int64(e.last.first)
		}
		r.Partitions[id] = p
	}
	return r, doubt, nil
}

// Same reports whether the rows of two reaches are the same: whole ranges both, and nothing was begun in between.
func (r *Reach) Same(o *Reach) bool {
	return r.Generation == o.Generation && r.Table == o.Table && maps.EqualFunc(r.Partitions, o.Partitions, func(a, b PartitionReach) bool {
		return a.Stored == a.Begun && b.Stored == b.Begun && a.last.sameRange(b.last)
	})
}

func (s ledgerState) sameRange(o ledgerState) bool {
	return s.topicID == o.topicID && s.last == o.last && s.rows == o.rows
}

// readServing reads the ledger of the generation that serves, and that generation's table unless r has it.
func (c *client) readServing(ctx context.Context, r *Reach) (map[int32]ledgerState, error) {
	const serving = "FROM BOOKS.generations WHERE projection = ? AND state = ?"
	known := r.Generation
	ledger := make(map[int32]ledgerState)
	topics := make(map[string]bool)
	err := c.query(ctx, "read the ledger of "+r.Projection,
		c.named("SELECT generation, topic, partition, "+lastRange+" FROM BOOKS.ledger WHERE projection = ? AND generation = (SELECT max(generation) "+serving+") GROUP BY generation, topic, partition"),
		[]any{r.Projection, r.Projection, stateServing}, func(scan func(...any) error) error {
			var (
				generation uint32
				topic      string
				partition  int32
				s          ledgerState
			)
			if err := scan(append([]any{&generation, &topic, &partition}, lastRangeOf(&s)...)...); err != nil {
				return err
			}
			r.Generation, r.Topic, topics[topic] = int(generation), topic, true
			ledger[partition] = s
			return nil
		})
	if err != nil {
		return nil, err
	}
	if len(topics) > 1 {
		return nil, fmt.Errorf("the rows of %s are of %d topics, %v: one database serves one log: give each its own", r.Projection, len(topics), slices.Sorted(maps.Keys(topics)))
	}
	if r.Table != "" && r.Generation == known {
		return ledger, nil
	}
	return ledger, c.query(ctx, "read the generation of "+r.Projection,
		c.named("SELECT table_name, generation "+serving+" ORDER BY generation DESC LIMIT 1"),
		[]any{r.Projection, stateServing}, func(scan func(...any) error) error {
			var generation uint32
			err := scan(&r.Table, &generation)
			r.Generation = int(generation)
			return err
		})
}

func (c *client) findRowColumn(ctx context.Context, table string, found *bool) error {
	return c.query(ctx, "read the layout of "+table, "SELECT count() > 0 FROM system.columns WHERE concat(database, '.', table) = ? AND name = ?",
		[]any{table, columnRow}, func(scan func(...any) error) error { return scan(found) })
}

// named puts the name of the bookkeeping's database into a statement.
func (c *client) named(sql string) string { return strings.ReplaceAll(sql, "BOOKS", c.books) }

// Connect makes a pool of connections to the server of an URL as in Config.URL, for those who only read. It does no I/O.
// most is how many there are at once, 0 for the driver's default.
func Connect(url string, most int) (ch.Conn, error) {
	cfg := Config{URL: url}
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	o, err := cfg.withDefaults().options()
	if err != nil {
		return nil, err
	}
	if most > 0 {
		o.MaxOpenConns, o.MaxIdleConns = most, most
	}
	o.ClientInfo.Products[len(o.ClientInfo.Products)-1].Name = "ledgerline-reader"
	return ch.Open(o)
}
