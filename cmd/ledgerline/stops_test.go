package main

import (
	"fmt"
	"net/http"
	"strings"
	"syscall"
	"testing"

	"github.com/ledgerline-es/ledgerline/internal/process"
)

// A projector that can't go on says so and leaves everything else at work, in a demo and in a role: writes are answered, the
// other tables kept up to date.
func TestP5_ProjectorThatStopsForGood_LeavesTheRestAtWork(t *testing.T) {
	s := newStand(t)
	d := s.start("--sample=false")
	s.publish(0, "OpenAccount", "shop", `{"owner":"Ann","currency":"EUR"}`)
	s.postgres("UPDATE ledgerline.generations SET fingerprint = 'of another mapping' WHERE projection = 'account-summary'") // it is looked at when it starts
	s.postgresRun("DROP TABLE bank.account_transactions__g1 CASCADE")
	s.publish(0, "DepositMoney", "shop", `{"amount_minor":500}`)
	const history = "projector transaction-history has stopped for good"
	d.says(history)
	summaryIs := func(balance string) {
		t.Helper()
		s.await(func() error {
			if code, body := s.ask(s.address["api"], "/accounts/summary/shop"); code != http.StatusOK || !strings.Contains(body, `"balance_minor":`+balance+`,`) {
				return fmt.Errorf("the summary is %d %s", code, body)
			}
			return nil
		})
	}
	unready := func(address string, ready, stopped []string) {
		t.Helper()
		s.await(func() error {
			code, body := s.ask(address, "/readyz")
			if code != http.StatusServiceUnavailable {
				return fmt.Errorf("/readyz answers %d %s", code, body)
			}
			for _, name := range ready {
				if !strings.Contains(body, `"`+name+`":"ready"`) {
					return fmt.Errorf("%s is not ready: %s", name, body)
				}
			}
			for _, name := range stopped {
				if !strings.Contains(body, name+": stopped: ") {
					return fmt.Errorf("it does not say why %s has stopped: %s", name, body)
				}
			}
			return nil
		})
	}
	summaryIs("500")
	unready(s.address["admin"], []string{"producer account", "projector account-summary", "projector analytics", "api"}, []string{"projector transaction-history"})

	// The role beside it: two of three can't even start.
	port, err := process.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	admin := fmt.Sprintf("127.0.0.1:%d", port)
	r := s.begin(append([]string{"projector", "--admin-listen", admin}, s.all()...)...)
	unready(admin, []string{"projector analytics"}, []string{"projector transaction-history", "projector account-summary"})
	r.signal(syscall.SIGTERM)
	r.ends(1)
	if out := s.run(1, append([]string{"projector", "account-summary", "transaction-history", "--admin-listen", admin}, s.all()...)...); !strings.Contains(out.String(), "account-summary") {
		t.Errorf("a role without a projector that goes on ended with %s", out)
	}

	d.signal(syscall.SIGINT)
	d.ends(0)
	d = s.start("--sample=false")
	for _, want := range []string{history, "projector account-summary has stopped for good", "rebuild the projection", "but for projector"} {
		if !strings.Contains(d.terminal.text(), want) {
			t.Errorf("the second start does not say %q:\n%s", want, d.terminal.text())
		}
	}
	s.publish(0, "DepositMoney", "shop", `{"amount_minor":1}`)
	d.signal(syscall.SIGINT)
	d.ends(0)

	out := s.run(1, append([]string{"demo", "--once", "--sample=false"}, s.flags()...)...)
	if !strings.Contains(out.err, "ledgerline: projector ") || !strings.Contains(out.err, "rebuild the projection") {
		t.Errorf("demo --once ended with %s", out.err)
	}
}
