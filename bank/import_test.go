package bank

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sr"

	"github.com/ledgerline-es/ledgerline"
	"github.com/ledgerline-es/ledgerline/internal/embedded/registry"
	"github.com/ledgerline-es/ledgerline/internal/kit"
	"github.com/ledgerline-es/ledgerline/producer"
	"github.com/ledgerline-es/ledgerline/schemas"
	"github.com/ledgerline-es/ledgerline/schemas/account"
)

// patience is how long a test waits for what must come: machines are slow and busy.
const patience = 120 * time.Second

// platform is a broker and a registry in process, and a producer.
type platform struct {
	t        *testing.T
	broker   *kit.FakeKafkaCluster
	registry *registry.Server
	schemas  *schemas.Registry
	folder   string
	window   time.Duration // of the producer; 0: its default
}

func newPlatform(t *testing.T) *platform {
	t.Helper()
	p := &platform{t: t, broker: kit.FakeKafka(t, kfake.SleepOutOfOrder()), folder: t.TempDir()}
	var err error
	if p.registry, err = registry.Start(t.Context(), registry.Config{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.registry.Stop(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	cl, err := sr.NewClient(sr.URLs(p.registry.URL()))
	if err != nil {
		t.Fatal(err)
	}
	p.schemas = schemas.NewRegistry(cl)
	return p
}

// produce runs a producer until the test ends or stop is called. It keeps nothing but what the log holds.
func (p *platform) produce() (stop func()) {
	p.t.Helper()
	w := producer.New(producer.Config{
		Brokers: p.broker.Brokers(), Registry: p.schemas, Replication: 1, MinInsync: 1, Window: p.window, Logger: slog.New(slog.DiscardHandler),
	}, Account)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			p.t.Errorf("producer: %v", err)
		}
	})
	p.t.Cleanup(stop)
	for deadline := time.After(patience); w.Ready() != nil; {
		select {
		case <-deadline:
			p.t.Fatalf("the producer is not ready after %v: %v", patience, w.Ready())
		case <-time.After(5 * time.Millisecond):
		}
	}
	return stop
}

// ledgerline runs the program and gives what it prints for programs.
func (p *platform) ledgerline(wantCode int, args ...string) string {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), patience)
	defer cancel()
	var out, errOut bytes.Buffer
	args = append(args, "--kafka-brokers", strings.Join(p.broker.Brokers(), ","), "--registry-url", p.registry.URL())
	if code := ledgerline.Run(ctx, Domain(), args, &out, &errOut); code != wantCode {
		p.t.Fatalf("%s: exit code %d, wanted %d\n%s%s", strings.Join(args, " "), code, wantCode, &out, &errOut)
	}
	return out.String()
}

func (p *platform) file(name, text string) string {
	p.t.Helper()
	path := filepath.Join(p.folder, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		p.t.Fatal(err)
	}
	return path
}

func (p *platform) importFile(wantCode int, path string, more ...string) ImportReport {
	p.t.Helper()
	args := append([]string{"import", path, "--json", "--rejects", filepath.Join(p.folder, "rejects.csv")}, more...)
	var r ImportReport
	if err := json.Unmarshal([]byte(p.ledgerline(wantCode, args...)), &r); err != nil {
		p.t.Fatal(err)
	}
	return r
}

// records gives the committed records of a topic, in the order of each partition.
func (p *platform) records(topic string) []*kgo.Record {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), patience)
	defer cancel()
	cl := p.broker.Client(p.t, kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords(), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	ends, err := kadm.NewClient(cl).ListEndOffsets(ctx, topic)
	if err != nil {
		p.t.Fatal(err)
	}
	left := map[int32]int64{}
	ends.Each(func(o kadm.ListedOffset) {
		if o.Offset > 0 {
			left[o.Partition] = o.Offset
		}
	})
	var all []*kgo.Record
	for len(left) > 0 {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			p.t.Fatal(err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			if r.Offset+1 >= left[r.Partition] {
				delete(left, r.Partition)
			}
			if !r.Attrs.IsControl() {
				all = append(all, r)
			}
		})
	}
	return all
}

