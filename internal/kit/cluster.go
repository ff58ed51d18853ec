package kit

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
	"golang.org/x/sync/errgroup"

	"github.com/ledgerline-es/ledgerline/internal/process"
)

// KafkaCluster is a cluster of brokers that belongs to one test. Each is a controller too; the cluster's own topics have three copies,
// of which two must have a record before it counts. Clients reach each broker over a link of its own; brokers reach each other without.
type KafkaCluster struct {
	t     testing.TB
	nodes []*server
	links []*Link
}

// StartKafkaCluster starts three brokers, and returns when all answer. They end with the test.
func StartKafkaCluster(t testing.TB) *KafkaCluster {
	t.Helper()
	const size = 3
	peers := &peers{cluster: newClusterID()}
	c := &KafkaCluster{t: t}
	for range size {
		k := &kafka{peers: peers, node: len(peers.nodes) + 1}
		for _, port := range []*int{&k.port, &k.controller, &k.inner} {
			var err error
			if *port, err = process.FreePort(); err != nil {
				t.Fatal(err)
			}
		}
		link := StartLink(t, k.addr())
		k.advertised = link.Addr()
		c.links = append(c.links, link)
		peers.nodes = append(peers.nodes, k)
		c.nodes = append(c.nodes, &server{house: shared, starter: k})
	}
	t.Cleanup(func() {
		for n := range c.nodes {
			c.end(n)
		}
	})
	var starting errgroup.Group // side by side: none answers before most of them are there
	for _, s := range c.nodes {
		s.showOnFailure(t)
		starting.Go(func() error { return s.up(t.Context()) })
	}
	if err := starting.Wait(); err != nil {
		t.Fatal(err)
	}
	return c
}

// end kills a broker for good, and removes what it kept.
func (c *KafkaCluster) end(n int) {
	s := c.nodes[n]
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.run == nil {
		return
	}
	if err := s.run.Kill(); err != nil {
		c.t.Error(err)
	}
	<-s.run.Done()
	s.run = nil
	if err := os.RemoveAll(s.dir); err != nil {
		c.t.Error(err)
	}
}

// Size is the number of brokers.
func (c *KafkaCluster) Size() int { return len(c.nodes) }

// Brokers are the addresses for a client.
func (c *KafkaCluster) Brokers() []string {
	addrs := make([]string, 0, len(c.links))
	for _, l := range c.links {
		addrs = append(addrs, l.Addr())
	}
	return addrs
}

// Link is the way of clients to a broker.
func (c *KafkaCluster) Link(n int) *Link { return c.links[n] }

// CreateTopic makes a topic whose partitions have one copy each, on the brokers that are told.
func (c *KafkaCluster) CreateTopic(name string, configs map[string]string, partitions int32, broker func(partition int32) int) {
	c.t.Helper()
	req, topic := kmsg.NewPtrCreateTopicsRequest(), kmsg.NewCreateTopicsRequestTopic()
	topic.Topic, topic.NumPartitions, topic.ReplicationFactor = name, -1, -1
	for p := range partitions {
		at := kmsg.NewCreateTopicsRequestTopicReplicaAssignment()
		at.Partition, at.Replicas = p, []int32{int32(broker(p)) + 1} // Kafka counts them from 1
		topic.ReplicaAssignment = append(topic.ReplicaAssignment, at)
	}
	for key, value := range configs {
		config := kmsg.NewCreateTopicsRequestTopicConfig()
		config.Name, config.Value = key, &value
		topic.Configs = append(topic.Configs, config)
	}
	req.Topics = append(req.Topics, topic)
	resp, err := req.RequestWith(c.t.Context(), newClient(c.t, c.Brokers(), nil))
	if err == nil {
		err = kerr.ErrorForCode(resp.Topics[0].ErrorCode)
	}
	if err != nil {
		c.t.Fatalf("create %s: %v", name, err)
	}
}

// Kill9 ends a broker as a crash would, and returns when it is gone.
func (c *KafkaCluster) Kill9(n int) {
	c.t.Helper()
	c.nodes[n].kill(c.t)
	<-c.nodes[n].done()
}

// Restart starts a broker again, on the same ports and data, and returns when it answers.
func (c *KafkaCluster) Restart(n int) {
	c.t.Helper()
	if err := c.nodes[n].up(c.t.Context()); err != nil {
		c.t.Fatal(err)
	}
}

