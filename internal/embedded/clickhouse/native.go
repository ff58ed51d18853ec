package clickhouse

import (
	"bytes"
	"errors"
	"io"
	"strconv"
	"strings"
	"time"

	chproto "github.com/ClickHouse/ch-go/proto"
	"github.com/ClickHouse/clickhouse-go/v2/lib/column"
	"github.com/ClickHouse/clickhouse-go/v2/lib/proto"

	"github.com/ledgerline-es/ledgerline/internal/embedded/clickhouse/chdb"
)

// translator turns the engine's Native output, which is always that of protocol revision 0, into the revision that the
// client reads: from 54454 on each column has a byte more, and from 1 on each block has a preamble.
type translator struct {
	server   column.ServerContext
	revision uint64
	buffer   chproto.Buffer
}

func newTranslator(version string, revision uint64) *translator {
	t := &translator{revision: revision, server: column.ServerContext{Timezone: time.UTC}}
	parts := strings.SplitN(version, ".", 4)
	for i, to := range []*uint64{&t.server.VersionMajor, &t.server.VersionMinor, &t.server.VersionPatch} {
		if i < len(parts) {
			*to, _ = strconv.ParseUint(parts[i], 10, 64)
		}
	}
	return t
}

// translate hands the whole blocks of chunk on, each by one call of put.
func (t *translator) translate(chunk []byte, put func([]byte) error) error {
	r := chproto.NewReader(bytes.NewReader(chunk))
	for {
		block := proto.Block{ServerContext: &t.server}
		if err := block.Decode(r, 0); err != nil {
			if errors.Is(err, io.EOF) && len(block.Columns) == 0 {
				return nil
			}
			return chdb.Errorf(50, "UNKNOWN_TYPE", "The embedded engine's front cannot pass this result on in format Native (%s): "+
				"convert the column (toString, finalizeAggregation), or ask for another format", err)
		}
		t.buffer.Reset()
		if err := block.Encode(&t.buffer, t.revision); err != nil {
			return err
		}
		if err := put(t.buffer.Buf); err != nil {
			return err
		}
	}
}
