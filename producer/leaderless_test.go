package producer_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/ledgerline-es/ledgerline/internal/kit"
	"github.com/ledgerline-es/ledgerline/producer"
	"github.com/ledgerline-es/ledgerline/schemas"
)

// While a partition has no leader, those that are beside it go on: of a member that had it, of one that begins without it, and for clients
// that come meanwhile. What waits in it is decided when it is back, once.
func TestP13_PartitionWithoutLeader_OthersGoOn(t *testing.T) {
	kit.Start(t, kit.UseRegistry)
	cluster := kit.StartKafkaCluster(t)
	s := systemOn(t, cluster.Brokers(), kit.Registry(t).Client(t), kit.Prefix(t))
	const down, broker = int32(3), 2
	for _, topic := range producer.Topics(s.config(), "account") {
		cluster.CreateTopic(topic.Name, topic.Configs, topic.Partitions, func(partition int32) int {
			if partition == down {
				return broker
			}
			return int(partition % 2)
		})
	}
	running := []*running{s.start()}
	c := s.client()
	const accounts = 12
	deposits, waiting := map[string]int{}, []string(nil)
	deposited := func(c *producer.Client, id string) {
		t.Helper()
		expect(t, s.publish(c, deposit(id, 1)), producer.Accepted, "")
		deposits[id]++
	}
	for n := range accounts {
		id := fmt.Sprint("acc-", n)
		deposited(c, id)
		if schemas.Partition(id, 4) == down {
			waiting = append(waiting, id)
		}
	}
	cluster.Kill9(broker)
	running = append(running, s.launch())
	s.await("a member to say which partition waits", func() error {
		var all error
		for _, r := range running {
			err := r.Ready()
			if err != nil && strings.Contains(err.Error(), fmt.Sprintf("partition %d has no leader: what it holds waits, other partitions go on", down)) {
				return nil
			}
			all = errors.Join(all, err)
		}
		return all
	})
	late := s.client()
	answered := make(chan error, len(waiting))
	for _, id := range waiting {
		go func() {
			ctx, cancel := context.WithTimeout(context.Background(), 3*patience)
			defer cancel()
			reply, err := late.Publish(ctx, deposit(id, 1))
			if err == nil && reply.Outcome != producer.Accepted {
				err = fmt.Errorf("%+v", reply)
			}
			answered <- err
		}()
	}
	for _, client := range []*producer.Client{c, late} {
		for range 3 {
			for id := range deposits {
				if schemas.Partition(id, 4) != down {
					deposited(client, id)
				}
			}
		}
	}
	select {
	case err := <-answered:
		t.Fatalf("a command to the partition without a leader is answered: %v", err)
	default:
	}
	running[0].stop() // the other takes over what it had, with what waits among it
	for id := range deposits {
		if schemas.Partition(id, 4) != down {
			deposited(late, id)
		}
	}

	cluster.Restart(broker)
	for _, id := range waiting {
		if err := <-answered; err != nil {
			t.Errorf("a command that waited: %v", err)
		}
		deposits[id]++
	}
	s.await("all to be ready", running[1].Ready)
	for id, events := range s.history() {
		if len(events) != deposits[id] {
			t.Errorf("%s has %d events, wanted %d", id, len(events), deposits[id])
		}
	}
}
