package write

import (
	"context"
	"encoding/binary"
	"slices"
	"strconv"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ledgerline-es/ledgerline/schemas"
)

// bare runs the loop without a platform over a backlog.
func (p *plant) bare(sessions int, prefix string, as shape) result {
	return p.run(nameBare, sessionsSetting(sessions), prefix, prefix+"bare", func() running {
		var stops []func()
		for n := range sessions {
			stops = append(stops, p.startBare(n, prefix, as))
		}
		return within(func() {
			for _, stop := range stops {
				stop()
			}
		})
	})
}

func sessionsSetting(n int) string {
	if n == 1 {
		return "1 session"
	}
	return strconv.Itoa(n) + " sessions"
}

// startBare starts the loop without a platform, the nth member of its group: an event, a reply and its share of snapshots a command, a map
// of balances. Names in headers and replies are each command's own: a thousand equal records would be compressed to half of what the
// others have to send.
func (p *plant) startBare(nth int, prefix string, as shape) (stop func()) {
	topics, group := schemas.TopicsOf(prefix, "account"), prefix+"bare"
	gts, err := kgo.NewGroupTransactSession(
		kgo.SeedBrokers(p.brokers...), kgo.ConsumerGroup(group), kgo.ConsumeTopics(topics.Commands), kgo.TransactionalID(group+strconv.Itoa(nth)), kgo.Balancers(kgo.RangeBalancer()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.RequiredAcks(kgo.AllISRAcks()), kgo.ProducerLinger(0), kgo.MaxBufferedRecords(100_000), kgo.MetadataMinAge(10*time.Millisecond),
	)
	if err != nil {
		p.b.Fatal(err)
	}
	return p.background(func(ctx context.Context) {
		defer gts.Close()
		balances, owed := map[string]int64{}, 0.0
		before, after := around(as.reply)
		failed := func(_ *kgo.Record, err error) {
			if err != nil && ctx.Err() == nil {
				p.b.Error(err)
			}
		}
		for ctx.Err() == nil {
			fetches := gts.PollRecords(ctx, 10_000)
			if fetches.NumRecords() == 0 {
				continue
			}
			if err := gts.Begin(); err != nil {
				p.b.Error(err)
				return
			}
			fetches.EachRecord(func(r *kgo.Record) {
				id := string(r.Key)
				balances[id]++
				name := strconv.AppendInt(append(append([]byte("account/"), id...), '/'), balances[id], 10)
				place := strconv.AppendInt(append(strconv.AppendInt(append(append(make([]byte, 0, 48), r.Topic...), '/'), int64(r.Partition), 10), '/'), r.Offset, 10)
				hash := strconv.AppendUint(make([]byte, 0, 16), xxhash.Sum64(r.Value), 16)
				reply := append(append(binary.AppendVarint(append(make([]byte, 0, 96), before...), int64(len(place))), place...), after...)
				gts.Produce(ctx, &kgo.Record{Topic: topics.Events, Partition: r.Partition, Key: name[len("account/"):], Value: as.event.Value, Headers: own(as.event.Headers, name, place, hash)}, failed)
				gts.Produce(ctx, &kgo.Record{Topic: topics.Replies, Partition: r.Partition, Key: r.Key, Value: reply, Headers: own(as.reply.Headers, place, nil, hash)}, failed)
				for owed += as.snapshots; owed >= 1; owed-- {
					gts.Produce(ctx, &kgo.Record{Topic: topics.Snapshots, Partition: r.Partition, Key: r.Key, Value: as.event.Value}, failed)
				}
			})
			if _, err := gts.End(ctx, kgo.TryCommit); err != nil && ctx.Err() == nil {
				p.b.Error(err)
				return
			}
		}
	})
}

// around is a reply's value before and after the id of its command, its first field.
func around(reply *kgo.Record) (before, after []byte) {
	const schema = 5 // bytes: a zero, and the schema's id
	length, n := binary.Varint(reply.Value[schema:])
	return reply.Value[:schema], reply.Value[schema+n+int(length):]
}

// own are the headers of a record with those that differ from record to record.
func own(all []kgo.RecordHeader, id, cause, hash []byte) []kgo.RecordHeader {
	all = slices.Clone(all)
	for i := range all {
		switch all[i].Key {
		case schemas.HeaderID:
			all[i].Value = id
		case schemas.HeaderCausationID:
			all[i].Value = cause
		case schemas.HeaderCommandHash:
			all[i].Value = hash
		}
	}
	return all
}
