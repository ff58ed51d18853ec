package dashboard_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	ch "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ledgerline-es/ledgerline/analytics"
	questions "github.com/ledgerline-es/ledgerline/analytics/bank"
	"github.com/ledgerline-es/ledgerline/bank"
	"github.com/ledgerline-es/ledgerline/internal/dashboard"
	"github.com/ledgerline-es/ledgerline/internal/kit"
	"github.com/ledgerline-es/ledgerline/projector"
	"github.com/ledgerline-es/ledgerline/projector/clickhouse"
	"github.com/ledgerline-es/ledgerline/schemas"
	"github.com/ledgerline-es/ledgerline/schemas/account"
)

func TestMain(m *testing.M) { kit.Main(m) }

const file = "../../deploy/grafana/dashboards/analytics.json"

func TestDashboard_IsWhatTheQuestionsSay(t *testing.T) {
	c, err := analytics.Open(questions.FS)
	must(t, err)
	want, err := dashboard.JSON(c)
	must(t, err)
	got, err := os.ReadFile(file)
	must(t, err)
	if !bytes.Equal(got, want) {
		t.Errorf("%s is not of the questions as they are now: run go generate ./internal/dashboard", file)
	}
}

// panel is what these tests need to know of one.
type panel struct {
	Title, Description string
	Datasource         struct{ UID, Type string }
	Targets            []struct {
		RawSQL string `json:"rawSql"`
		Format int
	}
}

type board struct {
	Panels     []panel
	Templating struct {
		List []struct {
			Name    string
			Current struct{ Value string }
		}
	}
}

func read(t *testing.T) (b board) {
	t.Helper()
	text, err := os.ReadFile(file)
	must(t, err)
	must(t, json.Unmarshal(text, &b))
	return b
}

var (
	variable = regexp.MustCompile(`\$\{(\w+):singlequote\}`)
	timeWord = regexp.MustCompile(`\$__(from|to)Time\b`)
)

// interpolate does what Grafana and its ClickHouse plugin do to a statement: a variable's value in quotes, and the ends of
// the time range as toDateTime(seconds). Whatever else looks like one of theirs is a mistake.
func (b board) interpolate(t *testing.T, sql string, from, to time.Time, values map[string]string) string {
	t.Helper()
	for _, v := range b.Templating.List {
		if _, given := values[v.Name]; !given {
			values[v.Name] = v.Current.Value
		}
	}
	sql = variable.ReplaceAllStringFunc(sql, func(text string) string {
		value, ok := values[variable.FindStringSubmatch(text)[1]]
		if !ok {
			t.Errorf("%s is no variable of the dashboard", text)
		}
		return "'" + strings.ReplaceAll(value, "'", `\'`) + "'"
	})
	sql = timeWord.ReplaceAllStringFunc(sql, func(text string) string {
		return fmt.Sprintf("toDateTime(%d)", map[string]time.Time{"$__fromTime": from, "$__toTime": to}[text].Unix())
	})
	if i := strings.Index(sql, "$"); i >= 0 {
		t.Errorf("left over: %.40s", sql[i:])
	}
	return sql
}

// log is the events of the bank, in a broker in process.
type log struct {
	t         *testing.T
	client    *kgo.Client
	serde     *schemas.Serde[account.Event]
	topic     string
	sequences map[string]int64
	balances  map[string]int64
}

const partitions = 3

func (l *log) publish(id string, at time.Time, event account.Event) {
	l.t.Helper()
	value, err := l.serde.Append(nil, event)
	must(l.t, err)
	l.sequences[id]++
	must(l.t, l.client.ProduceSync(l.t.Context(), &kgo.Record{
		Topic: l.topic, Partition: schemas.Partition(id, partitions), Key: []byte(schemas.EventKey(id, l.sequences[id])), Value: value,
		Headers: []kgo.RecordHeader{{Key: schemas.HeaderTime, Value: []byte(schemas.FormatTime(at))}, {Key: schemas.HeaderType, Value: []byte(event.AvroName())}},
	}).FirstErr())
}

func (l *log) move(id string, at time.Time, amount int64) {
	l.t.Helper()
	l.balances[id] += amount
	if amount < 0 {
		l.publish(id, at, &account.MoneyWithdrawn{AmountMinor: -amount, BalanceMinor: l.balances[id], Currency: "EUR", Category: "shop"})
		return
	}
	l.publish(id, at, &account.MoneyDeposited{AmountMinor: amount, BalanceMinor: l.balances[id], Currency: "EUR", Category: "wages"})
}

