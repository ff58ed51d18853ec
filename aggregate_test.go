package ledgerline_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// The state is that of the rules, and the owner is found by either protocol of the group.
func TestAggregateShow_StateVersionAndOwner(t *testing.T) {
	for _, protocol := range []string{"classic", "consumer"} {
		t.Run(protocol, func(t *testing.T) {
			s := newShop(t, "--producer-group", protocol)
			s.broken.Store(false)
			s.must(0, "publish", "account", "OpenAccount", "--id", "ann", `{"owner":"ann","currency":"EUR"}`, "--timeout", "60s")
			s.must(0, "publish", "account", "DepositMoney", "--id", "ann", "--command-id", "pay-1", `{"amount_minor":7}`)
			out := s.must(0, "aggregate", "show", "account", "ann", "--events", "1")
			for _, want := range []string{"account ann, version 2, partition 2", "decided by ", `"balance_minor":7`, "event 2 MoneyDeposited at "} {
				if !strings.Contains(strings.ReplaceAll(out, ": ", ":"), want) {
					t.Errorf("it prints\n%s\nwanted %q", out, want)
				}
			}
			var doc struct {
				Version, Partition int
				State              struct {
					BalanceMinor int `json:"balance_minor"`
				}
				Owner  struct{ Group string }
				Events []struct{ Sequence int }
			}
			s.await(func() error {
				if err := json.Unmarshal([]byte(s.must(0, "aggregate", "show", "account", "ann", "--json")), &doc); err != nil {
					return err
				}
				if doc.Version != 2 || doc.State.BalanceMinor != 7 || !strings.HasSuffix(doc.Owner.Group, "account.producer") || len(doc.Events) != 2 {
					return fmt.Errorf("--json says %+v", doc)
				}
				return nil
			})
			if _, _, said := s.run("aggregate", "show", "account", "nobody"); !strings.Contains(said, "does not exist") {
				t.Errorf("of nobody it says %q", said)
			}
			if out := s.must(0, "events", "account", "ann", "--from", "2"); strings.Count(out, "\n") != 1 {
				t.Errorf("events --from 2 prints\n%s", out)
			}
			// The operator's tool knows the rights of this group too.
			if out := s.must(0, "topics", "acl", "--login", "--roles", "producer,auditor"); !strings.HasPrefix(out, "nothing is missing") {
				t.Error(out)
			}
		})
	}
}
