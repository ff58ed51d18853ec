package projector_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ledgerline-es/ledgerline/internal/kit"
	"github.com/ledgerline-es/ledgerline/projector/internal/logtest"
	"github.com/ledgerline-es/ledgerline/projector/verify"
)

func TestMain(m *testing.M) { kit.Main(m, logtest.Role()) }

// allEqual waits until every projection stands at the end of the log with nothing unfinished, and fails unless it is
// exactly what the log gives.
func allEqual(t *testing.T, w *logtest.World) verify.Report {
	t.Helper()
	projections, sinks := w.Projections()
	var report verify.Report
	logtest.Eventually(t, func() error {
		var err error
		report, err = verify.Verify(t.Context(), verify.Config{
			Client: []kgo.Opt{kgo.SeedBrokers(w.Log.Brokers...)}, Registry: w.Registry, TopicPrefix: w.Log.Prefix, Sinks: sinks,
		}, projections...)
		if err != nil {
			return err
		}
		// A commit is answered before its markers are in all partitions: the last events may not be readable yet.
		if events := report.Logs[0].Events; events < int64(w.Written()) {
			return fmt.Errorf("%d of %d events are in the log", events, w.Written())
		}
		for _, p := range report.Projections {
			if p.Behind > 0 || len(p.Unfinished) > 0 {
				return fmt.Errorf("%s is %d behind, unfinished %v", p.Projection, p.Behind, p.Unfinished)
			}
		}
		return nil
	})
	if !report.Equal || report.Logs[0].Events != int64(w.Written()) {
		b, err := json.MarshalIndent(report, "", " ")
		if err != nil {
			t.Fatal(err)
		}
		t.Fatalf("%d events written; not equal: %s", w.Written(), b)
	}
	return report
}

const leastHits = 5

// A process of projectors is killed where it has a transaction open in Postgres or a range half done in ClickHouse.
func TestP6P7_ProjectorKilledMidBatch_NothingLostNothingDoubled(t *testing.T) {
	w := logtest.NewWorld(t, 4, 10)
	w.Instance, w.MaxBatch = "a", 200
	stop := w.Load(3000, 300)
	var kills, postgres, clickhouse int
	child := w.StartChild(t, nil)
	for deadline := time.Now().Add(8 * time.Minute); (postgres < leastHits || clickhouse < leastHits) && time.Now().Before(deadline); {
		<-time.After(time.Duration(5+rand.IntN(200)) * time.Millisecond) // anywhere in its work
		hits := child.Freeze()
		if hits.Postgres > 0 && postgres < leastHits || hits.ClickHouse > 0 && clickhouse < leastHits {
			if err := child.Kill(); err != nil {
				t.Fatal(err)
			}
			kills++
			postgres += min(hits.Postgres, 1)
			clickhouse += min(hits.ClickHouse, 1)
			child = w.StartChild(t, nil)
			continue
		}
		child.Thaw()
	}
	stop()
	t.Logf("%d kills: %d hit an open transaction in Postgres, %d a recorded, unfinished range in ClickHouse; %d events", kills, postgres, clickhouse, w.Written())
	if postgres < leastHits || clickhouse < leastHits {
		t.Errorf("too few hits to show anything: want %d of each", leastHits)
	}
	allEqual(t, w)
}

// The broker is killed while projectors have work half done, with more of it waiting in the log.
func TestP13_BrokerKilled_ProjectorsGoOn(t *testing.T) {
	w := logtest.NewWorld(t, 4, 11)
	w.Instance, w.MaxBatch = "a", 100
	kafka := kit.Kafka(t)
	child := w.StartChild(t, nil)
	kills := 0
	for deadline := time.Now().Add(8 * time.Minute); kills < leastHits && time.Now().Before(deadline); {
		stop := w.Load(4000, 300)
		<-time.After(time.Duration(500+rand.IntN(500)) * time.Millisecond)
		stop() // the writer would not know what became of its transaction
		for range 20 {
			if hits := child.Freeze(); hits.Postgres+hits.ClickHouse > 0 {
				kafka.Kill9()
				child.Thaw()
				kafka.Restart(t)
				kills++
				break
			}
			child.Thaw()
			<-time.After(time.Duration(rand.IntN(30)) * time.Millisecond)
		}
	}
	t.Logf("%d kills of the broker while a transaction was open or a range unfinished; %d events", kills, w.Written())
	if kills < leastHits {
		t.Errorf("too few hits to show anything: want %d", leastHits)
	}
	w.Write(500, 300)
	allEqual(t, w)
}

