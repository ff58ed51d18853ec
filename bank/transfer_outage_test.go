package bank_test

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ledgerline-es/ledgerline/bank"
	"github.com/ledgerline-es/ledgerline/internal/kit"
	"github.com/ledgerline-es/ledgerline/producer"
	"github.com/ledgerline-es/ledgerline/schemas"
	"github.com/ledgerline-es/ledgerline/schemas/account"
)

const (
	partitions   = 4
	shortAnswer  = 2 * time.Second // patience of transfers
	shortSession = 6 * time.Second
	shortTx      = 5 * time.Second
	outage       = 2 * shortSession // longer than each of them
)

// impatient are the rules of accounts whose transfers stall soon; legs of the category lost panic.
func impatient() producer.Definition {
	rules := bank.Accounts(shortAnswer)
	decide := rules.Decide
	rules.Decide = func(s account.State, c account.Command, m producer.Meta) producer.Decision[account.Event] {
		if leg, ok := c.(*account.CreditTransfer); ok && leg.Category == lost {
			panic("out of ink")
		}
		return decide(s, c, m)
	}
	return rules
}

func (h *house) impatientConfig() producer.Config {
	return producer.Config{
		Brokers: h.brokers, Registry: h.registry, TopicPrefix: h.prefix, Partitions: partitions, Replication: 1, MinInsync: 1,
		SessionTimeout: shortSession, TransactionTimeout: shortTx, Logger: h.log,
	}
}

// idler is a member of the producers' group that is assigned partitions and decides nothing, and whose heartbeats go on: a process that
// hangs where nothing watches it.
func (h *house) idler() (has func() []int32, leave func()) {
	h.t.Helper()
	var assigned atomic.Pointer[[]int32]
	cl := h.kafka(
		kgo.ClientID(producer.TransactionalIDPrefix(h.prefix, "account")+"idler"), kgo.ConsumerGroup(producer.Group(h.prefix, "account")),
		kgo.ConsumeTopics(h.topics().Commands, h.topics().Internal), kgo.Balancers(kgo.RangeBalancer()), kgo.DisableAutoCommit(),
		kgo.SessionTimeout(time.Minute), kgo.HeartbeatInterval(time.Second), // a busy machine must not end what the test is to end
		kgo.OnPartitionsAssigned(func(_ context.Context, _ *kgo.Client, all map[string][]int32) {
			now := slices.Clone(all[h.topics().Internal])
			assigned.Store(&now)
		}),
		kgo.OnPartitionsRevoked(func(context.Context, *kgo.Client, map[string][]int32) { assigned.Store(nil) }),
		kgo.OnPartitionsLost(func(context.Context, *kgo.Client, map[string][]int32) { assigned.Store(nil) }),
	)
	return func() []int32 {
		if now := assigned.Load(); now != nil {
			return *now
		}
		return nil
	}, cl.Close
}

// steps are those of a transfer, one after another.
func (t transfer) steps() string {
	var all []string
	for _, s := range t.History {
		all = append(all, s.Step)
	}
	return strings.Join(all, ", ")
}

// Nobody decides the targets' partitions, for longer than a transfer is waited for, a transaction may last and a member may be silent;
// those of the sources are decided. Their transfers are shown as begun, then as stalled, with the money out and in no account; others go
// on being completed. Once somebody decides there again each transfer ends, in the one way that the order of its legs leaves: a leg that
// can pay has paid before it is cancelled.
func TestP13_TargetPartitionDownLongerThanEveryTimeout(t *testing.T) {
	h := newHouse(t)
	p := producer.New(h.impatientConfig(), impatient())
	h.run("producer", p.Ready, p.Run)
	h.projectors()
	d := h.door(nil)
	const accounts, amount = 20, 10_000
	var all []string
	for n := range accounts {
		id := fmt.Sprint("acc-", n)
		d.open(id, amount)
		all = append(all, id)
	}
	has, leave := h.idler()
	h.await("half of the partitions to be the idler's, and the others to be decided", func() error {
		if len(has()) != partitions/2 {
			return fmt.Errorf("it has %v", has())
		}
		return p.Ready()
	})
	began := time.Now()
	down := has()
	var sources, targets []string
	for _, id := range all {
		if slices.Contains(down, schemas.Partition(id, partitions)) {
			targets = append(targets, id)
		} else {
			sources = append(sources, id)
		}
	}
	nobody := "nobody"
	for n := 0; !slices.Contains(down, schemas.Partition(nobody, partitions)); n++ {
		nobody = fmt.Sprint("nobody-", n)
	}
	begin := func(source, target, category string) string {
		t.Helper()
		var b transferBody
		position := d.post("/transfers", fmt.Sprintf(`{"source":%q,"target":%q,"amount_minor":100,"category":%q}`, source, target, category)).is(201, "").as(&b).position()
		d.get("/transfers/"+b.TransferID+"?wait=1m&position="+url.QueryEscape(position)).is(200, "")
		return b.TransferID
	}
	ends := map[string]string{} // transfer → how it is to end
	for n, source := range sources {
		ends[begin(source, targets[n%len(targets)], "")] = "completed "
		ends[begin(source, nobody, "")] = "refunded account_not_found"
		ends[begin(source, targets[n%len(targets)], lost)] = "refunded cancelled"
	}
	transfers := len(ends)
	shown := func(id string) (is transfer) {
		t.Helper()
		d.get("/transfers/"+id+"?wait=1m").is(200, "").as(&is)
		return is
	}
	for id := range ends {
		h.await("a transfer to be shown as stalled", func() error {
			if is := shown(id); is.Status != "pending" || is.steps() != "started, stalled" {
				return fmt.Errorf("%+v", is)
			}
			return nil
		})
	}
	others := 0
	for time.Since(began) < outage || others == 0 {
		if is, _ := d.transferred(begin(sources[others%len(sources)], sources[(others+1)%len(sources)], "")); is.Status != "completed" {
			t.Fatalf("a transfer between others: %+v", is)
		}
		others++
	}
	h.await("the idler to have what it had", func() error { // but for a rebalance on a busy machine
		if got := has(); !slices.Equal(got, down) {
			return fmt.Errorf("it has partitions %v, it had %v", got, down)
		}
		return nil
	})
	said, err := h.tell()
	if err != nil {
		t.Fatal(err)
	}
	held := int64(0)
	for _, b := range said.balances {
		held += b
	}
	if said.stalled < len(ends) || len(said.ended) != others || len(said.refunds) != 0 || said.paidIn-held != 100*int64(len(ends)) {
		t.Errorf("while it is down %d of %d transfers have stalled, %d others ended, wanted %d; %d are refunded, %d is on its way",
			said.stalled, len(ends), len(said.ended), others, len(said.refunds), said.paidIn-held)
	}
	for id := range ends {
		if is := shown(id); is.Status != "pending" || is.steps() != "started, stalled" {
			t.Errorf("before it is back: %+v", is)
		}
	}
	t.Logf("down for %v: %d transfers have stalled, %d others are completed", time.Since(began).Round(time.Second), len(ends), others)

	leave()
	for id, how := range ends {
		is, _ := d.transferred(id)
		if got := is.Status + " " + is.Reason; got != how || is.steps() != "started, stalled, "+is.Status {
			t.Errorf("transfer %s is to end so: %s; it is %+v", id, how, is)
		}
	}
	h.awaitEnds(transfers + others)
	h.toldByStores(transfers + others)
}

