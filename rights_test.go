package ledgerline_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ledgerline-es/ledgerline/internal/kit"
	"github.com/ledgerline-es/ledgerline/internal/rights"
	"github.com/ledgerline-es/ledgerline/schemas"
	"github.com/ledgerline-es/ledgerline/schemas/account"
)

// Each role does its work with the rights that topics acl grants; and when one is missing it is not ready, and names it.
func TestRights_EachRoleWorksWithJustThem_AndNamesTheOneThatIsMissing(t *testing.T) {
	f := newFortress(t)
	f.build()

	producer, stopProducer := f.start(rights.Producer, "producer", "--kafka-replication", "1")
	f.await(func() error { return ready(producer(), "producer account", "rights") })
	summary, stopProjector := f.start(rights.Projector, append([]string{"projector", "account-summary"}, f.stores...)...)
	api, stopAPI := f.start(rights.API, append([]string{"api", "--api-listen", "127.0.0.1:0"}, f.stores...)...)
	monitor, stopMonitor := f.start(rights.Monitor, append([]string{"monitor"}, f.stores...)...)
	f.must(f.user(rights.Client), "publish", "account", "OpenAccount", "--id", "ann", "--command-id", "open-1", `{"owner":"ann","currency":"EUR","initial_deposit_minor":500}`)
	f.await(func() error {
		return errors.Join(ready(summary(), "projector account-summary", "rights"), ready(api(), "api", "rights"), ready(monitor(), "rights"))
	})
	for _, command := range [][]string{{"events", "account", "ann"}, {"aggregate", "show", "account", "ann"}, {"topics", "--kafka-replication", "1"}, append([]string{"trace", "open-1"}, f.stores...)} {
		f.must(f.user(rights.Auditor), command...)
	}
	f.await(func() error {
		if code, out, said := f.run(f.user(rights.Auditor), append([]string{"verify", "account-summary"}, f.stores...)...); code != 0 || !strings.Contains(out, " 1 rows compared") {
			return fmt.Errorf("verify: exit code %d\n%s%s", code, out, said)
		}
		return nil
	})
	// A command that nobody can read, however often it is tried.
	if err := f.admin.ProduceSync(t.Context(), &kgo.Record{Topic: f.topics.Commands, Key: []byte("ann"), Value: []byte{9}}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	f.await(func() error {
		if out := f.must(f.user(rights.Auditor), "dlq", "list"); strings.Count(out, " undecodable ") != 1 {
			return fmt.Errorf("the auditor sees the dead letters\n%s", out)
		}
		return nil
	})
	f.must(f.user(rights.Operator), "dlq", "retry", "--all")
	f.await(func() error {
		if out := f.must(f.user(rights.Auditor), "dlq", "list"); strings.Count(out, " undecodable ") != 1 || !strings.Contains(out, "  2  ") {
			return fmt.Errorf("after a retry the auditor sees\n%s", out)
		}
		return nil
	})
	for _, role := range rights.Roles() {
		if out := f.must(f.user(role), "topics", "acl", "--login", "--roles", string(role)); !strings.HasPrefix(out, "nothing is missing") {
			t.Errorf("%s: %s", role, out)
		}
	}
	stopMonitor()
	stopAPI()
	stopProjector()
	stopProducer()
	if t.Failed() {
		return
	}

	for role, args := range map[rights.Role][]string{
		rights.Producer:  {"producer", "--kafka-replication", "1"},
		rights.Projector: append([]string{"projector"}, f.stores...),
		rights.API:       append([]string{"api", "--api-listen", "127.0.0.1:0"}, f.stores...),
		rights.Monitor:   append([]string{"monitor"}, f.stores...),
	} {
		for _, g := range f.granted[role] {
			f.without(g, func() {
				parts, stop := f.start(role, args...)
				defer stop()
				f.await(func() error {
					if said := parts()["rights"]; !strings.Contains(said, "lacks "+g.Right.String()+": ") {
						return fmt.Errorf("%s without %s says of its rights %q", role, g.Right, said)
					}
					return nil
				})
			})
		}
	}
	// Who runs some projections only needs the rights of those.
	for _, g := range f.granted[rights.Projector] {
		if g.Name != f.prefix+"analytics" {
			continue
		}
		f.without(g, func() {
			parts, stop := f.start(rights.Projector, append([]string{"projector", "account-summary"}, f.stores...)...)
			defer stop()
			f.await(func() error { return ready(parts(), "projector account-summary", "rights") })
			if lacks := parts()["rights"]; lacks != "ready" {
				t.Errorf("account-summary alone wants more: %s", lacks)
			}
		})
	}
	for _, c := range []struct {
		role    rights.Role
		names   func(rights.Right) bool
		command []string
	}{
		{rights.Operator, all, []string{"dlq", "retry", "--all"}},
		{rights.Client, all, []string{"publish", "account", "FreezeAccount", "--id", "ann"}},
		{rights.Auditor, func(r rights.Right) bool {
			return rights.OperationName(r.Operation) == "Read" && r.Name != schemas.PinsTopic(f.prefix) && r.Name != f.topics.Snapshots
		}, append([]string{"trace", "open-1"}, f.stores...)},
		{rights.Auditor, func(r rights.Right) bool {
			return rights.OperationName(r.Operation) == "Read" && r.Name == schemas.PinsTopic(f.prefix)
		}, append([]string{"verify", "account-summary"}, f.stores...)},
		{rights.Auditor, func(r rights.Right) bool {
			return strings.HasPrefix(rights.OperationName(r.Operation), "Describe") && rights.ResourceName(r.Resource) == "topic"
		}, []string{"topics", "--kafka-replication", "1"}},
		{rights.Auditor, func(r rights.Right) bool {
			return rights.ResourceName(r.Resource) == "group" && r.Name == f.prefix+"account.producer"
		}, []string{"aggregate", "show", "account", "ann"}},
		{rights.Auditor, func(r rights.Right) bool {
			return rights.ResourceName(r.Resource) == "group" || r.Name == f.topics.Snapshots
		}, []string{"doctor", "--kafka-replication", "1"}},
	} {
		for _, g := range f.granted[c.role] {
			if !c.names(g.Right) {
				continue
			}
			f.without(g, func() {
				f.await(func() error { // the broker hears of it a moment later
					if code, _, said := f.run(f.user(c.role), c.command...); code == 0 || !strings.Contains(said, "lacks "+g.Right.String()) {
						return fmt.Errorf("%s without %s: exit code %d, said %q", c.command[0], g.Right, code, said)
					}
					return nil
				})
			})
		}
	}
}

func all(rights.Right) bool { return true }

// ready is nil when the parts are.
func ready(parts map[string]string, names ...string) error {
	for _, name := range names {
		if parts[name] != "ready" {
			return fmt.Errorf("%s: %v", name, parts)
		}
	}
	return nil
}

// A right that is taken away stops what needs it, and nothing is lost: when it is there again, work goes on by itself.
func TestRights_TakenAwayAndGivenBack_WorkGoesOnByItself(t *testing.T) {
	f := newFortress(t)
	f.build()
	grant := func(role rights.Role, operation, name string) rights.Grant {
		i := slices.IndexFunc(f.granted[role], func(g rights.Grant) bool { return g.Name == name && rights.OperationName(g.Operation) == operation })
		if i < 0 {
			t.Fatalf("%s was not given %s on %s", role, operation, name)
		}
		return f.granted[role][i]
	}
	producer, stopProducer := f.start(rights.Producer, "producer", "--kafka-replication", "1")
	defer stopProducer()
	summary, stopProjector := f.start(rights.Projector, append([]string{"projector", "account-summary"}, f.stores...)...)
	defer stopProjector()
	f.await(func() error {
		return errors.Join(ready(producer(), "producer account", "rights"), ready(summary(), "projector account-summary", "rights"))
	})
	open := []string{"publish", "account", "OpenAccount", "--id", "ann", "--command-id", "open-1", `{"owner":"ann","currency":"EUR"}`}
	f.without(grant(rights.Producer, "Write", f.topics.Events), func() {
		if code, out, said := f.run(f.user(rights.Client), append(open, "--timeout", "5s")...); code != 6 {
			t.Errorf("without the right to write events a command is answered %d %s%s", code, out, said)
		}
		f.await(func() error {
			if said := producer()["producer account"]; !strings.Contains(said, "AUTHORIZATION_FAILED") {
				return fmt.Errorf("the producer says %q", said)
			}
			return nil
		})
	})
	f.must(f.user(rights.Client), append(open, "--timeout", "60s")...)
	if out := f.must(f.user(rights.Auditor), "events", "account", "ann"); strings.Count(out, "\n") != 1 {
		t.Errorf("of one command there are the events\n%s", out)
	}
	verified := func() error {
		if code, out, said := f.run(f.user(rights.Auditor), append([]string{"verify", "account-summary"}, f.stores...)...); code != 0 || !strings.Contains(out, " 1 rows compared, 0 events behind") {
			return fmt.Errorf("verify: exit code %d\n%s%s", code, out, said)
		}
		return nil
	}
	f.await(verified)
	f.without(grant(rights.Projector, "Read", f.topics.Events), func() {
		f.must(f.user(rights.Client), "publish", "account", "DepositMoney", "--id", "ann", `{"amount_minor":5}`)
		f.await(func() error {
			if said := summary()["projector account-summary"]; !strings.Contains(said, "AUTHORIZATION_FAILED") {
				return fmt.Errorf("the projector says %q", said)
			}
			return nil
		})
	})
	f.await(verified)
}

// Nobody but the producer's login can write what the event store is made of.
func TestRights_OnlyTheProducerWritesTheEventStore(t *testing.T) {
	f := newFortress(t)
	f.build()
	for _, role := range rights.Roles() {
		cl := f.kafka.As(t, f.user(role), kgo.DisableIdempotentWrite()) // which a login without any topic to write is refused at once
		for _, topic := range []string{f.topics.Events, f.topics.Internal, f.topics.Replies, f.topics.Snapshots, schemas.PinsTopic(f.prefix)} {
			err := cl.ProduceSync(t.Context(), &kgo.Record{Topic: topic, Key: []byte("ann"), Value: []byte("forged")}).FirstErr()
			if role == rights.Producer && err != nil || role != rights.Producer && !errors.Is(err, kerr.TopicAuthorizationFailed) {
				t.Errorf("%s writes %s: %v", role, topic, err)
			}
		}
	}
}

// What is there and not needed is shown, and removed only when that was asked for; Kafka's own tool takes what --script prints.
func TestTopicsACL_ComparesAppliesAndPrunes(t *testing.T) {
	f := newFortress(t)
	f.must(kit.AdminUser, "topics", "create", "--kafka-replication", "1")
	mine := []string{"--client-principal", "User:" + f.user(rights.Client)}
	acl := func(wantCode int, args ...string) string {
		t.Helper()
		code, out, said := f.run(kit.AdminUser, slices.Concat([]string{"topics", "acl"}, args, mine)...)
		if code != wantCode {
			t.Fatalf("%v: exit code %d, wanted %d\n%s%s", args, code, wantCode, out, said)
		}
		return out
	}
	if out := acl(1, "--compare"); strings.Count(out, " missing") != 2 {
		t.Errorf("before all it says\n%s", out)
	}
	for line := range strings.Lines(acl(0, "--script")) {
		if rest, ok := strings.CutPrefix(line, "tool kafka-acls.sh "); ok {
			f.kafka.Tool(t, "kafka-acls", strings.Fields(strings.ReplaceAll(rest, "'", ""))...)
		}
	}
	f.kafka.Tool(t, "kafka-acls", "--add", "--allow-principal", "User:"+f.user(rights.Client), "--topic", f.topics.Events, "--operation", "Write")
	f.await(func() error {
		if _, out, _ := f.run(kit.AdminUser, append([]string{"topics", "acl", "--compare"}, mine...)...); strings.Count(out, " ok") != 2 || strings.Count(out, " surplus") != 1 {
			return fmt.Errorf("with one too many it says\n%s", out)
		}
		return nil
	})
	if out := acl(0, "--apply"); strings.Count(out, " surplus") != 1 {
		t.Errorf("--apply says\n%s", out)
	}
	if out := acl(0, "--apply", "--prune"); strings.Count(out, " removed") != 1 {
		t.Errorf("--prune says\n%s", out)
	}
	f.await(func() error {
		if code, out, _ := f.run(kit.AdminUser, append([]string{"topics", "acl", "--compare"}, mine...)...); code != 0 || strings.Contains(out, "surplus") {
			return fmt.Errorf("at the end it says\n%s", out)
		}
		return nil
	})
	for args, want := range map[string]string{
		"--apply":                        "say whose rights",
		"--prune":                        "--prune goes with --apply",
		"--login":                        "--login and --roles belong together",
		"--login --roles boss":           `there is no role "boss"`,
		"--apply --client-principal ann": "such as User:client",
		"--script --json":                "--script prints",
		"--login --roles api --api-principal U:a": "leave the principals",
	} {
		if code, _, said := run(t, append([]string{"topics", "acl"}, strings.Fields(args)...)...); code != 2 || !strings.Contains(said, want) {
			t.Errorf("%s: exit code %d, said %q; wanted %q", args, code, said, want)
		}
	}
}

// Who may publish commands can neither forge nor replay what an account sends another: money moves once.
func TestP2_Rights_ClientCanNeitherForgeNorReplayACredit(t *testing.T) {
	f := newFortress(t)
	f.build()
	producer, stop := f.start(rights.Producer, "producer", "--kafka-replication", "1")
	defer stop()
	f.await(func() error { return ready(producer(), "producer account", "rights") })
	for _, id := range []string{"ann", "bob"} {
		f.must(f.user(rights.Client), "publish", "account", "OpenAccount", "--id", id, `{"owner":"x","currency":"EUR","initial_deposit_minor":500}`, "--timeout", "60s")
	}
	f.must(f.user(rights.Client), "publish", "account", "TransferMoney", "--id", "ann", `{"target":"bob","amount_minor":100,"currency":"EUR"}`)
	holds := func(minor int) error {
		if out := f.must(f.user(rights.Auditor), "aggregate", "show", "account", "bob", "--json"); !strings.Contains(out, fmt.Sprintf(`"balance_minor": %d,`, minor)) {
			return fmt.Errorf("bob does not hold %d:\n%s", minor, out)
		}
		return nil
	}
	f.await(func() error { return holds(600) })
	leg := f.leg("bob")

	// The client's own login: into the topic of such messages, and, as it stands or under another id, into that of commands.
	client := f.kafka.As(t, f.user(rights.Client), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err := client.ProduceSync(t.Context(), &kgo.Record{Topic: leg.Topic, Partition: leg.Partition, Key: leg.Key, Value: leg.Value, Headers: leg.Headers}).FirstErr(); !errors.Is(err, kerr.TopicAuthorizationFailed) {
		t.Fatalf("a client writes %s: %v", leg.Topic, err)
	}
	copied := &kgo.Record{Topic: f.topics.Commands, Partition: leg.Partition, Key: leg.Key, Value: leg.Value, Headers: leg.Headers}
	forged := *copied
	forged.Headers = slices.DeleteFunc(slices.Clone(leg.Headers), func(h kgo.RecordHeader) bool { return strings.HasPrefix(h.Key, "reply-") })
	forged.Headers = append(forged.Headers, kgo.RecordHeader{Key: schemas.HeaderID, Value: []byte("forged-1")})
	if err := client.ProduceSync(t.Context(), copied, &forged).FirstErr(); err != nil {
		t.Fatal(err)
	}
	f.await(func() error {
		if out := f.must(f.user(rights.Auditor), "trace", "forged-1"); !strings.Contains(out, "rejected not_from_account") {
			return fmt.Errorf("of a forged credit trace says\n%s", out)
		}
		return nil
	})
	if err := holds(600); err != nil {
		t.Error(err)
	}
	if out := f.must(f.user(rights.Auditor), "dlq", "list"); strings.Count(out, " reply_topic_refused ") != 1 { // as it stands it asks for a reply among such messages
		t.Errorf("of a credit that was replayed dlq list says\n%s", out)
	}

	// A message that died is tried again by the producer's login alone; the operator's is told so.
	if err := f.admin.ProduceSync(t.Context(), &kgo.Record{Topic: f.topics.Internal, Key: []byte("bob"), Value: []byte{9}}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	died := func(attempts string) error {
		if out := f.must(f.user(rights.Auditor), "dlq", "list", "--code", "undecodable"); strings.Count(out, " undecodable ") != 1 || !strings.Contains(out, "  "+attempts+"  ") {
			return fmt.Errorf("the dead letters, wanted one tried %s times:\n%s", attempts, out)
		}
		return nil
	}
	f.await(func() error { return died("1") })
	if code, out, said := f.run(f.user(rights.Operator), "dlq", "retry", "--all", "--code", "undecodable"); code != 1 || !strings.Contains(out, "retry it under that one") {
		t.Errorf("the operator retries a message of an account: %d\n%s%s", code, out, said)
	}
	f.must(f.user(rights.Producer), "dlq", "retry", "--all", "--code", "undecodable")
	f.await(func() error { return died("2") })
}

// leg is the message to an account that credits it.
func (f *fortress) leg(to string) (found *kgo.Record) {
	f.t.Helper()
	cl := f.kafka.Admin(f.t, kgo.ConsumeTopics(f.topics.Internal), kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	f.await(func() error {
		ctx, cancel := context.WithTimeout(f.t.Context(), time.Second)
		defer cancel()
		cl.PollFetches(ctx).EachRecord(func(rec *kgo.Record) {
			if name, _ := schemas.Header(rec, schemas.HeaderType); string(rec.Key) == to && name == (&account.CreditTransfer{}).AvroName() {
				found = rec
			}
		})
		if found == nil {
			return fmt.Errorf("no credit of %s in %s", to, f.topics.Internal)
		}
		return nil
	})
	return found
}
