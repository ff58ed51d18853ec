package ledgerline_test

import (
	"strings"
	"testing"
)

// A command is put off, seen, cancelled, and gone; what can't be asked for is said.
func TestSchedule_ListAndCancel(t *testing.T) {
	s := newShop(t)
	s.broken.Store(false)
	if code, out, said := s.run("publish", "account", "OpenAccount", "--id", "acc-1", `{"owner":"Ann","currency":"EUR"}`); code != 0 {
		t.Fatalf("%d %s %s", code, out, said)
	}
	code, out, said := s.run("publish", "account", "DepositMoney", "--id", "acc-1", "--command-id", "rent 5", "--deliver-at", "1h", `{"amount_minor":900}`)
	if code != 0 || !strings.Contains(out, "accepted scheduled: it is decided at ") {
		t.Fatalf("%d %s %s", code, out, said)
	}
	for _, args := range []string{"list", "list account", "list account --id acc-1"} {
		code, out, said = s.run(append([]string{"schedule"}, strings.Fields(args)...)...)
		if code != 0 || strings.Count(out, "\n") != 2 || !strings.Contains(out, `waiting  DepositMoney  {"amount_minor":900`) || !strings.Contains(out, "rent 5") {
			t.Errorf("schedule %s: %d %s %s", args, code, out, said)
		}
	}
	if code, out, said = s.run("schedule", "list", "--json"); code != 0 || !strings.Contains(out, `"command_id": "rent 5"`) || !strings.Contains(out, `"state": "waiting"`) {
		t.Errorf("%d %s %s", code, out, said)
	}
	if code, out, said = s.run("schedule", "cancel", "account", "acc-1", "rent 5"); code != 0 || !strings.HasPrefix(out, "accepted") {
		t.Errorf("%d %s %s", code, out, said)
	}
	if code, out, said = s.run("schedule", "cancel", "account", "acc-1", "rent 5"); code != 3 || !strings.Contains(out, "not_scheduled") {
		t.Errorf("%d %s %s", code, out, said)
	}
	if code, out, said = s.run("schedule", "list"); code != 0 || strings.Count(out, "\n") != 1 {
		t.Errorf("%d %s %s", code, out, said)
	}
	for _, c := range []struct{ args, want string }{
		{"schedule list nosuch", "nosuch"},
		{"schedule list account other", "one KIND, or none"},
		{"schedule list --id x/y", "--id"},
		{"schedule list --limit -1", "--limit is -1"},
		{"schedule cancel account acc-1", "wants KIND, ID and COMMAND_ID"},
		{"publish account DepositMoney --id acc-1 --deliver-at soon", "--deliver-at is \"soon\""},
	} {
		if code, _, said := s.run(strings.Fields(c.args)...); code != 2 || !strings.Contains(said, c.want) {
			t.Errorf("%s: %d %s", c.args, code, said)
		}
	}
}
