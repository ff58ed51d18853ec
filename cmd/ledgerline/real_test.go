package main

import (
	"context"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ledgerline-es/ledgerline/internal/deps"
	"github.com/ledgerline-es/ledgerline/internal/kit"
	"github.com/ledgerline-es/ledgerline/internal/process"
	"github.com/ledgerline-es/ledgerline/schemas"
	"github.com/ledgerline-es/ledgerline/schemas/account"
	"github.com/ledgerline-es/ledgerline/schemas/ledgerline"
)

// realBank is the program against Apache Kafka, Apicurio Registry, PostgreSQL and the ClickHouse engine.
type realBank struct {
	*program
	kafka    *kit.KafkaServer
	prefix   string
	topics   schemas.Topics
	registry *schemas.Registry
	postgres string // URL
	flags    []string
	client   *kgo.Client // partitions by hand, reads what is committed
}

func newReal(t *testing.T) *realBank {
	t.Helper()
	kit.Start(t, kit.All()...)
	r := &realBank{
		program: newProgram(t), kafka: kit.Kafka(t), prefix: kit.Prefix(t),
		registry: schemas.NewRegistry(kit.Registry(t).Client(t)), postgres: kit.Postgres(t).URL(),
	}
	r.topics = schemas.TopicsOf(r.prefix, "account")
	clickhouse := kit.ClickHouse(t).URL()
	for _, database := range []string{"bank", "ledgerline"} { // of an earlier run in the same engine
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, clickhouse, strings.NewReader("DROP DATABASE IF EXISTS "+database))
		if err != nil {
			t.Fatal(err)
		}
		if code, body, err := do(req); err != nil || code != http.StatusOK {
			t.Fatalf("drop database %s: %d %s %v", database, code, body, err)
		}
	}
	r.flags = []string{
		"--kafka-brokers", strings.Join(r.kafka.Brokers(), ","), "--registry-url", kit.Registry(t).URL(), "--topic-prefix", r.prefix,
		"--postgres-url", r.postgres, "--clickhouse-url", clickhouse,
	}
	r.client = r.kafka.Client(t, kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumeTopics(r.topics.Replies, r.topics.Commands), kgo.ConsumeStartOffset(kgo.NewOffset().AtStart()))
	return r
}

// with are arguments followed by the flags whose names begin so.
func (r *realBank) with(args []string, flags ...string) []string {
	for i := 0; i < len(r.flags); i += 2 {
		if slices.Contains(flags, r.flags[i]) {
			args = append(args, r.flags[i], r.flags[i+1])
		}
	}
	return args
}

var (
	clientFlags = []string{"--kafka-brokers", "--registry-url", "--topic-prefix"}
	allFlags    = append(slices.Clone(clientFlags), "--postgres-url", "--clickhouse-url")
)

// The bank on real servers: loaded and verified; seen by Kafka's own tools; fed by a client that shares no line of code with
// us; and, at last, forged.
func TestReal_TheBankEndToEnd(t *testing.T) {
	kcat, err := deps.Debian(t.Context(), "kcat", "kcat")
	if err != nil {
		t.Fatal(err)
	}
	r := newReal(t)
	r.tooFewBrokers()
	r.planned()
	var once onceReport
	r.runJSON(&once, 0, r.with([]string{"demo", "--once", "--kafka-replication", "1"}, allFlags...)...)
	once.check(t)
	for _, s := range once.Stages {
		t.Logf("%s: %d, %.0f/s", s.Name, s.Count, s.PerSecond)
	}
	r.lagIsNothing()
	r.foreignClient(kcat)
	r.lagIsNothing()
	r.everythingInOneProcess()
	r.forgeries()
}

// tooFewBrokers asks for more copies than there are brokers: what is said names the flag that mends it.
func (r *realBank) tooFewBrokers() {
	r.t.Helper()
	if out := r.run(1, r.with([]string{"demo", "--once"}, allFlags...)...); !strings.Contains(out.err, "replication") || !strings.Contains(out.err, "broker") {
		r.t.Errorf("with one broker for three replicas it says\n%s", out)
	}
	args := r.with([]string{"demo", "--once", "--kafka-replication", "1", "--kafka-min-insync", "2"}, allFlags...)
	if out := r.run(2, args...); !strings.Contains(out.err, "--kafka-min-insync is 2: give at most --kafka-replication") {
		r.t.Errorf("with two copies of one it says\n%s", out)
	}
}

