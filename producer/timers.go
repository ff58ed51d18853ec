package producer

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ledgerline-es/ledgerline/producer/internal/mutant"
	"github.com/ledgerline-es/ledgerline/schemas"
	"github.com/ledgerline-es/ledgerline/schemas/ledgerline"
)

// A timer is a command that waits: a record of the snapshots topic, in the partition of its aggregate, written in the transaction of the
// command that asked for it. So it is restored, followed by standbys and compacted with the rest, and lies in the local state.
//
// A clock may write nothing: its transaction would commit no offset, and nothing would fence it. So when a timer's time has come, the
// owner of its partition publishes a tick into the internal topic, outside of any transaction. A tick says nothing but that somebody should
// look; one too many does no harm, whoever sent it. Like a command it is polled, and what is due when the brokers appended it is fired in
// the transaction that commits its offset: the waiting command becomes a record of the internal topic, and its timer is marked as fired. That
// record is decided like any other if its timer is still there, and takes it away; else it was cancelled, or is a repetition.
//
// What is due is measured by the brokers' clocks alone. The owner's own says only when to send a tick; by how much it differs each tick shows.

const (
	timerPrefix = "/timer/" // "/timer/<aggregate id>/<name>"

	// scheduledPrefix begins the names of timers that clients asked for, before the id of the command: aggregates can't touch those, nor
	// clients those of aggregates.
	scheduledPrefix = "at:"

	// maxFired and maxFiredBytes bound what one tick fires; what is left waits for the next one.
	maxFired      = 500
	maxFiredBytes = 4 << 20

	// tickAgain is after what time a tick counts as lost.
	tickAgain = 2 * time.Second
	// calibrateEvery is how often the brokers are asked for their time, where something waits for it.
	calibrateEvery = 5 * time.Minute
)

// maxDelay bounds how long a command can wait.
const maxDelay = 100 * 366 * 24 * time.Hour

// noTimer is when nothing waits.
const noTimer = math.MaxInt64

// timers are what waits in one partition.
type timers struct {
	next  int64 // when the first is due, Unix milliseconds by the brokers' clock, or earlier where that one was taken away; noTimer: none waits
	count int   // of those that wait

	open   map[string]change // by the open transaction, by key
	recent recents
	stored int64           // as next, of those in the store
	known  map[string]mark // what the store has; nil: it must be asked

	sending  *atomic.Bool  // the client has a tick that no broker has taken yet
	ticked   time.Time     // when a tick was sent that has not come yet; zero: none is on its way
	ahead    time.Duration // by how much the brokers' clock is ahead of ours …
	measured time.Time     // … and when that was seen
}

func newTimers() timers {
	return timers{next: noTimer, stored: noTimer, open: map[string]change{}, recent: recents{of: map[string]recent{}}, known: map[string]mark{}, sending: &atomic.Bool{}}
}

// change is what the open transaction makes of a timer.
type change struct {
	before, after *mark
	timer         *ledgerline.Timer // as it is after; nil: there is none
	value         []byte            // of its record
}

func timerKey(id, name string) string { return timerPrefix + id + "/" + name }

func isTimer(key []byte) bool {
	return len(key) > len(timerPrefix) && string(key[:len(timerPrefix)]) == timerPrefix
}

// dueAt is how the local state finds timers by their time.
func dueAt(due int64, key string) []byte {
	return append(binary.BigEndian.AppendUint64(append([]byte(nil), dueKey...), uint64(due)), key...)
}

// mark says what the timer under a key is, as the open transaction leaves it.
func (b *book) mark(ctx context.Context, key string) (*mark, error) {
	t := &b.timers
	if c, ok := t.open[key]; ok {
		return c.after, nil
	}
	if r, ok := t.recent.of[key]; ok {
		return r.now, nil
	}
	if t.known != nil {
		if m, ok := t.known[key]; ok {
			return &m, nil
		}
		return nil, nil
	}
	timer, err := b.storedTimer(ctx, key)
	if timer == nil {
		return nil, err
	}
	return &mark{timer.Due, timer.Fired}, nil
}

// storedTimer is the timer that the store has under a key; nil when there is none.
func (b *book) storedTimer(ctx context.Context, key string) (*ledgerline.Timer, error) {
	value, ok, err := b.store.get([]byte(key))
	if err != nil || !ok {
		return nil, err
	}
	return b.writer.timers.Decode(ctx, value)
}

