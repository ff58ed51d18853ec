package write

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ledgerline-es/ledgerline/internal/kit"
	"github.com/ledgerline-es/ledgerline/schemas"
)

// bare runs the loop without a platform over a backlog.
func (p *plant) bare(sessions int, prefix string, as shape) result {
	j := p.commandsOf(prefix, bareGroup(prefix))
	j.who, j.setting = nameBare, sessionsSetting(sessions)
	return p.run(j, func() running { return p.startBare(sessions, prefix, as) })
}

func (p *plant) startBare(sessions int, prefix string, as shape) running {
	return p.startLoops(sessions, prefix, []string{schemas.TopicsOf(prefix, "account").Commands}, func() decider { return as.decider(prefix) }, func(int) {})
}

func bareGroup(prefix string) string { return prefix + "bare" }

func sessionsSetting(n int) string {
	if n == 1 {
		return "1 session"
	}
	return strconv.Itoa(n) + " sessions"
}

// decider is what a loop without a platform knows: which records a record leads to.
type decider func(rec *kgo.Record, produce func(*kgo.Record))

// startLoops starts the loop without a platform in several sessions of one group, each with a memory of its own. They tell how many records
// each of their transactions has processed.
func (p *plant) startLoops(sessions int, prefix string, inputs []string, remembering func() decider, committed func(records int)) running {
	var all []*kgo.GroupTransactSession
	for n := range sessions {
		all = append(all, p.newLoop(n, prefix, inputs))
	}
	if sessions > 1 {
		p.settle(bareGroup(prefix), all)
	}
	var stops []func()
	for _, gts := range all {
		stops = append(stops, p.startLoop(gts, remembering(), committed))
	}
	return within(func() {
		for _, stop := range stops {
			stop()
		}
	})
}

func (p *plant) newLoop(nth int, prefix string, inputs []string) *kgo.GroupTransactSession {
	group := bareGroup(prefix)
	gts, err := kgo.NewGroupTransactSession(
		kgo.SeedBrokers(p.brokers...), kgo.ConsumerGroup(group), kgo.ConsumeTopics(inputs...), kgo.TransactionalID(group+strconv.Itoa(nth)), kgo.Balancers(kgo.RangeBalancer()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.RequiredAcks(kgo.AllISRAcks()), kgo.ProducerLinger(0), kgo.MaxBufferedRecords(100_000), kgo.MetadataMinAge(10*time.Millisecond),
	)
	if err != nil {
		p.b.Fatal(err)
	}
	return gts
}

// settle waits until each session has its part of the group's partitions. What a loop remembers does not survive that any of them moves.
func (p *plant) settle(group string, all []*kgo.GroupTransactSession) {
	kit.Await(p.b, time.Minute, func() error {
		groups, err := p.adm.DescribeGroups(p.b.Context(), group)
		if err == nil {
			err = groups.Error()
		}
		if g := groups[group]; err == nil && (g.State != "Stable" || len(g.Members) != len(all)) {
			err = fmt.Errorf("group %s is %s, and has %d members of %d", group, g.State, len(g.Members), len(all))
		}
		return err
	})
	for _, gts := range all {
		if _, err := gts.End(p.b.Context(), kgo.TryAbort); err != nil { // else it would abort its first transaction, for what was revoked before
			p.b.Fatal(err)
		}
	}
}

// startLoop starts one session.
func (p *plant) startLoop(gts *kgo.GroupTransactSession, decide decider, committed func(records int)) (stop func()) {
	return p.background(func(ctx context.Context) {
		defer gts.Close()
		failed := func(_ *kgo.Record, err error) {
			if err != nil && ctx.Err() == nil {
				p.b.Error(err)
			}
		}
		produce := func(rec *kgo.Record) { gts.Produce(ctx, rec, failed) }
		for ctx.Err() == nil {
			fetches := gts.PollRecords(ctx, 10_000)
			if fetches.NumRecords() == 0 {
				continue
			}
			if err := gts.Begin(); err != nil {
				p.b.Error(err)
				return
			}
			fetches.EachRecord(func(rec *kgo.Record) { decide(rec, produce) })
			switch done, err := gts.End(ctx, kgo.TryCommit); {
			case done:
				committed(fetches.NumRecords())
			case err != nil && ctx.Err() == nil:
				p.b.Error(err)
				return
			}
		}
	})
}

// decider of a loop that writes an event, a reply and its share of snapshots a command, from a map of balances. Names in headers and replies
// are each command's own: a thousand equal records would be compressed to half of what the others have to send.
func (as shape) decider(prefix string) decider {
	topics := schemas.TopicsOf(prefix, "account")
	balances, owed := map[string]int64{}, 0.0
	before, after := around(as.reply)
	return func(r *kgo.Record, produce func(*kgo.Record)) {
		id := string(r.Key)
		balances[id]++
		event, place, hash := eventName(id, balances[id]), placeOf(r), hashOf(r)
		produce(&kgo.Record{Topic: topics.Events, Partition: r.Partition, Key: event[len("account/"):], Value: as.event.Value, Headers: own(slices.Clone(as.event.Headers), names{id: event, cause: place, hash: hash})})
		produce(&kgo.Record{Topic: topics.Replies, Partition: r.Partition, Key: r.Key, Value: naming(before, place, after), Headers: own(slices.Clone(as.reply.Headers), names{id: place, hash: hash})})
		for owed += as.snapshots; owed >= 1; owed-- {
			produce(&kgo.Record{Topic: topics.Snapshots, Partition: r.Partition, Key: r.Key, Value: as.event.Value})
		}
	}
}

// eventName is "account/<id>/<sequence>", which ends in the event's key.
func eventName(id string, sequence int64) []byte {
	return strconv.AppendInt(append(append([]byte("account/"), id...), '/'), sequence, 10)
}

// placeOf is where a record stands, as those that it causes name it.
func placeOf(r *kgo.Record) []byte {
	return strconv.AppendInt(append(strconv.AppendInt(append(append(make([]byte, 0, 48), r.Topic...), '/'), int64(r.Partition), 10), '/'), r.Offset, 10)
}

func hashOf(r *kgo.Record) []byte {
	return strconv.AppendUint(make([]byte, 0, 16), xxhash.Sum64(r.Value), 16)
}

// naming is the value of a reply to a command.
func naming(before, command, after []byte) []byte {
	return append(append(binary.AppendVarint(append(make([]byte, 0, 96), before...), int64(len(command))), command...), after...)
}

// around is a reply's value before and after the id of its command, its first field.
func around(reply *kgo.Record) (before, after []byte) {
	const schema = 5 // bytes: a zero, and the schema's id
	length, n := binary.Varint(reply.Value[schema:])
	return reply.Value[:schema], reply.Value[schema+n+int(length):]
}

// names are what differs from record to record in headers; nil is left as it is.
type names struct{ id, cause, hash, correlation, sent []byte }

// own writes them into headers that nobody else has.
func own(all []kgo.RecordHeader, n names) []kgo.RecordHeader {
	for i := range all {
		var value []byte
		switch all[i].Key {
		case schemas.HeaderID:
			value = n.id
		case schemas.HeaderCausationID:
			value = n.cause
		case schemas.HeaderCommandHash:
			value = n.hash
		case schemas.HeaderCorrelationID:
			value = n.correlation
		case schemas.HeaderSent:
			value = n.sent
		}
		if value != nil {
			all[i].Value = value
		}
	}
	return all
}
