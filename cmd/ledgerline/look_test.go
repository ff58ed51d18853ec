package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// eventLine is a line of events.
type eventLine struct {
	ID, Type  string
	Sequence  int64
	CommandID string `json:"command_id"`
	Data      struct {
		AmountMinor int64 `json:"amount_minor"`
	}
}

func eventLines(t *testing.T, out string) (lines []eventLine) {
	t.Helper()
	for line := range strings.Lines(out) {
		var e eventLine
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("%v in %q", err, line)
		}
		lines = append(lines, e)
	}
	return lines
}

// looksInto uses the commands that show what is there, after publishAnswers.
func looksInto(t *testing.T, s *stand) {
	lines := eventLines(t, s.run(0, append([]string{"events", "account", "shop"}, s.client()...)...).out)
	if len(lines) != 2 || lines[0].Type != "AccountOpened" || lines[1].Type != "MoneyDeposited" || lines[1].Sequence != 2 ||
		lines[1].CommandID != "pay-1" || lines[1].Data.AmountMinor != 500 {
		t.Errorf("the events of shop are %+v", lines)
	}
	for _, c := range []struct {
		args []string
		want int
	}{
		{[]string{"events", "account", "shop", "--from", "2"}, 1},
		{[]string{"events", "account", "shop", "--type", "AccountOpened"}, 1},
		{[]string{"events", "account", "shop", "--since", "2999-01-01T00:00:00Z"}, 0},
		{[]string{"events", "account", "--limit", "7"}, 7},
		{[]string{"events", "account", "--since", "1h", "--follow", "--limit", "9"}, 9},
	} {
		if lines := eventLines(t, s.run(0, append(c.args, s.client()...)...).out); len(lines) != c.want {
			t.Errorf("%v gives %d events, wanted %d", c.args, len(lines), c.want)
		}
	}
	if out := s.run(1, append([]string{"events", "account", "nobody"}, s.client()...)...); !strings.Contains(out.err, "nobody has no events in ") {
		t.Errorf("of an account that does not exist, events says %q", out.err)
	}
	for want, args := range map[string][]string{
		`there is no aggregate kind "acount"`:                         {"events", "acount"},
		"--since is \"yesterday\"":                                    {"events", "account", "--since", "yesterday"},
		`account has no event "MoneyStolen": there are AccountClosed`: {"events", "account", "--type", "MoneyStolen"},
		"trace wants one COMMAND-ID":                                  {"trace"},
	} {
		if out := s.run(2, append(args, s.client()...)...); !strings.Contains(out.err, want) {
			t.Errorf("%v says %q, wanted %q", args, out.err, want)
		}
	}
	follows(t, s)
	traces(t, s)

	if out := s.run(0, append([]string{"topics", "--kafka-replication", "1"}, s.client()...)...); strings.Count(out.out, " ok") != 7 {
		t.Errorf("topics says\n%s", out.out)
	}
	if out := s.run(1, append([]string{"topics", "--kafka-replication", "1", "--kafka-partitions", "5"}, s.client()...)...); !strings.Contains(out.out, "account.events has 12 partitions, wanted 5") {
		t.Errorf("topics, with another number of partitions, says\n%s", out.out)
	}
	if out := s.run(0, append([]string{"topics", "--kafka-replication", "1", "--topic-prefix", "none."}, s.client()...)...); strings.Count(out.out, "missing") != 7 {
		t.Errorf("topics, under a prefix that nobody uses, says\n%s", out.out)
	}
}

// follows prints an event that comes while it waits.
func follows(t *testing.T, s *stand) {
	var out output
	cmd := s.command(t.Context(), append([]string{"events", "account", "shop", "--follow", "--limit", "3"}, s.client()...)...)
	cmd.Stdout = &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s.await(func() error {
		if n := strings.Count(out.text(), "\n"); n < 2 {
			return fmt.Errorf("events --follow printed %d of 2 events", n)
		}
		return nil
	})
	s.publish(0, "DepositMoney", "shop", `{"amount_minor":7}`)
	s.publish(0, "WithdrawMoney", "shop", `{"amount_minor":7}`)
	if err := cmd.Wait(); err != nil {
		t.Errorf("events --follow: %v", err)
	}
	if lines := eventLines(t, out.text()); len(lines) != 3 || lines[2].Data.AmountMinor != 7 {
		t.Errorf("events --follow printed %+v", lines)
	}
}