// The offsets in the group are for tools alone: without them, or with wrong ones, nothing is lost or read twice.
func TestP6P7_GroupDeletedOrReset_NothingChanges(t *testing.T) {
	w := logtest.NewWorld(t, 4, 12)
	names := []string{logtest.BalancesName, logtest.EntriesName, logtest.FactsName}
	client, err := kgo.NewClient(kgo.SeedBrokers(w.Log.Brokers...))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	reset := func(to func(kadm.ListedOffset) int64) func(group string) error {
		return func(group string) error {
			ends, err := admin.ListEndOffsets(t.Context(), w.Topics.Events)
			if err != nil {
				return err
			}
			offsets := make(kadm.Offsets)
			ends.Each(func(o kadm.ListedOffset) {
				offsets.Add(kadm.Offset{Topic: o.Topic, Partition: o.Partition, At: to(o), LeaderEpoch: -1})
			})
			return admin.CommitAllOffsets(t.Context(), group, offsets)
		}
	}
	for _, c := range []struct {
		name string
		do   func(group string) error
	}{
		{"as it is", func(string) error { return nil }},
		{"group deleted", func(group string) error {
			_, err := admin.DeleteGroup(t.Context(), group)
			return err
		}},
		{"reset to the beginning", reset(func(kadm.ListedOffset) int64 { return 0 })},
		{"reset to the end", reset(func(o kadm.ListedOffset) int64 { return o.Offset })},
		{"reset beyond the end", reset(func(o kadm.ListedOffset) int64 { return o.Offset + 1000 })},
	} {
		t.Run(c.name, func(t *testing.T) {
			w.Write(700, 60)
			for _, name := range names {
				if err := c.do(w.Log.Prefix + name); err != nil {
					t.Fatal(err)
				}
			}
			child := w.StartChild(t, nil)
			w.Write(300, 60)
			allEqual(t, w)
			for _, name := range names {
				lagIsGone(t, admin, w.Log.Prefix+name, w.Topics.Events)
			}
			if err := child.Stop(context.WithoutCancel(t.Context())); err != nil {
				t.Fatal(err)
			}
		})
	}
	out := kit.Kafka(t).Tool(t, "kafka-consumer-groups", "--describe", "--group", w.Log.Prefix+logtest.BalancesName)
	if !strings.Contains(out, w.Topics.Events) {
		t.Errorf("Kafka's own tool shows nothing of it:\n%s", out)
	}
}

// lagIsGone waits until the group stands at the end of the log, as Kafka's tools see it: with the markers of transactions
// passed over too.
func lagIsGone(t *testing.T, admin *kadm.Client, group, topic string) {
	t.Helper()
	logtest.Eventually(t, func() error {
		lags, err := admin.Lag(t.Context(), group)
		if err != nil {
			return err
		}
		partitions := lags[group].Lag[topic]
		if len(partitions) != 4 {
			return fmt.Errorf("group %s has offsets of %d partitions", group, len(partitions))
		}
		for _, l := range partitions {
			if l.Err != nil || l.Lag != 0 {
				return fmt.Errorf("group %s partition %d: lag %d, %w", group, l.Partition, l.Lag, l.Err)
			}
		}
		return nil
	})
}

// A member that was frozen past its session wakes up in the midst of what another one has done since.
func TestP6P7_ZombieWakesUp_IsRefused(t *testing.T) {
	w := logtest.NewWorld(t, 4, 13)
	w.MaxBatch, w.SessionTimeout = 200, time.Second
	zombies := Hits{}
	a, b := w.StartChild(t, nil), w.StartChild(t, nil)
	stop := w.Load(2500, 200)
	for deadline := time.Now().Add(8 * time.Minute); (zombies.Postgres < leastHits || zombies.ClickHouse < leastHits) && time.Now().Before(deadline); {
		<-time.After(time.Duration(100+rand.IntN(300)) * time.Millisecond)
		b.Freeze() // one stands still so that what is open is the other's
		hits := a.Freeze()
		b.Thaw()
		if hits.Postgres > 0 && zombies.Postgres < leastHits || hits.ClickHouse > 0 && zombies.ClickHouse < leastHits {
			zombies.Postgres += min(hits.Postgres, 1)
			zombies.ClickHouse += min(hits.ClickHouse, 1)
			<-time.After(2 * time.Second) // twice its session: the other one has taken over
		}
		a.Thaw()
		a, b = b, a
	}
	stop()
	t.Logf("zombies with a transaction open in Postgres: %d, with a range unfinished in ClickHouse: %d; %d events", zombies.Postgres, zombies.ClickHouse, w.Written())
	if zombies.Postgres < leastHits || zombies.ClickHouse < leastHits {
		t.Errorf("too few to show anything: want %d of each", leastHits)
	}
	allEqual(t, w)
}

// A member that stands still inside a transaction holds the positions of its partitions locked. Its successor gets them
// all the same, and the transaction comes to nothing.
func TestP6_FrozenInsideATransaction_SuccessorGoesOn(t *testing.T) {
	w := logtest.NewWorld(t, 4, 14)
	w.Only, w.MaxBatch, w.SessionTimeout = []string{logtest.BalancesName, logtest.EntriesName}, 200, time.Second
	frozen := w.StartChild(t, nil)
	stop := w.Load(2500, 200)
	for frozen.Freeze().Postgres == 0 {
		frozen.Thaw()
		<-time.After(time.Duration(rand.IntN(30)) * time.Millisecond)
	}
	successor := w.StartChild(t, nil)
	<-time.After(2 * time.Second)
	stop()
	allEqual(t, w)
	frozen.Thaw()
	w.Write(1000, 200)
	allEqual(t, w)
	if err := successor.Err(); err != nil {
		t.Error(err)
	}
}

type Hits = logtest.Hits