// setTimer makes a timer what it is to be after the open transaction; nil takes it away.
func (b *book) setTimer(ctx context.Context, key string, to *ledgerline.Timer) error {
	c, ok := b.timers.open[key]
	if !ok {
		was, err := b.mark(ctx, key)
		if err != nil {
			return err
		}
		c.before = was
	}
	if c.timer, c.after = to, nil; to != nil {
		c.after = &mark{to.Due, to.Fired}
	}
	b.timers.open[key] = c
	return nil
}

// timerMarks are the records of the timers that the open transaction changed.
func (b *book) timerMarks() ([]*kgo.Record, error) {
	var out []*kgo.Record
	for key, c := range b.timers.open {
		if c.before == nil && c.after == nil { // it came and went
			continue
		}
		rec := b.writer.slab.record()
		rec.Topic, rec.Partition, rec.Key = b.writer.topics.Snapshots, b.partition, b.writer.slab.text(key)
		if c.timer != nil {
			data, err := b.writer.timers.Append(nil, c.timer)
			if err != nil {
				return nil, err
			}
			c.value = data
			b.timers.open[key] = c
			rec.Value = data
		}
		out = append(out, rec)
	}
	return out, nil
}

// commit makes what the transaction did to timers the truth.
func (t *timers) commit(s *store) error {
	if len(t.open) == 0 {
		return nil
	}
	for key, c := range t.open {
		if c.before.waits() {
			t.count--
		}
		if c.after.waits() {
			t.count++
		}
		t.recent.set(key, c)
	}
	clear(t.open)
	if t.recent.full() {
		return t.put(s)
	}
	t.next = min(t.stored, t.recent.first())
	return nil
}

// due gives the timers that wait, in the order of their times from one on, until fn returns errStop.
func (s *store) due(from int64, fn func(due int64, key string) error) error {
	return s.eachFrom(dueAt(from, ""), string(dueKey), func(key string, _ []byte) error {
		rest := []byte(key)[len(dueKey):]
		if len(rest) < 8 {
			return fmt.Errorf("local state has a timer without a time: %q", key)
		}
		return fn(int64(binary.BigEndian.Uint64(rest)), string(rest[8:]))
	})
}

// load finds the timers in the store, and puts them in order if others than their owner have changed them.
func (t *timers) load(ctx context.Context, w *writer, s *store) error {
	*t = newTimers()
	t.stored = 0
	if err := t.look(s); err != nil {
		return err
	}
	count, ok, err := s.get(timersKey)
	if err != nil {
		return err
	}
	inOrder := ok && len(count) == 8
	if inOrder {
		t.count = int(binary.BigEndian.Uint64(count))
		if t.count > maxKnown {
			t.known = nil
			return nil
		}
	} else if t.next != noTimer {
		end := append([]byte(nil), dueKey...)
		end[len(end)-1]++
		if err := s.staged.DeleteRange(dueKey, end, nil); err != nil {
			return err
		}
	}
	err = s.each(timerPrefix, func(key string, value []byte) error {
		timer, err := w.timers.Decode(ctx, value)
		if err != nil {
			return err
		}
		m := mark{timer.Due, timer.Fired}
		if t.know(key, m); inOrder && t.known == nil {
			return errStop
		}
		if inOrder || !m.waits() {
			return nil
		}
		t.count++
		if err := s.staged.Set(dueAt(timer.Due, key), nil, nil); err != nil || !s.full() {
			return err
		}
		return s.apply(s.has)
	})
	if err != nil || inOrder {
		return err
	}
	t.stored = 0
	return t.ordered(s)
}

// schedule has a client's command wait until its time.
func (b *book) schedule(ctx context.Context, c *command, h *head) (result, error) {
	timer := &ledgerline.Timer{Due: c.deliverAt, Command: c.rec.Value}
	for _, header := range c.rec.Headers {
		switch header.Key {
		case schemas.HeaderDeliverAt, schemas.HeaderOrigin, schemas.HeaderTimer, schemas.HeaderID:
		default:
			timer.Headers = append(timer.Headers, ledgerline.TimerHeader{Key: header.Key, Value: header.Value})
		}
	}
	timer.Headers = append(timer.Headers, ledgerline.TimerHeader{Key: schemas.HeaderID, Value: []byte(c.meta.CommandID)})
	if size := len(c.rec.Value) + overhead(c.rec); size > maxSnapshot {
		return b.refuse(ctx, c, refuse(CodeTooLarge, "a command that has to wait has %d bytes with its headers: at most %d", size, maxSnapshot))
	}
	if err := b.setTimer(ctx, timerKey(c.id, scheduledPrefix+c.meta.CommandID), timer); err != nil {
		return result{}, err
	}
	b.note(c, h, Accepted, "")
	res, err := b.answer(c, ledgerline.Reply{
		Outcome: Accepted, Code: CodeScheduled, Version: h.version,
		Message: "it is decided at " + schemas.FormatTime(time.UnixMilli(c.deliverAt)) + ": then there is another reply",
	}, true)
	res.outcome = outcomeScheduled
	return res, err
}