// traced is what trace --json says.
type traced struct {
	AggregateID string `json:"aggregate_id"`
	Commands    []struct {
		Partition     int32
		ForwardedFrom string `json:"forwarded_from"`
	}
	Events []struct {
		Sequence int64
		Producer int64 `json:"producer_id"`
	}
	Replies []struct {
		Outcome, Code string
		Duplicate     bool
	}
	DeadLetters []struct{ Reason string } `json:"dead_letters"`
	Projections []struct {
		Name, State string
		Rows        []map[string]any
	}
}

func (p *program) trace(id string, flags ...string) traced {
	p.t.Helper()
	var docs []traced
	p.runJSON(&docs, 0, append([]string{"trace", id}, flags...)...)
	if len(docs) != 1 {
		p.t.Fatalf("trace %s finds %d commands", id, len(docs))
	}
	return docs[0]
}

func traces(t *testing.T, s *stand) {
	// pay-1 was published, published again, and published with other content.
	s.await(func() error {
		d := s.trace("pay-1", s.all()...)
		if d.AggregateID != "shop" || len(d.Commands) != 3 || len(d.Events) != 1 || d.Events[0].Sequence != 2 || d.Events[0].Producer <= 0 || len(d.Replies) != 3 {
			t.Fatalf("trace says %+v", d)
		}
		if d.Replies[0].Outcome != "accepted" || d.Replies[0].Duplicate || !d.Replies[1].Duplicate || d.Replies[2].Code != "command_id_reused" {
			t.Fatalf("the replies are %+v", d.Replies)
		}
		for _, p := range d.Projections {
			if p.State != "stored" { // a moment may pass
				return fmt.Errorf("%s is %s", p.Name, p.State)
			}
			if want := map[bool]int{true: 1, false: 0}[p.Name != "transfer-status"]; len(p.Rows) != want { // no transfer
				t.Fatalf("projection %s has rows %v", p.Name, p.Rows)
			}
		}
		if len(d.Projections) != 4 || d.Projections[0].Rows[0]["account_id"] != "shop" || d.Projections[3].Rows[0]["amount_minor"] != 500.0 {
			t.Fatalf("the projections are %+v", d.Projections)
		}
		return nil
	})
	if out := s.run(0, append([]string{"trace", "pay-1", "--since", "1h"}, s.all()...)...); !strings.Contains(out.out, "projection   analytics in clickhouse, table bank.account_events: stored") {
		t.Errorf("trace prints\n%s", out.out)
	}
	if out := s.run(1, append([]string{"trace", "pay-999"}, s.all()...)...); !strings.Contains(out.err, "no command pay-999") {
		t.Errorf("trace of nothing says %q", out.err)
	}
}

