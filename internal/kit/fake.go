package kit

import (
	"context"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sr"

	"github.com/ledgerline-es/ledgerline/internal/embedded/registry"
)

// FakeKafkaCluster is a broker in process: fast, and not crash-safe. Promises about crashes are tested on Kafka.
type FakeKafkaCluster struct{ *kfake.Cluster }

// FakeKafka starts a broker in process that ends with the test. Topics have 12 partitions unless asked for otherwise.
func FakeKafka(t testing.TB, opts ...kfake.Opt) *FakeKafkaCluster {
	t.Helper()
	opts = append([]kfake.Opt{
		kfake.NumBrokers(1),
		kfake.DefaultNumPartitions(12),
		// Its cleaner ignores the last stable offset and drops abort markers.
		kfake.BrokerConfigs(map[string]string{"log.cleaner.backoff.ms": "2000000000"}),
	}, opts...)
	c, err := kfake.NewCluster(opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return &FakeKafkaCluster{c}
}

// Brokers are the addresses for a client.
func (f *FakeKafkaCluster) Brokers() []string { return f.ListenAddrs() }

// Client is a client of the broker that closes with the test.
func (f *FakeKafkaCluster) Client(t testing.TB, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	return newClient(t, f.Brokers(), opts)
}

// FakeRegistry starts a schema registry in process, in memory, that ends with the test, and gives a client of it.
func FakeRegistry(t testing.TB) *sr.Client {
	t.Helper()
	s, err := registry.Start(t.Context(), registry.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	return newRegistryClient(t, s.URL())
}
