package deploy_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ledgerline-es/ledgerline/internal/kit"
)

// dashboard is what these tests need to know of a Grafana dashboard.
type dashboard struct {
	UID, Title string
	Panels     []struct {
		Title      string
		Type       string
		Datasource struct{ Type, UID string }
		Targets    []struct {
			Expr       string
			Datasource struct{ Type, UID string }
		}
	}
	Annotations struct{ List []struct{ Expr string } }
}

const lagDashboard = "grafana/dashboards/consumer-lag.json"

func readDashboard(t *testing.T, path string) (d dashboard) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &d); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return d
}

// variables are what Grafana puts in place of a dashboard's variables.
var variables = strings.NewReplacer("$__rate_interval", "5s", "$group", ".*")

var (
	quoted     = regexp.MustCompile(`"(?:[^"\\]|\\.)*"`)
	selectors  = regexp.MustCompile(`\{[^}]*\}|\[[^\]]*\]`)
	groupings  = regexp.MustCompile(`\b(?:by|without|on|ignoring)\s*\([^)]*\)`)
	identifier = regexp.MustCompile(`[a-zA-Z_:][a-zA-Z0-9_:]*(\s*\()?`)
	operators  = []string{"and", "or", "unless", "bool", "offset"}
)

// metricsOf are the metrics that a query names.
func metricsOf(query string) (names []string) {
	for _, noise := range []*regexp.Regexp{quoted, selectors, groupings} {
		query = noise.ReplaceAllString(query, " ")
	}
	for _, found := range identifier.FindAllString(query, -1) {
		if !strings.HasSuffix(found, "(") && !slices.Contains(operators, found) {
			names = append(names, found)
		}
	}
	return names
}

