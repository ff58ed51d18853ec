package postgres

import (
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/ledgerline-es/ledgerline/projector"
)

const misfit = "a row or a statement of this projection does not fit its table: correct the projection, then rebuild it"

// classify tells what no retry can help from what passes, by SQLSTATE class. Errors without one are of the connection.
func classify(doing string, err error) error {
	if err == nil {
		return nil
	}
	err = fmt.Errorf("%s: %w", doing, err)
	var pg *pgconn.PgError
	if !errors.As(err, &pg) {
		if strings.Contains(err.Error(), "failed to encode args") { // the driver has no type for it
			return projector.Fatal(err, misfit)
		}
		return err
	}
	switch {
	case pg.Code == "23505":
		return projector.Fatal(err, "the table holds a row that the log gives again: it was changed by hand, restored without its offsets, or an event was written twice; "+
			"run verify, then rebuild the projection")
	case pg.Code == "42501":
		return projector.Fatal(err, "grant the user what it needs: CREATE on the database, and all on the schemas ledgerline and the projection's own")
	case pg.Code == "42P01", pg.Code == "3F000", pg.Code == "42703":
		return projector.Fatal(err, "a table, schema or column of the projection was dropped or changed by hand: rebuild the projection")
	case strings.HasPrefix(pg.Code, "22"), strings.HasPrefix(pg.Code, "23"), strings.HasPrefix(pg.Code, "42"), strings.HasPrefix(pg.Code, "0A"):
		return projector.Fatal(err, misfit)
	default: // 08 connection, 40 deadlock, 53 resources, 55 lock, 57 shutdown, 58 system …
		return err
	}
}
