package ledgerline

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/ledgerline-es/ledgerline/internal/cli"
)

func (a *App) producerCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "producer [KIND…]",
		Short: "Decide commands: read them from Kafka, write events and replies",
		Long: `Reads <kind>.commands as a member of the group <kind>.producer and writes events, replies and offsets in one Kafka
transaction. Creates the kind's topics when they are missing and refuses those that could lose something. State is
rebuilt from the events topic. Start as many as there are partitions at most. Without arguments it runs all kinds.`,
		Example: fmt.Sprintf("  %[1]s producer\n  %[1]s producer --kafka-brokers broker-1:9092,broker-2:9092 --registry-url http://registry:8081", a.Domain.Name),
		Args:    cobra.ArbitraryArgs,
	}
	cmd.RunE = func(cmd *cobra.Command, kinds []string) error {
		defs := a.Domain.Aggregates
		if len(kinds) > 0 {
			defs = nil
			for _, kind := range kinds {
				def, err := a.Domain.aggregate(kind)
				if err != nil {
					return err
				}
				defs = append(defs, def)
			}
		}
		return a.serve(cmd.Context(), kinds, func(s *admin, run func(name string, ready func() error, run func(context.Context) error)) error {
			for _, def := range defs {
				p, err := a.producer(def, s.registry)
				if err != nil {
					return err
				}
				run("producer "+def.KindName(), p.Ready, p.Run)
			}
			return nil
		})
	}
	return a.withSettings(cmd, kafkaSettings, topicSettings, producerSettings, []cli.Setting{adminSetting("127.0.0.1:9465")})
}

func (a *App) projectorCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "projector [PROJECTION…]",
		Short: "Keep tables up to date: read events, write rows",
		Long: `Reads the events as one consumer group a projection, named as the projection, and writes its rows. The position is
kept in the store, in the same transaction as the rows in Postgres, in a ledger table in ClickHouse; the group's
offsets are a copy of it for Kafka's tools. Start as many as there are partitions at most. Without arguments it runs
all projections.`,
		Example: fmt.Sprintf("  %[1]s projector\n  %[1]s projector account-summary --postgres-url postgres://ledger@db:5432/ledger", a.Domain.Name),
		Args:    cobra.ArbitraryArgs,
	}
	cmd.RunE = func(cmd *cobra.Command, names []string) error {
		projections, err := a.Domain.projections(names)
		if err != nil {
			return err
		}
		sinks, err := a.stores(projections)
		if err != nil {
			return err
		}
		defer sinks.Close()
		return a.serve(cmd.Context(), names, func(s *admin, run func(name string, ready func() error, run func(context.Context) error)) error {
			if err := sinks.register(s.registry); err != nil {
				return err
			}
			for _, p := range projections {
				worker, err := a.projector(p, sinks, s.registry)
				if err != nil {
					return err
				}
				run(projectorPart+p.ProjectionName(), worker.Ready, worker.Run)
			}
			return nil
		})
	}
	return a.withSettings(cmd, kafkaSettings, storeSettings, []cli.Setting{adminSetting("127.0.0.1:9466")})
}

func (a *App) allCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "all",
		Short: "Run every role in one process, on real servers",
		Long: `Runs producer, projectors, monitor and API side by side in one process, with one admin listener: for a pilot, or a machine
that is all there is. Everything it keeps is in Kafka, Postgres and ClickHouse, so a second one may run beside it, and each
role can move to a process of its own later.`,
		Example: fmt.Sprintf("  %[1]s all --kafka-brokers broker-1:9092 --registry-url http://registry:8081 --postgres-url postgres://ledger@db/ledger --clickhouse-url http://clickhouse:8123", a.Domain.Name),
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) (err error) {
		service, err := a.listenAPI(cmd.Context())
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, service.Close()) }()
		sinks, err := a.stores(a.Domain.Projections)
		if err != nil {
			return err
		}
		defer sinks.Close()
		return a.serve(cmd.Context(), nil, func(s *admin, run func(name string, ready func() error, run func(context.Context) error)) error {
			return a.everything(s, sinks, service, run)
		})
	}
	return a.withSettings(cmd, kafkaSettings, topicSettings, producerSettings, storeSettings, apiSettings, monitorSettings, []cli.Setting{adminSetting("127.0.0.1:9464")})
}

// projectorPart begins the names of projectors among the parts of a process.
const projectorPart = "projector "

// everything makes the parts of all roles.
func (a *App) everything(s *admin, sinks *stores, service *apiService, run func(name string, ready func() error, run func(context.Context) error)) error {
	if err := sinks.register(s.registry); err != nil {
		return err
	}
	for _, def := range a.Domain.Aggregates {
		p, err := a.producer(def, s.registry)
		if err != nil {
			return err
		}
		run("producer "+def.KindName(), p.Ready, p.Run)
	}
	for _, p := range a.Domain.Projections {
		worker, err := a.projector(p, sinks, s.registry)
		if err != nil {
			return err
		}
		run(projectorPart+p.ProjectionName(), worker.Ready, worker.Run)
	}
	m, watch, err := a.monitor(s.registry)
	if err != nil {
		return err
	}
	run("monitor", m.Ready, watch)
	if err := service.build(s.registry); err != nil {
		return err
	}
	run("api", service.Ready, service.Run)
	return nil
}

// serve runs the parts of a role beside its admin listener until ctx ends or all parts but none goes on: one that stops for
// good leaves the others at work, and the role not ready. names are the kinds or projections that it is limited to; none: all.
func (a *App) serve(ctx context.Context, names []string, build func(s *admin, run func(name string, ready func() error, run func(context.Context) error)) error) error {
	s, err := a.listenAdmin(ctx)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var work, listening errgroup.Group
	err = build(s, func(name string, ready func() error, run func(context.Context) error) {
		s.parts[name] = func() error { return a.hinted(ready()) }
		work.Go(func() error { return run(ctx) })
	})
	if err != nil {
		_ = s.listener.Close()
		return err
	}
	watch := a.rightsOf(a.running, names...)
	s.parts["rights"] = watch.ready
	listening.Go(func() error { watch.run(ctx); return nil })
	listening.Go(func() error { return s.serve(ctx) })
	a.log.Info("started", "admin", "http://"+s.listener.Addr().String())
	err = work.Wait()
	stop()
	if listenErr := listening.Wait(); err == nil {
		err = listenErr
	}
	return err
}
