package producer

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ledgerline-es/ledgerline/schemas"
	"github.com/ledgerline-es/ledgerline/schemas/account"
	"github.com/ledgerline-es/ledgerline/schemas/ledgerline"
)

// What a stranger publishes, and what stands in the platform's own topics: whatever the bytes are, they are taken or refused. Nothing
// panics, and nothing goes on for ever.

// readHeaders are those that the platform reads, and one that it does not.
var readHeaders = []string{
	schemas.HeaderID, schemas.HeaderCorrelationID, schemas.HeaderAuthID, schemas.HeaderAuthType, schemas.HeaderTraceParent, schemas.HeaderTime,
	schemas.HeaderExpectedVersion, schemas.HeaderStreamSource, schemas.HeaderStreamSequence, schemas.HeaderReplyTopic, schemas.HeaderReplyPartition,
	schemas.HeaderReplyKey, schemas.HeaderOrigin, schemas.HeaderDeadAttempts, schemas.HeaderCommandHash, "another",
}

// fuzzedHeaders makes headers of bytes: which one, how long, its value, and so on.
func fuzzedHeaders(b []byte) (headers []kgo.RecordHeader) {
	for len(b) >= 2 {
		end := 2 + min(int(b[1]), len(b)-2)
		headers = append(headers, kgo.RecordHeader{Key: readHeaders[int(b[0])%len(readHeaders)], Value: b[2:end]})
		b = b[end:]
	}
	return headers
}

// seededHeaders is what fuzzedHeaders reads.
func seededHeaders(values ...string) (b []byte) {
	for i, value := range values {
		if value != "" {
			b = append(append(b, byte(i), byte(len(value))), value...)
		}
	}
	return b
}

// FuzzCommand reads any record as a command and has it processed: it gets one reply, which can be read, and a dead letter when it is refused.
func FuzzCommand(f *testing.F) {
	r := newRestorer(f, deposits)
	good, err := r.machine.encodeCommand(&account.DepositMoney{AmountMinor: 1})
	if err != nil {
		f.Fatal(err)
	}
	every := seededHeaders("id-1", "corr", "ann", "user", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "2026-01-05T10:00:00+01:00", "0", "till", "7", "mine.replies", "1", "k", "account.commands/0/1", "2")
	f.Add([]byte("acc-1"), good, []byte(nil))
	f.Add([]byte("acc-1"), good, every)
	f.Add([]byte("acc-1"), good[:len(good)-1], every)
	f.Add([]byte(""), []byte(nil), seededHeaders("\xff", "\x00", "\xc3", "", "", "9999-12-31T23:59:59-23:00", "+1", "a b", "0", "", "-1"))
	f.Add([]byte("/position/account.commands"), []byte{0, 0, 0, 0, 1}, seededHeaders("", "", "", "", "", "", "9223372036854775808", "s", "18446744073709551615"))
	f.Add(bytes.Repeat([]byte("k"), 200), append([]byte{1}, good...), bytes.Repeat([]byte{0, 255}, 300))
	part, err := r.openPart(f.Context(), 0, time.Now(), bounds{})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() {
		if err := part.store.close(); err != nil {
			f.Error(err)
		}
	})
	s := &session{machine: r.machine}
	f.Fuzz(func(t *testing.T, key, value, headers []byte) {
		rec := &kgo.Record{Topic: r.writer.topics.Commands, Offset: 7, Key: key, Value: value, Headers: fuzzedHeaders(headers), Timestamp: time.UnixMilli(1_700_000_000_000)}
		c := readCommand(rec)
		for what, text := range map[string]string{"command id": c.meta.CommandID, "correlation id": c.meta.CorrelationID, "principal": c.meta.Principal} {
			if c.refused == nil && !isText(text) {
				t.Fatalf("took %q for a %s", text, what)
			}
		}
		if c.refused == nil && (schemas.ValidateID(c.id) != nil || c.expected < -1 || c.sequence < 0 || (c.source == "") != (c.sequence == 0)) {
			t.Fatalf("took %+v for a good command", c)
		}
		if c.refused == nil {
			if err := s.decode(t.Context(), &c); err != nil {
				t.Fatal(err)
			}
		}
		c.windowID = idOf(c.id, c.meta.CommandID)
		res, err := part.process(t.Context(), &c)
		if err != nil {
			t.Fatal(err)
		}
		replies := 0
		for _, out := range res.records {
			if out.Topic != r.writer.topics.Replies {
				continue
			}
			replies++
			if _, err := r.writer.replies.Decode(t.Context(), out.Value); err != nil || len(out.Key) > schemas.MaxIDLength {
				t.Fatalf("the reply under %q: %v", out.Key, err)
			}
		}
		if replies != 1 || c.refused != nil && !res.dead {
			t.Fatalf("%d replies, refused %+v, a dead letter: %v", replies, c.refused, res.dead)
		}
		if _, err := part.bookmarks(minSnapshots); err != nil {
			t.Fatal(err)
		}
		part.rollback()
		r.writer.own().forward(&c)
	})
}

// fuzzedRecords makes records of bytes: topic, a length and so much of a key, a length and so much of a value, and so on.
func fuzzedRecords(b []byte, topics ...string) (recs []*kgo.Record) {
	take := func() []byte {
		if len(b) == 0 {
			return nil
		}
		end := 1 + min(int(b[0]), len(b)-1)
		taken := b[1:end]
		b = b[end:]
		return taken
	}
	for len(b) > 0 && len(recs) < 16 {
		topic := topics[int(b[0])%len(topics)]
		b = b[1:]
		rec := &kgo.Record{Topic: topic, Offset: int64(len(recs)), Key: take(), Value: take(), Timestamp: time.Now()}
		rec.Headers = []kgo.RecordHeader{header(schemas.HeaderCommandHash, "00000000000000ff")}
		recs = append(recs, rec)
	}
	return recs
}

