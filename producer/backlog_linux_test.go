package producer_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ledgerline-es/ledgerline/internal/kit"
	"github.com/ledgerline-es/ledgerline/producer"
	"github.com/ledgerline-es/ledgerline/schemas"
	"github.com/ledgerline-es/ledgerline/schemas/account"
)

// A producer that comes back to a large backlog needs no more memory than one that comes back to a small one.
func TestP13_BacklogOfAnySize_TakesTheSameMemory(t *testing.T) {
	const small, times, size = 40 << 20, 4, 2 << 10 // bytes, and of one command
	t.Setenv("GOGC", "25")                          // of the producers: less of the peak is what the collector happened to leave
	peak := func(backlog int) int {
		s := realSystem(t)
		if _, err := producer.EnsureTopics(t.Context(), kadm.NewClient(s.kafka()), producer.Topics(s.config(), "account")); err != nil {
			t.Fatal(err)
		}
		n := backlog / size
		s.backlog(n, size)
		p := s.spawn(kit.Registry(t).URL(), "long-transactions")
		s.await("the backlog to be worked off", func() error {
			ends, err := kadm.NewClient(s.kafka()).ListCommittedOffsets(t.Context(), s.topics.Replies)
			answered := int64(0)
			ends.Each(func(o kadm.ListedOffset) { answered += o.Offset })
			if err == nil && answered < int64(n) { // markers of transactions among them
				err = fmt.Errorf("%d of %d", answered, n)
			}
			return err
		})
		return peakMemory(t, p.Pid())
	}
	few, many := peak(small), peak(times*small)
	t.Logf("at most %d MiB with a backlog of %d MiB, %d MiB with one of %d", few>>20, small>>20, many>>20, times*small>>20)
	if more := many - few; more > (times-1)*small/2 {
		t.Errorf("a backlog that is %d MiB larger took %d MiB more memory", (times-1)*small>>20, more>>20)
	}
}

// backlog publishes n commands of about so many bytes, which compression makes no smaller.
func (s *system) backlog(n, size int) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	cl := s.kafka(kgo.MaxBufferedRecords(2000))
	letters := make([]byte, 1<<20)
	random := rand.New(rand.NewPCG(1, 2))
	for i := range letters {
		letters[i] = 'a' + byte(random.IntN(26))
	}
	serde := schemas.NewSerde(schemas.NewCodec(s.registry), s.topics.Commands, schemas.BackwardTransitive, account.Kind.Commands...)
	if err := serde.Register(ctx); err != nil {
		s.t.Fatal(err)
	}
	for i := range n {
		id, from := fmt.Sprint("acc-", i%100), random.IntN(len(letters)-size)
		data, err := serde.Append(nil, &account.DepositMoney{AmountMinor: 1, Counterparty: string(letters[from : from+size])})
		if err != nil {
			s.t.Fatal(err)
		}
		cl.Produce(ctx, &kgo.Record{Topic: s.topics.Commands, Partition: schemas.Partition(id, 4), Key: []byte(id), Value: data}, func(_ *kgo.Record, err error) {
			if err != nil {
				s.t.Error(err)
			}
		})
	}
	if err := cl.Flush(ctx); err != nil {
		s.t.Fatal(err)
	}
}

// peakMemory is the most that a process has had in memory, in bytes.
func peakMemory(t *testing.T, pid int) int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "VmHWM:")
	var kib int
	if _, err := fmt.Sscan(rest, &kib); err != nil {
		t.Fatalf("no VmHWM in %s: %v", text, err)
	}
	return kib << 10
}
