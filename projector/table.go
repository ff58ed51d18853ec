package projector

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"regexp"
	"strings"
)

// Table is a table that rows R are written to. postgres.Table and clickhouse.Table make one.
type Table[R any] struct {
	Store   string // which sink it belongs to: "postgres", "clickhouse"
	Schema  string // Postgres: schema; ClickHouse: database
	Name    string // what people query: a view over the serving generation's table
	Create  string // one CREATE statement, TableMark where the table's name goes
	Columns []Column[R]
}

// TableMark stands in a CREATE statement where the name of the physical table goes.
const TableMark = "{{table}}"

// Shape is how events become rows.
type Shape string

const (
	ShapeAppend Shape = "append" // an event gives new rows
	ShapeFold   Shape = "fold"   // the events of one key give one row
)

// Plan is all that a sink must know of a projection.
type Plan struct {
	Projection  string
	Shape       Shape
	Generation  int    // the build of the projection: 1, 2, 3 …
	Fingerprint string // of the CREATE text and the mapping version

	Store   string
	Schema  string
	Table   string   // the view's name
	Create  string   // with TableMark in it
	Columns []string // that the projection fills, in this order; a table may have bookkeeping columns of its sink beside them

	kind string

	Topic      string
	TopicID    string // Kafka's id of the topic, as its tools print it; another id under the same name is another log
	Partitions int32
}

// Physical is the name of the table of this generation: "<table>__g<generation>".
func (p Plan) Physical() string { return fmt.Sprintf("%s__g%d", p.Table, p.Generation) }

// CreateAs is the CREATE statement for the table called name, which is quoted and qualified already.
func (p Plan) CreateAs(name string) string { return strings.ReplaceAll(p.Create, TableMark, name) }

const noteBegins = "rows of topic "

// Note is what a sink writes as a comment to the view when it makes it: from which topic its rows come.
func (p Plan) Note() string { return noteBegins + p.Topic }

// CheckLog refuses a table that holds, or is to hold, the rows of another topic: those of two logs in one table could never
// be told apart again. note is the view's comment, and position a topic that the store has positions of for this generation;
// either may be empty. remedy is what to do.
func (p Plan) CheckLog(note, position, remedy string) error {
	for _, topic := range []string{strings.TrimPrefix(note, noteBegins), position} {
		if topic != "" && topic != p.Topic && topic != note {
			return Fatal(fmt.Errorf("projection %s: table %s.%s in %s holds the rows of topic %s, and now those of topic %s are to be written to it", p.Projection, p.Schema, p.Table, p.Store, topic, p.Topic), remedy)
		}
	}
	return nil
}

// firstGeneration is what a projection is built as until rebuilds make others.
const firstGeneration = 1

var namePattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$`)

// plan checks a declaration and makes the plan of its first generation.
func (t Table[R]) plan(projection, kind string, shape Shape, version int) (Plan, error) {
	bad := func(format string, args ...any) (Plan, error) {
		return Plan{}, fmt.Errorf("projection %q: %s", projection, fmt.Sprintf(format, args...))
	}
	switch {
	case !namePattern.MatchString(projection):
		return Plan{}, fmt.Errorf("projection name %q: it names a consumer group: use 1 to 128 letters, digits, . _ -", projection)
	case kind == "":
		return bad("From is missing: name the kind whose events it reads")
	case t.Store == "" || t.Schema == "" || t.Name == "":
		return bad("Into is incomplete (store %q, schema %q, name %q): make it with the Table function of the store's package", t.Store, t.Schema, t.Name)
	case strings.Count(t.Create, TableMark) != 1:
		return bad("the CREATE text of table %s holds %s %d times: it must stand there once, where the table's name goes", t.Name, TableMark, strings.Count(t.Create, TableMark))
	case len(t.Columns) == 0:
		return bad("table %s has no columns: give them with projector.Col", t.Name)
	}
	seen := make(map[string]bool, len(t.Columns))
	names := make([]string, len(t.Columns))
	for i, c := range t.Columns {
		if c.slice == nil || c.Name == "" || seen[c.Name] {
			return bad("column %d of table %s (%q) is unnamed, given twice or not made with projector.Col", i+1, t.Name, c.Name)
		}
		seen[c.Name], names[i] = true, c.Name
	}
	return Plan{
		Projection:  projection,
		Shape:       shape,
		Generation:  firstGeneration,
		Fingerprint: fingerprint(t.Create, version),
		Store:       t.Store,
		Schema:      t.Schema,
		Table:       t.Name,
		Create:      t.Create,
		Columns:     names,
		kind:        kind,
	}, nil
}

// fingerprint tells one build of a projection from another: the CREATE text, line ends and outer blanks aside, and the
// version of the mapping from events to rows, which only its author can know.
func fingerprint(create string, version int) string {
	text := strings.TrimSpace(strings.ReplaceAll(create, "\r\n", "\n"))
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\nmapping version %d\n", text, version))
	return hex.EncodeToString(sum[:])
}
