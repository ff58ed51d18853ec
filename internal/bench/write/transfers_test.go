package write

import (
	"bytes"
	"maps"
	"math/rand/v2"
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ledgerline-es/ledgerline/internal/bench"
	"github.com/ledgerline-es/ledgerline/producer"
	"github.com/ledgerline-es/ledgerline/schemas"
	"github.com/ledgerline-es/ledgerline/schemas/account"
	"github.com/ledgerline-es/ledgerline/schemas/ledgerline"
)

// What is decided of a transfer. With the answer it is completed; then the platform has its target forget it.
const (
	hopStart  = iota // TransferMoney, at the source
	hopCredit        // at the target
	hopAnswer        // at the source
	hopForget        // at the target
	allHops
)

// bareHops are those that a loop needs which Kafka's transactions are enough for.
const bareHops = hopForget

// Who is measured with transfers, beside Ledgerline.
const (
	nameBareHops    = "three bare hops"
	nameAllBareHops = "four bare hops" // with the one that forgets: all that Ledgerline writes
)

// BenchmarkTransfers measures transfers from the command to the last of their hops, beside a bare loop that writes records of the same bytes
// in as many transactions. BENCH_TRANSFERS=200000: a transfer stalls whose target gives no answer for two minutes, so all must be done by then.
func BenchmarkTransfers(b *testing.B) {
	for b.Loop() { // once, by -benchtime 1x
		measureTransfers(b)
	}
}

func measureTransfers(b *testing.B) {
	p := newPlant(b, number(b, "BENCH_TRANSFERS", 200_000))
	accounts, transfers, warm := p.stageAccounts(), p.stageTransfers(p.commands), p.stageTransfers(min(p.commands, 50_000))
	prefix := p.copied(accounts)
	shape := p.hopsOf(prefix, p.transfers(1, prefix, warm).shape.snapshots)
	p.drop(prefix)
	for range 2 {
		prefix := p.copied(warm)
		p.bareTransfers(1, prefix, shape, allHops)
		p.drop(prefix)
	}

	c := contest{p: p, of: "transfers", audit: p.auditTransfers}
	for range 2 { // in turns, for a machine has better and worse minutes
		for _, sessions := range []int{1, 2} {
			for _, hops := range []int{bareHops, allHops} {
				c.over(transfers, func(prefix string) result { return p.bareTransfers(sessions, prefix, shape, hops) }, nil)
			}
			c.over(accounts, func(prefix string) result { return p.transfers(sessions, prefix, transfers) }, nil)
		}
	}
	c.print(p.commands)
	ours := c.best(nameOurs).steady
	report(b, "transfers", c.rows(), []bench.Target{
		bench.AtLeast("transfers_vs_three_bare_hops", ours/c.best(nameBareHops).steady, goalOfBare),
		bench.AtLeast("transfers_vs_four_bare_hops", ours/c.best(nameAllBareHops).steady, goalOfBare),
	})
}

// stageAccounts publishes commands that open accounts with money.
func (p *plant) stageAccounts() (prefix string) {
	return p.staged(func(publish func(id string, c account.Command, headers ...kgo.RecordHeader)) {
		for n := range p.accounts {
			publish(accountID(n), &account.OpenAccount{Owner: "benchmark", Currency: "EUR", InitialDepositMinor: 1 << 40})
		}
	})
}

// pattern are the accounts of the last transfer, which they have no others beside.
func (p *plant) pattern() [2]string {
	return [2]string{accountID(p.accounts - 2), accountID(p.accounts - 1)}
}

// stageTransfers publishes transfers between any accounts.
func (p *plant) stageTransfers(transfers int) (prefix string) {
	random := rand.New(rand.NewPCG(3, 4))
	return p.staged(func(publish func(id string, c account.Command, headers ...kgo.RecordHeader)) {
		transfer := func(source, target string, n int) {
			publish(source, &account.TransferMoney{Target: target, AmountMinor: int64(1 + n%100), Category: "bench"})
		}
		others := p.accounts - len(p.pattern())
		for n := range transfers - 1 {
			source := random.IntN(others)
			transfer(accountID(source), accountID((source+1+random.IntN(others-1))%others), n)
		}
		transfer(p.pattern()[0], p.pattern()[1], transfers-1)
	})
}

