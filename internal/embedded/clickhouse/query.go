package clickhouse

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"strings"

	"github.com/ledgerline-es/ledgerline/internal/embedded/clickhouse/chdb"
)

const defaultFormat = "TabSeparated"

// Formats whose chunks, written one after another, are what the whole would be: no header, no footer. The others are made
// in one piece.
var streamedFormats = []string{
	"native", "jsoneachrow", "jsoncompacteachrow", "ndjson", "jsonlines",
	"tabseparated", "tsv", "tabseparatedraw", "tsvraw", "csv", "rowbinary", "lineasstring",
}

// query runs a statement that brings no rows along, and answers with its output.
func (f *front) query(w http.ResponseWriter, r *http.Request, rq request, st statement) error {
	ctx, cancel := f.running(r)
	defer cancel()
	c, release, err := f.engine.acquire(ctx, rq, false)
	if err != nil {
		return err
	}
	defer func() { release(err != nil) }()
	if r.Method != http.MethodPost {
		var class chdb.Class
		if class, err = c.Classify(st.sql); err != nil {
			return err
		}
		if class != chdb.ReadOnly && class != chdb.Unknown { // what cannot be parsed cannot run, and has a better error
			return errReadOnlyGet
		}
	}

	format := cmp.Or(st.format, rq.format, defaultFormat)
	out := newOutput(w, r, rq, format)
	put := out.write
	if isNative(format) && rq.protocol > 0 {
		t := newTranslator(f.engine.version, rq.protocol)
		put = func(chunk []byte) error { return t.translate(chunk, out.write) }
	}
	stop := f.engine.killWhenDone(ctx, c)
	if st.rows && !st.totals && slices.Contains(streamedFormats, strings.ToLower(format)) {
		err = runStreamed(c, st, format, rq.params, put, &out.stats)
	} else {
		err = runWhole(c, st, format, rq.params, put, &out.stats)
	}
	stop()
	switch {
	case err == nil:
		err = out.finish()
		return nil // of a client that is gone there is nothing to tell
	case f.stopping.Err() != nil:
		err = errGoingDown
	}
	if out.committed {
		out.breakOff(textOf(asEngineError(err), f.engine.version))
		return nil
	}
	return err
}

func runWhole(c conn, st statement, format string, params []chdb.Param, put func([]byte) error, stats *chdb.Stats) error {
	result, err := c.Query(st.sql, format, params...)
	if err != nil {
		return err
	}
	defer result.Close()
	stats.Add(result.Stats)
	return put(result.Bytes())
}

func runStreamed(c conn, st statement, format string, params []chdb.Param, put func([]byte) error, stats *chdb.Stats) error {
	stream, err := c.Stream(st.sql, format, params...)
	if err != nil {
		return err
	}
	defer stream.Close()
	for {
		chunk, err := stream.Next()
		if err != nil || chunk == nil {
			return err
		}
		stats.Add(chunk.Stats)
		err = put(chunk.Bytes())
		chunk.Close()
		if err != nil {
			return err
		}
	}
}

// running is the request's context, which ends also when the server stops.
func (f *front) running(r *http.Request) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(r.Context())
	stop := context.AfterFunc(f.stopping, cancel)
	return ctx, func() {
		stop()
		cancel()
	}
}
