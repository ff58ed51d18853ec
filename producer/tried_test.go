package producer

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ledgerline-es/ledgerline/schemas/ledgerline"
)

// A process that counted a command as decided alone, and lives, was not ended by it.
func TestP5_CommandDecidedAlone_IsHeldResponsibleForWhoEnded(t *testing.T) {
	rec, other := &kgo.Record{Topic: "account.commands", Offset: 7}, &kgo.Record{Topic: "account.commands", Offset: 8}
	for _, c := range []struct {
		name  string
		tries int32
		here  bool // one of them in this process
		fatal bool
	}{
		{"never", 0, false, false},
		{"once, elsewhere", 1, false, false},
		{"twice, elsewhere", 2, false, true},
		{"once elsewhere, once here", 2, true, false},
		{"twice elsewhere, once here", 3, true, true},
	} {
		b := &book{trial: &ledgerline.Trial{Topic: rec.Topic, Offset: rec.Offset, Tries: c.tries}, tried: &tried{}}
		if c.here {
			b.tried.add(rec)
		}
		if got := b.fatality(rec) != nil; got != c.fatal {
			t.Errorf("%s: it is a dead letter: %v", c.name, got)
		}
		if b.fatality(other) != nil {
			t.Errorf("%s: another command is a dead letter", c.name)
		}
	}
}
