package kit

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ledgerline-es/ledgerline/internal/deps"
	"github.com/ledgerline-es/ledgerline/internal/process"
)

// KafkaServer is the broker of this test binary, as one test sees it.
type KafkaServer struct {
	t      testing.TB
	server *server
	broker *kafka
}

// Kafka starts the broker if it does not run.
func Kafka(t testing.TB) *KafkaServer {
	t.Helper()
	s := shared.of(UseKafka)
	s.use(t)
	return &KafkaServer{t: t, server: s, broker: s.starter.(*kafka)}
}

// Brokers are the addresses for a client.
func (k *KafkaServer) Brokers() []string { return []string{k.broker.addr()} }

// Client is a client of the broker that closes with the test.
func (k *KafkaServer) Client(t testing.TB, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	return newClient(t, k.Brokers(), opts)
}

func newClient(t testing.TB, brokers []string, opts []kgo.Opt) *kgo.Client {
	t.Helper()
	// The default of 5 s between metadata requests makes a test wait for every topic it has just made.
	opts = append([]kgo.Opt{kgo.SeedBrokers(brokers...), kgo.MetadataMinAge(10 * time.Millisecond)}, opts...)
	cl, err := kgo.NewClient(opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return cl
}

// Kill9 ends the broker as a crash would, and returns when it is gone.
func (k *KafkaServer) Kill9() { k.t.Helper(); k.server.kill(k.t) }

// Restart starts it again, on the same port and data, and returns when it answers.
func (k *KafkaServer) Restart(t testing.TB) { t.Helper(); k.server.use(t) }

// tools are the classes behind the names of Kafka's command-line tools.
var tools = map[string]string{
	"kafka-acls":             "org.apache.kafka.tools.AclCommand",
	"kafka-configs":          "org.apache.kafka.tools.ConfigCommand",
	"kafka-consumer-groups":  "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand",
	"kafka-delete-records":   "org.apache.kafka.tools.DeleteRecordsCommand",
	"kafka-get-offsets":      "org.apache.kafka.tools.GetOffsetShell",
	"kafka-groups":           "org.apache.kafka.tools.GroupsCommand",
	"kafka-log-dirs":         "org.apache.kafka.tools.LogDirsCommand",
	"kafka-topics":           "org.apache.kafka.tools.TopicCommand",
	"kafka-transactions":     "org.apache.kafka.tools.TransactionsCommand",
	"kafka-console-consumer": "org.apache.kafka.tools.consumer.ConsoleConsumer",
}

// Tool runs one of Kafka's own command-line tools against the broker and gives what it prints. --bootstrap-server is
// added; an exit status other than 0 fails the test.
func (k *KafkaServer) Tool(t testing.TB, name string, args ...string) string {
	t.Helper()
	class, ok := tools[name]
	if !ok {
		t.Fatalf("no tool %q: there are %s", name, strings.Join(slices.Sorted(maps.Keys(tools)), ", "))
	}
	home, err := deps.Fetch(t.Context(), deps.KafkaTools, os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	java, err := deps.Java()
	if err != nil {
		t.Fatal(err)
	}
	args = append([]string{"-Xmx256m", "-XX:TieredStopAtLevel=1", "-cp", filepath.Join(home, "libs", "*"), class, "--bootstrap-server", k.broker.addr()}, args...)
	cmd := exec.CommandContext(t.Context(), java, args...)
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s: %v\n%s%s", name, err, &out, &errOut)
	}
	return out.String()
}

// kafka starts the broker.
type kafka struct {
	port, controller int
	secured          *secured // nil: it lets everybody in
	peers            *peers   // nil: it is alone
	node             int      // among its peers
	inner            int      // the port for them
	advertised       string   // where its link listens for clients
	formatted        bool
}

func (k *kafka) name() string {
	switch {
	case k.secured != nil:
		return "kafka-secured"
	case k.peers != nil:
		return fmt.Sprintf("kafka-%s-%d", k.peers.cluster, k.node)
	}
	return "kafka"
}

func (k *kafka) components() []deps.Name { return []deps.Name{deps.Kafka} }
func (k *kafka) addr() string            { return fmt.Sprintf("127.0.0.1:%d", k.port) }

// settings are the broker's. What is not here is as Kafka ships it: tests are to meet what production has.
func (k *kafka) settings(dir string) map[string]string {
	s := map[string]string{
		"process.roles":             "broker,controller",
		"node.id":                   "1",
		"controller.quorum.voters":  fmt.Sprintf("1@127.0.0.1:%d", k.controller),
		"listeners":                 fmt.Sprintf("PLAINTEXT://127.0.0.1:%d,CONTROLLER://127.0.0.1:%d", k.port, k.controller),
		"advertised.listeners":      "PLAINTEXT://" + k.addr(),
		"controller.listener.names": "CONTROLLER",
		"log.dirs":                  filepath.Join(dir, "data"),

		// One broker.
		"offsets.topic.replication.factor":                 "1",
		"transaction.state.log.replication.factor":         "1",
		"transaction.state.log.min.isr":                    "1",
		"share.coordinator.state.topic.replication.factor": "1",
		"share.coordinator.state.topic.min.isr":            "1",
		"offsets.topic.num.partitions":                     "4",
		"transaction.state.log.num.partitions":             "4",
		"share.coordinator.state.topic.num.partitions":     "4",

		// Tests form groups all the time, and tell dead members from living ones within a second.
		"group.initial.rebalance.delay.ms":         "0",
		"group.min.session.timeout.ms":             "500",
		"group.consumer.min.session.timeout.ms":    "500",
		"group.consumer.min.heartbeat.interval.ms": "100",

		// A killed broker may only register again when the session of its former self has ended: 9 s unless set.
		"broker.session.timeout.ms":    "3000",
		"broker.heartbeat.interval.ms": "500",
	}
	if k.secured != nil {
		maps.Copy(s, k.secured.settings(k))
	}
	if k.peers != nil {
		maps.Copy(s, k.peers.settings(k.node))
	}
	return s
}

const logSettings = `status = error
appender.out.type = Console
appender.out.name = out
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = %d{HH:mm:ss.SSS} %p %c{1}: %m%n
rootLogger.level = info
rootLogger.appenderRef.out.ref = out
`

func (k *kafka) start(ctx context.Context, dir string, log io.Writer) (running, error) {
	home, err := deps.Fetch(ctx, deps.Kafka, log)
	if err != nil {
		return nil, err
	}
	java, err := deps.Java()
	if err != nil {
		return nil, err
	}
	jvm := []string{"-Djava.io.tmpdir=" + dir, "-Dlog4j2.configurationFile=" + filepath.Join(dir, "log4j2.properties"), "-cp", filepath.Join(home, "libs", "*")}
	properties := filepath.Join(dir, "server.properties")
	if !k.formatted {
		if err := k.format(ctx, java, jvm, dir, properties, log); err != nil {
			return nil, fmt.Errorf("format its storage: %w", err)
		}
	}
	p, err := process.Start(ctx, process.Spec{
		Name: "kafka", Path: java, Args: append(append([]string{"-Xmx512m"}, jvm...), "kafka.Kafka", properties),
		Dir: dir, Log: log, StopTimeout: time.Minute,
	})
	if err != nil {
		return nil, err
	}
	return p, await(ctx, p, k.answers)
}

func (k *kafka) format(ctx context.Context, java string, jvm []string, dir, properties string, log io.Writer) error {
	broker, id := *k, newClusterID()
	broker.formatted = true
	var errs [3]error
	var more []string
	if k.peers != nil {
		id = k.peers.cluster // its peers must know its ports before it starts
	} else {
		broker.port, errs[0] = process.FreePort()
		broker.controller, errs[1] = process.FreePort()
	}
	if k.secured != nil {
		errs[2], more = k.secured.prepare(dir), k.secured.format()
	}
	if err := errors.Join(errs[:]...); err != nil {
		return err
	}
	var text strings.Builder
	for _, key := range slices.Sorted(maps.Keys(broker.settings(dir))) {
		fmt.Fprintf(&text, "%s=%s\n", key, broker.settings(dir)[key])
	}
	if err := os.WriteFile(properties, []byte(text.String()), 0o600); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "log4j2.properties"), []byte(logSettings), 0o600); err != nil {
		return err
	}
	var err error
	for range 2 { // it was seen to fail once in some hundred times, on a busy machine, for a reason that got lost
		err = process.Run(ctx, process.Spec{
			Name: "kafka.tools.StorageTool", Path: java, Dir: dir, Log: log,
			Args: slices.Concat([]string{"-Xmx128m", "-XX:TieredStopAtLevel=1"}, jvm, []string{"kafka.tools.StorageTool", "format",
				"--cluster-id", id, "--config", properties, "--ignore-formatted"}, more),
		})
		if err == nil || ctx.Err() != nil {
			break
		}
		fmt.Fprintf(log, "format: %v\n", err)
	}
	if err == nil {
		*k = broker
	}
	return err
}

func newClusterID() string {
	id := make([]byte, 16)
	_, _ = rand.Read(id) // never fails
	id[0] &= 0x3f        // the id must not begin with a dash
	return base64.RawURLEncoding.EncodeToString(id)
}

const answerTimeout = 2 * time.Second

// answers asks for metadata: the broker is up when it names itself and a controller.
func (k *kafka) answers(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	opts := []kgo.Opt{kgo.SeedBrokers(k.addr()), kgo.RequestRetries(0)}
	if k.secured != nil {
		login, err := k.secured.login(AdminUser)
		if err != nil {
			return err
		}
		opts = append(opts, login...)
	}
	cl, err := kgo.NewClient(opts...)
	if err != nil {
		return err
	}
	defer cl.Close()
	m, err := kmsg.NewPtrMetadataRequest().RequestWith(ctx, cl)
	if err == nil && (len(m.Brokers) == 0 || m.ControllerID < 0) {
		err = fmt.Errorf("it knows %d brokers and controller %d", len(m.Brokers), m.ControllerID)
	}
	return cmp.Or(err, ctx.Err())
}
