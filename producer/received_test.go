package producer

import (
	"context"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/ledgerline-es/ledgerline/schemas"
)

// Where the snapshots were deleted nobody knows how far messages were counted: they go on above that, or receivers would drop them.
func TestP2_SnapshotsDeleted_MessagesAreNoRepetitions(t *testing.T) {
	r := newRestorer(t, deposits)
	topics := r.writer.topics
	number := func(start int64) int64 {
		s, err := openStore(vfs.NewMem(), "", identity{}, r.cache, r.log)
		if err != nil {
			t.Fatal(err)
		}
		defer s.close()
		listed := func(topic string, at int64) map[int32]kadm.ListedOffset {
			return map[int32]kadm.ListedOffset{0: {Topic: topic, Offset: at}}
		}
		b := bounds{
			starts: kadm.ListedOffsets{topics.Events: listed(topics.Events, 0), topics.Snapshots: listed(topics.Snapshots, start)},
			ends:   kadm.ListedOffsets{topics.Events: listed(topics.Events, 0), topics.Snapshots: listed(topics.Snapshots, start)},
		}
		part := &restoring{book: newBook(0, r.writer, r.limits, r.machine, s, newWindow(time.Hour), r.log)}
		if _, err := r.settle(context.Background(), part, b); err != nil {
			t.Fatal(err)
		}
		h := part.number()
		from, n, ok := readNumber(string(h.Value))
		if h.Key != schemas.HeaderSent || from != "account/0" || !ok {
			t.Fatalf("a message is numbered %s: %s", h.Key, h.Value)
		}
		return n
	}
	if n := number(0); n != 1 {
		t.Errorf("the first message of all is %d", n)
	}
	first, second := number(17), number(17)
	if first < 1e15 || second <= first {
		t.Errorf("after the snapshots were deleted messages go on with %d, after the next time with %d", first, second)
	}
}
