package rights_test

import (
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ledgerline-es/ledgerline/internal/rights"
)

// A kind's producers may write to the internal topics of the kinds that it sends to, and read none of theirs.
func TestOf_ProducerThatSendsToAnotherKind(t *testing.T) {
	p := rights.Platform{Prefix: "p.", Kinds: []rights.Kind{{Name: "order", SendsTo: []string{"stock"}}, {Name: "stock"}}}
	var on []kmsg.ACLOperation
	for _, r := range p.Only("order").Of(rights.Producer) {
		if r.Name == "p.stock.internal" {
			on = append(on, r.Operation)
		}
	}
	if !slices.Contains(on, kmsg.ACLOperationWrite) || slices.Contains(on, kmsg.ACLOperationRead) {
		t.Errorf("its rights on p.stock.internal are %v", on)
	}
	for _, r := range p.Of(rights.Client) {
		if r.Name == "p.stock.internal" || r.Name == "p.order.internal" {
			t.Errorf("a client has the right %v on %s", r.Operation, r.Name)
		}
	}
}