// delayed makes the timer of a command that a decision puts off. An error says what is wrong with the message.
func (w *writer) delayed(c *command, d Delayed) (name string, timer *ledgerline.Timer, err error) {
	m := d.Message
	switch {
	case m.Record() == nil:
		return "", nil, errors.New("it holds no command")
	case m.KindName() != w.kind || m.ID() != c.id:
		return "", nil, errors.New("an aggregate can put off commands to itself only: let that one send to others when its time has come")
	case d.Delay < 0 || d.Delay > maxDelay:
		return "", nil, fmt.Errorf("its delay is %v: give one from 0 to 100 years", d.Delay)
	}
	name = timerName(m)
	if err := validTimerName(name); err != nil {
		return "", nil, err
	}
	data, err := w.receivers[w.kind].encoder.Encode(nil, m.Record())
	if err != nil {
		return "", nil, err
	}
	if len(data) > maxSnapshot {
		return "", nil, fmt.Errorf("it has %d bytes: at most %d can wait", len(data), maxSnapshot)
	}
	timer = &ledgerline.Timer{Due: c.at + d.Delay.Milliseconds(), Command: data}
	id := origin(c.rec) + "/" + name
	headers := w.message(c, id[max(0, len(id)-maxText):], m)
	timer.Headers = make([]ledgerline.TimerHeader, 0, len(headers))
	for _, h := range headers {
		timer.Headers = append(timer.Headers, ledgerline.TimerHeader{Key: h.Key, Value: h.Value})
	}
	return name, timer, nil
}

// timerName is the name of the timer of a message: a second one under it takes the place of the first.
func timerName(m schemas.Message) string { return cmp.Or(m.CommandID(), m.Record().AvroName()) }

func validTimerName(name string) error {
	if strings.HasPrefix(name, scheduledPrefix) {
		return fmt.Errorf("its name %q begins with %q, which is for commands that clients put off", name, scheduledPrefix)
	}
	if err := schemas.ValidateID(name); err != nil {
		return fmt.Errorf("its name: %w", err)
	}
	return nil
}

// timersOf are the timers that a decision sets, and takes away: nil, by name. An error says what is wrong with what it says.
func (w *writer) timersOf(c *command, v verdict) (map[string]*ledgerline.Timer, error) {
	if len(v.cancelled) == 0 && len(v.delayed) == 0 {
		return nil, nil
	}
	all := map[string]*ledgerline.Timer{}
	for _, name := range v.cancelled {
		if err := validTimerName(name); err != nil {
			return nil, fmt.Errorf("timer %q is cancelled: %w", clip(name, maxText), err)
		}
		all[name] = nil
	}
	for n, d := range v.delayed {
		name, timer, err := w.delayed(c, d)
		if err == nil && all[name] != nil {
			err = fmt.Errorf("another one waits under the name %q: give each its own, with As", name)
		}
		if err != nil {
			return nil, fmt.Errorf("command %d that is put off: %w", n+1, err)
		}
		all[name] = timer
	}
	return all, nil
}

// cancel takes away a command that a client put off.
func (b *book) cancel(ctx context.Context, c *command, h *head, cancel *ledgerline.CancelScheduled) (result, error) {
	key := timerKey(c.id, scheduledPrefix+cancel.CommandID)
	timer, err := b.mark(ctx, key)
	if err != nil {
		return result{}, err
	}
	if timer == nil {
		b.note(c, h, Rejected, CodeNotScheduled)
		return b.answer(c, ledgerline.Reply{
			Outcome: Rejected, Code: CodeNotScheduled, Version: h.version,
			Message: "no command " + cancel.CommandID + " waits: it was decided, or cancelled, or never put off",
		}, true)
	}
	if err := b.setTimer(ctx, key, nil); err != nil {
		return result{}, err
	}
	b.note(c, h, Accepted, "")
	return b.answer(c, ledgerline.Reply{Outcome: Accepted, Version: h.version}, true)
}

// take takes away the timer of a command whose time has come, and reports whether it was there.
func (b *book) take(ctx context.Context, c *command) (bool, error) {
	key := timerKey(c.id, c.timer)
	timer, err := b.mark(ctx, key)
	if err != nil || timer == nil || !timer.fired || timer.due != c.deliverAt {
		return false, err
	}
	return true, b.setTimer(ctx, key, nil)
}

