package bank_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sr"

	"github.com/ledgerline-es/ledgerline/bank"
	"github.com/ledgerline-es/ledgerline/internal/kit"
	"github.com/ledgerline-es/ledgerline/internal/process"
	"github.com/ledgerline-es/ledgerline/producer"
	"github.com/ledgerline-es/ledgerline/projector"
	"github.com/ledgerline-es/ledgerline/projector/clickhouse"
	"github.com/ledgerline-es/ledgerline/projector/postgres"
	"github.com/ledgerline-es/ledgerline/projector/verify"
	"github.com/ledgerline-es/ledgerline/schemas"
	"github.com/ledgerline-es/ledgerline/schemas/account"
	"github.com/ledgerline-es/ledgerline/schemas/ledgerline"
)

// hops are where the producer of the test dies: when it decides the first of each, so that what came before is committed, and this is not.
var hops = []string{"TransferMoney", "CreditTransfer", "reply to credit", "ForgetTransfer", "CheckTransfer", "CancelTransfer", "reply to cancel"}

// lost is the category of transfers whose leg panics at the target, until the rules are mended.
const lost = "lost"

// mortalRole is a producer of the bank in a process of its own. Arguments: brokers, registry, prefix, and a folder with a file of the name of
// each hop at which it is still to die.
var mortalRole = process.Role{Name: "mortal-producer", Run: func(ctx context.Context, args []string) error {
	cl, err := sr.NewClient(sr.URLs(args[1]))
	if err != nil {
		return err
	}
	dies := func(hop string) {
		if os.Remove(filepath.Join(args[3], hop)) == nil {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
	}
	rules := bank.Accounts(2 * time.Second)
	decide, replied := rules.Decide, rules.Replied
	rules.Decide = func(s account.State, c account.Command, m producer.Meta) producer.Decision[account.Event] {
		dies(schemas.ShortName(c.AvroName()))
		if leg, ok := c.(*account.CreditTransfer); ok && leg.Category == lost {
			if _, err := os.Stat(filepath.Join(args[3], "mended")); err != nil {
				panic("out of ink")
			}
		}
		return decide(s, c, m)
	}
	rules.Replied = func(s account.State, r *ledgerline.Reply, m producer.Meta) producer.Decision[account.Event] {
		_, leg, _ := strings.Cut(r.CommandID, "/")
		dies("reply to " + leg)
		return replied(s, r, m)
	}
	brokers := strings.Split(args[0], ",")
	return producer.New(producer.Config{
		Brokers: brokers, Registry: schemas.NewRegistry(cl), TopicPrefix: args[2], Partitions: 4, Replication: int16(len(brokers)), MinInsync: max(1, len(brokers)-1),
		SessionTimeout: 6 * time.Second, TransactionTimeout: 10 * time.Second, Window: time.Second, Logger: slog.New(slog.NewTextHandler(os.Stderr, nil)),
	}, rules).Run(ctx)
}}

// spawn starts such a producer.
func (h *house) spawn(dir string) (*process.Process, error) {
	return process.Start(context.Background(), process.Spec{
		Role: mortalRole.Name, Args: []string{strings.Join(h.brokers, ","), kit.Registry(h.t).URL(), h.prefix, dir}, Log: testLog{h.t},
	})
}

// mortal keeps such a producer alive: who dies is replaced, until stop.
func (h *house) mortal(dir string) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		for ctx.Err() == nil {
			p, err := h.spawn(dir)
			if err != nil {
				h.t.Error(err)
				return
			}
			select {
			case <-p.Done():
			case <-ctx.Done():
				_ = p.Stop(context.Background()) // it may have died meanwhile
			}
		}
	})
	stop = sync.OnceFunc(func() { cancel(); running.Wait() })
	h.t.Cleanup(stop)
	return stop
}

// told is what the log says of all transfers and of the money.
type told struct {
	started, stalled, cancelled int
	ended                       map[string]string // transfer → how
	balances                    map[string]int64
	paidIn                      int64 // by deposits from outside
	refunds, credits            map[string]int
	began                       map[string]time.Time // target → when money first left for it
}

func (h *house) tell() (said told, err error) {
	said = told{ended: map[string]string{}, balances: map[string]int64{}, refunds: map[string]int{}, credits: map[string]int{}, began: map[string]time.Time{}}
	serde := schemas.NewSerde(schemas.NewCodec(h.registry), h.topics().Events, schemas.FullTransitive, account.Kind.Events...)
	for _, rec := range h.records(h.topics().Events) {
		e, err := serde.Decode(context.Background(), rec.Value)
		if err != nil {
			return said, err
		}
		id, _, _ := strings.Cut(string(rec.Key), "/")
		end := func(transfer, how string) {
			if before := said.ended[transfer]; before != "" {
				h.t.Errorf("transfer %s is %s, and %s", transfer, before, how)
			}
			said.ended[transfer] = how
		}
		switch e := e.(type) {
		case *account.MoneyDeposited:
			said.balances[id] += e.AmountMinor
			switch e.Operation {
			case "transfer_refund":
				said.refunds[e.TransferID]++
			case "transfer_in":
				said.credits[e.TransferID]++
			default:
				said.paidIn += e.AmountMinor
			}
			if said.balances[id] != e.BalanceMinor {
				h.t.Errorf("%s: the balance is %d, the event says %d", rec.Key, said.balances[id], e.BalanceMinor)
			}
		case *account.MoneyWithdrawn:
			said.balances[id] -= e.AmountMinor
		case *account.TransferStarted:
			said.started++
			if at, ok := said.began[e.Target]; !ok || rec.Timestamp.Before(at) {
				said.began[e.Target] = rec.Timestamp
			}
		case *account.TransferStalled:
			said.stalled++
		case *account.TransferLegCancelled:
			said.cancelled++
		case *account.TransferCompleted:
			end(e.TransferID, "completed")
		case *account.TransferRefunded:
			end(e.TransferID, "refunded")
		}
	}
	return said, nil
}

