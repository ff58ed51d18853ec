package ledgerline

import (
	"context"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"

	"github.com/ledgerline-es/ledgerline/internal/cli"
	"github.com/ledgerline-es/ledgerline/producer"
	"github.com/ledgerline-es/ledgerline/projector/monitor"
	"github.com/ledgerline-es/ledgerline/schemas"
)

var monitorSettings = []cli.Setting{
	{Key: "monitor.interval", Default: 500 * time.Millisecond, Help: "time between two looks at what is behind", Check: atLeast(10*time.Millisecond, "")},
}

func (a *App) monitorCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "monitor",
		Short: "Measure how far everything is behind, from outside",
		Long: `Asks Kafka and the stores where the consumer groups of all aggregates and projections stand, and says on its admin
listener how far they are behind: projection_lag{projector} in milliseconds, kafka_consumergroup_group_lag and
kafka_consumergroup_group_lag_seconds by partition; and for how long a transaction is open and holds up all who read a
partition: kafka_partition_open_transaction_seconds. It shares nothing with what it watches, so it is right about a projector
that is dead or frozen. One is enough; a second shows the same.`,
		Example: fmt.Sprintf("  %[1]s monitor\n  %[1]s monitor --kafka-brokers broker-1:9092 --postgres-url postgres://ledger@db:5432/ledger --monitor-interval 1s", a.Domain.Name),
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return a.serve(cmd.Context(), nil, func(s *admin, run func(name string, ready func() error, run func(context.Context) error)) error {
			m, work, err := a.monitor(s.registry)
			if err != nil {
				return err
			}
			run("monitor", m.Ready, work)
			return nil
		})
	}
	return a.withSettings(cmd, kafkaSettings, storeSettings, monitorSettings, []cli.Setting{adminSetting("127.0.0.1:9468")})
}

// monitor makes a monitor of all groups of the domain, with connections of its own, and the function that runs it.
func (a *App) monitor(metrics prometheus.Registerer) (*monitor.Monitor, func(context.Context) error, error) {
	prefix := a.values.String("topic-prefix")
	var readers []monitor.Reader
	var more []string
	for _, def := range a.Domain.Aggregates {
		topics := schemas.TopicsOf(prefix, def.KindName())
		readers = append(readers, monitor.Reader{Group: producer.Group(prefix, def.KindName()), Topics: []string{topics.Commands, topics.Internal}})
		more = append(more, topics.Events, topics.Snapshots, topics.Replies, topics.DeadLetters)
	}
	sinks, err := a.stores(a.Domain.Projections)
	if err != nil {
		return nil, nil, err
	}
	for _, p := range a.Domain.Projections {
		store, ok := sinks.sinks[p.StoreName()].(monitor.Positioner)
		if !ok {
			store = nil // the group's offsets have to do
		}
		r, err := monitor.ReaderOf(p, prefix, store)
		if err != nil {
			return nil, nil, err
		}
		readers = append(readers, r)
	}
	m := monitor.New(monitor.Config{
		Client: a.kafkaOptions(), Topics: more, Interval: a.values.Duration("monitor.interval"), Registerer: metrics, Logger: a.log,
	}, readers...)
	return m, func(ctx context.Context) error {
		defer sinks.Close()
		return m.Run(ctx)
	}, nil
}