// log is every event, as key, business time and content.
func (p *platform) log() map[string]string {
	p.t.Helper()
	topics := schemas.TopicsOf("", "account")
	serde := schemas.NewSerde(schemas.NewCodec(p.schemas), topics.Events, schemas.FullTransitive, account.Kind.Events...)
	events := map[string]string{}
	for _, r := range p.records(topics.Events) {
		e, err := serde.Decode(p.t.Context(), r.Value)
		if err != nil {
			p.t.Fatal(err)
		}
		at, _ := schemas.Header(r, schemas.HeaderTime)
		switch e := e.(type) {
		case *account.AccountOpened:
			events[string(r.Key)] = fmt.Sprintf("%s opened %s %s", at, e.Owner, e.Currency)
		case *account.MoneyDeposited:
			events[string(r.Key)] = fmt.Sprintf("%s +%d=%d %s", at, e.AmountMinor, e.BalanceMinor, e.Counterparty)
		case *account.MoneyWithdrawn:
			events[string(r.Key)] = fmt.Sprintf("%s -%d=%d %s", at, e.AmountMinor, e.BalanceMinor, e.Counterparty)
		default:
			p.t.Fatalf("event %s is a %s", r.Key, e.AvroName())
		}
	}
	return events
}

func (p *platform) logIs(want map[string]string) {
	p.t.Helper()
	if got := p.log(); !maps.Equal(got, want) {
		p.t.Errorf("the log holds\n%v\nwanted\n%v", got, want)
	}
}

func wantReport(t *testing.T, got ImportReport, want ImportReport) {
	t.Helper()
	got.Seconds = 0
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("the report is %+v, wanted %+v", got, want)
	}
}

// The last row of ann is refused; what is paid in later would cover it. Whatever is imported again after that, from whatever
// copy, by whatever producer, the answer stays no.
func TestImport_AgainChangesNothing(t *testing.T) {
	p := newPlatform(t)
	stop := p.produce()
	text := importHeader +
		"ann,t1,2026-01-05,credit,500,500,,,\n" +
		"bob,t2,2026-01-05,credit,70,70,,,\n" +
		"ann,t3,2026-01-06,debit,100,400,,,\n" +
		"ann,t4,2026-01-07,debit,900,400,,,\n"
	path := p.file("january.csv", text)
	wantReport(t, p.importFile(0, path), ImportReport{
		Rows: 4, Accepted: 3, Rejected: []RejectedRow{{TransactionID: "t4", Line: 5, Code: "insufficient_funds"}}, Accounts: 2,
	})
	p.ledgerline(0, "publish", "account", "DepositMoney", "--id", "ann", "--time", "2026-02-01T00:00:00Z", `{"amount_minor":10000}`)
	log := map[string]string{
		"ann/1": "2026-01-05T00:00:00.000000Z opened ann CZK",
		"ann/2": "2026-01-05T00:00:00.000000Z +500=500 ",
		"ann/3": "2026-01-06T00:00:00.000000Z -100=400 ",
		"ann/4": "2026-02-01T00:00:00.000000Z +10000=10400 ",
		"bob/1": "2026-01-05T00:00:00.000000Z opened bob CZK",
		"bob/2": "2026-01-05T00:00:00.000000Z +70=70 ",
	}
	p.logIs(log)

	again := ImportReport{Rows: 4, Duplicates: 4, Accounts: 2}
	wantReport(t, p.importFile(0, path), again)
	p.logIs(log)
	wantReport(t, p.importFile(0, p.file("copy.csv.gz", gzipped(t, text))), again)
	p.logIs(log)
	stop()
	p.produce()
	wantReport(t, p.importFile(0, path), again)
	p.logIs(log)

	// A longer file of the same source: only what is new has an effect.
	more := text + "ann,t5,2026-01-08,debit,900,0,,,\n"
	wantReport(t, p.importFile(0, p.file("longer.csv", more)), ImportReport{Rows: 5, Accepted: 1, Duplicates: 4, Accounts: 2})
	log["ann/5"] = "2026-01-08T00:00:00.000000Z -900=9500 "
	p.logIs(log)
}

