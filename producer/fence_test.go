package producer

import (
	"errors"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ledgerline-es/ledgerline/schemas"
)

// The commit must carry exactly what was processed, by the generation that began, into partitions that are owned. Anything
// else is what a member would send that polled before a rebalance and decided after it.
func TestP1_CommitThatIsNotOurs_Refused(t *testing.T) {
	topics := schemas.TopicsOf("", "account")
	done := func() *ledger {
		l := newLedger(5)
		l.process(&kgo.Record{Topic: topics.Commands, Partition: 0, Offset: 9})
		l.process(&kgo.Record{Topic: topics.Commands, Partition: 1, Offset: 4})
		l.write(&kgo.Record{Topic: topics.Events, Partition: 0}, topics)
		l.write(&kgo.Record{Topic: topics.Commands, Partition: 7}, topics) // a forward: not a partition that only its owner writes
		return l
	}
	request := func(generation int32, offsets map[int32]int64) *kmsg.TxnOffsetCommitRequest {
		req := kmsg.NewPtrTxnOffsetCommitRequest()
		req.Generation = generation
		topic := kmsg.NewTxnOffsetCommitRequestTopic()
		topic.Topic = topics.Commands
		for p, offset := range offsets {
			part := kmsg.NewTxnOffsetCommitRequestTopicPartition()
			part.Partition, part.Offset = p, offset
			topic.Partitions = append(topic.Partitions, part)
		}
		req.Topics = append(req.Topics, topic)
		return req
	}
	owned := ownership{generation: 5, partitions: map[int32]bool{0: true, 1: true}}
	for _, c := range []struct {
		name string
		req  *kmsg.TxnOffsetCommitRequest
		own  ownership
		ok   bool
	}{
		{"what was processed", request(5, map[int32]int64{0: 10, 1: 5}), owned, true},
		{"another generation", request(6, map[int32]int64{0: 10, 1: 5}), owned, false},
		{"a partition written is lost", request(5, map[int32]int64{0: 10, 1: 5}), ownership{generation: 5, partitions: map[int32]bool{1: true}}, false},
		{"nothing is owned", request(5, map[int32]int64{0: 10, 1: 5}), ownership{generation: 5}, false},
		{"offsets of one partition are missing", request(5, map[int32]int64{0: 10}), owned, false},
		{"no offsets", request(5, nil), owned, false},
		{"an earlier offset", request(5, map[int32]int64{0: 9, 1: 5}), owned, false},
		{"a later offset", request(5, map[int32]int64{0: 11, 1: 5}), owned, false},
		{"a partition that was not processed", request(5, map[int32]int64{0: 10, 1: 5, 2: 1}), owned, false},
	} {
		l := done()
		err := l.permit(c.req, c.own)
		if (err == nil) != c.ok || err != nil && !errors.Is(err, ErrFenced) {
			t.Errorf("%s: %v", c.name, err)
		}
		if l.reached != c.ok {
			t.Errorf("%s: the outcome counts as unknown: %v", c.name, l.reached)
		}
	}
}

func TestAssignmentOfAnEarlierGeneration_OwnsNothing(t *testing.T) {
	a := &assignment{topics: schemas.TopicsOf("", "account")}
	a.last = ownership{generation: 3, partitions: map[int32]bool{0: true}}
	cl, err := kgo.NewClient()
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	a.assigned(t.Context(), cl, map[string][]int32{"account.commands": {0, 1, 2}, "account.internal": {0, 2}})
	if len(a.last.partitions) != 2 || a.last.partitions[1] {
		t.Errorf("owned are %v: a partition counts only with both of its input topics", a.last.partitions)
	}
}
