package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ledgerline-es/ledgerline/internal/process"
)

// onceReport is what demo --once --json prints, as far as it is looked at here.
type onceReport struct {
	Sample struct{ Commands, Accepted, Rejected int64 }
	Stages []struct {
		Name      string
		Count     int64
		PerSecond float64 `json:"per_second"`
	}
	Verify struct {
		Equal       bool
		Found       int64
		Logs        []struct{ Events, Aggregates, Findings int64 }
		Projections []struct {
			Projection             string
			Rows, Findings, Behind int64
		}
	}
}

// check fails the test unless everything of the sample arrived everywhere.
func (r onceReport) check(t *testing.T) {
	t.Helper()
	if r.Sample.Commands < 20_000 || r.Sample.Rejected == 0 || r.Sample.Accepted+r.Sample.Rejected != r.Sample.Commands {
		t.Errorf("the sample's counts are %+v", r.Sample)
	}
	if !r.Verify.Equal || r.Verify.Found != 0 || len(r.Verify.Logs) != 1 || r.Verify.Logs[0].Events != r.Sample.Accepted || r.Verify.Logs[0].Aggregates != 500 {
		t.Errorf("verify says %+v of %d accepted commands", r.Verify, r.Sample.Accepted)
	}
	want := map[string]int64{"account-summary": 500, "transaction-history": r.Sample.Accepted - 500, "transfer-status": 0, "analytics": r.Sample.Accepted}
	for _, p := range r.Verify.Projections {
		if p.Rows != want[p.Projection] || p.Findings != 0 || p.Behind > 12 { // the marker of each partition's last transaction
			t.Errorf("projection %+v, wanted %d rows", p, want[p.Projection])
		}
		delete(want, p.Projection)
	}
	if len(want) > 0 {
		t.Errorf("not verified: %v", want)
	}
	if len(r.Stages) != 5 {
		t.Errorf("there are %d stages: %+v", len(r.Stages), r.Stages)
	}
	for _, s := range r.Stages {
		if s.Count == 0 || s.PerSecond <= 0 {
			t.Errorf("stage %+v", s)
		}
	}
}

func TestDemoOnce_LoadsProjectsVerifiesAndLeavesNothing(t *testing.T) {
	p := newProgram(t)
	var r onceReport
	p.runJSON(&r, 0, "demo", "--once")
	r.check(t)
	p.gone("after demo --once")
	if files, err := os.ReadDir(p.folder); err != nil || len(files) != 1 {
		t.Errorf("it left %v (%v) where it ran", files, err)
	}
}

func TestDemoOnce_KilledLeavesNothing(t *testing.T) {
	p := newProgram(t)
	d := p.begin("demo", "--once")
	d.says("postgres ")
	d.signal(syscall.SIGKILL)
	d.ends(-1)
	p.gone("killed")
}

// The life of a demo: what it says and serves, what commands answer, what verify sees, and that all of it is there again
// after a restart.
func TestDemo_FromStartToSecondStart(t *testing.T) {
	s := newStand(t)
	d := s.start()
	t.Logf("ready after %v", d.took)
	saysAndServes(t, s, d)
	publishAnswers(t, s)
	looksInto(t, s)
	measures(t, s)
	verifySees(t, s)
	importCounts(t, s)
	secondDemoIsRefused(t, s)

	began := time.Now()
	d.signal(syscall.SIGINT)
	d.ends(0)
	s.gone("after Ctrl-C")
	t.Logf("ended %v after Ctrl-C", time.Since(began))

	d = s.start()
	t.Logf("ready again after %v", d.took)
	if strings.Contains(d.terminal.text(), "sample: ") {
		t.Error("the second start loaded the sample again")
	}
	var r reply
	s.runJSON(&r, 0, append([]string{"publish", "account", "DepositMoney", "--id", "shop", "--command-id", "pay-1", `{"amount_minor":500}`}, s.client()...)...)
	if !r.Duplicate || r.LastSequence != 2 {
		t.Errorf("a command of before the restart is answered %+v", r)
	}
	s.publish(0, "WithdrawMoney", "shop", `{"amount_minor":1}`)
	s.verify(0)
	d.signal(syscall.SIGTERM)
	d.ends(0)
	s.gone("after SIGTERM")
}