// An account's commands are numbered in file order. A bad row keeps its number, also when it is the account's first or its
// quoting is broken: a mended copy of the file then gives every row the number it had, and nothing counts twice.
func TestImport_NumbersAndBusinessTimes(t *testing.T) {
	p := newPlatform(t)
	p.produce()
	text := "counterparty,account_id,transaction_id,date,direction,amount_minor,balance_minor,operation,category,branch\n" +
		"x,ann,t1,2026-01-05,credit,FIVE,5,,,1\n" + // line 2, ann's number 2
		"x,ann,t2,2026-01-05,credit,100,105,,,1\n" + // 3
		"x,ann,t3,2026-01-06,credit,10,115,,,1\n" + // 4
		"y,bob,t4,2026-01-06,credit,1,1,,,1\n" + // bob's 2
		"z,ann,t5,2026-01-05,credit,20,135,,,1\n" + // 5; the second good one of that day
		"z,ann,t6,2026-01-06,debit,30,105,\",,1\n" + // 6, broken
		"z,ann,t7,2026-01-06,debit,40,65,,,1\n" // 7; the second of that day
	path := p.file("rows.csv", text)
	wantReport(t, p.importFile(exitBadRows, path, "--currency", "EUR"), ImportReport{Rows: 7, Accepted: 5, Bad: 2, Accounts: 2})
	log := map[string]string{
		"ann/1": "2026-01-05T00:00:00.000000Z opened ann EUR",
		"ann/2": "2026-01-05T00:00:00.000000Z +100=100 x",
		"ann/3": "2026-01-06T00:00:00.000000Z +10=110 x",
		"ann/4": "2026-01-05T00:00:01.000000Z +20=130 z",
		"ann/5": "2026-01-06T00:00:01.000000Z -40=90 z",
		"bob/1": "2026-01-06T00:00:00.000000Z opened bob EUR",
		"bob/2": "2026-01-06T00:00:00.000000Z +1=1 y",
	}
	p.logIs(log)
	numbers := map[string][]string{}
	for _, r := range p.records("account.commands") {
		source, _ := schemas.Header(r, schemas.HeaderStreamSource)
		number, _ := schemas.Header(r, schemas.HeaderStreamSequence)
		numbers[source+" "+string(r.Key)] = append(numbers[source+" "+string(r.Key)], number)
	}
	if got, want := fmt.Sprint(numbers), "map[import ann:[1 3 4 5 7] import bob:[1 2]]"; got != want {
		t.Errorf("commands are numbered %s, wanted %s", got, want)
	}

	// As it is advised: the rejects file, mended, under another source.
	rejects, err := os.ReadFile(filepath.Join(p.folder, "rejects.csv"))
	if err != nil {
		t.Fatal(err)
	}
	wantRejects := [][]string{
		{"line", "reason", "counterparty", "account_id", "transaction_id", "date", "direction", "amount_minor", "balance_minor", "operation", "category", "branch"},
		{"2", `amount_minor is "FIVE", wanted a whole number above 0`, "x", "ann", "t1", "2026-01-05", "credit", "FIVE", "5", "", "", "1"},
		{"7", `column 38: extraneous or missing " in quoted-field`, `z,ann,t6,2026-01-06,debit,30,105,",,1`},
	}
	in := csv.NewReader(bytes.NewReader(rejects))
	in.FieldsPerRecord = -1
	if got, err := in.ReadAll(); err != nil || !slices.EqualFunc(got, wantRejects, slices.Equal) {
		t.Errorf("the rejects file holds %q (%v), wanted %q", got, err, wantRejects)
	}
	first := strings.Join(strings.Split(string(rejects), "\n")[:2], "\n")
	mended := strings.NewReplacer(`"amount_minor is ""FIVE"", wanted a whole number above 0"`, "mended", "FIVE", "5").Replace(first)
	wantReport(t, p.importFile(0, p.file("rejects-mended.csv", mended), "--source", "mended", "--currency", "EUR"), ImportReport{Rows: 1, Accepted: 1, Accounts: 1})
	log["ann/6"] = "2026-01-05T00:00:00.000000Z +5=95 x"
	p.logIs(log)

	// Or mended in its place, where its number is still free.
	again := p.file("mended.csv", strings.ReplaceAll(text, `"`, ""))
	wantReport(t, p.importFile(exitBadRows, again, "--currency", "EUR"), ImportReport{Rows: 7, Accepted: 1, Duplicates: 5, Bad: 1, Accounts: 2})
	log["ann/7"] = "2026-01-06T00:00:01.000000Z -30=65 z"
	p.logIs(log)
}

