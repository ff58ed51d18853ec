package kit

import (
	"context"
	"encoding/binary"
	"hash/crc32"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"
)

// Hang opens a transaction in a partition that no coordinator knows, so that nobody ends it, and gives its producer id. A write that comes
// after its coordinator has given it up does that, to a broker that does not ask the coordinator first: all did before Kafka 3.6, and
// transaction.partition.verification.enable=false has any do it.
func (k *KafkaServer) Hang(t testing.TB, topic string, partition int32) int64 {
	t.Helper()
	versions := kversion.Stable()
	versions.SetMaxKeyVersion(kmsg.NewPtrProduceRequest().Key(), 11) // later ones tell the coordinator by themselves
	cl := k.Client(t, kgo.MaxVersions(versions))
	verify := func(value string) {
		t.Helper()
		config := kadm.AlterConfig{Op: kadm.SetConfig, Name: "transaction.partition.verification.enable", Value: &value}
		resp, err := kadm.NewClient(cl).AlterBrokerConfigs(context.WithoutCancel(t.Context()), []kadm.AlterConfig{config}, 1)
		if err == nil {
			_, err = resp.On("1", func(r *kadm.AlterConfigsResponse) error { return r.Err })
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	verify("false")
	defer verify("true")

	id := Prefix(t) + "hanging"
	begin := kmsg.NewPtrInitProducerIDRequest()
	begin.TransactionalID, begin.TransactionTimeoutMillis, begin.ProducerID, begin.ProducerEpoch = &id, 60_000, -1, -1
	var producerID int64
	Await(t, startTimeout, func() error { // the coordinator may just be made
		resp, err := begin.RequestWith(t.Context(), cl)
		if err == nil {
			err, producerID = kerr.ErrorForCode(resp.ErrorCode), resp.ProducerID
		}
		return err
	})
	write := kmsg.NewPtrProduceRequest()
	write.TransactionID, write.Acks, write.TimeoutMillis = &id, -1, 10_000
	at := kmsg.NewProduceRequestTopic()
	at.Topic = topic
	part := kmsg.NewProduceRequestTopicPartition()
	part.Partition, part.Records = partition, transactionalBatch(producerID)
	at.Partitions = append(at.Partitions, part)
	write.Topics = append(write.Topics, at)
	Await(t, startTimeout, func() error { // the broker hears of its setting a moment later
		resp, err := write.RequestWith(t.Context(), cl)
		if err == nil {
			err = kerr.ErrorForCode(resp.Topics[0].Partitions[0].ErrorCode)
		}
		return err
	})
	return producerID
}

// transactionalBatch is the first batch of a producer, with one record, as it stands in the log.
func transactionalBatch(producerID int64) []byte {
	now := time.Now().UnixMilli()
	record := kmsg.Record{Key: []byte("k"), Value: []byte("v")}
	record.Length = int32(len(record.AppendTo(nil)) - 1) // what stands behind the length, which is short enough for one byte
	batch := kmsg.RecordBatch{
		PartitionLeaderEpoch: -1, Magic: 2, Attributes: 1 << 4, FirstTimestamp: now, MaxTimestamp: now,
		ProducerID: producerID, NumRecords: 1, Records: record.AppendTo(nil),
	}
	const untilLength, untilCRC, behindCRC = 12, 17, 21
	batch.Length = int32(len(batch.AppendTo(nil)) - untilLength)
	data := batch.AppendTo(nil)
	binary.BigEndian.PutUint32(data[untilCRC:], crc32.Checksum(data[behindCRC:], crc32.MakeTable(crc32.Castagnoli)))
	return data
}