func TestMetricsOf(t *testing.T) {
	got := metricsOf(`sum by (a, b) (rate(x_total{y=~"z(|or)"}[5m])) / on (c) group:ratio > 0.5 or absent(up) == 1 and changes((u - v)[2m:5s]) == 0`)
	if want := []string{"x_total", "group:ratio", "up", "u", "v"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// Every panel's query runs on a real Prometheus that scrapes running roles, and its value changes when what it shows does:
// under load, with a frozen projector, without Postgres, with commands that cannot be decoded, with a hanging transaction,
// after a restart, with a projection that was declared anew. Every metric that a rule or a panel names is there.
func TestP12_EveryPanel_ShowsWhatHappens(t *testing.T) {
	s := newSystem(t)
	begun := time.Now()

	s.load("first", 40, 10)
	s.until(`sum(projector_events_total{projector="analytics"}) >= 400`)
	s.until(`max(projection_lag) == 0`)

	s.asks(1, 30) // no account more than once: the cache is of no use
	s.until(`max(ledgerline:api_cache_hit_ratio) < 0.5`)
	s.asks(20, 30)
	s.until(`max(ledgerline:api_cache_hit_ratio) > 0.8`)

	// A projector that stands still: the lag grows.
	s.signal("projector", syscall.SIGSTOP)
	s.load("second", 20, 10)
	s.until(`min(projection_lag) > 3000`)
	s.signal("projector", syscall.SIGCONT)
	s.until(`max(projection_lag) == 0`)

	s.garbage("account.commands")
	s.fires("LedgerlineDeadLetters", "warning")

	postgres := kit.Postgres(t)
	postgres.Kill9()
	s.until(`min(monitor_up) == 0`)
	s.load("third", 20, 5)
	s.until(`min(ledgerline_ready{part="projector account-summary"}) == 0`)
	s.run(1, "ready", "--admin-listen", s.admin["projector"])
	postgres.Restart(t)
	s.until(`min(monitor_up) == 1 and min(ledgerline_ready) == 1`)

	for role := range roles {
		_, port, err := net.SplitHostPort(s.admin[role])
		if err != nil {
			t.Fatal(err)
		}
		s.run(0, "ready", "--admin-listen", ":"+port)
	}
	s.hang("account.events")

	s.signal("producer", syscall.SIGSTOP) // commands wait, and the target is down
	s.until(`min(up{job=~"ledgerline-.+"}) == 0`)
	s.garbage("account.internal")
	s.until(`max(kafka_consumergroup_group_lag_seconds{topic="account.internal"}) > 1`)
	s.signal("producer", syscall.SIGCONT)
	s.until(`min(up{job=~"ledgerline-.+"}) == 1`)
	s.stop("producer")
	s.start("producer")
	s.ready("producer")
	s.until(`sum(ledgerline_producer_restored_events_total) > 0`)

	second := s.launch("second producer", s.binary, append([]string{"producer", "--admin-listen", freeAddress(t)}, roles["producer"]...))
	s.until(`sum(ledgerline_producer_partitions) < 4`)
	s.until(`sum(ledgerline_producer_standby_partitions) > 0 and sum(ledgerline_producer_standby_partitions) == sum(ledgerline_producer_standby_wanted_partitions)`)
	s.standbyBehind(begun)
	if err := second.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	s.until(`sum(ledgerline_producer_partitions) == 4`)

	s.fingerprint("another")
	s.stop("projector")
	s.start("projector")
	s.fires("LedgerlineProjectionRebuildRequired", "warning")

	if err := s.holds(`ALERTS{alertname="LedgerlineEventStoreWriteFailures"}`); err == nil {
		t.Error("an alert on failed transactions fires, and none has failed")
	}
	s.throttle(2_000, func() {
		s.load("fourth", 50, 5)
		s.until(`sum(ledgerline_producer_throttled_seconds_total) > 0`)
	})
	kafka := kit.Kafka(t)
	s.run(0, "publish", "account", "DepositMoney", "--id", "first-0", "--deliver-at", "1s", "--timeout", "60s", `{"amount_minor":1}`)
	s.until(`sum(ledgerline_producer_schedule_delay_seconds_count) == 1`)
	s.run(0, "publish", "account", "TransferMoney", "--id", "first-0", "--timeout", "60s", `{"target":"first-1","amount_minor":1,"currency":"EUR"}`)
	s.until(`sum(ledgerline_producer_answers_total{outcome="accepted"}) == 1`)
	s.run(0, "publish", "account", "DepositMoney", "--id", "first-0", "--deliver-at", "3s", "--timeout", "60s", `{"amount_minor":1}`)
	kafka.Kill9()
	s.until(`sum(ledgerline_producer_waiting{reason="brokers"}) == 1`)
	s.until(`max(ledgerline_producer_overdue_seconds) > 1`)
	kafka.Restart(t)
	s.until(`sum(ledgerline_producer_waiting) == 0`)

	s.panelsChanged(begun)
	s.metricsExist()
}

// fires waits until an alert fires in Prometheus itself.
func (s *system) fires(alert, severity string) {
	s.t.Helper()
	s.until(fmt.Sprintf(`ALERTS{alertname=%q, alertstate="firing", severity=%q}`, alert, severity))
}

// A Prometheus that scrapes the demo sees lag under load, and none at rest.
func TestP12_Demo_LagUnderLoad_NoneAtRest(t *testing.T) {
	s := newDemo(t)
	begun := time.Now()
	const lag = `projection_lag{projector="account-summary"}`
	s.until(lag + " == 0")
	seen := false
	for batch := 0; !seen && time.Since(begun) < patience; batch++ {
		s.load(fmt.Sprintf("load%d", batch), 200, 20)
		values, err := s.values(lag, begun)
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range values {
			seen = seen || len(v) > 1
			t.Logf("lag in ms under load: %v", v)
		}
	}
	if !seen {
		t.Error("under load no lag was ever seen")
	}
	s.until(`count(projection_lag) == 4 and max(projection_lag) == 0`)
}

// standbyBehind writes until a copy was seen to be behind, and waits until it is not. It is looked at every two seconds, and is behind for some
// milliseconds of each transaction: so what is written must last.
func (s *system) standbyBehind(begun time.Time) {
	s.t.Helper()
	const lag = `max(ledgerline_producer_standby_lag_events)`
	seen, batch := false, 0
	for deadline := time.Now().Add(2 * patience); !seen; batch++ {
		if time.Now().After(deadline) {
			s.t.Fatal("no copy was ever behind")
		}
		s.load(fmt.Sprintf("followed%d", batch), 100, 400)
		values, err := s.values(lag, begun)
		if err != nil {
			s.t.Fatal(err)
		}
		for _, v := range values {
			seen = seen || len(v) > 1
		}
	}
	s.t.Logf("a copy was behind after %d imports", batch)
	s.until(lag + ` == 0`)
}

// panelsChanged checks that each query of each panel has had more than one value.
func (s *system) panelsChanged(begun time.Time) {
	d := readDashboard(s.t, lagDashboard)
	still := map[string]string{} // query to panel
	for _, p := range d.Panels {
		for _, target := range p.Targets {
			if p.Datasource.UID != "ledgerline-prometheus" || target.Datasource.UID != p.Datasource.UID {
				s.t.Errorf("panel %q asks datasource %q, %q", p.Title, p.Datasource.UID, target.Datasource.UID)
			}
			still[variables.Replace(target.Expr)] = p.Title
		}
	}
	s.t.Logf("%d queries", len(still))
	eventually(s.t, "panels that never changed", func() error {
		for query := range still {
			values, err := s.values(query, begun)
			if err != nil {
				return err
			}
			for _, v := range values {
				if len(v) > 1 {
					delete(still, query)
				}
			}
		}
		if len(still) > 0 {
			return fmt.Errorf("query and panel: %q", still)
		}
		return nil
	})
	for _, a := range d.Annotations.List {
		if _, err := s.ask("query", url.Values{"query": {a.Expr}}); err != nil {
			s.t.Error(err)
		}
	}
}

// metricsExist checks that rules and dashboards name what there is.
func (s *system) metricsExist() {
	code, body, err := get(s.prometheus + "/api/v1/label/__name__/values")
	if err != nil {
		s.t.Fatal(code, err)
	}
	var there struct{ Data []string }
	if err := json.Unmarshal(body, &there); err != nil {
		s.t.Fatal(err)
	}
	named := map[string]string{}
	for _, g := range readYAML[ruleFile](s.t, "prometheus/rules.yml").Groups {
		for _, r := range g.Rules {
			for _, name := range metricsOf(r.Expr) {
				named[name] = "rule " + r.Alert + r.Record
			}
		}
	}
	dashboards, err := filepath.Glob("grafana/dashboards/*.json")
	if err != nil {
		s.t.Fatal(err)
	}
	for _, path := range dashboards {
		for _, p := range readDashboard(s.t, path).Panels {
			for _, target := range p.Targets {
				for _, name := range metricsOf(variables.Replace(target.Expr)) {
					named[name] = path + ", panel " + p.Title
				}
			}
		}
	}
	maps.Copy(named, documented(s.t))
	for name, where := range named {
		if !slices.Contains(there.Data, name) && !slices.Contains(there.Data, name+"_count") { // a histogram

			s.t.Errorf("%s names %s, which nothing exposes", where, name)
		}
	}
}

var ourMetric = regexp.MustCompile(`\b(?:ledgerline_(?:producer|ready)|projector|projection|api|sink|monitor|kafka_(?:consumergroup|partition))_?[a-z0-9_]*[a-z0-9]\b`)

// documented are the metrics that the runbooks and the README name, by where they do.
func documented(t *testing.T) map[string]string {
	t.Helper()
	named := map[string]string{}
	for _, path := range []string{"README.md", "runbooks/alerts.md"} {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range ourMetric.FindAllString(string(text), -1) {
			if strings.Contains(name, "_") {
				named[name] = path
			}
		}
	}
	return named
}

// asks opens an account, and asks for a number of others, several times each, for their transactions, and for one that is not.
func (s *system) asks(times, accounts int) {
	s.t.Helper()
	s.request(http.StatusCreated, http.MethodPost, "/accounts", `{"owner":"ann","currency":"EUR","initial_deposit_minor":5}`)
	for range times {
		for account := range accounts {
			s.request(http.StatusOK, http.MethodGet, fmt.Sprintf("/accounts/summary/first-%d", account), "")
		}
	}
	s.request(http.StatusOK, http.MethodGet, "/accounts/first-1/transactions", "")
	s.request(http.StatusNotFound, http.MethodGet, "/accounts/summary/nobody", "")
}

// garbage publishes a command that nobody can decode.
func (s *system) garbage(topic string) {
	s.t.Helper()
	if err := kit.Kafka(s.t).Client(s.t).ProduceSync(s.t.Context(), &kgo.Record{Topic: topic, Key: []byte("somebody"), Value: []byte("no command")}).FirstErr(); err != nil {
		s.t.Fatal(err)
	}
}

// hang leaves a transaction open until the monitor has seen it.
func (s *system) hang(topic string) {
	s.t.Helper()
	client := kit.Kafka(s.t).Client(s.t, kgo.TransactionalID("stranger"))
	if err := client.BeginTransaction(); err != nil {
		s.t.Fatal(err)
	}
	if err := client.ProduceSync(s.t.Context(), &kgo.Record{Topic: topic, Key: []byte("k"), Value: []byte("v")}).FirstErr(); err != nil {
		s.t.Fatal(err)
	}
	s.until(fmt.Sprintf(`max(kafka_partition_undecided_records{topic=%[1]q}) > 0 and max(kafka_partition_open_transaction_seconds{topic=%[1]q}) > 3`, topic))
	if err := client.EndTransaction(s.t.Context(), kgo.TryAbort); err != nil {
		s.t.Fatal(err)
	}
	s.until(`max(kafka_partition_undecided_records) == 0`)
}

// throttle has brokers let nobody write more bytes a second, while something is done.
func (s *system) throttle(rate float64, do func()) {
	s.t.Helper()
	adm := kadm.NewClient(kit.Kafka(s.t).Client(s.t))
	set := func(remove bool) {
		s.t.Helper()
		altered, err := adm.AlterClientQuotas(context.WithoutCancel(s.t.Context()), []kadm.AlterClientQuotaEntry{{
			Entity: kadm.ClientQuotaEntity{{Type: "user"}}, // each
			Ops:    []kadm.AlterClientQuotaOp{{Key: "producer_byte_rate", Value: rate, Remove: remove}},
		}})
		if err == nil {
			err = altered[0].Err
		}
		if err != nil {
			s.t.Fatal(err)
		}
	}
	set(false)
	defer set(true)
	do()
}

// fingerprint makes a projection one that was built from another declaration.
func (s *system) fingerprint(value string) {
	s.t.Helper()
	address := ""
	for _, e := range s.env {
		if v, ok := strings.CutPrefix(e, "LEDGERLINE_POSTGRES_URL="); ok {
			address = v
		}
	}
	ctx := context.WithoutCancel(s.t.Context())
	conn, err := pgx.Connect(ctx, address)
	if err != nil {
		s.t.Fatal(err)
	}
	defer conn.Close(ctx)
	if _, err := conn.Exec(ctx, "UPDATE ledgerline.generations SET fingerprint = $1 WHERE projection = 'account-summary'", value); err != nil {
		s.t.Fatal(err)
	}
}
