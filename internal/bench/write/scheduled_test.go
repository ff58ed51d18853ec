package write

import (
	"context"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ledgerline-es/ledgerline/internal/bench"
	"github.com/ledgerline-es/ledgerline/producer"
	"github.com/ledgerline-es/ledgerline/schemas"
	"github.com/ledgerline-es/ledgerline/schemas/account"
	"github.com/ledgerline-es/ledgerline/schemas/ledgerline"
)

// BenchmarkScheduled measures commands that wait for a time: how many can be put off a second, beside commands that are decided at once, and
// how late they are decided while BENCH_SCHEDULED=200000 others wait.
func BenchmarkScheduled(b *testing.B) {
	for b.Loop() { // once, by -benchtime 1x
		measureScheduled(b)
	}
}

const (
	putOffBefore  = 3 * time.Second // it is due
	atMostLate    = time.Second
	scheduledRate = 1000 // a second
)

func measureScheduled(b *testing.B) {
	p := newPlant(b, number(b, "BENCH_SCHEDULED", 200_000))
	p.ledgerline(1, p.stage(min(p.commands, 200_000)), b.TempDir()) // a cold broker is slower
	far := kgo.RecordHeader{Key: schemas.HeaderDeliverAt, Value: []byte(schemas.FormatTime(time.Now().Add(24 * time.Hour)))}
	backlog := func(headers ...kgo.RecordHeader) string {
		return p.staged(func(publish func(id string, c account.Command, headers ...kgo.RecordHeader)) {
			for n := range p.commands {
				publish(accountID(n%p.accounts), &account.OpenAccount{Owner: "benchmark", Currency: "EUR"}, headers...)
			}
		})
	}
	atOnce := p.ledgerline(1, backlog(), b.TempDir())
	waiting, state := backlog(far), b.TempDir()
	putOff := p.putOff(waiting, state)
	fmt.Printf("\n%d commands, a backlog, one session; %s\n\n%-52s %12s %14s\n", p.commands, bench.ThisMachine(), "", "commands/s", "CPU s/million")
	for _, r := range []result{atOnce, putOff} {
		fmt.Printf("%-52s %12.0f %14.2f\n", r, r.steady, r.cpu)
	}

	var rows latencyTable
	rows.head(fmt.Sprintf("from when a command is due until the poll that reads its reply, while %d others wait", p.commands), "commands")
	defer p.startLedgerline(1, waiting, state, prometheus.NewRegistry())()
	var best latency
	for n := range 2 {
		l := p.lateness(waiting, strconv.Itoa(n), scheduledRate, measured)
		rows.add(nameOurs, "", l)
		if n == 0 || l.max < best.max {
			best = l
		}
	}
	fmt.Println()
	report(b, "scheduled", rows, []bench.Target{
		bench.AtMost("scheduled_late_p99_ms", best.p99, ms(atMostLate)),
		bench.AtMost("scheduled_late_max_ms", best.max, ms(atMostLate)),
	})
}

// putOff lets a producer put off what waits in a backlog.
func (p *plant) putOff(prefix, state string) result {
	j := p.commandsOf(prefix, producer.Group(prefix, "account"))
	j.who, j.setting = nameOurs, "put off"
	return p.run(j, func() running { return within(p.startLedgerline(1, prefix, state, prometheus.NewRegistry())) })
}

// lateness measures commands that are due at a rate.
func (p *plant) lateness(prefix, run string, rate int, lasting time.Duration) latency {
	a := p.asker(prefix)
	defer a.reader.Close()
	defer a.writer.Close()
	replies := schemas.NewSerde(schemas.NewCodec(p.registry), a.topics.Replies, schemas.ForwardTransitive, ledgerline.ReplyType)
	ctx, cancel := context.WithTimeout(p.b.Context(), lasting+2*time.Minute)
	defer cancel()
	value, err := a.serde.Append(nil, &account.DepositMoney{AmountMinor: 1, Category: "bench"})
	if err != nil {
		p.b.Fatal(err)
	}
	n, begun := int(lasting.Seconds()*float64(rate)), time.Now().Add(putOffBefore)
	due := func(i int) time.Time {
		return begun.Add(time.Duration(float64(i) / float64(rate) * float64(time.Second)))
	}
	stop := p.background(func(ctx context.Context) {
		for i := range n {
			select {
			case <-ctx.Done():
				return
			case <-time.After(time.Until(due(i).Add(-putOffBefore))):
			}
			id := accountID(i % p.accounts)
			a.writer.Produce(ctx, &kgo.Record{
				Topic: a.topics.Commands, Partition: schemas.Partition(id, partitions), Key: []byte(id), Value: value,
				Headers: []kgo.RecordHeader{
					{Key: schemas.HeaderID, Value: []byte(run + "-" + strconv.Itoa(i))},
					{Key: schemas.HeaderDeliverAt, Value: []byte(schemas.FormatTime(due(i)))},
				},
			}, func(_ *kgo.Record, err error) {
				if err != nil {
					p.b.Error(err)
				}
			})
		}
	})
	defer stop()
	var late []float64
	for len(late) < n {
		fetches := a.reader.PollFetches(ctx)
		now := time.Now()
		if err := fetches.Err(); err != nil {
			p.b.Fatalf("%d of %d commands were decided: %v", len(late), n, err)
		}
		fetches.EachRecord(func(rec *kgo.Record) {
			reply, err := replies.Decode(ctx, rec.Value)
			if err != nil {
				p.b.Fatal(err)
			}
			var i int
			if _, err := fmt.Sscanf(reply.CommandID, run+"-%d", &i); err != nil || reply.Code == producer.CodeScheduled {
				return
			}
			late = append(late, ms(now.Sub(due(i))))
		})
	}
	return latencyOf(rate, late)
}