// fire makes commands of the timers that are due as of a tick.
func (b *book) fire(ctx context.Context, c *command) (result, error) {
	t := &b.timers
	if !t.ticked.IsZero() {
		now := time.Now()
		t.ahead, t.measured = c.rec.Timestamp.Sub(t.ticked.Add(now.Sub(t.ticked)/2)), now
	}
	t.ticked = time.Time{}
	if t.next <= c.at { // the store finds them; what it takes is committed
		if err := t.put(b.store); err != nil {
			return result{}, err
		}
	}
	b.out = b.out[:0]
	bytes := 0
	err := b.store.due(t.stored, func(due int64, key string) error {
		if due > c.at || len(b.out) >= maxFired || bytes > maxFiredBytes {
			return errStop
		}
		if m, err := b.mark(ctx, key); err != nil || !m.waits() || m.due != due { // this transaction has changed it
			return err
		}
		timer, err := b.storedTimer(ctx, key)
		if err != nil {
			return err
		}
		rec := b.writer.fired(b.partition, key, timer)
		bytes += len(rec.Value) + overhead(rec)
		b.out = append(b.out, rec)
		return b.setTimer(ctx, key, &ledgerline.Timer{Due: due, Fired: true})
	})
	return result{records: b.out}, err
}

// fired is the record of a command whose time has come.
func (w *writer) fired(partition int32, key string, timer *ledgerline.Timer) *kgo.Record {
	id, name, _ := strings.Cut(key[len(timerPrefix):], "/")
	rec := &kgo.Record{Topic: w.topics.Internal, Partition: partition, Key: []byte(id), Value: timer.Command}
	for _, h := range timer.Headers {
		rec.Headers = append(rec.Headers, kgo.RecordHeader{Key: h.Key, Value: h.Value})
	}
	rec.Headers = append(rec.Headers, header(schemas.HeaderTimer, name), header(schemas.HeaderDeliverAt, schemas.FormatTime(time.UnixMilli(timer.Due))))
	return rec
}

// tickType is the ce_type of a tick. It has no value.
const tickType = "ledgerline.Tick"

// tick publishes ticks for partitions where something is due, or where the brokers' time is to be known. It does not wait for them.
func (s *session) tick(ctx context.Context) {
	now, first := time.Now(), time.Time{}
	defer func() { s.metrics.due.set(s, first) }()
	for p, b := range s.books {
		t := &b.timers
		if at := now.Add(t.due()); t.next != noTimer && (first.IsZero() || at.Before(first)) {
			first = at
		}
		if t.next == noTimer || t.sending.Load() || now.Sub(t.ticked) < tickAgain || t.due() > 0 && now.Sub(t.measured) < calibrateEvery {
			continue
		}
		t.ticked = now
		if mutant.Is(mutant.Scheduler) {
			s.fireOutside(ctx, b)
			continue
		}
		rec := &kgo.Record{
			Topic: s.writer.topics.Internal, Partition: p,
			Headers: envelope(nil, []byte("tick"), []byte(tickType), s.writer.source),
		}
		sending := t.sending
		sending.Store(true)
		s.replies.client.Produce(ctx, rec, func(_ *kgo.Record, err error) {
			sending.Store(false)
			if err != nil && ctx.Err() == nil {
				s.log.Warn("a tick can't be published: commands that are due have to wait", "partition", p, "error", err, "retry_in", tickAgain.String())
			}
		})
	}
}

// fireOutside is what a scheduler must not do: whoever takes himself for the owner writes the commands that are due.
func (s *session) fireOutside(ctx context.Context, b *book) {
	_ = b.timers.put(b.store)
	_ = b.store.due(b.timers.stored, func(due int64, key string) error {
		timer, err := b.storedTimer(ctx, key)
		if err != nil || due > time.Now().UnixMilli() {
			return errStop
		}
		rec := b.writer.fired(b.partition, key, timer)
		rec.Headers = rec.Headers[:len(rec.Headers)-2] // nobody is to ask after its timer
		s.replies.client.Produce(ctx, rec, nil)
		return b.store.staged.Delete(dueAt(due, key), nil)
	})
	_ = errors.Join(b.store.apply(b.store.has), b.timers.look(b.store)) // a mutant need not be careful
}

// due is the time until the first timer is due, by our clock; a long time when none waits.
func (t *timers) due() time.Duration {
	if t.next == noTimer {
		return maxDelay
	}
	return time.Until(time.UnixMilli(t.next).Add(-t.ahead))
}
