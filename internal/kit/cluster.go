package kit

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"

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
