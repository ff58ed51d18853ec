package clickhouse

import (
	"errors"
	"fmt"
	"strings"

	ch "github.com/ClickHouse/clickhouse-go/v2"

	"github.com/ledgerline-es/ledgerline/projector"
)

// classify tells what no retry can help from what passes, by ClickHouse's error codes. Errors without one are of the
// connection.
func classify(doing string, err error) error {
	if err == nil {
		return nil
	}
	err = fmt.Errorf("%s: %w", doing, err)
	var x *ch.Exception
	if !errors.As(err, &x) {
		return err
	}
	switch x.Code {
	case 60, 81, 16, 10, 8: // table, database, column not there
		return projector.Fatal(err, "a table, database or column of the projection was dropped or changed by hand: rebuild the projection")
	case 47, 53, 62, 6, 27, 36, 44, 46, 70, 349: // statement or value does not fit
		return projector.Fatal(err, "a row or a statement of this projection does not fit its table: correct the projection, then rebuild it")
	case 164, 497: // readonly, access denied
		return projector.Fatal(err, "grant the user what it needs: CREATE, INSERT and SELECT on the databases of the projection and of the bookkeeping, SELECT on system.tables, system.columns and system.merge_tree_settings")
	case 192, 193, 194, 516: // no such user, wrong password
		return projector.Fatal(err, "correct user and password in the URL")
	default: // memory, too many parts, too many queries, timeouts, shutdown …
		return err
	}
}

// exists reports whether err says that what was to be made is there.
func exists(err error) bool {
	var x *ch.Exception
	return errors.As(err, &x) && (x.Code == 57 || x.Code == 82)
}

// missing reports whether err says that a table or database is not there.
func missing(err error) bool {
	var x *ch.Exception
	return errors.As(err, &x) && (x.Code == 60 || x.Code == 81)
}

// quote makes an identifier of a name.
func quote(name string) string {
	return "`" + strings.ReplaceAll(strings.ReplaceAll(name, `\`, `\\`), "`", "\\`") + "`"
}