// The producer still knows each row by its id, wherever it stands now, and what it can't place is told by line.
func TestP2_ImportOfAChangedFile_NothingTwiceAndNothingWithoutAWord(t *testing.T) {
	p := newPlatform(t)
	p.produce()
	const t1, t2, t3, x = "ann,t1,2026-01-05,credit,500,500,,,\n", "ann,t2,2026-01-06,debit,100,400,,,\n", "ann,t3,2026-01-07,debit,900,400,,,\n", "ann,x,2026-01-04,credit,5000,5000,,,\n"
	wantReport(t, p.importFile(0, p.file("rows.csv", importHeader+t1+t2+t3)), ImportReport{
		Rows: 3, Accepted: 2, Rejected: []RejectedRow{{TransactionID: "t3", Line: 4, Code: "insufficient_funds"}}, Accounts: 1,
	})
	const t4 = "ann,t4,2026-01-08,credit,1,401,,,\n"
	wantReport(t, p.importFile(0, p.file("grown.csv", importHeader+t1+t2+t3+t4)), ImportReport{Rows: 4, Accepted: 1, Duplicates: 3, Accounts: 1})
	log := p.log()
	moved := func(line int) []RejectedRow {
		return []RejectedRow{{TransactionID: "x", Line: line, Code: producer.CodeSourceSequenceSeen}}
	}
	for _, c := range []struct {
		name, rows string
		code       int
		want       ImportReport
	}{
		{"as it was", t1 + t2 + t3, 0, ImportReport{Rows: 3, Duplicates: 3}},
		{"reordered", t2 + t3 + t1, 0, ImportReport{Rows: 3, Duplicates: 3}},
		{"one row gone", t2 + t3, 0, ImportReport{Rows: 2, Duplicates: 2}},
		{"prepended", x + t1 + t2 + t3, 0, ImportReport{Rows: 4, Duplicates: 3, Moved: moved(2)}},
		{"inserted", t1 + t2 + x + t3, 0, ImportReport{Rows: 4, Duplicates: 3, Moved: moved(4)}},
		{"one gone, one new", t2 + t3 + x, 0, ImportReport{Rows: 3, Duplicates: 2, Moved: moved(4)}},
		{"another content", t1 + strings.Replace(t2, "100", "101", 1) + t3, 1, ImportReport{Rows: 3, Duplicates: 2, Errors: []RejectedRow{{"t2", 3, producer.CodeCommandIDReused}}}},
		{"one twice", t1 + t2 + t3 + t1, exitBadRows, ImportReport{Rows: 4, Duplicates: 3, Bad: 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.want.Accounts = 1
			wantReport(t, p.importFile(c.code, p.file("changed.csv", importHeader+c.rows)), c.want)
			p.logIs(log)
		})
	}
	rejects, err := os.ReadFile(filepath.Join(p.folder, "rejects.csv"))
	if err != nil || !strings.Contains(string(rejects), `5,"transaction_id ""t1"" stands in line 2 for this account",ann,t1`) {
		t.Errorf("the row that stands twice is rejected with %s (%v)", rejects, err)
	}
	if out := p.ledgerline(0, "import", p.file("changed.csv", importHeader+x+t1+t2+t3)); !strings.Contains(out, "moved, not applied: line 2, transaction x") {
		t.Errorf("the report in words is\n%s", out)
	}
	wantReport(t, p.importFile(0, p.file("grown.csv", importHeader+t1+t2+t3+t4+x)), ImportReport{Rows: 5, Accepted: 1, Duplicates: 4, Accounts: 1})
}

// Beyond the window numbers alone are known: what did not change is still all duplicates.
func TestP2_ImportAgainBeyondTheWindow(t *testing.T) {
	p := newPlatform(t)
	p.window = time.Millisecond
	p.produce()
	path := p.file("rows.csv", importHeader+"ann,t1,2026-01-05,credit,500,500,,,\nann,t2,2026-01-05,debit,1000,500,,,\nbob,t3,2026-01-05,credit,1,1,,,\n")
	p.importFile(0, path)
	log := p.log()
	wantReport(t, p.importFile(0, path), ImportReport{Rows: 3, Duplicates: 3, Accounts: 2})
	p.logIs(log)
}

