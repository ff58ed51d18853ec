package ledgerline_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ledgerline-es/ledgerline"
	"github.com/ledgerline-es/ledgerline/bank"
	"github.com/ledgerline-es/ledgerline/internal/embedded/registry"
	"github.com/ledgerline-es/ledgerline/internal/kit"
	"github.com/ledgerline-es/ledgerline/internal/process"
	"github.com/ledgerline-es/ledgerline/internal/rights"
	"github.com/ledgerline-es/ledgerline/schemas"
)

// practice is the bank's write side on Apache Kafka, and its doctor.
type practice struct {
	t      *testing.T
	cl     *kgo.Client
	adm    *kadm.Client
	prefix string
	topics schemas.Topics
	flags  []string
}

func newPractice(t *testing.T) *practice {
	t.Helper()
	return newPracticeOn(t, kit.Kafka(t).Brokers(), kit.Prefix(t))
}

func newPracticeOn(t *testing.T, brokers []string, prefix string) *practice {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	p := &practice{t: t, cl: cl, prefix: prefix}
	p.adm, p.topics = kadm.NewClient(p.cl), schemas.TopicsOf(p.prefix, "account")
	reg, err := registry.Start(t.Context(), registry.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := reg.Stop(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	p.flags = []string{"--kafka-brokers", strings.Join(brokers, ","), "--registry-url", reg.URL(), "--topic-prefix", p.prefix}
	return p
}

// domain is the bank without projections: they would want stores.
func (p *practice) domain() ledgerline.Domain {
	d := bank.Domain()
	d.Projections, d.Queries, d.Routes = nil, nil, nil
	return d
}

func (p *practice) run(args ...string) (code int, out, said string) {
	p.t.Helper()
	return runDomain(p.t, p.domain(), slices.Concat(args, p.flags)...)
}

func (p *practice) must(args ...string) string {
	p.t.Helper()
	code, out, said := p.run(args...)
	if code != 0 {
		p.t.Fatalf("%v: exit code %d\n%s%s", args, code, out, said)
	}
	return out
}

func (p *practice) await(check func() error) {
	p.t.Helper()
	kit.Await(p.t, 2*time.Minute, check)
}

// start runs a role until stop; metrics are its.
func (p *practice) start(args ...string) (metrics func(name string) map[string]float64, stop func()) {
	p.t.Helper()
	port, err := process.FreePort()
	if err != nil {
		p.t.Fatal(err)
	}
	address := fmt.Sprintf("127.0.0.1:%d", port)
	ctx, cancel := context.WithCancel(p.t.Context())
	ended := make(chan struct{})
	var out, said kit.Output
	go func() {
		defer close(ended)
		ledgerline.Run(ctx, p.domain(), slices.Concat(args, p.flags, []string{"--admin-listen", address}), &out, &said)
	}()
	p.await(func() error {
		if code, _, said := runDomain(p.t, p.domain(), "ready", "--admin-listen", address); code != 0 {
			return errors.New(said)
		}
		return nil
	})
	metrics = func(name string) map[string]float64 {
		req, err := http.NewRequestWithContext(p.t.Context(), http.MethodGet, "http://"+address+"/metrics", http.NoBody)
		if err != nil {
			p.t.Fatal(err)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			p.t.Fatal(err)
		}
		defer res.Body.Close()
		text, err := io.ReadAll(res.Body)
		if err != nil {
			p.t.Fatal(err)
		}
		values := map[string]float64{}
		for line := range strings.Lines(string(text)) {
			if labels, value, ok := strings.Cut(strings.TrimPrefix(strings.TrimSpace(line), name), " "); ok && strings.HasPrefix(line, name+"{") {
				v, err := strconv.ParseFloat(value, 64)
				if err != nil {
					p.t.Fatal(err)
				}
				values[labels] = v
			}
		}
		return values
	}
	return metrics, func() {
		cancel()
		<-ended
		if p.t.Failed() {
			p.t.Logf("%v said\n%s", args, said.String())
		}
	}
}

type finding struct {
	Level, Where, What, Remedy string
	Transaction                *struct {
		Name, TransactionalID string `json:",omitempty"`
		Owner                 string
		Hangs                 bool
		Behind                int64 `json:"records_behind"`
	}
}

// findings are what doctor says, but for advice.
func (p *practice) findings(args ...string) []finding {
	p.t.Helper()
	code, out, said := p.run(append([]string{"doctor", "--json", "--kafka-replication", "1"}, args...)...)
	var d struct {
		Well     bool
		Findings []finding
	}
	if err := json.Unmarshal([]byte(out), &d); err != nil {
		p.t.Fatalf("exit code %d, %s\n%s: %v", code, said, out, err)
	}
	found := slices.DeleteFunc(d.Findings, func(f finding) bool { return f.Level == "advice" })
	if d.Well != (code == 0) || d.Well != (len(found) == 0) {
		p.t.Errorf("exit code %d, well: %v, findings %+v", code, d.Well, found)
	}
	return found
}

// What is wrong is said with where and the remedy; what was mended is not said any more.
func TestDoctor_SaysWhatIsWrong_AndWhatMendsIt(t *testing.T) {
	p := newPractice(t)
	if found := p.findings(); len(found) != 7 || found[0].Level != "warning" || !strings.Contains(found[0].Remedy, "topics create") || found[0].What != "is missing" {
		t.Errorf("without topics: %+v", found)
	}
	p.must("topics", "create", "--kafka-replication", "1", "--kafka-partitions", "4")
	if out := p.must("doctor", "--kafka-replication", "1"); !strings.HasSuffix(out, "\nall is well\n") || !strings.Contains(out, "advice: group "+p.prefix+"account.producer has no member; nothing waits for it yet; start \"ledgerline producer account\"\n") ||
		!strings.Contains(out, "advice: broker 1 has add.partitions.to.txn.retry.backoff.ms=20, wanted at most 1: ") || !strings.Contains(out, "advice: topics are to have one copy each") {
		t.Errorf("it says\n%s", out)
	}
	only := func(what string, args []string, level, where, said, remedy string) {
		t.Helper()
		p.await(func() error {
			found := p.findings(args...)
			for _, f := range found {
				if f.Level == level && f.Where == where && strings.Contains(f.What, said) && strings.Contains(f.Remedy, remedy) {
					return nil
				}
			}
			return fmt.Errorf("%s: %+v", what, found)
		})
	}
	only("one copy where three are wanted", []string{"--kafka-replication", "3"}, "warning", "topic "+p.topics.Events, "has 1 replicas, wanted 3", "kafka-reassign-partitions.sh")
	only("Kafka's own topics", []string{"--kafka-replication", "3"}, "warning", "topic __consumer_offsets", "has 1 replicas, wanted 3", "kafka-reassign-partitions.sh")

	alter := func(op kadm.IncrementalOp, key, value string) {
		t.Helper()
		if _, err := p.adm.AlterTopicConfigs(t.Context(), []kadm.AlterConfig{{Op: op, Name: key, Value: &value}}, p.topics.Events); err != nil {
			t.Fatal(err)
		}
	}
	alter(kadm.SetConfig, "min.insync.replicas", "2")
	only("no write can succeed", nil, "error", "topic "+p.topics.Events, "no write can succeed", "--add-config min.insync.replicas=1")
	only("nor does one", nil, "error", "topic "+p.topics.Events, "has fewer than 2 replicas in sync of partitions [0 1 2 3]", "start the brokers")
	alter(kadm.SetConfig, "min.insync.replicas", "1")
	if _, err := p.adm.CreatePartitions(t.Context(), 1, p.topics.Replies); err != nil {
		t.Fatal(err)
	}
	only("a partition too many", nil, "error", "topic "+p.topics.Replies, "has 5 partitions, wanted 4", "--kafka-partitions 5")

	// A marker alone is nothing that waits; a command is.
	id := kit.Kafka(t).Client(t, kgo.TransactionalID(p.prefix+"sender"), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	for _, try := range []kgo.TransactionEndTry{kgo.TryAbort, kgo.TryCommit} {
		if err := id.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		if err := id.ProduceSync(t.Context(), &kgo.Record{Topic: p.topics.Commands, Partition: 2, Key: []byte("k"), Value: []byte("v")}).FirstErr(); err != nil {
			t.Fatal(err)
		}
		if err := id.EndTransaction(t.Context(), try); err != nil {
			t.Fatal(err)
		}
		waits := slices.ContainsFunc(p.findings(), func(f finding) bool { return strings.HasPrefix(f.Where, "group ") })
		if waits != bool(try) {
			t.Errorf("commit: %v, and somebody waits: %v", try, waits)
		}
	}
	only("nobody decides", nil, "warning", "group "+p.prefix+"account.producer", "records wait for it in "+p.topics.Commands+"/2 from offset 0 on", `start "ledgerline producer account"`)
}

// A stranger's transaction on the commands topic holds up all writing. The monitor shows it to grow, the doctor names it, and refuses to
// end it as long as its coordinator will; when that is forced, or when it hangs for good, writing goes on.
func TestDoctor_TransactionThatHoldsUpWriting_IsSeenNamedAndEnded(t *testing.T) {
	p := newPractice(t)
	_, stopProducer := p.start("producer", "--kafka-replication", "1", "--kafka-partitions", "4")
	defer stopProducer()
	metrics, stopMonitor := p.start("monitor", "--monitor-interval", "100ms")
	defer stopMonitor()
	open := []string{"publish", "account", "OpenAccount", "--id", "ann", "--timeout", "60s", `{"owner":"ann","currency":"EUR"}`}
	p.must(open...)
	partition := schemas.Partition("ann", 4)
	deposit := func(timeout string) int {
		code, _, _ := p.run("publish", "account", "DepositMoney", "--id", "ann", "--timeout", timeout, `{"amount_minor":5}`)
		return code
	}
	grows := func(least float64) {
		t.Helper()
		series := fmt.Sprintf(`{partition="%d",topic=%q}`, partition, p.topics.Commands)
		p.await(func() error {
			if v := metrics("kafka_partition_open_transaction_seconds")[series]; v < least {
				return fmt.Errorf("the monitor shows %v s", v)
			}
			return nil
		})
	}
	mine := func(args ...string) (found []finding) {
		for _, f := range p.findings(args...) {
			if f.Transaction != nil {
				found = append(found, f)
			}
		}
		return found
	}

	stranger := kit.Kafka(t).Client(t, kgo.TransactionalID(p.prefix+"stranger"), kgo.TransactionTimeout(10*time.Minute), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err := stranger.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	if err := stranger.ProduceSync(t.Context(), &kgo.Record{Topic: p.topics.Commands, Partition: partition, Key: []byte("ann"), Value: []byte("v")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	if code := deposit("3s"); code == 0 {
		t.Error("a command behind an open transaction was decided")
	}
	grows(2)
	grows(3)
	found := mine("--older-than", "1s")
	if len(found) != 1 {
		t.Fatalf("found %+v", found)
	}
	f := found[0]
	name := strings.TrimPrefix(f.Where, "transaction ")
	if !regexp.MustCompile("^"+regexp.QuoteMeta(fmt.Sprintf("%s/%d/", p.topics.Commands, partition))+`\d+$`).MatchString(name) ||
		f.Transaction.Hangs || f.Transaction.Owner != "foreign" || f.Transaction.Behind != 2 ||
		!strings.Contains(f.What, "transactional id "+p.prefix+"stranger, which is none of ours, producer id ") || !strings.Contains(f.What, "2 records wait behind") ||
		!strings.Contains(f.Remedy, "its coordinator ends it at ") || !strings.Contains(f.Remedy, "doctor --abort --transaction "+name+" --force") {
		t.Errorf("it says %+v, %+v", f, f.Transaction)
	}
	if found := mine("--older-than", "10m"); len(found) != 0 {
		t.Errorf("that is open for 10 minutes: %+v", found)
	}
	if out := p.must("doctor", "--abort", "--yes"); out != "no transaction hangs\n" {
		t.Errorf("what hangs was ended: %s", out)
	}
	if code, _, said := p.run("doctor", "--abort", "--transaction", name); code != 1 || !strings.Contains(said, "with a timeout of 10m0s: it ends it by itself at ") || !strings.Contains(said, "--force ends it all the same") {
		t.Errorf("within its timeout: %d %s", code, said)
	}
	if out := p.must("doctor", "--abort", "--transaction", name, "--force"); !strings.Contains(out, "aborted: "+name+": ") {
		t.Errorf("forced: %s", out)
	}
	if code := deposit("60s"); code != 0 {
		t.Errorf("behind what was ended: exit code %d", code)
	}
	if err := stranger.EndTransaction(t.Context(), kgo.TryCommit); err == nil {
		t.Error("the stranger could commit after all")
	}
	if code, _, said := p.run("doctor", "--abort", "--transaction", name); code != 1 || !strings.Contains(said, "there is no open transaction "+name) {
		t.Errorf("a second time: %d %s", code, said)
	}

	producerID := kit.Kafka(t).Hang(t, p.topics.Commands, partition)
	name = fmt.Sprintf("%s/%d/%d", p.topics.Commands, partition, producerID)
	found = mine()
	if len(found) != 1 || found[0].Where != "transaction "+name || !found[0].Transaction.Hangs || found[0].Transaction.Owner != "unknown" && found[0].Transaction.Owner != "foreign" ||
		!strings.Contains(found[0].What, "no coordinator knows it: it hangs") || !strings.Contains(found[0].Remedy, "doctor --abort --transaction "+name+`" ends it`) {
		t.Errorf("it says %+v", found)
	}
	p.await(func() error { // at first its markers may be on their way
		if code, out, said := p.run("doctor", "--abort", "--yes"); code != 0 || !strings.Contains(out, "aborted: "+name+": ") {
			return fmt.Errorf("exit code %d %s%s", code, out, said)
		}
		return nil
	})
	if code := deposit("60s"); code != 0 {
		t.Errorf("behind what hung: exit code %d", code)
	}
	if found := mine(); len(found) != 0 {
		t.Errorf("afterwards: %+v", found)
	}
}

// A login that may see little says what it could not see, and ends nothing that somebody may still mean.
func TestDoctor_LoginThatSeesLittle_SaysSo(t *testing.T) {
	f := newFortress(t)
	f.build()
	examine := func(args ...string) string {
		t.Helper()
		_, out, said := f.run(f.user(rights.Auditor), append([]string{"doctor", "--kafka-replication", "1"}, args...)...)
		return out + said
	}
	out := examine()
	for _, want := range []string{
		"advice: brokers do not tell this login their settings; give its login DescribeConfigs on the cluster", "advice: topic __transaction_state is not shown to this login; ",
		"advice: group " + f.prefix + "account-summary has no member; nothing waits for it yet; ", "\nall is well\n",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("it does not say %q, but\n%s", want, out)
		}
	}
	stranger := f.kafka.Admin(t, kgo.TransactionalID(f.prefix+"stranger"), kgo.TransactionTimeout(10*time.Minute), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err := stranger.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	if err := stranger.ProduceSync(t.Context(), &kgo.Record{Topic: f.topics.Commands, Key: []byte("ann"), Value: []byte("v")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	out = examine("--older-than", "0s")
	name := regexp.MustCompile(regexp.QuoteMeta(f.topics.Commands) + `/0/\d+`).FindString(out)
	if name == "" || !strings.Contains(out, "error: transaction "+name+" transactional id (not known), producer id ") || !strings.Contains(out, "let a login look that may describe all transactional ids") {
		t.Errorf("it says\n%s", out)
	}
	if out := examine("--abort", "--transaction", name, "--force"); !strings.Contains(out, "this login may not describe all transactional ids, so that a coordinator may know it") {
		t.Errorf("forced without seeing:\n%s", out)
	}
	if err := stranger.EndTransaction(t.Context(), kgo.TryCommit); err != nil {
		t.Errorf("its owner could not commit: %v", err)
	}
}

func TestDoctor_WhatItWants(t *testing.T) {
	for args, want := range map[string]string{
		"--yes":                                 "--yes, --transaction and --force go with --abort",
		"--abort":                               "wants to be told what to end",
		"--abort --yes --transaction a/1/2":     "wants to be told what to end",
		"--abort --yes --force":                 "what is forced is named",
		"--abort --transaction a/1":             "give TOPIC/PARTITION/PRODUCER-ID",
		"--older-than -1s":                      "give 0 or more",
		"something":                             "takes no arguments",
		"--abort --transaction a/1/2 --frobnic": "unknown flag",
	} {
		if code, _, said := run(t, append([]string{"doctor"}, strings.Fields(args)...)...); code != 2 || !strings.Contains(said, want) {
			t.Errorf("%s: %d %s", args, code, said)
		}
	}
}

// said waits until doctor finds something.
func (p *practice) said(level, where, what, remedy string, args ...string) {
	p.t.Helper()
	p.await(func() error {
		found := p.findings(args...)
		for _, f := range found {
			if f.Level == level && f.Where == where && strings.Contains(f.What, what) && strings.Contains(f.Remedy, remedy) {
				return nil
			}
		}
		return fmt.Errorf("no %s of %s that says %q: %+v", level, where, what, found)
	})
}

// A broker of three is killed: most topics have too few copies then, one that wants all three can't be written, and one that only that
// broker had can't be read. Started again, all is well.
func TestDoctor_BrokerOfAClusterAway_SaysWhatThatMeans(t *testing.T) {
	cluster := kit.StartKafkaCluster(t)
	p := newPracticeOn(t, cluster.Brokers(), "")
	p.must("topics", "create", "--kafka-partitions", "4")
	for topic, insync := range map[string]string{p.topics.Snapshots: "3", p.topics.Replies: "1"} {
		if _, err := p.adm.AlterTopicConfigs(t.Context(), []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "min.insync.replicas", Value: &insync}}, topic); err != nil {
			t.Fatal(err)
		}
	}
	var lonely kadm.AlterPartitionAssignmentsReq
	for partition := range int32(4) {
		lonely.Assign(p.topics.Replies, partition, []int32{1})
	}
	if _, err := p.adm.AlterPartitionAssignments(t.Context(), lonely); err != nil {
		t.Fatal(err)
	}
	replicas := func() (out []string) {
		for _, f := range p.findings() {
			if strings.Contains(f.What, "out of sync") || strings.Contains(f.What, "leader") || strings.Contains(f.What, "in sync of") {
				out = append(out, f.Where+" "+f.What)
			}
		}
		return out
	}
	p.said("warning", "topic "+p.topics.Replies, "has 1 replicas, wanted 3", "kafka-reassign-partitions.sh", "--kafka-replication", "3")
	p.await(func() error {
		if found := replicas(); found != nil {
			return fmt.Errorf("all brokers are there: %q", found)
		}
		return nil
	})
	cluster.Kill9(0)
	p.said("warning", "topic "+p.topics.Events, "has replicas out of sync of partitions [0 1 2 3]", "start the brokers that are away")
	p.said("error", "topic "+p.topics.Snapshots, "has fewer than 3 replicas in sync of partitions [0 1 2 3]: they can't be written", "start the brokers that are away")
	p.said("error", "topic "+p.topics.Replies, "has no leader of partitions [0 1 2 3]: they can't be read or written", "start the brokers that hold them")
	cluster.Restart(0)
	p.await(func() error {
		if found := replicas(); found != nil {
			return fmt.Errorf("all brokers are there again: %q", found)
		}
		return nil
	})
}

// Topics that are not those which were written to before stop every producer. Doctor names each, with what can be done; before anything was
// written there is nothing to compare.
func TestDoctor_TopicsThatAreNotThosePinned_AreNamed(t *testing.T) {
	p := newPractice(t)
	_, stop := p.start("producer", "--kafka-replication", "1", "--kafka-partitions", "4")
	stop()
	for _, f := range p.findings() {
		if strings.Contains(f.What, "pinned") || strings.Contains(f.What, "written to before") {
			t.Errorf("nothing has changed: %+v", f)
		}
	}
	if _, err := p.adm.DeleteTopics(t.Context(), p.topics.Replies, p.topics.Internal); err != nil {
		t.Fatal(err)
	}
	p.await(func() error { // a topic that was deleted is in the way for a moment
		_, err := p.adm.CreateTopic(t.Context(), 4, 1, nil, p.topics.Replies)
		return err
	})
	if _, err := p.adm.CreatePartitions(t.Context(), 1, p.topics.Snapshots); err != nil {
		t.Fatal(err)
	}
	p.said("error", "topic "+p.topics.Replies, "it was deleted and made anew, its history is not here", "restore it from a backup")
	p.said("error", "topic "+p.topics.Internal, "is gone, and was written to before", "do not make it anew")
	p.said("error", "topic "+p.topics.Snapshots, "has 5 partitions, pinned are 4: aggregates would start anew", "under another --topic-prefix")
}