// Two demos on one machine: the second finds its own addresses.
func TestDemo_BesideAnother(t *testing.T) {
	demos := make([]*background, 2)
	for i := range demos {
		demos[i] = newStand(t).begin("demo", "--free-ports", "--sample=false", "--data-dir", filepath.Join(t.TempDir(), "data"))
	}
	for _, d := range demos {
		d.says("ready ")
	}
	for _, d := range demos {
		d.signal(syscall.SIGINT)
		d.ends(0)
	}
}

func saysAndServes(t *testing.T, s *stand, d *background) {
	for path, want := range map[string]string{
		"/readyz": `"ready":true`, "/healthz": "ok", "/metrics": "ledgerline_producer_commands_total", "/debug/pprof/": "goroutine",
	} {
		if code, body := s.ask(s.address["admin"], path); code != http.StatusOK || !strings.Contains(body, want) {
			t.Errorf("%s answers %d %.300s", path, code, body)
		}
	}
	for _, what := range append([]string{"sample: ", "test-account-001"}, s.address["kafka"], s.address["registry"], s.postgresURL(), "http://"+s.address["clickhouse"], "http://"+s.address["api"], s.address["admin"], s.data) {
		if !strings.Contains(d.terminal.text(), what) {
			t.Errorf("the terminal does not say %q:\n%s", what, d.terminal.text())
		}
	}
}

type reply struct {
	CommandID     string `json:"command_id"`
	Outcome, Code string
	Duplicate     bool
	Version       int64
	FirstSequence int64 `json:"first_sequence"`
	LastSequence  int64 `json:"last_sequence"`
}

func publishAnswers(t *testing.T, s *stand) {
	s.publish(0, "OpenAccount", "shop", `{"owner":"Ann","currency":"EUR"}`)
	var r reply
	s.runJSON(&r, 0, append([]string{"publish", "account", "DepositMoney", "--id", "shop", "--command-id", "pay-1", `{"amount_minor":500}`}, s.client()...)...)
	if want := (reply{CommandID: "pay-1", Outcome: "accepted", Version: 2, FirstSequence: 2, LastSequence: 2}); r != want {
		t.Errorf("the reply is %+v, wanted %+v", r, want)
	}
	for _, c := range []struct {
		code          int
		command, id   string
		doc, wantSays string
		more          []string
	}{
		{0, "DepositMoney", "shop", `{"amount_minor":500}`, "duplicate", []string{"--command-id", "pay-1"}},
		{3, "WithdrawMoney", "shop", `{"amount_minor":501}`, "insufficient_funds", nil},
		{4, "DepositMoney", "shop", `{"amount_minor":1}`, "conflict", []string{"--expected-version", "1"}},
		{4, "OpenAccount", "shop", `{"owner":"Bob","currency":"EUR"}`, "conflict", []string{"--expected-version", "0"}},
		{5, "DepositMoney", "shop", `{"amount_minor":501}`, "command_id_reused", []string{"--command-id", "pay-1"}},
		{2, "DepositMoney", "shop", `{"amount_minr":501}`, "amount_minr", nil},
		{2, "DepositMoney", "shop", `{"amount_minor":"501"}`, "amount_minor", nil},
		{2, "DepositMoney", "shop", `{"amount_minor":`, "JSON", nil},
		{2, "RobAccount", "shop", `{}`, "RobAccount", nil},
		{2, "DepositMoney", "a/b", `{}`, "--id", nil},
		{2, "DepositMoney", "", `{}`, "--id", nil},
		{2, "DepositMoney", "shop", `{}`, "--source-sequence", []string{"--source", "till"}},
	} {
		if out := s.publish(c.code, c.command, c.id, c.doc, c.more...); !strings.Contains(out.String(), c.wantSays) {
			t.Errorf("publish %s %s %v says nothing of %q:\n%s", c.command, c.doc, c.more, c.wantSays, out)
		}
	}
	noReply(t, s)
}

