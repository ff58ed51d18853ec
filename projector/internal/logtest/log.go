package logtest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sr"

	"github.com/ledgerline-es/ledgerline/schemas"
	"github.com/ledgerline-es/ledgerline/schemas/account"
)

// Log is the log of one test: the topics of kind account under a prefix, and their only writer.
type Log struct {
	Prefix     string
	Topics     schemas.Topics
	Partitions int32
	Registry   *schemas.Registry
	Brokers    []string

	t        testing.TB
	events   *schemas.Serde[account.Event]
	commands *schemas.Serde[account.Command]
	client   *kgo.Client // transactional
	plain    *kgo.Client
	random   *rand.Rand
	accounts []*Account
	written  int
	beside   int
	clock    time.Time
}

// Account is an account as its last event left it.
type Account struct {
	ID       string
	Sequence int64
	Balance  int64
	Status   string
}

// New makes the topics and registers the schemas. The same seed gives the same accounts and events.
func New(t testing.TB, brokers []string, registry *sr.Client, prefix string, partitions int32, seed uint64) *Log {
	t.Helper()
	l := &Log{
		Prefix: prefix, Topics: schemas.TopicsOf(prefix, account.Kind.Name), Partitions: partitions, Brokers: brokers,
		Registry: schemas.NewRegistry(registry), t: t,
		random: rand.New(rand.NewPCG(seed, 1)), //nolint:gosec // the same log for the same seed
		clock:  time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC),
	}
	codec := schemas.NewCodec(l.Registry)
	l.events = schemas.NewSerde(codec, l.Topics.Events, schemas.FullTransitive, account.Kind.Events...)
	l.commands = schemas.NewSerde(codec, l.Topics.Commands, schemas.BackwardTransitive, account.Kind.Commands...)
	must(t, l.events.Register(t.Context()))
	must(t, l.commands.Register(t.Context()))
	l.client = l.newClient(kgo.TransactionalID(prefix+"writer"), kgo.TransactionTimeout(20*time.Second))
	l.plain = l.newClient()
	admin := kadm.NewClient(l.plain)
	retention := "-1"
	for topic, policy := range map[string]string{l.Topics.Commands: "delete", l.Topics.Internal: "delete", l.Topics.Events: "compact"} {
		_, err := admin.CreateTopic(t.Context(), partitions, 1, map[string]*string{"retention.ms": &retention, "cleanup.policy": &policy}, topic)
		must(t, err)
	}
	return l
}

func (l *Log) newClient(opts ...kgo.Opt) *kgo.Client {
	client, err := kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(l.Brokers...), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.MetadataMinAge(10 * time.Millisecond),
	}, opts...)...)
	must(l.t, err)
	l.t.Cleanup(client.Close)
	return client
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Written is how many events were written.
func (l *Log) Written() int { return l.written }

// Records is how many events are in the log: those that were written, and what Commit and Plain put beside them.
func (l *Log) Records() int { return l.written + l.beside }

// Accounts are the accounts as their last events left them.
func (l *Log) Accounts() []*Account { return l.accounts }

// Write writes about n events on up to accounts accounts, in transactions of 1 to 400 events; about every 15th
// transaction is aborted.
func (l *Log) Write(n, accounts int) {
	l.t.Helper()
	must(l.t, l.write(l.t.Context(), n, accounts))
}

// WriteUntil writes events at about rate a second until ctx ends, and pauses while wait, asked a few times a second, says so
// (nil: never). Its error is the writer's.
func (l *Log) WriteUntil(ctx context.Context, rate, accounts int, wait func(context.Context) bool) error {
	const step = 250 * time.Millisecond
	ticks := time.NewTicker(5 * time.Millisecond)
	defer ticks.Stop()
	last, asked := time.Now(), time.Time{}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticks.C:
		}
		if wait != nil && time.Since(asked) > step {
			if wait(ctx) {
				last = time.Now() // what was not written in a pause is not made up for
				continue
			}
			asked = time.Now()
		}
		due := int(min(time.Since(last), step).Seconds() * float64(rate))
		if due < 1 {
			continue
		}
		last = time.Now()
		// A transaction is never left half way: the next writer would have to wait for its timeout.
		if err := l.write(context.WithoutCancel(ctx), due, accounts); err != nil {
			return err
		}
	}
}

