package bank_test

import (
	"fmt"
	"testing"
)

// transfer is the answer of GET /transfers/{id}.
type transfer struct {
	Source, Target, Currency, Status, Reason string

	AmountMinor int64   `json:"amount_minor"`
	StartedAt   string  `json:"started_at"`
	EndedAt     *string `json:"ended_at"`
	History     []struct{ Step, At string }
}

type transferBody struct {
	TransferID string `json:"transfer_id"`
	CommandID  string `json:"command_id"`
	Status     string
	Version    int64
}

func (d *door) balance(id, position string) int64 {
	d.t.Helper()
	var s summaryBody
	d.get("/accounts/summary/"+id+"?wait=1m&position="+position).is(200, "").as(&s)
	return s.BalanceMinor
}

// transferred is a transfer once it has ended.
func (d *door) transferred(id string) (t transfer, position string) {
	d.t.Helper()
	position = d.get("/transfers/"+id+"?ended=true&wait=1m").is(200, "").as(&t).position()
	return t, position
}

// A transfer over HTTP: begun, completed, refunded; repeated; and what is refused.
func TestRoutes_Transfers(t *testing.T) {
	d := fullHouse(t)
	d.open("ann", 10_000)
	d.open("bob", 0)
	d.post("/accounts", `{"account_id":"eve","owner":"eve","currency":"USD"}`).is(201, "")
	var begun, again transferBody
	first := d.post("/transfers", `{"source":"ann","target":"bob","amount_minor":3000,"category":"rent"}`, "Idempotency-Key", "pay-1").is(201, "").as(&begun)
	if begun.TransferID != "ann:3" || begun.CommandID != "pay-1" || begun.Status != "pending" || begun.Version != 4 || first.header.Get("Location") != "/transfers/ann:3" {
		t.Errorf("begun: %s", first)
	}
	d.post("/transfers", `{"source":"ann","target":"bob","amount_minor":3000,"category":"rent"}`, "Idempotency-Key", "pay-1").is(201, "").as(&again)
	if again != begun {
		t.Errorf("asked again: %+v, first %+v", again, begun)
	}
	d.post("/transfers", `{"source":"ann","target":"bob","amount_minor":4000}`, "Idempotency-Key", "pay-1").is(422, "command_id_reused")
	var pending transfer
	d.get("/transfers/ann:3?wait=1m&position="+first.position()).is(200, "").as(&pending)
	if pending.Source != "ann" || pending.Target != "bob" || pending.AmountMinor != 3000 || pending.Currency != "EUR" || len(pending.History) == 0 || pending.History[0].Step != "started" {
		t.Errorf("right after it has begun: %+v", pending)
	}
	done, position := d.transferred("ann:3")
	if done.Status != "completed" || done.EndedAt == nil || len(done.History) != 2 || done.History[1].Step != "completed" || done.Reason != "" {
		t.Errorf("completed: %+v", done)
	}
	if n := d.balance("ann", position); n != 7000 {
		t.Errorf("ann has %d", n)
	}
	d.await("bob to be paid", func() error {
		if n := d.balance("bob", ""); n != 3000 {
			return fmt.Errorf("he has %d", n)
		}
		return nil
	})
	for target, reason := range map[string]string{"eve": "currency_mismatch", "nobody": "account_not_found"} {
		var begun transferBody
		d.post("/transfers", fmt.Sprintf(`{"source":"ann","target":%q,"amount_minor":1000}`, target)).is(201, "").as(&begun)
		refunded, position := d.transferred(begun.TransferID)
		if refunded.Status != "refunded" || refunded.Reason != reason || refunded.EndedAt == nil {
			t.Errorf("to %s: %+v", target, refunded)
		}
		if n := d.balance("ann", position); n != 7000 {
			t.Errorf("after it came back ann has %d", n)
		}
	}
	for _, c := range []struct{ body, code string }{
		{`{"source":"ann","target":"ann","amount_minor":1}`, "same_account"},
		{`{"source":"ann","target":"bob","amount_minor":0}`, "amount_invalid"},
		{`{"source":"ann","target":"bob","amount_minor":1,"currency":"USD"}`, "currency_mismatch"},
		{`{"source":"ann","target":"bob","amount_minor":7001}`, "insufficient_funds"},
		{`{"source":"ann","target":"b/b","amount_minor":1}`, "target_invalid"},
		{`{"source":"nobody","target":"bob","amount_minor":1}`, "account_not_found"},
		{`{"source":"a/b","target":"bob","amount_minor":1}`, "invalid_request"},
		{`{"target":"bob","amount_minor":1}`, "invalid_request"},
	} {
		d.post("/transfers", c.body).is(422, c.code)
	}
	d.get("/transfers/ann:999").is(404, "transfer_not_found")
	d.get("/transfers/ann").is(404, "transfer_not_found")
	d.get("/transfers/ann:3?wait=soon").is(422, "invalid_request")
}