// noReply publishes where there are topics and nobody who reads them; the producer that comes back then answers.
func noReply(t *testing.T, s *stand) {
	port, err := process.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	admin := fmt.Sprintf("127.0.0.1:%d", port)
	role := append([]string{"producer", "--topic-prefix", "alone.", "--kafka-replication", "1", "--admin-listen", admin}, s.client()...)
	ready := func() {
		t.Helper()
		s.await(func() error {
			if code, body := s.ask(admin, "/readyz"); code != http.StatusOK {
				return fmt.Errorf("/readyz of the producer answers %d %s", code, body)
			}
			return nil
		})
	}
	p := s.begin(role...)
	ready()
	p.signal(syscall.SIGTERM)
	p.ends(0)
	open := func(wantCode int, timeout string) said {
		return s.publish(wantCode, "OpenAccount", "late", `{"owner":"Ann","currency":"EUR"}`, "--topic-prefix", "alone.", "--command-id", "open-1", "--timeout", timeout)
	}
	if out := open(6, "2s"); !strings.Contains(out.err, "is a producer running") {
		t.Errorf("without a reply it says %s", out)
	}
	p = s.begin(role...)
	ready()
	if out := open(0, patience.String()); !strings.Contains(out.out, "duplicate") {
		t.Errorf("the command of before was lost: %s", out)
	}
	p.signal(syscall.SIGTERM)
	p.ends(0)
}

func verifySees(t *testing.T, s *stand) {
	s.await(func() error { // until the projections have come to the end
		if out := s.verify(0); !strings.Contains(out.out, "equal: every row is what the log says") {
			return fmt.Errorf("verify says %s", out)
		}
		return nil
	})
	const alter = "ALTER TABLE bank.account_events__g1 UPDATE category = '%s' WHERE aggregate_id = 'test-account-009' AND sequence = 2 SETTINGS mutations_sync = 2"
	category := s.clickhouse("SELECT category FROM bank.account_events WHERE aggregate_id = 'test-account-009' AND sequence = 2")
	s.postgres("UPDATE bank.account_summary__g1 SET balance_minor = balance_minor + 1 WHERE account_id = $1", "test-account-007")
	s.postgres("UPDATE bank.account_transactions__g1 SET counterparty = counterparty || '!' WHERE account_id = $1 AND sequence = 3", "test-account-008")
	s.clickhouse(fmt.Sprintf(alter, category+"!"))
	out := s.verify(1)
	for _, words := range [][]string{
		{"bank.account_summary", "test-account-007", "balance_minor"}, {"bank.account_transactions", "test-account-008/3", "counterparty"},
		{"bank.account_events", "test-account-009/2", "category"}, {"NOT equal: 3 findings"},
	} {
		if !hasLine(out.out, words...) {
			t.Errorf("verify has no line with %q:\n%s", words, out)
		}
	}
	var report struct {
		Equal    bool
		Findings []struct{ Key, Topic, Reason, Column, Have string }
	}
	s.runJSON(&report, 1, append([]string{"verify", "analytics"}, s.all()...)...)
	if report.Equal || len(report.Findings) != 1 || report.Findings[0].Key != "test-account-009/2" || report.Findings[0].Topic != "account.events" ||
		report.Findings[0].Column != "category" || report.Findings[0].Have != category+"!" {
		t.Errorf("verify --json says %+v", report)
	}
	s.postgres("UPDATE bank.account_summary__g1 SET balance_minor = balance_minor - 1 WHERE account_id = $1", "test-account-007")
	s.postgres("UPDATE bank.account_transactions__g1 SET counterparty = left(counterparty, -1) WHERE account_id = $1 AND sequence = 3", "test-account-008")
	s.clickhouse(fmt.Sprintf(alter, category))

	nobody := append(s.client(), "--postgres-url", "postgres://ledgerline@127.0.0.1:1/ledgerline", "--clickhouse-url", "http://"+s.address["clickhouse"])
	if out := s.run(2, append([]string{"verify"}, nobody...)...); !strings.Contains(out.err, "could not verify") || !strings.Contains(out.err, "127.0.0.1:1") {
		t.Errorf("without Postgres it says %s", out)
	}
}