// project runs the analytics projection on the log, into the kit's ClickHouse.
func project(t *testing.T) (*log, ch.Conn) {
	t.Helper()
	url := kit.ClickHouse(t).URL()
	conn, err := clickhouse.Connect(url, 0)
	must(t, err)
	t.Cleanup(func() {
		for _, database := range []string{"bank", "ledgerline"} {
			must(t, conn.Exec(context.WithoutCancel(t.Context()), "DROP DATABASE IF EXISTS "+database))
		}
		must(t, conn.Close())
	})
	broker := kit.FakeKafka(t)
	registry := schemas.NewRegistry(kit.FakeRegistry(t))
	l := &log{t: t, topic: schemas.TopicsOf("", account.Kind.Name).Events, sequences: map[string]int64{}, balances: map[string]int64{}}
	l.client = broker.Client(t, kgo.RecordPartitioner(kgo.ManualPartitioner()))
	_, err = kadm.NewClient(l.client).CreateTopic(t.Context(), partitions, 1, nil, l.topic)
	must(t, err)
	l.serde = schemas.NewSerde(schemas.NewCodec(registry), l.topic, schemas.FullTransitive, account.Kind.Events...)
	must(t, l.serde.Register(t.Context()))
	sink := clickhouse.New(clickhouse.Config{URL: url})
	p := projector.New(projector.Config{Client: []kgo.Opt{kgo.SeedBrokers(broker.Brokers()...)}, Registry: registry}, bank.Analytics, sink)
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		must(t, <-done)
		sink.Close()
	})
	return l, conn
}

// deposit is what a panel shows of 3 000 000, alone or with the 20 000 of the account or the 40 000 of all.
var deposit = regexp.MustCompile(`\b30[024]0000\b`)

func TestEveryPanel_AnswersAndChangesWithItsSource(t *testing.T) {
	l, conn := project(t)
	now := time.Now().UTC().Truncate(time.Second)
	day := func(back int) time.Time { return now.AddDate(0, 0, -back) }
	for _, id := range []string{"ann", "bob"} {
		l.publish(id, day(60), &account.AccountOpened{Owner: id, Currency: "EUR"})
		for i := range 20 {
			l.move(id, day(50-i), 1000)
		}
	}
	b := read(t)
	if len(b.Panels) != 6 {
		t.Errorf("%d panels", len(b.Panels))
	}
	ask := func(p panel, values map[string]string) (string, error) {
		rows, err := conn.Query(t.Context(), "SELECT formatRow('JSONEachRow', *) FROM (\n"+b.interpolate(t, p.Targets[0].RawSQL, day(730), now, values)+"\n)")
		if err != nil {
			return "", err
		}
		defer rows.Close()
		var all strings.Builder
		for rows.Next() {
			var line string
			if err := rows.Scan(&line); err != nil {
				return "", err
			}
			all.WriteString(line)
		}
		return all.String(), rows.Err()
	}
	// until asks a panel until it says what it should.
	until := func(p panel, good func(answer string) bool) (answer string) {
		t.Helper()
		deadline := time.Now().Add(90 * time.Second)
		for {
			var err error
			if answer, err = ask(p, map[string]string{}); err == nil && good(answer) {
				return answer
			}
			if time.Now().After(deadline) {
				t.Fatalf("%s: %v\n%s", p.Title, err, answer)
			}
			select {
			case <-time.After(20 * time.Millisecond):
			case <-t.Context().Done():
			}
		}
	}
	// 40 deposits of 1 000 are 40 000; the same on every panel but the one of unusual transactions, which has none yet.
	before := map[string]string{}
	for _, p := range b.Panels {
		if p.Datasource.UID != "ledgerline-clickhouse" || p.Datasource.Type != "grafana-clickhouse-datasource" || len(p.Targets) != 1 || p.Description == "" {
			t.Errorf("panel %q: %+v", p.Title, p)
		}
		before[p.Title] = until(p, func(answer string) bool {
			switch p.Title {
			case "Unusual transactions":
				return answer == ""
			case "Daily volume by type":
				return strings.Count(answer, "\n") == 20
			case "Top accounts by turnover":
				return strings.Count(answer, `20000`) == 6
			}
			return strings.Contains(answer, "40000")
		})
	}
	l.move("ann", now, 3_000_000)
	for _, p := range b.Panels {
		after := until(p, func(answer string) bool { return answer != before[p.Title] })
		if !deposit.MatchString(after) {
			t.Errorf("%s does not show the deposit:\n%s", p.Title, after)
		}
	}
	for _, p := range b.Panels {
		for name, values := range map[string]map[string]string{
			"another currency":         {"currency": "CZK"},
			"a value with a quotation": {"currency": "' OR '' = '"},
		} {
			if answer, err := ask(p, values); err != nil || answer != "" {
				t.Errorf("%s, %s: %v\n%s", p.Title, name, err, answer)
			}
		}
		for name, options := range map[string][]string{"step": {"day", "week", "year"}, "top": {"10", "100"}, "days": {"7", "3660"}, "fence": {"1.5", "5"}} {
			for _, option := range options {
				if answer, err := ask(p, map[string]string{name: option}); err != nil || answer == "" {
					t.Errorf("%s, %s=%s: %v\n%s", p.Title, name, option, err, answer)
				}
			}
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
