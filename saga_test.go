package ledgerline_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
)

type shownSaga struct {
	Waits []waitingLeg
	Steps []struct{ What, From, To, Type string }
}

type waitingLeg struct {
	Saga, State, From, To, Type, Letter, Error string
	Command                                    string `json:"command_id"`
}

func (s *shop) saga(id string) (d shownSaga) {
	s.t.Helper()
	if err := json.Unmarshal([]byte(s.must(0, "saga", "show", id, "--json")), &d); err != nil {
		s.t.Fatal(err)
	}
	return d
}

func (s *shop) legs(args ...string) (legs []waitingLeg) {
	s.t.Helper()
	if err := json.Unmarshal([]byte(s.must(0, append([]string{"saga", "list", "--json"}, args...)...)), &legs); err != nil {
		s.t.Fatal(err)
	}
	return legs
}

// untilSaga waits until a saga waits for just so many messages.
func (s *shop) untilSaga(id string, waits int) (d shownSaga) {
	s.t.Helper()
	s.await(func() error {
		if d = s.saga(id); len(d.Waits) != waits {
			return fmt.Errorf("%s waits for %+v, wanted %d", id, d.Waits, waits)
		}
		return nil
	})
	return d
}

// A transfer is seen as it goes: what it waits for, wherever that stands, and every step that it took.
func TestSaga_StepsAndWhatItWaitsFor(t *testing.T) {
	s := newShop(t, "--producer-decide-timeout", "10m") // longer than the rules are held
	s.broken.Store(false)
	for _, id := range []string{"ann", "bob"} {
		s.must(0, "publish", "account", "OpenAccount", "--id", id, `{"owner":"x","currency":"EUR","initial_deposit_minor":500}`, "--timeout", "60s")
	}
	transfer := func(id string) {
		t.Helper()
		s.must(0, "publish", "account", "TransferMoney", "--id", "ann", "--command-id", id, "--timeout", "60s", `{"target":"bob","amount_minor":100,"currency":"EUR"}`)
	}
	if out := s.must(0, "saga", "list"); strings.Count(out, "\n") != 1 {
		t.Errorf("before all, list says\n%s", out)
	}

	if out := s.must(0, "saga", "list", "--json"); strings.TrimSpace(out) != "[]" {
		t.Errorf("before all, list --json says %s", out)
	}

	transfer("pay-1")
	var steps []string
	for _, step := range s.untilSaga("pay-1", 0).Steps {
		steps = append(steps, strings.TrimSpace(fmt.Sprintf("%s %s %s %s", step.What, step.From, step.To, step.Type)))
	}
	if want := []string{
		"command  account/ann TransferMoney", "event  account/ann TransferStarted", "event  account/ann MoneyWithdrawn", "message account/ann account/bob CreditTransfer",
		"event  account/bob MoneyDeposited", "answer account/bob account/ann Reply",
		"event  account/ann TransferCompleted", "message account/ann account/bob ForgetTransfer", "event  account/bob TransferForgotten",
	}; !slices.Equal(steps, want) {
		t.Errorf("the steps are\n%s\nwanted\n%s", strings.Join(steps, "\n"), strings.Join(want, "\n"))
	}
	if out := s.must(0, "saga", "show", "pay-1"); !strings.Contains(out, "saga pay-1: 9 steps in ") || !strings.Contains(out, "account/ann → account/bob") || !strings.HasSuffix(out, "it waits for nothing\n") {
		t.Errorf("show says\n%s", out)
	}

	// The target does not come to decide: the leg is undecided, and its sender has a timer.
	release := make(chan struct{})
	s.held.Store(&release)
	transfer("pay-2")
	waits := s.untilSaga("pay-2", 2).Waits
	s.held.Store(nil)
	if l := waits[0]; l.State != "undecided" || l.From != "account/ann" || l.To != "account/bob" || l.Type != "CreditTransfer" {
		t.Errorf("it waits for %+v", l)
	}
	if l := waits[1]; l.State != "scheduled" || l.To != "account/ann" || l.Type != "CheckTransfer" {
		t.Errorf("it waits for %+v", l)
	}
	if legs := s.legs("account"); len(legs) != 1 || legs[0] != waits[0] {
		t.Errorf("list says %+v", legs)
	}
	if legs := s.legs("--older", "1h"); len(legs) != 0 {
		t.Errorf("of what is old, list says %+v", legs)
	}
	if out := s.must(0, "saga", "list"); !strings.Contains(out, "undecided  account/ann  account/bob  CreditTransfer  "+s.topics.Internal+"/") {
		t.Errorf("list prints\n%s", out)
	}
	close(release)
	s.untilSaga("pay-2", 0)

	// The leg dies: that is seen until somebody settles it, and the saga ends.
	s.broken.Store(true)
	transfer("pay-3")
	dead := s.untilSaga("pay-3", 2).Waits[0]
	if dead.State != "dead" || dead.Letter == "" || !strings.Contains(dead.Error, "out of ink") {
		t.Errorf("it waits for %+v", dead)
	}
	if out := s.must(0, "saga", "show", "pay-3"); !strings.Contains(out, "dead letter "+dead.Letter+": panic: ") || !strings.Contains(out, "  due at ") {
		t.Errorf("show prints\n%s", out)
	}
	s.broken.Store(false)
	s.must(0, "dlq", "retry", dead.Letter)
	s.untilSaga("pay-3", 0)

	// The answer dies: the sender waits for it, whose timer is shown beside it.
	s.deaf.Store(true)
	transfer("pay-4")
	waits = s.untilSaga("pay-4", 2).Waits
	s.deaf.Store(false)
	if l := waits[0]; l.State != "dead" || l.Type != "Reply" || l.From != "account/bob" || l.To != "account/ann" || !strings.Contains(l.Error, "out of ears") {
		t.Errorf("it waits for %+v", l)
	}
	if l := waits[1]; l.State != "scheduled" || l.To != "account/ann" {
		t.Errorf("it waits for %+v", l)
	}
	s.must(0, "dlq", "retry", waits[0].Letter)
	s.untilSaga("pay-4", 0)

	for _, c := range []struct {
		code       int
		args, want string
	}{
		{1, "saga show nobody", "nothing belongs to nobody"},
		{1, "saga show nobody --since 1h", "look further back with --since"},
		{2, "saga show", "wants one SAGA"},
		{2, "saga show x --since soon", "--since is"},
		{2, "saga list nosuch", "nosuch"},
		{2, "saga list account other", "one KIND, or none"},
		{2, "saga list --limit -1", "--limit is -1"},
		{2, "saga list --older -1s", "--older is -1s"},
	} {
		if code, _, said := s.run(strings.Fields(c.args)...); code != c.code || !strings.Contains(said, c.want) {
			t.Errorf("%s: %d %s", c.args, code, said)
		}
	}
}