func (l *Log) write(ctx context.Context, n, accounts int) error {
	for end := l.written + n; l.written < end; {
		size := min(1+l.random.IntN(400), end-l.written)
		abort := l.random.IntN(15) == 0
		if err := l.transaction(ctx, size, accounts, abort); err != nil {
			return fmt.Errorf("write a transaction of %d events: %w", size, err)
		}
	}
	return nil
}

// transaction writes size commands, then their events in one transaction. An aborted one leaves no trace but its records.
func (l *Log) transaction(ctx context.Context, size, accounts int, abort bool) error {
	saved, known := make(map[*Account]Account), len(l.accounts)
	var commands, events []*kgo.Record
	for range size {
		a := l.pick(accounts)
		if _, touched := saved[a]; !touched {
			saved[a] = *a
		}
		c, e := l.next(a)
		command, event, err := l.records(a.ID, a.Sequence, c, e)
		if err != nil {
			return err
		}
		commands, events = append(commands, command), append(events, event)
	}
	if abort {
		for a, before := range saved {
			*a = before
		}
		l.accounts = l.accounts[:known]
		return l.commit(ctx, events, kgo.TryAbort)
	}
	if err := l.plain.ProduceSync(ctx, commands...).FirstErr(); err != nil {
		return err
	}
	l.written += size
	return l.commit(ctx, events, kgo.TryCommit)
}

func (l *Log) commit(ctx context.Context, events []*kgo.Record, how kgo.TransactionEndTry) error {
	if err := l.client.BeginTransaction(); err != nil {
		return err
	}
	if err := l.client.ProduceSync(ctx, events...).FirstErr(); err != nil {
		return err
	}
	return l.client.EndTransaction(ctx, how)
}

func (l *Log) pick(accounts int) *Account {
	if i := l.random.IntN(accounts); i < len(l.accounts) {
		return l.accounts[i]
	}
	a := &Account{ID: fmt.Sprintf("account-%05d", len(l.accounts))}
	l.accounts = append(l.accounts, a)
	return a
}

var (
	operations = []string{"", "cash", "transfer", "card"}
	categories = []string{"", "salary", "rent", "food", "přehled"}
)

// next gives an account's next event and the command behind it, and moves the account on.
func (l *Log) next(a *Account) (account.Command, account.Event) {
	a.Sequence++
	switch roll := l.random.IntN(100); {
	case a.Status == "":
		a.Status = "open"
		return &account.OpenAccount{Owner: "owner of " + a.ID, Currency: "EUR"}, &account.AccountOpened{Owner: "owner of " + a.ID, Currency: "EUR"}
	case a.Status == "frozen":
		a.Status = "open"
		return &account.UnfreezeAccount{Reason: "done"}, &account.AccountUnfrozen{Reason: "done"}
	case roll < 3:
		a.Status = "frozen"
		return &account.FreezeAccount{Reason: "check"}, &account.AccountFrozen{Reason: "check"}
	case roll < 60 || a.Balance == 0:
		amount := 1 + l.random.Int64N(100_000)
		a.Balance += amount
		c := account.DepositMoney{AmountMinor: amount, Operation: operations[l.random.IntN(4)], Category: categories[l.random.IntN(5)], Counterparty: fmt.Sprintf("XY/%d", l.random.IntN(1000))}
		return &c, &account.MoneyDeposited{AmountMinor: amount, BalanceMinor: a.Balance, Currency: "EUR", Operation: c.Operation, Category: c.Category, Counterparty: c.Counterparty}
	default:
		amount := 1 + l.random.Int64N(a.Balance)
		a.Balance -= amount
		c := account.WithdrawMoney{AmountMinor: amount, Operation: operations[l.random.IntN(4)], Category: categories[l.random.IntN(5)]}
		return &c, &account.MoneyWithdrawn{AmountMinor: amount, BalanceMinor: a.Balance, Currency: "EUR", Operation: c.Operation, Category: c.Category}
	}
}