// transfers lets a producer work off the transfers of a prefix between the accounts of another one, which it opens before. They are published
// only then: after two minutes their sources would ask what has become of them.
func (p *plant) transfers(sessions int, prefix, from string) result {
	state := p.b.TempDir()
	p.ledgerline(sessions, prefix, state)
	p.copyTo(prefix, from)
	counted := prometheus.NewRegistry()
	j := transfersOf(prefix, p.end(schemas.TopicsOf(from, "account").Commands), allHops)
	j.who, j.setting = nameOurs, sessionsSetting(sessions)
	j.done = func() (int64, error) { return int64(counter(p.b, counted, "ledgerline_producer_commands_total")), nil }
	r := p.run(j, func() running { return within(p.startLedgerline(sessions, prefix, state, counted)) })
	r.shape.snapshots = counter(p.b, counted, "ledgerline_producer_snapshots_total") / float64(j.all)
	return r
}

// transfersOf is the job to decide all hops of so many transfers. So a rate between a tenth and nine tenths is of beginnings and ends alike.
func transfersOf(prefix string, transfers, hops int64) job {
	return job{prefix: prefix, all: transfers * hops, each: hops}
}

// bareTransfers runs the loop without a platform over a backlog of transfers.
func (p *plant) bareTransfers(sessions int, prefix string, as *transferShape, hops int) result {
	topics := schemas.TopicsOf(prefix, "account")
	var done atomic.Int64
	j := transfersOf(prefix, p.end(topics.Commands), int64(hops))
	j.who, j.setting = nameBareHops, sessionsSetting(sessions)
	if hops == allHops {
		j.who = nameAllBareHops
	}
	j.done = func() (int64, error) { return done.Load(), nil }
	return p.run(j, func() running {
		return p.startLoops(sessions, prefix, []string{topics.Commands, topics.Internal}, func() decider { return as.decider(prefix, hops) }, func(records int) { done.Add(int64(records)) })
	})
}

// transferShape is what the platform writes for a transfer.
type transferShape struct {
	hops      [allHops]hop
	mark      *kgo.Record // of what a partition has received, by its senders
	marks     float64     // a hop …
	snapshots float64     // … and of accounts
}

// hop is what one record of a transfer leads to.
type hop struct {
	in     *stencil
	reply  *stencil
	events []*stencil
	timer  *stencil // set, or taken away; nil: neither
	sent   *stencil // to the next hop; nil: it is the last
}

// hopOf says what is decided of a transfer by a record of the commands or the internal topic; -1: something else.
func hopOf(rec *kgo.Record) int {
	switch typ, _ := schemas.Header(rec, schemas.HeaderType); typ {
	case "":
		return hopStart // published without any headers
	case (*account.CreditTransfer)(nil).AvroName():
		return hopCredit
	case (*ledgerline.Reply)(nil).AvroName():
		return hopAnswer
	case (*account.ForgetTransfer)(nil).AvroName():
		return hopForget
	}
	return -1
}

// hopsOf reads what was written for the last transfer of a run that has written so many snapshots a hop.
func (p *plant) hopsOf(prefix string, snapshots float64) *transferShape {
	s, topics, ids := &transferShape{snapshots: snapshots}, schemas.TopicsOf(prefix, "account"), p.pattern()
	source, target, transfers := ids[0], ids[1], p.end(topics.Commands)-int64(p.accounts)
	// Opened and paid in, each account has had two events and one reply.
	of := map[string]int{source + "/3": hopStart, source + "/4": hopStart, target + "/3": hopCredit, source + "/5": hopAnswer, target + "/4": hopForget}
	p.readAll(topics.Events, func(rec *kgo.Record) {
		if n, ok := of[string(rec.Key)]; ok {
			s.hops[n].events = append(s.hops[n].events, newStencil(rec, ids))
		}
	})
	replied := map[string][]int{source: {-1, hopStart, hopAnswer}, target: {-1, hopCredit, hopForget}}
	p.readAll(topics.Replies, func(rec *kgo.Record) {
		next := replied[string(rec.Key)]
		if len(next) == 0 {
			return
		}
		if next[0] >= 0 {
			s.hops[next[0]].reply = newStencil(rec, ids)
		}
		replied[string(rec.Key)] = next[1:]
	})
	input := func(rec *kgo.Record) {
		n := hopOf(rec)
		if key := string(rec.Key); n < 0 || key != source && key != target {
			return
		}
		in := newStencil(rec, ids)
		if s.hops[n].in = in; n > 0 {
			s.hops[n-1].sent = in
		}
	}
	p.readAll(topics.Commands, input) // the opening before the transfer
	p.readAll(topics.Internal, input)
	p.readAll(topics.Snapshots, func(rec *kgo.Record) {
		switch {
		case bytes.HasPrefix(rec.Key, []byte("/timer/"+source+"/")):
			n := hopStart
			if rec.Value == nil {
				n = hopAnswer
			}
			s.hops[n].timer = newStencil(rec, ids)
		case string(rec.Key) == "/received":
			s.mark, s.marks = rec, s.marks+1/float64(transfers*allHops)
		}
	})
	for n, h := range s.hops {
		if h.in == nil || h.reply == nil || h.events == nil || (h.timer == nil) != (n == hopCredit || n == hopForget) || (h.sent == nil) != (n == hopForget) || s.mark == nil {
			p.b.Fatalf("hop %d of the transfer from %s to %s is not what this benchmark expects: %+v", n+1, source, target, h)
		}
	}
	return s
}

