package projector_test

import (
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"pgregory.net/rapid"

	"github.com/ledgerline-es/ledgerline/projector"
	"github.com/ledgerline-es/ledgerline/projector/internal/logtest"
	"github.com/ledgerline-es/ledgerline/schemas"
)

const create = "CREATE TABLE " + projector.TableMark + " (x)"

func TestPlan_OfADeclaration(t *testing.T) {
	plan, err := logtest.Balances("balances", memoryTable, create).Plan("stage.")
	if err != nil {
		t.Fatal(err)
	}
	if plan.Topic != "stage.account.events" || plan.Physical() != "balances__g1" || plan.Shape != projector.ShapeFold || plan.Columns[0] != "id" {
		t.Errorf("plan %+v", plan)
	}
	if got := plan.CreateAs(`"bank"."balances__g1"`); got != `CREATE TABLE "bank"."balances__g1" (x)` {
		t.Errorf("create %s", got)
	}
}

func TestFingerprint_ChangesWithTextAndVersion_NotWithLineEnds(t *testing.T) {
	of := func(create string, version int) string {
		p := logtest.Entries("entries", memoryTable, create)
		p.Version = version
		plan, err := p.Plan("")
		if err != nil {
			t.Fatal(err)
		}
		return plan.Fingerprint
	}
	base := of(create, 0)
	if of(create+"\r\n", 0) != base {
		t.Error("a line end at the end changes it")
	}
	for what, other := range map[string]string{"text": of(create+" -- more", 0), "version": of(create, 1)} {
		if other == base {
			t.Errorf("another %s does not change it", what)
		}
	}
}

func TestDeclarationsThatCannotWork_AreNamed(t *testing.T) {
	type row = logtest.Row
	for name, c := range map[string]struct {
		change func(*projector.Append[row, logtest.AccountEvent])
		want   string
	}{
		"no name":        {func(a *projector.Append[row, logtest.AccountEvent]) { a.Name = "" }, "consumer group"},
		"bad name":       {func(a *projector.Append[row, logtest.AccountEvent]) { a.Name = "a b" }, "consumer group"},
		"no kind":        {func(a *projector.Append[row, logtest.AccountEvent]) { a.From = nil }, "From is missing"},
		"no table":       {func(a *projector.Append[row, logtest.AccountEvent]) { a.Into = projector.Table[row]{} }, "Into is incomplete"},
		"no mark":        {func(a *projector.Append[row, logtest.AccountEvent]) { a.Into.Create = "CREATE TABLE x" }, projector.TableMark},
		"no columns":     {func(a *projector.Append[row, logtest.AccountEvent]) { a.Into.Columns = nil }, "no columns"},
		"a column twice": {func(a *projector.Append[row, logtest.AccountEvent]) { a.Into.Columns[1] = a.Into.Columns[0] }, "given twice"},
		"a column unmade": {func(a *projector.Append[row, logtest.AccountEvent]) {
			a.Into.Columns[1] = projector.Column[row]{Name: "x"}
		}, "projector.Col"},
		"no apply": {func(a *projector.Append[row, logtest.AccountEvent]) { a.Apply = nil }, "Apply is missing"},
	} {
		t.Run(name, func(t *testing.T) {
			a := logtest.Entries("entries", memoryTable, create)
			c.change(&a)
			if _, err := a.Plan(""); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("plan says %v, want %q", err, c.want)
			}
		})
	}
	f := logtest.Balances("balances", memoryTable, create)
	f.Into.Columns = f.Into.Columns[1:]
	if _, err := f.Plan(""); err == nil || !strings.Contains(err.Error(), "key of the fold") {
		t.Errorf("a fold whose first column is a number: %v", err)
	}
}

func TestConfigThatCannotWork_IsNamed(t *testing.T) {
	good := projector.Config{Client: []kgo.Opt{kgo.SeedBrokers("x")}, Registry: &schemas.Registry{}}
	if err := good.Validate(); err != nil {
		t.Errorf("the least configuration: %v", err)
	}
	for field, change := range map[string]func(*projector.Config){
		"Client":         func(c *projector.Config) { c.Client = nil },
		"Registry":       func(c *projector.Config) { c.Registry = nil },
		"SessionTimeout": func(c *projector.Config) { c.SessionTimeout = time.Millisecond },
		"Decoders":       func(c *projector.Config) { c.Decoders = -1 },
		"MaxBuffered":    func(c *projector.Config) { c.MaxBuffered = 1 },
		"MaxPoll":        func(c *projector.Config) { c.MaxPoll = -1 },
		"WriteTimeout":   func(c *projector.Config) { c.WriteTimeout = -1 },
		"BackoffMax":     func(c *projector.Config) { c.BackoffMin, c.BackoffMax = time.Second, time.Millisecond },
	} {
		c := good
		change(&c)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), field+" is") {
			t.Errorf("%s: %v", field, err)
		}
	}
	c := good
	c.MaxPoll = -1
	if err := ends(t, projector.New(c, entries("entries"), newMemory())); !strings.Contains(err.Error(), "MaxPoll") {
		t.Errorf("Run says %v", err)
	}
}

func TestSplitKey_UndoesEventKey_AndTakesNothingElse(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		id := rapid.StringMatching(`[A-Za-z0-9._:-]{1,128}`).Draw(t, "id")
		sequence := rapid.Int64Min(1).Draw(t, "sequence")
		gotID, gotSequence, err := projector.SplitKey([]byte(schemas.EventKey(id, sequence)))
		if err != nil || gotID != id || gotSequence != sequence {
			t.Fatalf("%s/%d came back as %s/%d, %v", id, sequence, gotID, gotSequence, err)
		}
	})
	for _, key := range []string{"", "a", "a/", "/1", "a/0", "a/-1", "a/+1", "a/01", "a/1x", "a/b/1", "a b/1", "a/99999999999999999999", "a/ 1"} {
		if id, sequence, err := projector.SplitKey([]byte(key)); err == nil {
			t.Errorf("key %q is taken for %s, %d", key, id, sequence)
		}
	}
}
