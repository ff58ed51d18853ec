package deadletters

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ledgerline-es/ledgerline/producer"
	"github.com/ledgerline-es/ledgerline/schemas"
)

// Place is where a dead letter stands: "account/3/17" is offset 17 of partition 3 of the dead letters of account.
type Place struct {
	Kind      string
	Partition int32
	Offset    int64
}

// String is as people write it.
func (p Place) String() string { return fmt.Sprintf("%s/%d/%d", p.Kind, p.Partition, p.Offset) }

// ParsePlace reads what String writes.
func ParsePlace(text string) (Place, error) {
	kind, rest, _ := strings.Cut(text, "/")
	partition, offset, ok := strings.Cut(rest, "/")
	p, err := strconv.ParseUint(partition, 10, 31)
	o, err2 := strconv.ParseUint(offset, 10, 63)
	if !ok || kind == "" || err != nil || err2 != nil {
		return Place{}, fmt.Errorf("%q names no dead letter: give KIND/PARTITION/OFFSET, as list prints it", text)
	}
	return Place{kind, int32(p), int64(o)}, nil
}

// Letter is a command that could not be processed.
type Letter struct {
	Place
	Record *kgo.Record // as it stands in the dead letters

	Code      string    // why: one of producer's codes
	Error     string    // why, in words
	Stack     string    // of a panic
	Origin    string    // "topic/partition/offset" where it was published
	CommandID string    // its ce_id, or else its origin
	Attempts  int       // how often it was tried
	Size      int       // in bytes, when it was too large to be kept: then there is no key, no value and no header of its own
	Died      time.Time // when it became a dead letter
	Settled   string    // Retried, Dropped, or "" while it is open
}

// What can become of a letter.
const (
	Retried = "retried"
	Dropped = "dropped"
)

func letter(kind string, rec *kgo.Record) Letter {
	text := func(key string) string {
		value, _ := schemas.Header(rec, key)
		return value
	}
	number := func(key string) int {
		n, _ := strconv.ParseUint(text(key), 10, 31)
		return int(n)
	}
	l := Letter{
		Place: Place{kind, rec.Partition, rec.Offset}, Record: rec,
		Code: text(schemas.HeaderDeadReason), Error: text(schemas.HeaderDeadError), Stack: text(schemas.HeaderDeadStack),
		Origin: text(schemas.HeaderOrigin), CommandID: text(schemas.HeaderID),
		Attempts: number(schemas.HeaderDeadAttempts), Size: number(schemas.HeaderDeadSize), Died: rec.Timestamp,
	}
	if l.CommandID == "" {
		l.CommandID = l.Origin
	}
	return l
}

// Hopeless says why trying again would come to the same, or "".
func (l Letter) Hopeless() string {
	switch {
	case l.Size > 0:
		return fmt.Sprintf("it has %d bytes, too many to be kept: only %s holds it, until commands are purged", l.Size, l.Origin)
	case l.bytes() > mostBytes:
		return fmt.Sprintf("with its headers it has %d bytes, more than can be published at a time: publish it anew, smaller", l.bytes())
	case l.Code == producer.CodeBadKey:
		return "its key is no aggregate id, and would be none again: publish it anew under the right key"
	case l.Code == producer.CodeBadHeader:
		return "a header is malformed, and would be again: publish it anew with the right one"
	}
	return ""
}

// mostBytes of a record, headers and key counted, that every client can send and every topic takes by default.
const mostBytes = 990_000

func (l Letter) bytes() int {
	n := len(l.Record.Key) + len(l.Record.Value)
	for _, h := range l.Record.Headers {
		n += len(h.Key) + len(h.Value)
	}
	return n
}

// Internal reports whether it came from another aggregate, or from a timer: by the topic that only producers may write.
func (l Letter) Internal(topics schemas.Topics) bool {
	from, _ := schemas.Header(l.Record, schemas.HeaderDeadTopic)
	return from == topics.Internal
}

// command is the letter as the command that it was, to be tried again under the id that it had. An internal one goes back to where it
// came from: as anybody's command it would mean something else.
func (l Letter) command(topics schemas.Topics, partitions int32) *kgo.Record {
	topic := topics.Commands
	if l.Internal(topics) {
		topic = topics.Internal
	}
	rec := &kgo.Record{Topic: topic, Partition: schemas.Partition(string(l.Record.Key), partitions), Key: l.Record.Key, Value: l.Record.Value}
	identified := false
	for _, h := range l.Record.Headers {
		if strings.HasPrefix(h.Key, schemas.DeadPrefix) || h.Key == schemas.HeaderOrigin { // one that has an origin must not be forwarded
			continue
		}
		identified = identified || h.Key == schemas.HeaderID && len(h.Value) > 0
		rec.Headers = append(rec.Headers, h)
	}
	if !identified {
		rec.Headers = append(rec.Headers, kgo.RecordHeader{Key: schemas.HeaderID, Value: []byte(l.Origin)})
	}
	rec.Headers = append(rec.Headers, kgo.RecordHeader{Key: schemas.HeaderDeadAttempts, Value: []byte(strconv.Itoa(max(1, l.Attempts)))})
	return rec
}
