package bank_test

import (
	"net/http"
	"testing"

	"go.uber.org/goleak"
)

// The whole house ends: the API, whose connections to Kafka and Postgres outlive its last request, the projectors and the producer. When
// each Run has returned, nothing runs any more.
func TestEnded_TheHouseLeavesNothingBehind(t *testing.T) {
	h := newHouse(t)
	h.producer()() // the registry's connections stay
	http.DefaultClient.CloseIdleConnections()
	before := goleak.IgnoreCurrent()
	t.Run("work", func(t *testing.T) {
		h := *h
		h.t = t
		h.producer()
		h.projectors()
		d := h.door(nil)
		var o openedBody
		first := d.post("/accounts", `{"owner":"test owner","currency":"EUR","initial_deposit_minor":10000}`).is(201, "").as(&o)
		d.get("/accounts/summary/"+o.AccountID+"?wait=1m&position="+first.position()).is(200, "")
	})
	http.DefaultClient.CloseIdleConnections()
	goleak.VerifyNone(t, before)
}
