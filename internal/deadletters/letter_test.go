package deadletters

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ledgerline-es/ledgerline/schemas"
)

var readHeaders = []string{
	schemas.HeaderID, schemas.HeaderOrigin, schemas.HeaderDeadReason, schemas.HeaderDeadError, schemas.HeaderDeadTopic, schemas.HeaderDeadStack,
	schemas.HeaderDeadAttempts, schemas.HeaderDeadSize, schemas.HeaderSettled, schemas.HeaderSettles, schemas.HeaderReplyTopic,
}

// FuzzLetter reads any record of the dead letters. Whatever it is, it goes back to a topic of commands only, without what was added to it.
func FuzzLetter(f *testing.F) {
	seed := func(values ...string) (b []byte) {
		for i, value := range values {
			if value != "" {
				b = append(append(b, byte(i), byte(len(value))), value...)
			}
		}
		return b
	}
	f.Add([]byte("acc-1"), []byte{0, 0, 0, 0, 1, 2}, seed("id-1", "account.commands/0/1", "undecodable", "why", "account.internal", "stack", "2"))
	f.Add([]byte(nil), []byte(nil), seed("", "account.commands/0/1", "command_too_large", "", "account.events", "", "99999999999", "5000000"))
	f.Add([]byte("acc-1"), []byte(nil), seed("", "", "", "", "", "", "-1", "", Retried, "account.commands.dlq/0/x"))
	topics := schemas.TopicsOf("", "account")
	f.Fuzz(func(t *testing.T, key, value, headers []byte) {
		rec := &kgo.Record{Topic: topics.DeadLetters, Key: key, Value: value}
		for b := headers; len(b) >= 2; {
			end := 2 + min(int(b[1]), len(b)-2)
			rec.Headers = append(rec.Headers, kgo.RecordHeader{Key: readHeaders[int(b[0])%len(readHeaders)], Value: b[2:end]})
			b = b[end:]
		}
		mark(rec)
		l := letter("account", rec)
		if l.Attempts < 0 || l.Size < 0 {
			t.Fatalf("%d attempts, %d bytes", l.Attempts, l.Size)
		}
		l.Hopeless()
		again := l.command(topics, 4)
		if again.Topic != topics.Commands && again.Topic != topics.Internal || again.Partition < 0 || again.Partition > 3 {
			t.Fatalf("it goes to %s/%d", again.Topic, again.Partition)
		}
		for _, key := range []string{schemas.HeaderOrigin, schemas.HeaderSettled, schemas.HeaderDeadTopic} {
			if _, ok := schemas.Header(again, key); ok {
				t.Fatalf("it keeps its %s", key)
			}
		}
		if p, err := ParsePlace(l.Place.String()); err != nil || p != l.Place {
			t.Fatalf("%v became %v, %v", l.Place, p, err)
		}
	})
}
