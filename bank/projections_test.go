package bank_test

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	ch "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/jackc/pgx/v5"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ledgerline-es/ledgerline/bank"
	"github.com/ledgerline-es/ledgerline/internal/kit"
	"github.com/ledgerline-es/ledgerline/projector"
	"github.com/ledgerline-es/ledgerline/projector/clickhouse"
	"github.com/ledgerline-es/ledgerline/projector/postgres"
	"github.com/ledgerline-es/ledgerline/schemas"
	"github.com/ledgerline-es/ledgerline/schemas/account"
)

func TestMain(m *testing.M) { kit.Main(m, mortalRole) }

// life is what happens to two accounts, as the log holds it.
var life = []struct {
	id    string
	event account.Event
}{
	{"anna", &account.AccountOpened{Owner: "Anna", Currency: "EUR"}},
	{"anna", &account.MoneyDeposited{AmountMinor: 5000, BalanceMinor: 5000, Currency: "EUR", Operation: "cash", Category: "salary", Counterparty: "YZ/87"}},
	{"bo", &account.AccountOpened{Owner: "Bo", Currency: "CZK"}},
	{"anna", &account.MoneyWithdrawn{AmountMinor: 1200, BalanceMinor: 3800, Currency: "EUR", Operation: "card", Category: "rent"}},
	{"anna", &account.AccountFrozen{Reason: "check"}},
	{"anna", &account.AccountUnfrozen{Reason: "fine"}},
	{"anna", &account.MoneyWithdrawn{AmountMinor: 3800, BalanceMinor: 0, Currency: "EUR"}},
	{"anna", &account.AccountClosed{Reason: "moved"}},
}

// records are the life as records of one partition; event n happened n seconds after noon and was recorded a day later.
func records(t *testing.T, codec *schemas.Codec, topic string) (all []*kgo.Record) {
	t.Helper()
	serde := schemas.NewSerde(codec, topic, schemas.FullTransitive, account.Kind.Events...)
	if err := serde.Register(t.Context()); err != nil {
		t.Fatal(err)
	}
	noon := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	sequences := make(map[string]int64)
	for i, step := range life {
		value, err := serde.Append(nil, step.event)
		if err != nil {
			t.Fatal(err)
		}
		sequences[step.id]++
		at := noon.Add(time.Duration(i) * time.Second)
		all = append(all, &kgo.Record{
			Topic: topic, Offset: int64(i), Key: []byte(schemas.EventKey(step.id, sequences[step.id])), Value: value, Timestamp: at.Add(24 * time.Hour),
			Headers: []kgo.RecordHeader{{Key: schemas.HeaderTime, Value: []byte(schemas.FormatTime(at))}, {Key: schemas.HeaderType, Value: []byte(step.event.AvroName())}},
		})
	}
	return all
}

// project writes the life into a projection's store, two events a batch.
func project(t *testing.T, p projector.Projection, sink projector.Sink) {
	t.Helper()
	plan, err := p.Plan("")
	if err != nil {
		t.Fatal(err)
	}
	plan.TopicID, plan.Partitions = "topic", 1
	codec := schemas.NewCodec(schemas.NewRegistry(kit.FakeRegistry(t)))
	all := records(t, codec, plan.Topic)
	store, err := sink.Open(t.Context(), plan)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	if _, err := store.Claim(t.Context(), map[int32]int64{0: 0}); err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(all); i += 2 {
		batch, err := projector.BatchOf(t.Context(), p, codec, plan.Topic, 0, int64(i), int64(i+2), all[i:i+2])
		if err != nil {
			t.Fatal(err)
		}
		if err := store.Write(t.Context(), []*projector.Batch{batch}); err != nil {
			t.Fatal(err)
		}
	}
}

