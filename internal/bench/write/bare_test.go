package write

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ledgerline-es/ledgerline/schemas"
)

// bare runs the loop without a platform over a backlog.
func (p *plant) bare(prefix string, as shape) result {
	return p.run(nameBare, "", prefix, prefix+"bare", func() running { return within(p.startBare(prefix, as)) })
}

// startBare starts the loop without a platform: an event, a reply and its share of snapshots a command, a map of balances.
func (p *plant) startBare(prefix string, as shape) (stop func()) {
	topics, group := schemas.TopicsOf(prefix, "account"), prefix+"bare"
	gts, err := kgo.NewGroupTransactSession(
		kgo.SeedBrokers(p.brokers...), kgo.ConsumerGroup(group), kgo.ConsumeTopics(topics.Commands), kgo.TransactionalID(group), kgo.Balancers(kgo.RangeBalancer()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.RequiredAcks(kgo.AllISRAcks()), kgo.ProducerLinger(0), kgo.MaxBufferedRecords(100_000), kgo.MetadataMinAge(10*time.Millisecond),
	)
	if err != nil {
		p.b.Fatal(err)
	}
	return p.background(func(ctx context.Context) {
		defer gts.Close()
		balances, owed := map[string]int64{}, 0.0
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
				gts.Produce(ctx, &kgo.Record{Topic: topics.Events, Partition: r.Partition, Key: fmt.Appendf(nil, "%s/%d", id, balances[id]), Value: as.event.Value, Headers: as.event.Headers}, failed)
				gts.Produce(ctx, &kgo.Record{Topic: topics.Replies, Partition: r.Partition, Key: r.Key, Value: as.reply.Value, Headers: as.reply.Headers}, failed)
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
