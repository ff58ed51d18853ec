package clickhouse

import (
	"compress/gzip"
	"compress/zlib"
	"errors"
	"io"
	"net/http"
	"strings"

	"github.com/ClickHouse/ch-go/compress"
	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"

	"github.com/ledgerline-es/ledgerline/internal/embedded/clickhouse/chdb"
)

const encodingLevel = 3 // http_zlib_compression_level: quick, and most of the gain

// acceptedEncoding picks the first encoding of the client's list that we know.
func acceptedEncoding(accept string) string {
	for item := range strings.SplitSeq(accept, ",") {
		name, weight, _ := strings.Cut(strings.TrimSpace(item), ";")
		if weight = strings.ReplaceAll(weight, " ", ""); weight == "q=0" || weight == "q=0.0" {
			continue
		}
		switch name = strings.ToLower(strings.TrimSpace(name)); name {
		case "gzip", "deflate", "br", "zstd":
			return name
		}
	}
	return ""
}

func newEncoder(encoding string, w io.Writer) (io.WriteCloser, error) {
	switch encoding {
	case "gzip":
		return gzip.NewWriterLevel(w, encodingLevel)
	case "deflate":
		return zlib.NewWriterLevel(w, encodingLevel)
	case "br":
		return brotli.NewWriterLevel(w, encodingLevel), nil
	}
	return zstd.NewWriter(w, zstd.WithEncoderConcurrency(1))
}

// requestBody undoes the request's encodings: HTTP's, then ClickHouse's own blocks.
func requestBody(r *http.Request, rq request) (io.ReadCloser, error) {
	if isMultipart(r) {
		return nil, errExternal
	}
	body, err := decoded(r.Header.Get("Content-Encoding"), r.Body)
	if err != nil {
		return nil, err
	}
	if rq.decompress {
		return readCloser{compress.NewReader(body), body}, nil
	}
	return body, nil
}

func decoded(encoding string, body io.ReadCloser) (io.ReadCloser, error) {
	switch strings.ToLower(encoding) {
	case "", "identity":
		return body, nil
	case "gzip", "x-gzip":
		z, err := gzip.NewReader(body)
		if errors.Is(err, io.EOF) {
			return body, nil // an empty body
		}
		return readCloser{z, body}, badEncoding(err)
	case "deflate":
		z, err := zlib.NewReader(body)
		return readCloser{z, body}, badEncoding(err)
	case "br":
		return readCloser{brotli.NewReader(body), body}, nil
	case "zstd":
		z, err := zstd.NewReader(body, zstd.WithDecoderConcurrency(1))
		if err != nil {
			return nil, badEncoding(err)
		}
		return z.IOReadCloser(), nil
	}
	return nil, chdb.Errorf(48, "NOT_IMPLEMENTED", "Content-Encoding '%s' is not supported: use gzip, deflate, br or zstd", encoding)
}

func badEncoding(err error) error {
	if err == nil {
		return nil
	}
	return chdb.Errorf(354, "ZLIB_INFLATE_FAILED", "The body is not what its Content-Encoding says: %s", err)
}

type readCloser struct {
	io.Reader
	io.Closer
}

// blockWriter compresses into ClickHouse's own blocks: checksum, method, sizes, data.
type blockWriter struct {
	w io.Writer
	c *compress.Writer
}

const maxBlock = 1 << 20 // the server's own max_compress_block_size

func newBlockWriter(method string, w io.Writer) *blockWriter {
	m := compress.LZ4
	switch method {
	case "ZSTD":
		m = compress.ZSTD
	case "NONE":
		m = compress.None
	}
	return &blockWriter{w: w, c: compress.NewWriter(compress.LevelZero, m)}
}

func (b *blockWriter) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0; {
		n := min(len(rest), maxBlock)
		if err := b.c.Compress(rest[:n]); err != nil {
			return 0, err
		}
		if _, err := b.w.Write(b.c.Data); err != nil {
			return 0, err
		}
		rest = rest[n:]
	}
	return len(p), nil
}