// What Kafka or the schemas can't take of one row ends the row, not the import; it is there to be mended as it was.
func TestImport_RowsThatCannotBePublished_AreBad(t *testing.T) {
	p := newPlatform(t)
	p.produce()
	long := strings.Repeat("x", 1_000_100) // more than a record of the client may have, less than a line
	latin := "Caf\xe9"
	text := importHeader +
		"ann,t1,2026-01-05,credit,500,500,,,\n" +
		"ann,t2,2026-01-05,credit,70,570,,," + long + "\n" +
		"ann,t3,2026-01-05,credit,3,573,,," + latin + "\n" +
		"ann,t4,2026-01-05,credit,9,579,,," + long[:100_000] + "\n" + // a command, but no event
		"ann,t5,2026-01-05,debit,100,400,,,\n"
	path := p.file("rows.csv", text)
	failed := []RejectedRow{{TransactionID: "t4", Line: 5, Code: producer.CodeEventTooLarge}}
	wantReport(t, p.importFile(1, path), ImportReport{Rows: 5, Accepted: 2, Bad: 2, Errors: failed, Accounts: 1})
	wantReport(t, p.importFile(1, path), ImportReport{Rows: 5, Duplicates: 2, Bad: 2, Errors: failed, Accounts: 1}) // it failed again
	p.logIs(map[string]string{
		"ann/1": "2026-01-05T00:00:00.000000Z opened ann CZK",
		"ann/2": "2026-01-05T00:00:00.000000Z +500=500 ",
		"ann/3": "2026-01-05T00:00:03.000000Z -100=400 ",
	})
	data, err := os.ReadFile(filepath.Join(p.folder, "rejects.csv"))
	if err != nil {
		t.Fatal(err)
	}
	rejects, err := csv.NewReader(bytes.NewReader(data)).ReadAll()
	if err != nil || len(rejects) != 3 {
		t.Fatalf("the rejects file has %d lines: %v", len(rejects), err)
	}
	slices.SortFunc(rejects[1:], func(a, b []string) int { return strings.Compare(a[0], b[0]) })
	for i, want := range [][]string{{"3", "MESSAGE_TOO_LARGE", long}, {"4", "counterparty is not UTF-8", latin}} {
		row := rejects[i+1]
		if row[0] != want[0] || !strings.Contains(row[1], want[1]) || row[len(row)-1] != want[2] {
			t.Errorf("bad row %.200q, wanted line %s because of %q", row, want[0], want[1])
		}
	}
}

// The whole sample, through the importer: every row is answered, and loading it again changes nothing.
func TestImport_TheSampleTwice(t *testing.T) {
	p := newPlatform(t)
	p.produce()
	path := p.file("sample.csv", sampleText(t))
	first := p.importFile(0, path, "--currency", sampleCurrency, "--source", sampleSource)
	if first.Accepted+int64(len(first.Rejected)) != first.Rows || first.Rows < 20_000 || first.Accounts != sampleAccounts || len(first.Rejected) == 0 {
		t.Errorf("the report is %d rows, %d accepted, %d rejected, %d accounts", first.Rows, first.Accepted, len(first.Rejected), first.Accounts)
	}
	second := p.importFile(0, path, "--currency", sampleCurrency, "--source", sampleSource)
	if second.Duplicates != first.Rows || second.Accepted > 0 || len(second.Rejected) > 0 {
		t.Errorf("the second time %d of %d rows are duplicates", second.Duplicates, second.Rows)
	}
	if events := int64(len(p.records("account.events"))); events != first.Accepted+first.Accounts {
		t.Errorf("%d events of %d accepted rows and %d openings", events, first.Accepted, first.Accounts)
	}
	t.Logf("%d rows, %s rows/s, then %s", first.Rows, rate(first), rate(second))
}

func rate(r ImportReport) string { return strconv.FormatFloat(float64(r.Rows)/r.Seconds, 'f', 0, 64) }

