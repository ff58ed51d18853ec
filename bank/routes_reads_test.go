package bank_test

import (
	"fmt"
	"sync"
	"testing"

	"github.com/ledgerline-es/ledgerline/bank"
)

// Reading one's own writes: by position and by version, through the instance that wrote and through another one, while
// others write.
func TestP11_ReadYourWrites(t *testing.T) {
	d := fullHouse(t)
	other := d.house.door(nil)
	var group sync.WaitGroup
	for w := range 8 {
		group.Go(func() {
			id := fmt.Sprintf("acc-%d", w)
			d.open(id, 0)
			for i := range int64(40) {
				done := d.post("/accounts/"+id+"/deposits", `{"amount_minor":1}`)
				if done.status != 200 {
					t.Errorf("deposit: %s", done)
					return
				}
				from := []*door{d, other}[i%2]
				var path string
				if i%3 == 0 {
					path = fmt.Sprintf("?wait=1m&min_version=%d", i+2)
				} else {
					path = "?wait=1m&position=" + done.position()
				}
				var s summaryBody
				if got := from.get("/accounts/summary/" + id + path); got.status != 200 {
					t.Errorf("%s: %s", path, got)
					return
				} else if got.as(&s); s.Version < i+2 || s.BalanceMinor < i+1 {
					t.Errorf("after deposit %d with %s: %+v", i+1, path, s)
					return
				}
				var list struct{ Items []struct{ Sequence int64 } }
				if got := from.get("/accounts/" + id + "/transactions" + path + "&limit=1"); got.status != 200 {
					t.Errorf("%s: %s", path, got)
					return
				} else if got.as(&list); len(list.Items) != 1 || list.Items[0].Sequence < i+2 {
					t.Errorf("after deposit %d with %s: %+v", i+1, path, list)
					return
				}
			}
		})
	}
	group.Wait()
}

// While an account changes all the time, each reader of one instance sees it go forward only, most reads come from memory,
// and in the end the last version is there without asking for it.
func TestP11_CachedReadsGoForwardUnderLoad(t *testing.T) {
	d := fullHouse(t)
	const deposits = 300
	ids := []string{"one", "two"}
	stop := make(chan struct{})
	var readers, writers sync.WaitGroup
	for _, id := range ids {
		d.get("/accounts/summary/"+id+"?wait=1m&position="+d.open(id, 0).position()).is(200, "")
		writers.Go(func() {
			for range deposits {
				if got := d.post("/accounts/"+id+"/deposits", `{"amount_minor":1}`); got.status != 200 {
					t.Errorf("deposit: %s", got)
				}
			}
		})
		for range 3 {
			readers.Go(func() {
				var before int64
				width := 0
				for {
					select {
					case <-stop:
						return
					default:
					}
					got := d.get("/accounts/summary/" + id)
					var s summaryBody
					got.is(200, "").as(&s)
					if s.Version < before || s.BalanceMinor != s.Version-1 {
						t.Errorf("%s was at %d and then at %+v", id, before, s)
						return
					}
					if width != 0 && len(got.body) != width {
						t.Errorf("bodies of %d and of %d bytes", width, len(got.body))
						return
					}
					before, width = s.Version, len(got.body)
				}
			})
		}
	}
	writers.Wait()
	close(stop)
	readers.Wait()
	for _, id := range ids {
		d.await("the last version of "+id, func() error {
			var s summaryBody
			if d.get("/accounts/summary/" + id).as(&s); s.Version != deposits+1 {
				return fmt.Errorf("%s is at %d", id, s.Version)
			}
			return nil
		})
	}
	var stats struct {
		ES struct {
			Queue struct {
				QueueName map[string]struct{ AvgItemsPerSecond float64 }
			}
			ReadIndex struct{ CachedRecord int }
		}
		Cache struct {
			Hits, Misses int64
			HitRate      float64 `json:"hit_rate"`
		}
	}
	d.get("/stats").is(200, "").as(&stats)
	if stats.ES.Queue.QueueName["$all"].AvgItemsPerSecond <= 0 || stats.ES.ReadIndex.CachedRecord != 2 || stats.Cache.Hits == 0 {
		t.Errorf("stats: %+v", stats)
	}
	t.Logf("hit rate %v of %d reads, %v events/s", stats.Cache.HitRate, stats.Cache.Hits+stats.Cache.Misses, stats.ES.Queue.QueueName["$all"].AvgItemsPerSecond)
}

// A projection that stands still: who asks for more than it has is told so, who does not is served.
func TestP11_BehindIsSaid(t *testing.T) {
	h := newHouse(t)
	h.producer()
	h.projector(bank.TransactionHistory)
	stop := h.projector(bank.AccountSummary)
	d := h.door(nil)
	d.get("/accounts/summary/acc?wait=1m&position="+d.open("acc", 5).position()).is(200, "")
	stop()
	done := d.post("/accounts/acc/deposits", `{"amount_minor":1}`).is(200, "")
	for _, query := range []string{"?wait=100ms&position=" + done.position(), "?wait=100ms&min_version=3", "?min_version=3"} {
		got := d.get("/accounts/summary/acc"+query).is(503, "behind")
		if got.header.Get("Retry-After") == "" {
			t.Errorf("no Retry-After: %s", got)
		}
	}
	var s summaryBody
	if d.get("/accounts/summary/acc").is(200, "").as(&s); s.Version != 2 {
		t.Errorf("without asking for more: %+v", s)
	}
	d.get("/accounts/acc/transactions?wait=1m&position="+done.position()).is(200, "")
	// Those who wait while it comes back are served.
	waiting := make(chan said, 1)
	go func() { waiting <- d.get("/accounts/summary/acc?wait=2m&position=" + done.position()) }()
	h.projector(bank.AccountSummary)
	if (<-waiting).is(200, "").as(&s); s.Version != 3 {
		t.Errorf("after it came back: %+v", s)
	}
}
