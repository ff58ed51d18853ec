package clickhouse

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/ledgerline-es/ledgerline/internal/embedded/clickhouse/chdb"
)

const (
	insertChunk = 1 << 20
	maxDrain    = 256 << 20
)

// insert runs an INSERT whose rows follow in the body. It answers once they are committed.
func (f *front) insert(w http.ResponseWriter, r *http.Request, rq request, st statement, rows io.Reader) error {
	started := time.Now()
	ctx, cancel := f.running(r)
	defer cancel()
	stats, err := f.insertRows(ctx, rq, st, rows)
	if err != nil {
		if r.Context().Err() == nil {
			// A client that is still sending would see a broken connection instead of our answer.
			_, _ = io.CopyN(io.Discard, rows, maxDrain)
		}
		return err
	}
	w.Header().Set("X-ClickHouse-Summary", summary(stats, time.Since(started)))
	w.WriteHeader(http.StatusOK)
	return nil
}

func (f *front) insertRows(ctx context.Context, rq request, st statement, rows io.Reader) (stats chdb.Stats, err error) {
	c, release, err := f.engine.acquire(ctx, rq, true)
	if err != nil {
		return stats, err
	}
	defer func() { release(err != nil) }()
	if rq.readOnly {
		return stats, errReadOnlyUser
	}
	insert, err := c.Insert(st.sql, st.format, rq.params...)
	if err != nil {
		return stats, err
	}
	defer insert.Cancel() // nothing after Done; else the rows of a broken request would be committed
	if err := f.feed(ctx, c, insert, rows); err != nil && !errors.Is(err, chdb.ErrInsertFailed) {
		return stats, err
	}
	// From here on a client that is gone changes nothing, only our own end does.
	stop := f.engine.killWhenDone(f.stopping, c)
	defer stop()
	return insert.Done()
}

// feed passes the rows on. Append waits when the engine is behind: a client that goes away meanwhile ends the insert.
func (f *front) feed(ctx context.Context, c conn, insert *chdb.Insert, rows io.Reader) error {
	stop := f.engine.killWhenDone(ctx, c)
	defer stop()
	buf := make([]byte, insertChunk)
	for {
		n, err := fill(rows, buf)
		if appendErr := insert.Append(buf[:n]); appendErr != nil {
			return appendErr
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// fill reads until buf is full or the rows end. io.ReadFull would not do: it calls a short rest ErrUnexpectedEOF, which is
// also what a request that broke off ends with, and half a request must never be committed.
func fill(rows io.Reader, buf []byte) (n int, err error) {
	for n < len(buf) && err == nil {
		var m int
		m, err = rows.Read(buf[n:])
		n += m
	}
	return n, err
}
