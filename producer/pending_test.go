package producer

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ledgerline-es/ledgerline/schemas/account"
	"github.com/ledgerline-es/ledgerline/schemas/ledgerline"
)

// alive is what is in use of it, in bytes. The store's own buffers, which are not of it, are bounded by its options.
func alive() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// However many commands wait in a partition, what is in memory of them is bounded, also when the next owner orders them anew; and those
// that are due are found at once.
func TestP13_ManyScheduled_TakeBoundedMemory(t *testing.T) {
	r := newRestorer(t, deposits)
	r.fs, r.cache = vfs.Default, pebble.NewCache(8<<20)
	defer r.cache.Unref()
	ctx := context.Background()
	s, err := openStore(r.fs, t.TempDir(), identity{}, r.cache, r.log)
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	b := newBook(0, r.writer, r.limits, r.machine, s, newWindow(time.Hour), r.log)
	command, err := r.machine.encodeCommand(&account.DepositMoney{AmountMinor: 1})
	if err != nil {
		t.Fatal(err)
	}
	const all, transaction = 60_000, 1000
	const most = 8 << 20 // what the first third takes is not counted: caches fill
	due := func(n int) int64 { return 1_800_000_000_000 + int64(n)*7919%all }
	fill := func(from, to int) {
		t.Helper()
		for n := from; n < to; n++ {
			timer := &ledgerline.Timer{Due: due(n), Command: command, Headers: []ledgerline.TimerHeader{{Key: "ce_id", Value: []byte(fmt.Sprint("command-", n))}}}
			if err := b.setTimer(ctx, timerKey(fmt.Sprint("acc-", n), "at:"+fmt.Sprint("command-", n)), timer); err != nil {
				t.Fatal(err)
			}
			if n%transaction == transaction-1 {
				if _, err := b.bookmarks(0); err != nil {
					t.Fatal(err)
				}
				if err := b.commit(); err != nil {
					t.Fatal(err)
				}
				b.writer.slab.reset() // as a transaction does
			}
		}
	}
	fill(0, all/3)
	before := alive()
	fill(all/3, all)
	if grown := alive() - before; grown > most {
		t.Errorf("%d more commands that wait took %d MiB of memory", all*2/3, grown>>20)
	}
	if err := errors.Join(b.save(-1), b.timers.load(ctx, r.writer, s)); err != nil { // as its own successor, who finds them in order
		t.Fatal(err)
	}
	if b.timers.count != all || b.timers.next != due(0) {
		t.Errorf("%d wait, the first until %d: wanted %d and %d", b.timers.count, b.timers.next, all, due(0))
	}
	if err := errors.Join(s.stage([]byte(timerKey("acc-0", "at:command-0")), nil), s.apply(s.has)); err != nil { // and as one who has read on in the log
		t.Fatal(err)
	}
	if err := b.timers.load(ctx, r.writer, s); err != nil {
		t.Fatal(err)
	}
	if grown := alive() - before; grown > most {
		t.Errorf("putting %d commands in order took %d MiB of memory", all, grown>>20)
	}
	if b.timers.count != all-1 || b.timers.next != due(0)+1 {
		t.Errorf("%d wait, the first until %d: wanted %d and %d", b.timers.count, b.timers.next, all-1, due(0)+1)
	}
	tick := readCommand(&kgo.Record{Topic: r.writer.topics.Internal, Timestamp: time.UnixMilli(due(0) + all)})
	tick.tick = true
	res, err := b.process(ctx, &tick)
	if err != nil || len(res.records) != maxFired {
		t.Errorf("a tick fires %d, wanted %d, %v", len(res.records), maxFired, err)
	}
}

// What is put off and cancelled soon after never gets into the local state.
func TestP13_PutOffAndCancelled_CostsTheStoreNothing(t *testing.T) {
	r := newRestorer(t, deposits)
	s, err := openStore(vfs.NewMem(), "", identity{}, r.cache, r.log)
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	b, ctx := newBook(0, r.writer, r.limits, r.machine, s, newWindow(time.Hour), r.log), context.Background()
	key := timerKey("acc-1", "t")
	for _, timer := range []*ledgerline.Timer{{Due: 7}, {Due: 9}, nil} {
		if err := b.setTimer(ctx, key, timer); err != nil {
			t.Fatal(err)
		}
		recs, err := b.bookmarks(0)
		if err != nil || len(recs) != 1 || (recs[0].Value == nil) != (timer == nil) {
			t.Fatalf("%+v is written as %v, %v", timer, recs, err)
		}
		if err := b.commit(); err != nil {
			t.Fatal(err)
		}
		next := int64(noTimer)
		if timer != nil {
			next = timer.Due
		}
		if b.timers.next != next || !s.staged.Empty() {
			t.Errorf("after %+v the next is due at %d, and %d bytes are staged for the store", timer, b.timers.next, s.staged.Len())
		}
	}
	if err := b.save(-1); err != nil {
		t.Fatal(err)
	}
	for _, prefix := range []string{timerPrefix, string(dueKey)} {
		if err := s.each(prefix, func(key string, _ []byte) error { return fmt.Errorf("the store has %q", key) }); err != nil {
			t.Error(err)
		}
	}
}

// A member whose clock is wrong sees from the first tick by how much, and sends the next when something is due by the brokers' clocks.
func TestP2_ClockOfAMemberIsWrong_TicksComeInTime(t *testing.T) {
	r := newRestorer(t, deposits)
	s, err := openStore(vfs.NewMem(), "", identity{}, r.cache, r.log)
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	for _, wrong := range []time.Duration{0, time.Hour, -time.Hour, 3 * time.Second, -250 * time.Millisecond} {
		b := newBook(0, r.writer, r.limits, r.machine, s, newWindow(time.Hour), r.log)
		brokers := time.Now().Add(wrong)
		const in = 40 * time.Second
		b.timers.next = brokers.Add(in).UnixMilli()
		b.timers.ticked = time.Now()
		tick := readCommand(&kgo.Record{Topic: r.writer.topics.Internal, Timestamp: brokers})
		tick.tick = true
		if _, err := b.process(context.Background(), &tick); err != nil {
			t.Fatal(err)
		}
		if due := b.timers.due(); due < in-10*time.Second || due > in+10*time.Second {
			t.Errorf("the brokers' clock is %v ahead: what is due in %v is taken to be due in %v", wrong, in, due)
		}
		if !b.timers.ticked.IsZero() || time.Since(b.timers.measured) > time.Minute {
			t.Errorf("the tick came, and counts as under way since %v, measured at %v", b.timers.ticked, b.timers.measured)
		}
	}
}
