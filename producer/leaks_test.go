package producer_test

import (
	"fmt"
	"net/http"
	"testing"

	"go.uber.org/goleak"

	"github.com/ledgerline-es/ledgerline/producer"
)

// Two processes of two sessions, each other's standbys, with local state: one ends, the other takes over, and ends too. When Run has
// returned nothing runs any more, of the client neither.
func TestEnded_LeavesNothingBehind(t *testing.T) {
	s := newSystem(t)
	s.start().stop() // what the broker runs on stays
	before := goleak.IgnoreCurrent()
	t.Run("work", func(t *testing.T) {
		s.t = t
		s.change = func(c *producer.Config) { c.Sessions, c.Standbys, c.StateDir = 2, 1, t.TempDir() }
		owner := s.start()
		c := s.client()
		for a := range 20 {
			expect(t, s.publish(c, open(fmt.Sprint("acc-", a), 1)), producer.Accepted, "")
		}
		s.start()
		for a := range 20 {
			expect(t, s.publish(c, deposit(fmt.Sprint("acc-", a), 1)), producer.Accepted, "")
		}
		owner.stop()
		for a := range 20 {
			expect(t, s.publish(c, deposit(fmt.Sprint("acc-", a), 1)), producer.Accepted, "")
		}
	})
	http.DefaultClient.CloseIdleConnections()                         // to the registry, which are kept for whoever asks next
	const broker = "github.com/twmb/franz-go/pkg/kfake.(*clientConn)" // which may still have a fetch to answer that nobody waits for
	goleak.VerifyNone(t, before, goleak.IgnoreAnyFunction(broker+".read"), goleak.IgnoreAnyFunction(broker+".write"))
}