// conserved checks that all transfers have ended, each in one way, and that no cent was made or lost.
func (h *house) conserved(said told, transfers int) {
	h.t.Helper()
	var balances int64
	for _, b := range said.balances {
		balances += b
	}
	if balances != said.paidIn {
		h.t.Errorf("accounts hold %d, %d was paid in", balances, said.paidIn)
	}
	if said.started != transfers || len(said.ended) != transfers {
		h.t.Errorf("%d transfers have begun and %d ended, wanted %d", said.started, len(said.ended), transfers)
	}
	for transfer, how := range said.ended {
		if want := map[string]int{"completed": 1}[how]; said.credits[transfer] != want || said.refunds[transfer] != 1-want {
			h.t.Errorf("transfer %s is %s: credited %d times, refunded %d times", transfer, how, said.credits[transfer], said.refunds[transfer])
		}
	}
}

func (h *house) topics() schemas.Topics { return schemas.TopicsOf(h.prefix, "account") }

func (h *house) kafka(opts ...kgo.Opt) *kgo.Client {
	h.t.Helper()
	cl, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(h.brokers...), kgo.RecordPartitioner(kgo.ManualPartitioner())}, opts...)...)
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(cl.Close)
	return cl
}

// records reads the committed records of a topic.
func (h *house) records(topic string) (all []*kgo.Record) {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cl := h.kafka(kgo.ConsumeTopics(topic), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords(), kgo.DisableFetchSessions())
	defer cl.Close()
	ends, err := kadm.NewClient(cl).ListEndOffsets(ctx, topic)
	if err = errors.Join(err, ends.Error()); err != nil {
		h.t.Fatal(err)
	}
	left := map[int32]int64{}
	ends.Each(func(o kadm.ListedOffset) {
		if o.Offset > 0 {
			left[o.Partition] = o.Offset
		}
	})
	for len(left) > 0 {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			h.t.Fatal(err)
		}
		fetches.EachRecord(func(rec *kgo.Record) {
			if rec.Offset+1 >= left[rec.Partition] {
				delete(left, rec.Partition)
			}
			if !rec.Attrs.IsControl() {
				all = append(all, rec)
			}
		})
	}
	return all
}

// settled waits until what the input topics hold is processed.
func (h *house) settled() {
	h.t.Helper()
	adm := kadm.NewClient(h.kafka())
	h.await("all to be processed", func() error {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		committed, err := adm.FetchOffsets(ctx, producer.Group(h.prefix, "account"))
		if err != nil {
			return err
		}
		for _, topic := range []string{h.topics().Commands, h.topics().Internal} {
			for _, rec := range h.records(topic) {
				if at, _ := committed.Lookup(topic, rec.Partition); at.At <= rec.Offset {
					return fmt.Errorf("%s/%d is processed to %d, there is %d", topic, rec.Partition, at.At, rec.Offset)
				}
			}
		}
		return nil
	})
}

// awaitEnds waits until all transfers have ended and nothing is left to be processed, and checks what the log says then.
func (h *house) awaitEnds(transfers int) (said told) {
	h.t.Helper()
	h.await("all transfers to end", func() (err error) {
		if said, err = h.tell(); err == nil && len(said.ended) < transfers {
			<-time.After(200 * time.Millisecond) // each look reads the whole log
			err = fmt.Errorf("%d of %d", len(said.ended), transfers)
		}
		return err
	})
	h.settled()
	said, err := h.tell()
	if err != nil {
		h.t.Fatal(err)
	}
	h.conserved(said, transfers)
	return said
}

// awaitTopics waits for a producer to have made its topics.
func (h *house) awaitTopics() {
	h.t.Helper()
	adm := kadm.NewClient(h.kafka())
	h.await("topics", func() error {
		details, err := adm.ListTopics(context.Background(), h.topics().Commands, h.topics().Replies)
		return errors.Join(err, details.Error())
	})
}