// An import that nobody answers says so, and goes on when somebody does.
func TestImport_SaysThatNobodyAnswers(t *testing.T) {
	p := newPlatform(t)
	p.produce()() // there are topics now, and no producer
	client := producer.NewClient(producer.ClientConfig{Brokers: p.broker.Brokers(), Registry: p.schemas, Logger: slog.New(slog.DiscardHandler)}, Account)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	go func() { _ = client.Run(ctx) }()
	told := make(chan time.Duration, 1000)
	im := newImporter(&ledgerline.App{}, client, "EUR", "test")
	im.progress, im.silence = func() {}, 20*time.Millisecond
	im.silent = func(since time.Duration) { told <- since }
	answered := make(chan error, 1)
	var report ImportReport
	go func() {
		var err error
		report, err = im.run(ctx, strings.NewReader(importHeader+"a,t1,2025-01-01,credit,5,5,,,\n"))
		answered <- err
	}()
	for range 2 { // it says so again and again
		select {
		case <-told:
		case err := <-answered:
			t.Fatalf("it ended with %v, and nobody answered", err)
		}
	}
	p.produce()
	if err := <-answered; err != nil || report.Accepted != 1 {
		t.Errorf("got %+v, %v", report, err)
	}
}

func TestImport_UsageErrors(t *testing.T) {
	p := newPlatform(t)
	good := p.file("good.csv", importHeader)
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"no file":       {nil, "import wants one FILE, or - for standard input"},
		"no such file":  {[]string{filepath.Join(p.folder, "nothing.csv")}, "no such file"},
		"currency":      {[]string{good, "--currency", "Kc"}, `--currency is "Kc": give the three capital letters of ISO 4217`},
		"source":        {[]string{good, "--source", "a b"}, `--source: aggregate id "a b" holds ' '`},
		"unknown flag":  {[]string{good, "--curency", "CZK"}, "unknown flag: --curency"},
		"several files": {[]string{good, good}, "import wants one FILE"},
	} {
		t.Run(name, func(t *testing.T) {
			var out, errOut bytes.Buffer
			code := ledgerline.Run(t.Context(), Domain(), append([]string{"import"}, c.args...), &out, &errOut)
			if code != 2 || !strings.Contains(errOut.String(), c.want) {
				t.Errorf("exit code %d, said %q; wanted 2 and %q", code, &errOut, c.want)
			}
		})
	}
}

// Nothing answers: the error is that, and not what follows from it; and what has nothing to do with it stands alone.
func TestNothingToConnectTo_IsSaidPlainly(t *testing.T) {
	p := newPlatform(t)
	const unreachable = "the schema registry at http://127.0.0.1:1 can't be reached: start it, or correct --registry-url"
	good := p.file("good.csv", importHeader+"ann,t1,2026-01-05,credit,5,5,,,\n")
	for name, c := range map[string]struct {
		args        []string
		code        int
		says, never string
	}{
		"publish":       {[]string{"publish", "account", "DepositMoney", "--id", "ann", `{"amount_minor":5}`}, 1, "ledgerline: " + unreachable, "Register"},
		"publish what?": {[]string{"publish", "account", "DepositMoney", "--id", "ann", `{"amount":5}`}, 2, "amount", "registry"},
		"import":        {[]string{"import", good}, 1, unreachable, "Register"},
		"empty file":    {[]string{"import", p.file("empty.csv", "")}, 1, "the file is empty", "registry"},
		"wrong file":    {[]string{"import", p.file("wrong.csv", "a,b,c\n1,2,3\n")}, 1, "header has no column account_id", "registry"},
		"verify":        {[]string{"verify", "--json"}, 2, "could not verify: ", "Register"},
	} {
		t.Run(name, func(t *testing.T) {
			var out, errOut bytes.Buffer
			code := ledgerline.Run(t.Context(), Domain(), append(c.args, "--kafka-brokers", "127.0.0.1:1", "--registry-url", "http://127.0.0.1:1", "--log-level", "error"), &out, &errOut)
			if code != c.code || !strings.Contains(errOut.String(), c.says) || strings.Contains(errOut.String(), c.never) {
				t.Errorf("exit code %d, wanted %d; it said %s", code, c.code, &errOut)
			}
			var doc struct {
				Equal *bool
				Error string
			}
			if name != "verify" {
				return
			}
			if err := json.Unmarshal(out.Bytes(), &doc); err != nil || doc.Equal == nil || *doc.Equal || doc.Error == "" {
				t.Errorf("verify --json printed %s (%v)", &out, err)
			}
		})
	}
}
