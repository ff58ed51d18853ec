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
	owned := ownership{generation: 5, partitions: map[int32]uint64{0: 1, 1: 1}}
	for _, c := range []struct {
		name string
		req  *kmsg.TxnOffsetCommitRequest
		own  ownership
		ok   bool
	}{
		{"what was processed", request(5, map[int32]int64{0: 10, 1: 5}), owned, true},
		{"another generation", request(6, map[int32]int64{0: 10, 1: 5}), owned, false},
		{"a partition written is lost", request(5, map[int32]int64{0: 10, 1: 5}), ownership{generation: 5, partitions: map[int32]uint64{1: 1}}, false},
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

// Nothing asks after a transaction that commits no offsets: so what is written must be in partitions of which commands were polled.
func TestP1_WriteThatNoCommandCaused_Refused(t *testing.T) {
	topics := schemas.TopicsOf("", "account")
	command := &kgo.Record{Topic: topics.Commands, Partition: 0, Offset: 9}
	internal := &kgo.Record{Topic: topics.Internal, Partition: 2, Offset: 4}
	for _, c := range []struct {
		name            string
		polled, written []*kgo.Record
		ok              bool
	}{
		{"of a command", []*kgo.Record{command}, []*kgo.Record{{Topic: topics.Events, Partition: 0}, {Topic: topics.Replies, Partition: 0}, {Topic: topics.Snapshots, Partition: 0}}, true},
		{"of a command of another aggregate", []*kgo.Record{internal}, []*kgo.Record{{Topic: topics.Events, Partition: 2}}, true},
		{"a forward", []*kgo.Record{command}, []*kgo.Record{{Topic: topics.Commands, Partition: 1}}, true},
		{"by a timer beside a command", []*kgo.Record{command}, []*kgo.Record{{Topic: topics.Events, Partition: 0}, {Topic: topics.Events, Partition: 1}}, false},
		{"by a timer alone", nil, []*kgo.Record{{Topic: topics.Events, Partition: 0}}, false},
		{"a snapshot by a timer", nil, []*kgo.Record{{Topic: topics.Snapshots, Partition: 0}}, false},
	} {
		l := newLedger(5)
		for _, rec := range c.polled {
			l.process(rec)
		}
		for _, rec := range c.written {
			l.write(rec, topics)
		}
		if err := l.stray(); (err == nil) != c.ok {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestAssignmentOfAnEarlierGeneration_OwnsNothing(t *testing.T) {
	a := newAssignment(schemas.TopicsOf("", "account"), false)
	cl, err := kgo.NewClient()
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	a.assigned(t.Context(), cl, map[string][]int32{"account.commands": {0, 1, 2}, "account.internal": {0, 2}})
	_, generation := cl.GroupMetadata()
	if o := a.owned(generation); len(o.partitions) != 2 || o.has(1) {
		t.Errorf("owned are %v: a partition counts only with both of its input topics", o.partitions)
	}
	if o := a.owned(generation + 1); o.partitions != nil {
		t.Errorf("the next generation owns %v before it was assigned anything", o.partitions)
	}
}

// Under KIP-848 partitions are added and taken away one by one. One that was away in between does not pass for one that stayed, and
// after a change nothing is owned until the coordinator has confirmed it.
func TestAssignmentInParts_KnowsWhatWasAway(t *testing.T) {
	a := newAssignment(schemas.TopicsOf("", "account"), true)
	cl, err := kgo.NewClient()
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	of := func(partitions ...int32) map[string][]int32 {
		return map[string][]int32{"account.commands": partitions, "account.internal": partitions}
	}
	a.assigned(t.Context(), cl, of(0, 1))
	if o := a.owned(-1); o.partitions != nil {
		t.Errorf("unconfirmed, %v are owned", o.partitions)
	}
	before := a.paired()
	a.revoked(t.Context(), cl, of(1))
	a.assigned(t.Context(), cl, of(1, 2))
	now := a.paired()
	if now[0] != before[0] || now[1] == before[1] || now[2] == 0 {
		t.Errorf("before %v, now %v: 0 stayed, 1 was away, 2 is new", before, now)
	}
	// Added again without having been seen to go: the wrapper of the client keeps some revocations to itself.
	a.assigned(t.Context(), cl, of(0))
	if a.paired()[0] == now[0] {
		t.Error("0 was assigned anew, and passes for one that stayed")
	}
	a.lost(t.Context(), cl, nil)
	if len(a.paired()) != 0 {
		t.Error("all was lost, and something is left")
	}
}
