package clickhouse

import (
	"crypto/rand"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/ledgerline-es/ledgerline/internal/embedded/clickhouse/chdb"
)

// output is the body of an answer. It holds the first bytes back: as long as nothing has been sent, a failure is an
// honest status, and the summary is complete.
type output struct {
	w       http.ResponseWriter
	rq      request
	format  string
	stats   chdb.Stats
	started time.Time

	held      []byte
	committed bool
	encoding  string // of HTTP; "" for none
	sink      io.Writer
	layers    []io.Closer // to be closed in this order, the outermost last
	tag       string
}

const maxHeld = 1 << 20

func newOutput(w http.ResponseWriter, r *http.Request, rq request, format string) *output {
	o := &output{w: w, rq: rq, format: format, started: time.Now()}
	if rq.encode {
		o.encoding = acceptedEncoding(r.Header.Get("Accept-Encoding"))
	}
	return o
}

func (o *output) write(chunk []byte) error {
	if !o.committed {
		if o.rq.wait || len(o.held)+len(chunk) <= maxHeld {
			o.held = append(o.held, chunk...)
			return nil
		}
		if err := o.commit(); err != nil {
			return err
		}
	}
	_, err := o.sink.Write(chunk)
	return err
}

// commit sends the headers and what was held back.
func (o *output) commit() error {
	o.committed = true
	h := o.w.Header()
	h.Set("Content-Type", contentType(o.format))
	h.Set("X-ClickHouse-Format", o.format)
	h.Set("X-ClickHouse-Summary", summary(o.stats, time.Since(o.started)))
	o.tag = rand.Text()[:16]
	h.Set("X-ClickHouse-Exception-Tag", o.tag)
	o.sink = o.w
	if o.encoding != "" {
		h.Set("Content-Encoding", o.encoding)
		h.Add("Vary", "Accept-Encoding")
		encoder, err := newEncoder(o.encoding, o.sink)
		if err != nil {
			return err
		}
		o.sink, o.layers = encoder, append(o.layers, encoder)
	}
	if o.rq.compress {
		o.sink = newBlockWriter(o.rq.method, o.sink)
	}
	o.w.WriteHeader(http.StatusOK)
	_, err := o.sink.Write(o.held)
	o.held = nil
	return err
}

func (o *output) finish() error {
	if !o.committed {
		if len(o.held) == 0 {
			o.encoding, o.rq.compress = "", false // nothing at all is nothing in any encoding
		}
		if err := o.commit(); err != nil {
			return err
		}
	}
	return o.closeLayers()
}

func (o *output) closeLayers() error {
	for _, l := range o.layers {
		if err := l.Close(); err != nil {
			return err
		}
	}
	return nil
}

// breakOff ends an answer that failed after its first bytes were sent, in the way ClickHouse does: with the error between
// two marks that its clients look for. It stands outside of ClickHouse's own compression, inside of HTTP's.
func (o *output) breakOff(text string) {
	var plain io.Writer = o.w
	if len(o.layers) > 0 {
		plain = o.layers[0].(io.Writer)
	}
	text += "\n"
	_, err := fmt.Fprintf(plain, "\r\n__exception__\r\n%s\r\n%s%d %s\r\n__exception__\r\n", o.tag, text, len(text), o.tag)
	if err == nil {
		_ = o.closeLayers()
	}
}

// summary is the header X-ClickHouse-Summary: every number a string.
func summary(s chdb.Stats, elapsed time.Duration) string {
	var b strings.Builder
	for i, field := range []struct {
		name  string
		value uint64
	}{
		{"read_rows", s.ReadRows}, {"read_bytes", s.ReadBytes},
		{"written_rows", s.WrittenRows}, {"written_bytes", s.WrittenBytes},
		{"total_rows_to_read", s.ReadRows},
		{"result_rows", s.ResultRows}, {"result_bytes", s.ResultBytes},
		{"elapsed_ns", uint64(elapsed)},
	} {
		b.WriteString([]string{`{"`, `,"`}[min(i, 1)] + field.name + `":"` + strconv.FormatUint(field.value, 10) + `"`)
	}
	return b.String() + "}"
}

// contentType is what ClickHouse says a format is.
func contentType(format string) string {
	f := strings.ToLower(format)
	switch {
	case f == "native", strings.HasPrefix(f, "rowbinary"), f == "parquet", f == "arrow", f == "orc", f == "arrowstream":
		return "application/octet-stream"
	case strings.HasPrefix(f, "jsoneachrow"), strings.HasSuffix(f, "eachrow") && strings.HasPrefix(f, "json"), f == "ndjson", f == "jsonlines":
		return "application/x-ndjson; charset=UTF-8"
	case strings.HasPrefix(f, "json"):
		return "application/json; charset=UTF-8"
	case strings.HasPrefix(f, "csvwithnames"):
		return "text/csv; charset=UTF-8; header=present"
	case f == "csv":
		return "text/csv; charset=UTF-8; header=absent"
	case strings.HasPrefix(f, "tabseparated"), strings.HasPrefix(f, "tsv"):
		return "text/tab-separated-values; charset=UTF-8"
	case f == "xml":
		return "application/xml; charset=UTF-8"
	}
	return "text/plain; charset=UTF-8"
}