// same compares rows, each a line of JSON, with what they should be.
func same(t *testing.T, got, want []string) {
	t.Helper()
	var a, b []any
	for into, lines := range map[*[]any][]string{&a: got, &b: want} {
		for _, line := range lines {
			var v any
			if err := json.Unmarshal([]byte(line), &v); err != nil {
				t.Fatalf("%s: %v", line, err)
			}
			*into = append(*into, v)
		}
	}
	if !reflect.DeepEqual(a, b) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestProjectionsInPostgres_HoldWhatTheyPromise(t *testing.T) {
	url := kit.Postgres(t).URL()
	sink := postgres.New(postgres.Config{URL: url})
	defer sink.Close()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(t.Context()))
	query := func(sql string) []string {
		t.Helper()
		rows, err := conn.Query(t.Context(), "SET TIME ZONE 'UTC'")
		if err != nil {
			t.Fatal(err)
		}
		rows.Close()
		rows, err = conn.Query(t.Context(), "SELECT to_json(q)::text FROM ("+sql+") AS q")
		if err != nil {
			t.Fatal(err)
		}
		lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			t.Fatal(err)
		}
		return lines
	}

	project(t, bank.AccountSummary, sink)
	same(t, query("SELECT * FROM bank.account_summary ORDER BY account_id"), []string{
		`{"account_id":"anna","owner":"Anna","currency":"EUR","status":"closed","balance_minor":0,"version":7,"transaction_count":3,"opened_at":"2026-05-01T12:00:00+00:00","last_transaction_at":"2026-05-01T12:00:06+00:00"}`,
		`{"account_id":"bo","owner":"Bo","currency":"CZK","status":"open","balance_minor":0,"version":1,"transaction_count":0,"opened_at":"2026-05-01T12:00:02+00:00","last_transaction_at":null}`,
	})
	project(t, bank.TransactionHistory, sink)
	same(t, query("SELECT * FROM bank.account_transactions ORDER BY account_id, sequence"), []string{
		`{"account_id":"anna","sequence":2,"type":"MoneyDeposited","amount_minor":5000,"balance_minor":5000,"currency":"EUR","operation":"cash","category":"salary","counterparty":"YZ/87","business_time":"2026-05-01T12:00:01+00:00"}`,
		`{"account_id":"anna","sequence":3,"type":"MoneyWithdrawn","amount_minor":-1200,"balance_minor":3800,"currency":"EUR","operation":"card","category":"rent","counterparty":"","business_time":"2026-05-01T12:00:03+00:00"}`,
		`{"account_id":"anna","sequence":6,"type":"MoneyWithdrawn","amount_minor":-3800,"balance_minor":0,"currency":"EUR","operation":"","category":"","counterparty":"","business_time":"2026-05-01T12:00:06+00:00"}`,
	})
	same(t, query("SELECT projection, generation, table_name, state FROM ledgerline.generations ORDER BY projection"), []string{
		`{"projection":"account-summary","generation":1,"table_name":"bank.account_summary__g1","state":"serving"}`,
		`{"projection":"transaction-history","generation":1,"table_name":"bank.account_transactions__g1","state":"serving"}`,
	})
}

func TestProjectionInClickHouse_HoldsWhatItPromises(t *testing.T) {
	url, prefix := kit.ClickHouse(t).URL(), strings.TrimSuffix(kit.Prefix(t), ".")+"_"
	sink := clickhouse.New(clickhouse.Config{URL: url, DatabasePrefix: prefix})
	defer sink.Close()
	project(t, bank.Analytics, sink)
	o, err := ch.ParseDSN(url)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := ch.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	query := func(sql string) (lines []string) {
		t.Helper()
		rows, err := conn.Query(t.Context(), sql)
		if err != nil {
			t.Fatal(err)
		}
		defer rows.Close()
		for rows.Next() {
			var line string
			if err := rows.Scan(&line); err != nil {
				t.Fatal(err)
			}
			lines = append(lines, line)
		}
		if err := rows.Err(); err != nil {
			t.Fatal(err)
		}
		return lines
	}
	columns := query("SELECT concat(name, ' ', type) FROM system.columns WHERE database = '" + prefix + "bank' AND table = 'account_events' ORDER BY position")
	if got, want := strings.Join(columns, ", "), "aggregate_id String, sequence Int64, type LowCardinality(String), amount_minor Int64, balance_minor Int64, currency LowCardinality(String), "+
		"operation LowCardinality(String), category LowCardinality(String), counterparty String, business_time DateTime64(6, 'UTC'), recorded_at DateTime64(6, 'UTC'), _partition Int32, _offset Int64"; got != want {
		t.Errorf("columns\n%s\nwant\n%s", got, want)
	}
	row := func(offset int, id string, sequence int, typ string, amount, balance int64, currency, operation, category, counterparty string) string {
		at := time.Date(2026, 5, 1, 12, 0, offset, 0, time.UTC)
		return fmt.Sprintf(`{"aggregate_id":%q,"sequence":%d,"type":%q,"amount_minor":%d,"balance_minor":%d,"currency":%q,"operation":%q,"category":%q,"counterparty":%q,"business_time":%q,"recorded_at":%q,"_partition":0,"_offset":%d}`,
			id, sequence, typ, amount, balance, currency, operation, category, counterparty, at.Format("2006-01-02 15:04:05.000000"), at.Add(24*time.Hour).Format("2006-01-02 15:04:05.000000"), offset)
	}
	same(t, query("SELECT formatRow('JSONEachRow', *) FROM "+prefix+"bank.account_events ORDER BY _offset SETTINGS output_format_json_quote_64bit_integers = 0, output_format_json_escape_forward_slashes = 0"), []string{
		row(0, "anna", 1, "AccountOpened", 0, 0, "EUR", "", "", ""),
		row(1, "anna", 2, "MoneyDeposited", 5000, 5000, "EUR", "cash", "salary", "YZ/87"),
		row(2, "bo", 1, "AccountOpened", 0, 0, "CZK", "", "", ""),
		row(3, "anna", 3, "MoneyWithdrawn", -1200, 3800, "EUR", "card", "rent", ""),
		row(4, "anna", 4, "AccountFrozen", 0, 0, "", "", "", ""),
		row(5, "anna", 5, "AccountUnfrozen", 0, 0, "", "", "", ""),
		row(6, "anna", 6, "MoneyWithdrawn", -3800, 0, "EUR", "", "", ""),
		row(7, "anna", 7, "AccountClosed", 0, 0, "", "", "", ""),
	})
}