// hasLine says whether one line holds all the words.
func hasLine(text string, words ...string) bool {
	return slices.ContainsFunc(strings.Split(text, "\n"), func(line string) bool {
		return !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(line, w) })
	})
}

func importCounts(t *testing.T, s *stand) {
	s.write("rows.csv", "account_id,transaction_id,date,direction,amount_minor,balance_minor,operation,category,counterparty\n"+
		"imported,1,2026-01-05,credit,500,500,,,\n"+
		"imported,2,2026-01-05,debit,600,500,,,\n"+
		"imported,3,5.1.2026,credit,1,501,,,\n")
	out := s.run(2, append([]string{"import", "rows.csv", "--currency", "EUR"}, s.client()...)...)
	for _, w := range []string{"3 rows on 1 account in ", "rejected: line 3, transaction 2: insufficient_funds", "rows.csv.rejects.csv"} {
		if !strings.Contains(out.out, w) {
			t.Errorf("import says nothing of %q:\n%s", w, out)
		}
	}
	rejects, err := os.ReadFile(filepath.Join(s.folder, "rows.csv.rejects.csv"))
	if err != nil || !strings.Contains(string(rejects), "\n4,") {
		t.Errorf("the rejects file holds %q, %v", rejects, err)
	}
	var r struct{ Rows, Accepted, Duplicates, Bad int64 }
	s.runJSON(&r, 2, append([]string{"import", "rows.csv", "--currency", "EUR"}, s.client()...)...)
	if r.Rows != 3 || r.Accepted != 0 || r.Duplicates != 2 || r.Bad != 1 {
		t.Errorf("imported again: %+v", r)
	}
	s.verify(0)
}

func secondDemoIsRefused(t *testing.T, s *stand) {
	if out := s.run(1, "demo", "--data-dir", s.data, "--admin-listen", "127.0.0.1:0"); !strings.Contains(out.err, "--data-dir "+s.data+": another demo runs on this folder") {
		t.Errorf("on the same folder it says %s", out)
	}
	for _, name := range listeners {
		other := newStand(t)
		other.address[name] = s.address[name]
		out := other.run(1, append([]string{"demo"}, other.flags()...)...)
		if want := "--" + name + "-listen " + s.address[name]; !strings.Contains(out.err, want) || !strings.Contains(out.err, "address already in use") || name != "api" && name != "admin" && !strings.Contains(out.err, "--free-ports") {
			t.Errorf("with a taken port it says nothing of %q:\n%s", want, out)
		}
		for _, started := range []string{"postgres", "clickhouse", "kafka"} {
			if files, _ := os.ReadDir(filepath.Join(other.data, started)); len(files) > 0 {
				t.Errorf("%s was started although --%s-listen is taken", started, name)
			}
		}
	}
	var readiness struct{ Ready bool }
	if _, body := s.ask(s.address["admin"], "/readyz"); json.Unmarshal([]byte(body), &readiness) != nil || !readiness.Ready {
		t.Errorf("the first demo suffered: %s", body)
	}
}

// Ctrl-C ends a demo that is still starting, too.
func TestDemo_InterruptedWhileItStarts(t *testing.T) {
	for _, line := range []string{"registry ", "postgres ", "time="} {
		t.Run(strings.Trim(line, " ="), func(t *testing.T) {
			s := newStand(t)
			d := s.begin(append([]string{"demo"}, s.flags()...)...)
			d.says(line)
			d.signal(syscall.SIGINT)
			d.ends(0)
			s.gone("after Ctrl-C")
			s.start("--sample=false")
		})
	}
}
