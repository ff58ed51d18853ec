package producer

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ledgerline-es/ledgerline/schemas"
	"github.com/ledgerline-es/ledgerline/schemas/ledgerline"
)

// What aggregates send each other is numbered by the partition that sends it, and arrives in the order of the numbers: one transaction of its
// owner follows the other, and a new owner begins when those of the last one are decided. So one number for each partition that sends says
// which messages were processed, and a record that somebody publishes again is recognised for ever, whatever window ids have. A dead letter
// that is tried again has no number: it is a new attempt, under the id that it had.

// receivedKey is where a partition keeps what it has received.
const receivedKey = "/received"

// mail is what a partition has sent and received.
type mail struct {
	sent     int64
	received map[string]int64 // sender → number of its last message

	sentBefore int64            // as it was before the open transaction
	open       map[string]int64 // received by it
}

// anewFrom is a number to count on from where snapshots were deleted: above all that was counted before, or receivers would take what is
// sent for repetitions. Up to a million messages a second it is above all that is counted until it is needed again.
func anewFrom(now time.Time) int64 { return now.UnixMicro() }

func newMail() mail { return mail{received: map[string]int64{}, open: map[string]int64{}} }

// number is the header of the next message.
func (b *book) number() kgo.RecordHeader {
	b.mail.sent++
	slab := &b.writer.slab
	text := append(append(slab.room(len(b.writer.kind)+32), b.writer.kind...), '/')
	text = append(strconv.AppendInt(text, int64(b.partition), 10), '/')
	return kgo.RecordHeader{Key: schemas.HeaderSent, Value: slab.keep(strconv.AppendInt(text, b.mail.sent, 10))}
}

// take notes a message, and reports whether it is one that was not processed before.
func (m *mail) take(c *command) bool {
	last, ok := m.open[c.from]
	if !ok {
		last = m.received[c.from]
	}
	if c.number <= last {
		return false
	}
	m.open[c.from] = c.number
	return true
}

// readNumber reads the header of a message.
func readNumber(text string) (from string, number int64, ok bool) {
	i := strings.LastIndexByte(text, '/')
	if i <= 0 || len(text) > maxText {
		return "", 0, false
	}
	number, ok = wholeNumber(text[i+1:])
	return text[:i], number, ok
}

// mark is the record of what was received, the open transaction included; nil when that received nothing.
func (m *mail) mark(w *writer, partition int32) (*kgo.Record, error) {
	if len(m.open) == 0 {
		return nil, nil
	}
	var all ledgerline.Received
	for from, last := range m.received {
		if _, newer := m.open[from]; !newer {
			all.Senders = append(all.Senders, ledgerline.ReceivedFrom{Sender: from, Last: last})
		}
	}
	for from, last := range m.open {
		all.Senders = append(all.Senders, ledgerline.ReceivedFrom{Sender: from, Last: last})
	}
	slices.SortFunc(all.Senders, func(a, b ledgerline.ReceivedFrom) int { return strings.Compare(a.Sender, b.Sender) })
	data, err := w.received.Append(nil, &all)
	if err != nil {
		return nil, err
	}
	return &kgo.Record{Topic: w.topics.Snapshots, Partition: partition, Key: []byte(receivedKey), Value: data}, nil
}

func (m *mail) commit() {
	m.sentBefore = m.sent
	maps.Copy(m.received, m.open)
	clear(m.open)
}

func (m *mail) rollback() {
	m.sent = m.sentBefore
	clear(m.open)
}

// load takes over what the store has; sent is what the positions say.
func (m *mail) load(ctx context.Context, w *writer, s *store, sent int64) error {
	*m = newMail()
	m.sent, m.sentBefore = sent, sent
	value, ok, err := s.get([]byte(receivedKey))
	if err != nil || !ok {
		return err
	}
	all, err := w.received.Decode(ctx, value)
	if err != nil {
		return err
	}
	for _, from := range all.Senders {
		m.received[from.Sender] = from.Last
	}
	return nil
}