// records are an event and the command behind it.
func (l *Log) records(id string, sequence int64, c account.Command, e account.Event) (command, event *kgo.Record, err error) {
	l.clock = l.clock.Add(1234567 * time.Microsecond)
	commandID := fmt.Sprintf("c-%s-%d", id, sequence)
	value, err := l.commands.Append(nil, c)
	if err != nil {
		return nil, nil, err
	}
	command = &kgo.Record{
		Topic: l.Topics.Commands, Partition: schemas.Partition(id, l.Partitions), Key: []byte(id), Value: value,
		Headers: []kgo.RecordHeader{{Key: schemas.HeaderID, Value: []byte(commandID)}},
	}
	event, err = l.Event(id, sequence, commandID, l.clock, e)
	return command, event, err
}

// Event is an event's record as the producer writes it, for a test to write, or to spoil.
func (l *Log) Event(id string, sequence int64, commandID string, at time.Time, e account.Event) (*kgo.Record, error) {
	value, err := l.events.Append(nil, e)
	if err != nil {
		return nil, err
	}
	header := func(key, value string) kgo.RecordHeader { return kgo.RecordHeader{Key: key, Value: []byte(value)} }
	return &kgo.Record{
		Topic: l.Topics.Events, Partition: schemas.Partition(id, l.Partitions), Key: []byte(schemas.EventKey(id, sequence)), Value: value,
		Headers: []kgo.RecordHeader{
			header(schemas.HeaderSpecVersion, schemas.SpecVersion),
			header(schemas.HeaderID, fmt.Sprintf("%s/%s/%d", account.Kind.Name, id, sequence)),
			header(schemas.HeaderType, e.AvroName()),
			header(schemas.HeaderSource, l.Topics.Commands),
			header(schemas.HeaderContentType, schemas.ContentType),
			header(schemas.HeaderTime, schemas.FormatTime(at)),
			header(schemas.HeaderSequence, fmt.Sprintf("%020d", sequence)),
			header(schemas.HeaderCausationID, commandID),
		},
	}, nil
}

// Deposit is the record of one more deposit to an account that exists; nothing is written and the account stays as it is.
func (l *Log) Deposit(a *Account) *kgo.Record {
	l.t.Helper()
	rec, err := l.Event(a.ID, a.Sequence+1, fmt.Sprintf("c-%s-1", a.ID), l.clock, &account.MoneyDeposited{AmountMinor: 1, BalanceMinor: a.Balance + 1, Currency: "EUR"})
	must(l.t, err)
	return rec
}

// Commit writes records in one transaction.
func (l *Log) Commit(records ...*kgo.Record) {
	l.t.Helper()
	l.beside += len(records)
	must(l.t, l.commit(l.t.Context(), records, kgo.TryCommit))
}

// Plain writes records without a transaction: past the producer.
func (l *Log) Plain(records ...*kgo.Record) {
	l.t.Helper()
	l.beside += len(records)
	must(l.t, l.plain.ProduceSync(l.t.Context(), records...).FirstErr())
}

// SetHeader changes a header of a record; an empty value takes it away.
func SetHeader(rec *kgo.Record, key, value string) {
	for i := range rec.Headers {
		if rec.Headers[i].Key != key {
			continue
		}
		if value == "" {
			rec.Headers = append(rec.Headers[:i:i], rec.Headers[i+1:]...)
			return
		}
		rec.Headers[i].Value = []byte(value)
	}
}
