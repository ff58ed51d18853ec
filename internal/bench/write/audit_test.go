package write

import (
	"bytes"
	"strconv"
	"strings"

	"github.com/cespare/xxhash/v2"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ledgerline-es/ledgerline/internal/kit"
	"github.com/ledgerline-es/ledgerline/producer"
	"github.com/ledgerline-es/ledgerline/schemas"
	"github.com/ledgerline-es/ledgerline/schemas/ledgerline"
)

// trail is what a contender left in the log.
type trail struct {
	events, replies digests
}

// digests are of the records of each partition, in their order.
type digests [partitions]uint64

// audit reads back what was written for the commands of a prefix: none may have done less work than another, or more. There is a reply
// to each command and an event for each that was accepted (once: a repetition gets the first reply again).
func (p *plant) audit(r result, prefix string) *trail {
	var t trail
	var events, replies, accepted int64
	t.events = p.auditEvents(r, prefix, func(*kgo.Record) { events++ })
	t.replies = p.auditReplies(r, prefix, func(reply *ledgerline.Reply) {
		replies++
		if reply.Outcome == producer.Accepted && !reply.Duplicate {
			accepted++
		}
	})
	if commands := p.end(schemas.TopicsOf(prefix, "account").Commands); replies != commands || events != accepted {
		p.b.Fatalf("%s: %d commands have %d replies, %d of them accepted, and %d events", r, commands, replies, accepted, events)
	}
	return &t
}

// auditEvents reads all events: each in its partition, and the sequences of each account have no gaps.
func (p *plant) auditEvents(r result, prefix string, each func(*kgo.Record)) digests {
	sequences := map[string]int64{}
	return p.digest(schemas.TopicsOf(prefix, "account").Events, prefix, func(rec *kgo.Record) {
		id, text, _ := strings.Cut(string(rec.Key), "/")
		sequence, err := strconv.ParseInt(text, 10, 64)
		if err != nil || sequence != sequences[id]+1 || schemas.Partition(id, partitions) != rec.Partition {
			p.b.Fatalf("%s: event %s in partition %d at offset %d follows sequence %d", r, rec.Key, rec.Partition, rec.Offset, sequences[id])
		}
		sequences[id] = sequence
		each(rec)
	})
}

// auditReplies reads all replies.
func (p *plant) auditReplies(r result, prefix string, each func(*ledgerline.Reply)) digests {
	topics := schemas.TopicsOf(prefix, "account")
	serde := schemas.NewSerde(schemas.NewCodec(p.registry), topics.Replies, schemas.ForwardTransitive, ledgerline.ReplyType)
	return p.digest(topics.Replies, prefix, func(rec *kgo.Record) {
		reply, err := serde.Decode(p.b.Context(), rec.Value)
		if err != nil {
			p.b.Fatalf("%s: reply in partition %d at offset %d: %v", r, rec.Partition, rec.Offset, err)
		}
		each(reply)
	})
}

// digest reads all that is committed in a topic. The time of the commands and the prefix of the topics are left out of the digests: they
// are what differs between runs over the same commands.
func (p *plant) digest(topic, prefix string, each func(*kgo.Record)) (d digests) {
	var hashes [partitions]xxhash.Digest
	for i := range hashes {
		hashes[i].Reset()
	}
	write := func(to *xxhash.Digest, b []byte) {
		_, _ = to.Write(bytes.ReplaceAll(b, []byte(prefix), nil)) // it has no error to give
		_, _ = to.Write([]byte{0})
	}
	p.readAll(topic, func(rec *kgo.Record) {
		to := &hashes[rec.Partition]
		write(to, rec.Key)
		write(to, rec.Value)
		for _, h := range rec.Headers {
			write(to, []byte(h.Key))
			if h.Key != schemas.HeaderTime {
				write(to, h.Value)
			}
		}
		each(rec)
	})
	for i := range hashes {
		d[i] = hashes[i].Sum64()
	}
	return d
}

// readAll reads a topic up to its end, markers of transactions included, which each is not given.
func (p *plant) readAll(topic string, each func(*kgo.Record)) {
	ends, err := p.adm.ListEndOffsets(p.b.Context(), topic)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		p.b.Fatal(err)
	}
	cl := kit.Kafka(p.b).Client(p.b, kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords())
	defer cl.Close()
	left := map[int32]int64{}
	for partition, end := range ends[topic] {
		if end.Offset > 0 {
			left[partition] = end.Offset
		}
	}
	for len(left) > 0 {
		fetches := cl.PollFetches(p.b.Context())
		if err := fetches.Err(); err != nil {
			p.b.Fatal(err)
		}
		fetches.EachRecord(func(rec *kgo.Record) {
			if !rec.Attrs.IsControl() {
				each(rec)
			}
			if rec.Offset+1 >= left[rec.Partition] {
				delete(left, rec.Partition)
			}
		})
	}
}