// decider of a loop that writes, for so many hops of a transfer, records of the same bytes. It remembers versions alone.
func (s *transferShape) decider(prefix string, hops int) decider {
	topics, versions := schemas.TopicsOf(prefix, "account"), map[string]int64{}
	var before, after [allHops][]byte
	for n, h := range s.hops {
		before[n], after[n] = around(h.reply.rec)
	}
	var sent int64
	var marks, snapshots float64
	return func(r *kgo.Record, produce func(*kgo.Record)) {
		n := hopOf(r)
		h, id, place := &s.hops[n], string(r.Key), placeOf(r)
		ids, to := h.in.read(r), names{id: place, cause: place, correlation: place, hash: hashOf(r)}
		for _, header := range r.Headers {
			switch header.Key {
			case schemas.HeaderID:
				to.cause = header.Value
			case schemas.HeaderCorrelationID:
				to.correlation = header.Value
			}
		}
		put := func(rec *kgo.Record, topic string, partition int32, to names) {
			rec.Topic, rec.Partition = topic, partition
			own(rec.Headers, to)
			produce(rec)
		}
		reply := h.reply.press(ids)
		reply.Value = naming(before[n], to.cause, after[n])
		put(reply, topics.Replies, r.Partition, to)
		for _, e := range h.events {
			versions[id]++
			event := e.press(ids)
			to := to
			to.id = eventName(id, versions[id])
			event.Key = to.id[len("account/"):]
			put(event, topics.Events, r.Partition, to)
		}
		if h.timer != nil {
			put(h.timer.press(ids), topics.Snapshots, r.Partition, names{})
		}
		if h.sent != nil && n+1 < hops {
			message := h.sent.press(ids)
			sent++
			to.sent = strconv.AppendInt(append(strconv.AppendInt([]byte("account/"), int64(r.Partition), 10), '/'), sent, 10)
			switch n {
			case hopStart:
				to.id = nil // by the transfer, which the stencil has
			case hopCredit:
				message.Value = reply.Value
			case hopAnswer:
				to.id = append(bytes.Clone(place), "/0"...)
			}
			put(message, topics.Internal, schemas.Partition(string(message.Key), partitions), to)
		}
		for snapshots += s.snapshots; snapshots >= 1; snapshots-- {
			put(&kgo.Record{Key: r.Key, Value: h.events[0].rec.Value}, topics.Snapshots, r.Partition, names{})
		}
		for marks += s.marks; marks >= 1; marks-- {
			put(&kgo.Record{Key: s.mark.Key, Value: s.mark.Value}, topics.Snapshots, r.Partition, names{})
		}
	}
}

// auditTransfers reads back what was written for transfers: all were completed, by as many events and replies as that takes.
func (p *plant) auditTransfers(r result, prefix string) *trail {
	t, events, replies, accepted := trail{}, map[string]int{}, 0, 0
	t.events = p.auditEvents(r, prefix, func(rec *kgo.Record) {
		typ, _ := schemas.Header(rec, schemas.HeaderType)
		events[typ]++
	})
	t.replies = p.auditReplies(r, prefix, func(reply *ledgerline.Reply) {
		replies++
		if reply.Outcome == producer.Accepted {
			accepted++
		}
	})
	opened, n, hops := events[(*account.AccountOpened)(nil).AvroName()], p.commands, allHops
	want := map[string]int{
		(*account.TransferStarted)(nil).AvroName(): n, (*account.MoneyWithdrawn)(nil).AvroName(): n,
		(*account.MoneyDeposited)(nil).AvroName(): opened + n, (*account.TransferCompleted)(nil).AvroName(): n,
	}
	if opened > 0 {
		want[(*account.AccountOpened)(nil).AvroName()] = opened
	}
	if r.who == nameBareHops {
		hops = bareHops
	} else {
		want[(*account.TransferForgotten)(nil).AvroName()] = n
	}
	if wanted := opened + n*hops; !maps.Equal(events, want) || replies != wanted || accepted != wanted {
		p.b.Fatalf("%s: %d transfers came to %d replies, %d of them accepted, and to the events %v; wanted %d and %v (they stall where all of them together take longer than two minutes: set BENCH_TRANSFERS lower)",
			r, n, replies, accepted, events, wanted, want)
	}
	return &t
}