// Pause has a broker stand still, with its connections open; Continue has it go on.
func (c *KafkaCluster) Pause(n int) { c.t.Helper(); c.signal(n, syscall.SIGSTOP) }

// Continue ends what Pause began.
func (c *KafkaCluster) Continue(n int) { c.t.Helper(); c.signal(n, syscall.SIGCONT) }

func (c *KafkaCluster) signal(n int, sig syscall.Signal) {
	c.t.Helper()
	s := c.nodes[n]
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := syscall.Kill(s.run.Pid(), sig); err != nil {
		c.t.Fatal(err)
	}
}

// Trouble does something to one of the brokers for up to three seconds, and tells what it did: four rounds of five it is the link that is
// cut or slow, else the broker is killed and restarted, or stands still past its session. All is well again when it returns.
func (c *KafkaCluster) Trouble(r *rand.Rand, round int) string {
	c.t.Helper()
	n, lasts := r.IntN(c.Size()), time.Duration(r.IntN(3000))*time.Millisecond
	switch {
	case round%5 < 4:
		return c.cut(n, linkFaults[r.IntN(len(linkFaults))], lasts, r.IntN(2) == 0)
	case r.IntN(3) > 0:
		c.Kill9(n)
		<-time.After(lasts)
		c.Restart(n)
		return "killed"
	}
	c.Pause(n)
	<-time.After(lasts + 4*time.Second) // past its session: the others take its partitions
	c.Continue(n)
	return "stood still"
}

const afterEndTxn = "cut after an EndTxn"

var linkFaults = []string{"cut", "requests cut", "answers cut", "slow", afterEndTxn, afterEndTxn}

// cut does something to the link to a broker for a time, then either delivers what was held or breaks the connections.
func (c *KafkaCluster) cut(n int, fault string, lasts time.Duration, deliver bool) string {
	link := c.links[n]
	switch fault {
	case "cut":
		link.Cut()
	case "requests cut":
		link.CutRequests()
	case "answers cut":
		link.CutAnswers()
	case "slow":
		link.Slow(lasts/20, 20_000)
	case afterEndTxn: // whichever coordinates the transaction that is the first to end
		var hits [3]<-chan struct{}
		for n := range hits {
			hits[n] = c.links[n].CutAfter((&kmsg.EndTxnRequest{}).Key())
		}
		select {
		case <-hits[0]:
		case <-hits[1]:
		case <-hits[2]:
		case <-time.After(startTimeout):
			return "no EndTxn came"
		}
		<-time.After(lasts)
		for n := range hits {
			c.links[n].Reset()
		}
		return fault
	}
	<-time.After(lasts)
	if deliver {
		link.Heal()
		return fault + ", delivered"
	}
	link.Reset()
	return fault + ", broken"
}

// peers are the brokers of a cluster.
type peers struct {
	cluster string
	nodes   []*kafka
}

// settings are those that differ from a broker's that is alone.
func (p *peers) settings(node int) map[string]string {
	k := p.nodes[node-1]
	voters := make([]string, 0, len(p.nodes))
	for _, k := range p.nodes {
		voters = append(voters, fmt.Sprintf("%d@127.0.0.1:%d", k.node, k.controller))
	}
	s := map[string]string{
		"node.id":                  strconv.Itoa(node),
		"controller.quorum.voters": strings.Join(voters, ","),
		// Clients have a listener of their own, whose address is that of the link.
		"listeners":                      fmt.Sprintf("PLAINTEXT://%s,INNER://127.0.0.1:%d,CONTROLLER://127.0.0.1:%d", k.addr(), k.inner, k.controller),
		"advertised.listeners":           fmt.Sprintf("PLAINTEXT://%s,INNER://127.0.0.1:%d", k.advertised, k.inner),
		"inter.broker.listener.name":     "INNER",
		"listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,INNER:PLAINTEXT,CONTROLLER:PLAINTEXT",
		// A broker that stands still is to be noticed within seconds.
		"replica.lag.time.max.ms":               "4000",
		"controller.quorum.election.timeout.ms": "1000",
		"controller.quorum.fetch.timeout.ms":    "2000",
	}
	for _, topic := range []string{"offsets.topic", "transaction.state.log", "share.coordinator.state.topic"} {
		s[topic+".replication.factor"] = strconv.Itoa(len(p.nodes))
		if topic != "offsets.topic" {
			s[topic+".min.isr"] = "2"
		}
	}
	return s
}