// lagIsNothing asks Kafka's own tool: every partition is read up to its end, or to the marker that ends its last transaction.
func (r *realBank) lagIsNothing() {
	r.t.Helper()
	for _, projection := range bankProjections {
		out := r.kafka.Tool(r.t, "kafka-consumer-groups", "--describe", "--group", r.prefix+projection)
		partitions := 0
		var column int
		for line := range strings.SplitSeq(out, "\n") {
			fields := strings.Fields(line)
			if i := slices.Index(fields, "LAG"); i >= 0 {
				column = i
				continue
			}
			if len(fields) <= column || column == 0 {
				continue
			}
			partitions++
			if lag := fields[column]; lag != "0" && lag != "1" {
				r.t.Errorf("lag of %s is %s:\n%s", projection, lag, out)
			}
		}
		if partitions != 12 {
			r.t.Errorf("kafka-consumer-groups knows %d partitions of %s:\n%s", partitions, projection, out)
		}
	}
}

var bankProjections = []string{"account-summary", "transaction-history", "transfer-status", "analytics"}

// role runs a role until stop is called.
func (r *realBank) role(name string, args []string) (stop func()) {
	r.t.Helper()
	port, err := process.FreePort()
	if err != nil {
		r.t.Fatal(err)
	}
	admin := fmt.Sprintf("127.0.0.1:%d", port)
	b := r.begin(append(args, "--admin-listen", admin)...)
	r.await(func() error {
		if code, body := r.ask(admin, "/readyz"); code != http.StatusOK {
			return fmt.Errorf("/readyz of %s answers %d %s", name, code, body)
		}
		return nil
	})
	return func() {
		r.t.Helper()
		b.signal(syscall.SIGTERM)
		b.ends(0)
	}
}

// foreignClient publishes by kcat: Avro bytes behind the registry's schema id, the account as key, no header, and librdkafka's
// own idea of where a key belongs. Each command has its effect once, and its reply.
func (r *realBank) foreignClient(kcat string) {
	r.t.Helper()
	stopProducer := r.role("producer", r.with([]string{"producer", "--kafka-replication", "1"}, clientFlags...))
	stopProjector := r.role("projector", r.with([]string{"projector"}, allFlags...))
	subject := r.topics.Commands + "-ledgerline.account.DepositMoney"
	registered, err := r.registry.Client().SchemaByVersion(r.t.Context(), subject, -1)
	if err != nil {
		r.t.Fatal(err)
	}
	serde := schemas.NewSerde(schemas.NewCodec(r.registry), r.topics.Commands, schemas.BackwardTransitive, account.Kind.Commands...)
	if err := serde.Register(r.t.Context()); err != nil {
		r.t.Fatal(err)
	}
	before, misplaced := r.balances(), 0
	accounts := []string{"test-account-001", "test-account-002", "test-account-003", "test-account-004"}
	published := map[string]string{} // account by command id
	for i, id := range accounts {
		value, err := serde.Append(nil, &account.DepositMoney{AmountMinor: int64(1000 + i), Currency: "EUR", Operation: "by kcat"})
		if err != nil {
			r.t.Fatal(err)
		}
		if got := int(value[1])<<24 | int(value[2])<<16 | int(value[3])<<8 | int(value[4]); value[0] != 0 || got != registered.ID {
			r.t.Fatalf("the bytes begin with %x, the registry's id is %d", value[:5], registered.ID)
		}
		file := filepath.Join(r.folder, "command.avro")
		if err := os.WriteFile(file, value, 0o600); err != nil {
			r.t.Fatal(err)
		}
		out, err := exec.CommandContext(r.t.Context(), kcat, "-P", "-b", r.kafka.Brokers()[0], "-t", r.topics.Commands, "-k", id, file).CombinedOutput()
		if err != nil {
			r.t.Fatalf("kcat: %v\n%s", err, out)
		}
		if schemas.Partition(id, 12) != int32(crc32.ChecksumIEEE([]byte(id))%12) {
			misplaced++
		}
	}
	if misplaced == 0 {
		r.t.Error("librdkafka and we place all of these keys alike: this shows nothing")
	}
	replies := map[string]*ledgerline.Reply{}
	replySerde := schemas.NewSerde(schemas.NewCodec(r.registry), r.topics.Replies, schemas.ForwardTransitive, ledgerline.ReplyType)
	ctx, cancel := context.WithTimeout(r.t.Context(), patience)
	defer cancel()
	for len(published) < len(accounts) || !r.allAnswered(published, replies) {
		fetches := r.client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			r.t.Fatalf("commands %v, replies to %d: %v", published, len(replies), err)
		}
		fetches.EachRecord(func(rec *kgo.Record) {
			switch rec.Topic {
			case r.topics.Commands:
				if len(rec.Headers) == 0 {
					published[fmt.Sprintf("%s/%d/%d", rec.Topic, rec.Partition, rec.Offset)] = string(rec.Key)
				}
			case r.topics.Replies:
				reply, err := replySerde.Decode(ctx, rec.Value)
				if err != nil {
					r.t.Fatal(err)
				}
				if replies[reply.CommandID] != nil {
					r.t.Errorf("a second reply to %s", reply.CommandID)
				}
				replies[reply.CommandID] = reply
			}
		})
	}
	for command, id := range published {
		if d := r.trace(command, r.flags...); d.AggregateID != id || len(d.Events) != 1 || len(d.Replies) != 1 || d.Replies[0].Outcome != "accepted" {
			r.t.Errorf("trace %s says %+v", command, d)
		}
		if reply := replies[command]; reply.Outcome != "accepted" || reply.Duplicate || reply.LastSequence == 0 {
			r.t.Errorf("%s of %s is answered %+v", command, id, reply)
		}
	}
	r.await(func() error {
		after := r.balances()
		for i, id := range accounts {
			if want := before[id] + int64(1000+i); after[id] != want {
				return fmt.Errorf("%s holds %d, wanted %d", id, after[id], want)
			}
		}
		return nil
	})
	r.run(0, r.with([]string{"verify"}, allFlags...)...)
	stopProjector()
	stopProducer()
}