// FuzzRestore restores a partition from any records, has a standby follow them, and decides a command on what comes of it.
func FuzzRestore(f *testing.F) {
	r := newRestorer(f, deposits)
	w := r.writer
	topics := []string{w.topics.Snapshots, w.topics.Events, w.topics.Replies}
	seeds := map[string][]byte{}
	keep := func(key string, value []byte, err error) {
		if err != nil {
			f.Fatal(err)
		}
		topic := byte(0)
		switch key {
		case "acc-1/1", "acc-1/2", "acc-1/8":
			topic = 1
		case "reply":
			topic, key = 2, "acc-1"
		}
		seed := append(append([]byte{topic, byte(len(key))}, key...), byte(len(value)))
		seeds[key+string(topic)] = append(seed, value...)
		f.Add(seeds[key+string(topic)])
	}
	m := r.machine.(*typedMachine[account.State, account.Command, account.Event])
	state, err := m.states.Append(nil, account.Kind.State.Record(&account.State{Status: "open", BalanceMinor: 5}))
	if err != nil {
		f.Fatal(err)
	}
	value, err := w.snapshots.Append(nil, &ledgerline.Snapshot{Sequence: 7, State: state})
	keep("acc-1", value, err)
	value, err = w.positions.Append(nil, &ledgerline.Position{NextOffset: 9})
	keep(positionPrefix+w.topics.Commands, value, err)
	value, err = w.checkpoints.Append(nil, &ledgerline.Checkpoint{EventsOffset: 3})
	keep(checkpointKey, value, err)
	value, err = w.trials.Append(nil, &ledgerline.Trial{Process: "p", Commands: 9, Starts: 2, Topic: w.topics.Commands, Offset: 9, Tries: 1})
	keep(trialKey, value, err)
	value, err = w.marks.Append(nil, &ledgerline.SourceMark{Sequence: 9, Outcome: Accepted, Holes: []ledgerline.NumberRange{{First: 2, Last: 4}}, Rejected: []ledgerline.NumberRange{{First: 6, Last: 6}}})
	keep(sourceMarkPrefix+"acc-1/till", value, err)
	value, err = w.replies.Append(nil, &ledgerline.Reply{CommandID: "id-1", Outcome: Accepted, FirstSequence: 1, LastSequence: 1, Version: 1})
	keep("reply", value, err)
	for _, key := range []string{"acc-1/1", "acc-1/2", "acc-1/8"} {
		value, err = m.events.Append(nil, &account.MoneyDeposited{AmountMinor: 1, BalanceMinor: 1})
		keep(key, value, err)
	}
	var all []byte
	for _, seed := range seeds {
		all = append(all, seed...)
	}
	f.Add(all)
	f.Add([]byte{0, 0, 0, 0, 1, '/', 0, 1, 1, '/', 3, 1, 2, 3})
	f.Fuzz(func(t *testing.T, b []byte) {
		ctx := t.Context()
		part, err := r.openPart(ctx, 0, time.Now().Add(-time.Hour), bounds{})
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := part.store.close(); err != nil {
				t.Fatal(err)
			}
		}()
		recs := fuzzedRecords(b, topics...)
		if err := fuzzRestore(ctx, r, part, recs); err != nil {
			return
		}
		s := &session{writer: w, metrics: r.metrics, books: map[int32]*book{0: part.book}}
		for _, rec := range recs {
			if rec.Topic == w.topics.Replies {
				_ = s.recallReply(ctx, rec, map[commandID]bool{idOf(string(rec.Key), "id-1"): true}) // what can't be read is an error
			}
		}
		wary(part.trial, 100)
		c := readCommand(&kgo.Record{
			Topic: w.topics.Commands, Offset: 7, Key: []byte("acc-1"), Timestamp: time.Now(),
			Headers: []kgo.RecordHeader{header(schemas.HeaderID, "id-1"), header(schemas.HeaderStreamSource, "till"), header(schemas.HeaderStreamSequence, "3")},
		})
		c.windowID, c.record = idOf(c.id, c.meta.CommandID), &account.DepositMoney{AmountMinor: 1}
		part.fatality(c.rec)
		if _, err := part.process(ctx, &c); err == nil {
			_, err = part.bookmarks(minSnapshots)
			if err != nil && !errors.Is(err, errUnkept) {
				t.Fatal(err)
			}
		}
		part.rollback()
	})
}

// fuzzRestore goes the ways of a restore, and then those of a standby, over the same records.
func fuzzRestore(ctx context.Context, r *restorer, part *restoring, recs []*kgo.Record) error {
	topics := r.writer.topics
	fetched := map[string]*kgo.FetchTopicPartition{}
	for _, rec := range recs {
		f := fetched[rec.Topic]
		if f == nil {
			f = &kgo.FetchTopicPartition{Topic: rec.Topic}
			fetched[rec.Topic] = f
		}
		f.Records = append(f.Records, rec)
		if rec.Topic == topics.Events {
			continue
		}
		if err := r.replay(ctx, part, []*kgo.Record{rec}); err != nil {
			return err
		}
	}
	if _, err := r.settle(ctx, part, bounds{}); err != nil {
		return err
	}
	if f := fetched[topics.Events]; f != nil {
		if err := r.replayEvents(ctx, part, f.Records); err != nil {
			return err
		}
	}
	part.line()
	part.warm, part.local = true, false
	for _, f := range fetched {
		if err := r.follow(ctx, part, []kgo.FetchTopicPartition{*f}); err != nil {
			return err
		}
	}
	return part.save(-1)
}