// planned lets Kafka's own tools carry out what topics plan prints: then the topics are as they have to be.
func (r *realBank) planned() {
	r.t.Helper()
	args := append(r.with([]string{"topics", "plan", "--kafka-replication", "1"}, "--kafka-brokers"), "--topic-prefix", r.prefix+"planned.")
	plan := r.run(0, args...).out
	bin := filepath.Join(r.folder, "plan")
	if err := os.MkdirAll(bin, 0o755); err != nil {
		r.t.Fatal(err)
	}
	// The script finds the tools under their usual names; what they are called with is run by the kit.
	for _, tool := range []string{"kafka-topics.sh", "kafka-acls.sh"} {
		recorder := "#!/bin/sh\nfor a in \"$@\"; do printf '%s\\037' \"$a\"; done >> " + filepath.Join(bin, tool+".calls") + "\necho >> " + filepath.Join(bin, tool+".calls") + "\n"
		if err := os.WriteFile(filepath.Join(bin, tool), []byte(recorder), 0o755); err != nil {
			r.t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(r.t.Context(), "bash", "-c", plan)
	cmd.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"), "BROKERS="+r.kafka.Brokers()[0])
	if out, err := cmd.CombinedOutput(); err != nil {
		r.t.Fatalf("the plan: %v\n%s\n%s", err, out, plan)
	}
	calls, err := os.ReadFile(filepath.Join(bin, "kafka-topics.sh.calls"))
	if err != nil {
		r.t.Fatal(err)
	}
	for line := range strings.Lines(string(calls)) {
		words := strings.Split(strings.TrimSuffix(strings.TrimSpace(line), "\x1f"), "\x1f")
		r.kafka.Tool(r.t, "kafka-topics", words[2:]...) // the kit says --bootstrap-server itself
	}
	out := r.run(0, append(append([]string{"topics", "--kafka-replication", "1"}, "--topic-prefix", r.prefix+"planned."), r.with(nil, "--kafka-brokers")...)...)
	if strings.Count(out.out, " ok") != 7 {
		r.t.Errorf("after the plan, topics says\n%s", out.out)
	}
	rights, err := os.ReadFile(filepath.Join(bin, "kafka-acls.sh.calls"))
	if err != nil || !strings.Contains(string(rights), "User:projector") {
		r.t.Errorf("the plan gives no rights: %v\n%s", err, rights)
	}
}

// measures runs a short benchmark: every row has its figures and a status, whatever the figures are.
func measures(t *testing.T, s *stand) {
	flags := append([]string{"--api-url", "http://" + s.address["api"]}, s.all()...)
	var rows []struct {
		Name, Status  string
		P50, P90, P99 *float64
		Max, Current  *float64
		Errors        int
		Target        float64
	}
	s.runJSON(&rows, 0, append([]string{"benchmark", "--duration", "1s", "--rate", "20", "--commands", "200"}, flags...)...)
	timed := map[string]bool{
		"account_summary": true, "transaction_history": true, "account_creation": true, "projection_lag": true, "complex_analytics/categories": true,
		"throughput": false, "event_store_write": false, "event_store_read": false, "money_transfer": true, "availability": false,
	}
	for _, r := range rows {
		_, known := timed[r.Name]
		if !known && !strings.HasPrefix(r.Name, "complex_analytics/") {
			t.Errorf("there is a row %s", r.Name)
		}
		if later := r.Name == "availability"; later != (r.Status == "not measured") || later != (r.Current == nil) {
			t.Errorf("row %+v", r)
		}
		if (timed[r.Name] || strings.HasPrefix(r.Name, "complex_analytics/")) && (r.P50 == nil || r.Max == nil || *r.P50 > *r.Max) {
			t.Errorf("row %s has no figures", r.Name)
		}
		if r.Errors > 0 || r.Target == 0 {
			t.Errorf("row %+v", r)
		}
		delete(timed, r.Name)
	}
	if len(timed) > 0 {
		t.Errorf("there are no rows %v", timed)
	}
	if out := s.run(0, append([]string{"benchmark", "--duration", "1s", "--only", "throughput,account_summary"}, flags...)...); !strings.Contains(out.out, "throughput") ||
		!strings.Contains(out.out, "account_summary") || strings.Contains(out.out, "transaction_history") {
		t.Errorf("benchmark --only prints\n%s", out.out)
	}
	if out := s.run(2, append([]string{"benchmark", "--only", "speed"}, flags...)...); !strings.Contains(out.err, `there is no row "speed"`) {
		t.Errorf("benchmark --only speed says %s", out.err)
	}
	// An API that is away makes its rows fail, and no other; a row that is asked for twice is measured once.
	away := append([]string{"benchmark", "--duration", "200ms", "--commands", "100", "--only", "account_summary,projection_lag,account_summary"}, s.all()...)
	rows = rows[:0]
	s.runJSON(&rows, 0, append(away, "--api-url", "http://127.0.0.1:1")...)
	if len(rows) != 2 || rows[0].Name != "projection_lag" || rows[0].Errors != 0 || rows[1].Name != "account_summary" || rows[1].Errors != 1 || rows[1].Status != "failing" || rows[1].Current != nil {
		t.Errorf("without an API the rows are %+v", rows)
	}
	for _, rate := range []string{"NaN", "1e9", "-1", "+Inf"} {
		if out := s.run(2, append([]string{"benchmark", "--rate", rate}, flags...)...); !strings.Contains(out.err, "--rate") {
			t.Errorf("benchmark --rate %s says %s", rate, out.err)
		}
	}
}