// everythingInOneProcess has the role all take a deposit over HTTP and answer with the balance after it.
func (r *realBank) everythingInOneProcess() {
	r.t.Helper()
	port, err := process.FreePort()
	if err != nil {
		r.t.Fatal(err)
	}
	api := fmt.Sprintf("127.0.0.1:%d", port)
	stop := r.role("all", r.with([]string{"all", "--kafka-replication", "1", "--api-listen", api}, allFlags...))
	before := r.balances()["test-account-001"]
	req, err := http.NewRequestWithContext(r.t.Context(), http.MethodPost, "http://"+api+"/accounts/test-account-001/deposits", strings.NewReader(`{"amount_minor":11}`))
	if err != nil {
		r.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	if code, body, err := do(req); err != nil || code != http.StatusOK {
		r.t.Fatalf("a deposit is answered %d %s %v", code, body, err)
	}
	r.await(func() error {
		if after := r.balances()["test-account-001"]; after != before+11 {
			return fmt.Errorf("the balance is %d, it was %d", after, before)
		}
		return nil
	})
	stop()
}

func (r *realBank) allAnswered(published map[string]string, replies map[string]*ledgerline.Reply) bool {
	for command := range published {
		if replies[command] == nil {
			return false
		}
	}
	return true
}

// balances are those in Postgres.
func (r *realBank) balances() map[string]int64 {
	r.t.Helper()
	conn, err := pgx.Connect(r.t.Context(), r.postgres)
	if err != nil {
		r.t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(r.t.Context()))
	rows, err := conn.Query(r.t.Context(), "SELECT account_id, balance_minor FROM bank.account_summary")
	if err != nil {
		r.t.Fatal(err)
	}
	all := map[string]int64{}
	var id string
	var balance int64
	if _, err := pgx.ForEachRow(rows, []any{&id, &balance}, func() error { all[id] = balance; return nil }); err != nil {
		r.t.Fatal(err)
	}
	return all
}

// forgery is an event that no producer wrote.
type forgery struct {
	name   string
	reason string // what verify must say of it
	change func(r *kgo.Record, id string, next int64)
	plain  bool // outside any transaction
}

var forgeries = []forgery{
	{name: "not transactional", reason: "not transactional", plain: true},
	{name: "sequence repeated", reason: "repeated", change: func(r *kgo.Record, id string, next int64) { number(r, id, next-1) }},
	{name: "sequence skipped", reason: "is missing before it", change: func(r *kgo.Record, id string, next int64) { number(r, id, next+1) }},
	{name: "key and ce_id disagree", reason: "ce_id is", change: func(r *kgo.Record, _ string, next int64) {
		set(r, schemas.HeaderID, fmt.Sprintf("account/somebody-else/%d", next))
	}},
	{name: "wrong partition", reason: "wrong partition", change: func(r *kgo.Record, _ string, _ int64) { r.Partition = (r.Partition + 1) % 12 }},
	{name: "no causation", reason: "ce_causationid is missing", change: func(r *kgo.Record, _ string, _ int64) {
		r.Headers = slices.DeleteFunc(r.Headers, func(h kgo.RecordHeader) bool { return h.Key == schemas.HeaderCausationID })
	}},
	{name: "no such command", reason: `names command "never-published"`, change: func(r *kgo.Record, _ string, _ int64) {
		set(r, schemas.HeaderCausationID, "never-published")
	}},
}

func set(r *kgo.Record, key, value string) {
	for i := range r.Headers {
		if r.Headers[i].Key == key {
			r.Headers[i].Value = []byte(value)
		}
	}
}

// number gives an event a sequence.
func number(r *kgo.Record, id string, sequence int64) {
	r.Key = []byte(schemas.EventKey(id, sequence))
	set(r, schemas.HeaderID, fmt.Sprintf("account/%s/%d", id, sequence))
	set(r, schemas.HeaderSequence, fmt.Sprintf("%020d", sequence))
}

// forgeries writes events past the producer, each after another account's last event, and has verify find every one.
func (r *realBank) forgeries() {
	r.t.Helper()
	last := r.lastEvents()
	writer := r.kafka.Client(r.t, kgo.TransactionalID(r.prefix+"forger"), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	want := map[string]forgery{} // by "partition/offset key"
	for i, f := range forgeries {
		id := fmt.Sprintf("test-account-%03d", 100+i)
		template := last[id]
		_, text, _ := strings.Cut(string(template.Key), "/")
		sequence, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			r.t.Fatal(err)
		}
		forged := &kgo.Record{Topic: template.Topic, Partition: template.Partition, Value: template.Value}
		for _, h := range template.Headers {
			forged.Headers = append(forged.Headers, kgo.RecordHeader{Key: h.Key, Value: slices.Clone(h.Value)})
		}
		number(forged, id, sequence+1)
		if f.change != nil {
			f.change(forged, id, sequence+1)
		}
		if f.plain {
			err = r.client.ProduceSync(r.t.Context(), forged).FirstErr()
		} else {
			if err = writer.BeginTransaction(); err == nil {
				err = writer.ProduceSync(r.t.Context(), forged).FirstErr()
			}
			if err == nil {
				err = writer.EndTransaction(r.t.Context(), kgo.TryCommit)
			}
		}
		if err != nil {
			r.t.Fatalf("%s: %v", f.name, err)
		}
		want[fmt.Sprintf("%d/%d %s", forged.Partition, forged.Offset, forged.Key)] = f
	}
	out := r.run(1, r.with([]string{"verify", "--json"}, allFlags...)...)
	var report struct {
		Equal    bool
		Findings []struct {
			Topic, Key, Reason string
			Partition          int32
			Offset             int64
			Projection         string
		}
	}
	if err := json.Unmarshal([]byte(out.out), &report); err != nil {
		r.t.Fatal(err)
	}
	if report.Equal {
		r.t.Error("verify says equal")
	}
	for _, found := range report.Findings {
		at := fmt.Sprintf("%d/%d %s", found.Partition, found.Offset, found.Key)
		if f, ok := want[at]; ok && found.Topic == r.topics.Events && found.Projection == "" && strings.Contains(found.Reason, f.reason) {
			r.t.Logf("%s: %s at %s: %s", f.name, found.Topic, at, found.Reason)
			delete(want, at)
		}
	}
	for at, f := range want {
		r.t.Errorf("verify does not name the forgery %q at %s; it says\n%s", f.name, at, out.out)
	}
	text := r.run(1, r.with([]string{"verify"}, allFlags...)...)
	if !strings.Contains(text.out, "DIFFERS "+r.topics.Events+"/") || !strings.Contains(text.out, "NOT equal") {
		r.t.Errorf("verify prints\n%s", text)
	}
}

// lastEvents gives the last event of each account.
func (r *realBank) lastEvents() map[string]*kgo.Record {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), patience)
	defer cancel()
	cl := r.kafka.Client(r.t, kgo.ConsumeTopics(r.topics.Events), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords(), kgo.ConsumeStartOffset(kgo.NewOffset().AtStart()))
	ends, err := kadm.NewClient(cl).ListEndOffsets(ctx, r.topics.Events)
	if err != nil {
		r.t.Fatal(err)
	}
	left := map[int32]int64{}
	ends.Each(func(o kadm.ListedOffset) { left[o.Partition] = o.Offset })
	last := map[string]*kgo.Record{}
	for len(left) > 0 {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			r.t.Fatal(err)
		}
		fetches.EachRecord(func(rec *kgo.Record) {
			if !rec.Attrs.IsControl() {
				id, _, _ := strings.Cut(string(rec.Key), "/")
				last[id] = rec
			}
			if rec.Offset+1 >= left[rec.Partition] {
				delete(left, rec.Partition)
			}
		})
	}
	return last
}