// The target's partition has no leader for longer than every timeout, and takes not even a leg. A transfer takes the money out and sends its
// leg in one transaction: so none leaves, its source's partition waits, and says for what. Others go on, though a member has them beside it. When the
// partition is back each transfer begins, and ends, once.
func TestP13_TargetPartitionWithoutLeader_NoMoneyLeavesForIt(t *testing.T) {
	kit.Start(t, kit.UseRegistry, kit.UsePostgres, kit.UseClickHouse)
	cluster := kit.StartKafkaCluster(t)
	h := houseOn(t, cluster.Brokers())
	const sending, down, broker = int32(0), int32(3), 2
	for _, topic := range producer.Topics(h.impatientConfig(), "account") {
		cluster.CreateTopic(topic.Name, topic.Configs, topic.Partitions, func(partition int32) int {
			if partition == down {
				return broker
			}
			return int(partition % 2)
		})
	}
	var producers []*producer.Producer
	for n := range 2 {
		p := producer.New(h.impatientConfig(), impatient())
		h.run(fmt.Sprint("producer ", n), p.Ready, p.Run)
		producers = append(producers, p)
	}
	client := h.client()
	ctx, cancel := context.WithTimeout(t.Context(), 4*patience)
	defer cancel()
	publish := func(id string, c account.Command) {
		t.Helper()
		reply, err := client.Publish(ctx, producer.Command{AggregateID: id, Record: c})
		if err != nil || reply.Outcome != producer.Accepted {
			t.Errorf("%s to %s: %+v, %v", c.AvroName(), id, reply, err)
		}
	}
	var sources, others, targets []string
	for n := range 20 {
		id := fmt.Sprint("acc-", n)
		publish(id, &account.OpenAccount{Owner: "ann", Currency: "EUR", InitialDepositMinor: 10_000})
		switch schemas.Partition(id, partitions) {
		case down:
			targets = append(targets, id)
		case sending:
			sources = append(sources, id)
		default:
			others = append(others, id)
		}
	}
	h.settled()
	cluster.Kill9(broker)

	began, transfers := time.Now(), 0
	var answered atomic.Int64
	var customers sync.WaitGroup
	for n, source := range sources {
		transfers++
		customers.Go(func() {
			publish(source, &account.TransferMoney{Target: targets[n%len(targets)], AmountMinor: 100})
			answered.Add(1)
		})
	}
	h.await("a producer to say what it waits for", func() error {
		for _, p := range producers {
			if err := p.Ready(); err != nil && strings.Contains(err.Error(), fmt.Sprintf("has no leader: partition %d of account, which sends to it, waits", sending)) {
				return nil
			}
		}
		return errors.Join(producers[0].Ready(), producers[1].Ready())
	})
	for n := range len(others) - 1 { // each gives all that it has, and can when it was paid by the one before
		transfers++
		h.await("an account to be paid, and to pay", func() error {
			reply, err := client.Publish(ctx, producer.Command{AggregateID: others[n], Record: &account.TransferMoney{Target: others[n+1], AmountMinor: int64(n+1) * 10_000}})
			if err == nil && reply.Outcome != producer.Accepted {
				err = fmt.Errorf("%+v", reply)
			}
			return err
		})
	}
	h.await("the outage to last longer than every timeout", func() error {
		if lasts := time.Since(began); lasts < outage {
			return fmt.Errorf("%v", lasts)
		}
		return nil
	})
	if n := answered.Load(); n > 0 {
		t.Errorf("%d transfers to a partition without a leader were answered", n)
	}
	back := time.Now()
	cluster.Restart(broker)
	customers.Wait()
	said := h.awaitEnds(transfers)
	for transfer, how := range said.ended {
		if how != "completed" {
			t.Errorf("transfer %s is %s", transfer, how)
		}
	}
	for target, at := range said.began {
		if slices.Contains(targets, target) && at.Before(back.Add(-shortTx)) { // a transaction waits for as long
			t.Errorf("money for %s left at %v, before its partition was back at %v", target, at, back)
		}
	}
	h.toldByStores(transfers)
}