// toldByStores fills Postgres and ClickHouse, and checks that they say what the log says.
func (h *house) toldByStores(transfers int) {
	h.t.Helper()
	kit.Start(h.t, kit.UseClickHouse)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	rows, columns := postgres.New(postgres.Config{URL: h.url}), clickhouse.New(clickhouse.Config{URL: kit.ClickHouse(h.t).URL(), DatabasePrefix: strings.TrimSuffix(h.prefix, ".") + "_"})
	h.t.Cleanup(rows.Close)
	h.t.Cleanup(columns.Close)
	sinks := map[string]projector.Sink{"postgres": rows, "clickhouse": columns}
	projections := []projector.Projection{bank.AccountSummary, bank.TransactionHistory, bank.TransferStatus, bank.Analytics}
	for _, p := range projections {
		worker := projector.New(projector.Config{Client: []kgo.Opt{kgo.SeedBrokers(h.brokers...)}, Registry: h.registry, TopicPrefix: h.prefix, Logger: h.log}, p, sinks[p.StoreName()])
		h.run(p.ProjectionName(), worker.Ready, worker.Run)
	}
	h.await("the tables to be equal with the log", func() error {
		report, err := verify.Verify(ctx, verify.Config{Client: []kgo.Opt{kgo.SeedBrokers(h.brokers...)}, Registry: h.registry, TopicPrefix: h.prefix, Sinks: sinks}, projections...)
		if err != nil {
			return err
		}
		for _, p := range report.Projections {
			if p.Behind > 0 || p.Findings > 0 || p.Projection == bank.TransferStatus.Name && p.Rows != int64(transfers) {
				return fmt.Errorf("%+v", p)
			}
		}
		return nil
	})
}

// The producer is killed between every two hops of a transfer; legs die, are cancelled, and tried again after that; every record is
// published twice. Each transfer ends, in one way, and no cent is made or lost: in the log, in Postgres and in ClickHouse.
func TestP1P2P13_Transfers_KilledBetweenEveryTwoHops_NoCentMadeOrLost(t *testing.T) {
	h := newHouse(t)
	kit.Start(t, kit.UseClickHouse)
	dir := t.TempDir()
	for _, hop := range hops {
		if err := os.WriteFile(filepath.Join(dir, hop), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	stop := h.mortal(dir)
	h.awaitTopics()
	client := h.client()
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	const accounts, amount = 10, 100_000
	id := func(n int) string { return fmt.Sprint("acc-", n) }
	publish := func(id string, c account.Command) {
		t.Helper()
		reply, err := client.Publish(ctx, producer.Command{AggregateID: id, Record: c})
		if err != nil || reply.Outcome != producer.Accepted {
			t.Errorf("%s to %s: %+v, %v", c.AvroName(), id, reply, err)
		}
	}
	for n := range accounts {
		publish(id(n), &account.OpenAccount{Owner: "ann", Currency: "EUR", InitialDepositMinor: amount})
	}
	publish("frozen", &account.OpenAccount{Owner: "bob", Currency: "EUR"})
	publish("frozen", &account.FreezeAccount{})
	random := rand.New(rand.NewPCG(1, 2))
	transfers := 0
	var customers sync.WaitGroup
	for n := range accounts {
		var all []*account.TransferMoney
		for range 12 {
			to := (n + 1 + random.IntN(accounts-1)) % accounts
			all = append(all, &account.TransferMoney{Target: id(to), AmountMinor: 1 + random.Int64N(50)})
		}
		all = append(all,
			&account.TransferMoney{Target: "nobody", AmountMinor: 7}, &account.TransferMoney{Target: "frozen", AmountMinor: 11},
			&account.TransferMoney{Target: id((n + 1) % accounts), AmountMinor: 13, Category: lost})
		transfers += len(all)
		customers.Go(func() {
			for _, c := range all {
				publish(id(n), c)
			}
		})
	}
	customers.Wait()
	said := h.awaitEnds(transfers)
	left, err := os.ReadDir(dir)
	if err != nil || len(left) > 0 {
		t.Errorf("it was not killed at %v, %v", left, err)
	}
	if said.stalled < accounts || said.cancelled != accounts {
		t.Errorf("%d transfers have stalled and %d legs are cancelled: wanted %d", said.stalled, said.cancelled, accounts)
	}

	// The rules are mended; the legs that died are tried again, and each record is there a second time.
	if err := os.WriteFile(filepath.Join(dir, "mended"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var again []*kgo.Record
	for _, rec := range slices.Concat(h.records(h.topics().DeadLetters), h.records(h.topics().Internal)) {
		again = append(again, &kgo.Record{Topic: h.topics().Internal, Partition: rec.Partition, Key: rec.Key, Value: rec.Value, Headers: rec.Headers})
	}
	if err := h.kafka().ProduceSync(ctx, again...).FirstErr(); err != nil {
		t.Fatal(err)
	}
	h.settled()
	after, err := h.tell()
	if err != nil {
		t.Fatal(err)
	}
	h.conserved(after, transfers)
	if !maps.Equal(after.ended, said.ended) || !maps.Equal(after.balances, said.balances) {
		t.Errorf("after all was published again transfers have ended so: %v, before: %v", after.ended, said.ended)
	}
	stop()

	h.toldByStores(transfers)
}
