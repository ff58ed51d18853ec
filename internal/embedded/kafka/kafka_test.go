package kafka_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ledgerline-es/ledgerline/internal/embedded/kafka"
	"github.com/ledgerline-es/ledgerline/internal/process"
)

func TestMain(m *testing.M) {
	process.Dispatch(kafka.Role(), parentRole)
	os.Exit(m.Run())
}

// parentRole starts a broker and waits: it is to be killed. Arguments: folder, file that gets the broker's address.
var parentRole = process.Role{Name: "test-parent", Run: func(ctx context.Context, args []string) error {
	s, err := kafka.Start(ctx, kafka.Config{Dir: args[0]})
	if err != nil {
		return err
	}
	if err := os.WriteFile(args[1]+".next", []byte(s.Addr()), 0o600); err != nil {
		return err
	}
	if err := os.Rename(args[1]+".next", args[1]); err != nil {
		return err
	}
	<-ctx.Done()
	return s.Stop(context.WithoutCancel(ctx))
}}

func client(t *testing.T, addr string, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	cl := newClient(t, addr, opts...)
	t.Cleanup(cl.Close)
	return cl
}

func newClient(t *testing.T, addr string, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	cl, err := kgo.NewClient(append(opts, kgo.SeedBrokers(addr))...)
	if err != nil {
		t.Fatal(err)
	}
	return cl
}

// committed writes one transaction of n records.
func committed(t *testing.T, addr, id, topic string, n int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cl := client(t, addr, kgo.TransactionalID(id), kgo.DefaultProduceTopic(topic))
	if err := cl.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	for i := range n {
		cl.Produce(ctx, kgo.StringRecord(fmt.Sprint(i)), nil)
	}
	if err := cl.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	if err := cl.EndTransaction(ctx, kgo.TryCommit); err != nil {
		t.Fatal(err)
	}
}

func count(t *testing.T, addr, topic string, want int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cl := client(t, addr, kgo.ConsumeTopics(topic), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	for got := 0; got < want; {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatalf("%d of %d records: %v", got, want, err)
		}
		got += fetches.NumRecords()
	}
}

func TestDataOutliveAKilledParent(t *testing.T) {
	dir := t.TempDir()
	for round := range 3 {
		file := filepath.Join(t.TempDir(), "addr")
		parent, err := process.Start(t.Context(), process.Spec{Role: parentRole.Name, Args: []string{dir, file}})
		if err != nil {
			t.Fatal(err)
		}
		addr := await(t, parent, file)
		if round == 0 {
			limit := "-1"
			if _, err := kadm.NewClient(client(t, addr)).CreateTopic(t.Context(), 1, 1, map[string]*string{"retention.ms": &limit}, "facts"); err != nil {
				t.Fatal(err)
			}
		}
		committed(t, addr, fmt.Sprint("tx-", round), "facts", 100)
		if err := parent.Kill(); err != nil {
			t.Fatal(err)
		}
		<-parent.Done()
	}
	s, err := kafka.Start(t.Context(), kafka.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	count(t, s.Addr(), "facts", 300)
	configs, err := kadm.NewClient(client(t, s.Addr())).DescribeTopicConfigs(t.Context(), "facts")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range configs[0].Configs {
		if c.Key == "retention.ms" && c.MaybeValue() != "-1" {
			t.Errorf("retention.ms is %s after the restart", c.MaybeValue())
		}
	}
	if err := s.Stop(t.Context()); err != nil {
		t.Error(err)
	}
}

func await(t *testing.T, p *process.Process, file string) string {
	t.Helper()
	deadline := time.After(time.Minute)
	for {
		if b, err := os.ReadFile(file); err == nil {
			return string(b)
		}
		select {
		case <-p.Done():
			t.Fatalf("the parent ended: %v", p.Err())
		case <-deadline:
			t.Fatalf("no broker: %s", p.LogTail())
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func TestListenElsewhere_Refused(t *testing.T) {
	if _, err := kafka.Start(t.Context(), kafka.Config{Dir: t.TempDir(), Listen: "0.0.0.0:9092"}); err == nil {
		t.Error("it listens on all addresses without users")
	}
}
