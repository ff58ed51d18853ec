package producer

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"pgregory.net/rapid"

	"github.com/ledgerline-es/ledgerline/internal/kit"
	"github.com/ledgerline-es/ledgerline/schemas"
	"github.com/ledgerline-es/ledgerline/schemas/account"
	"github.com/ledgerline-es/ledgerline/schemas/ledgerline"
)

// partitionLog is one partition as a broker would hold it, and the book of its owner.
type partitionLog struct {
	t        *rapid.T
	restorer *restorer
	events   []*kgo.Record // by offset; nil: a marker
	notes    []*kgo.Record // the snapshots topic
	replies  []*kgo.Record
	answered []commandID // by the reply's offset
	commands int64
	book     *book
	balances map[string]int64 // the model: what committed deposits come to
	versions map[string]int64
	numbers  map[string]int64 // last number of the sender "s"
	timers   map[string]timed // what waits, by aggregate
	fired    []*kgo.Record    // what waited, as it stands in the internal topic
	internal int64            // its end
	copy     *restoring       // a standby's; nil: there is none
	away     *vfs.MemFS       // its disk
}

// timed is a timer of the model.
type timed struct {
	due   int64
	fired bool
}

// putOff and takenBack are amounts by which the rules below have a timer set, and cancelled; putOff is what it deposits too.
const putOff, takenBack = 4, 5

var deposits = Aggregate[account.State, account.Command, account.Event]{
	Kind: account.Kind,
	Evolve: func(s account.State, e account.Event) account.State {
		s.Status, s.BalanceMinor = "open", e.(*account.MoneyDeposited).BalanceMinor
		return s
	},
	Decide: func(s account.State, c account.Command, m Meta) Decision[account.Event] {
		d := c.(*account.DepositMoney)
		if d.AmountMinor < 0 {
			return Reject[account.Event]("negative", "no")
		}
		accepted := Accept[account.Event](&account.MoneyDeposited{AmountMinor: d.AmountMinor, BalanceMinor: s.BalanceMinor + d.AmountMinor})
		switch d.AmountMinor {
		case putOff:
			return accepted.After(time.Minute, account.Kind.To(m.ID, &account.DepositMoney{AmountMinor: 2}).As("t"))
		case takenBack:
			return accepted.Cancel("t")
		}
		return accepted
	},
}

// newRestorer has few aggregates in memory and a short tail, so that every path is walked.
func newRestorer(t testing.TB, def Definition) *restorer {
	t.Helper()
	topics, codec := schemas.TopicsOf("", "account"), schemas.NewCodec(schemas.NewRegistry(kit.FakeRegistry(t)))
	m := def.machine(codec, topics)
	w := &writer{
		slab: slab{pools: &slabPools{}},
		kind: "account", topics: topics, partitions: 1,
		replies:     schemas.NewSerde(codec, topics.Replies, schemas.ForwardTransitive, ledgerline.ReplyType),
		marks:       schemas.NewSerde(codec, topics.Snapshots, schemas.FullTransitive, ledgerline.SourceMarkType),
		positions:   schemas.NewSerde(codec, topics.Snapshots, schemas.FullTransitive, ledgerline.PositionType),
		trials:      schemas.NewSerde(codec, topics.Snapshots, schemas.FullTransitive, ledgerline.TrialType),
		timers:      schemas.NewSerde(codec, topics.Snapshots, schemas.FullTransitive, ledgerline.TimerType),
		received:    schemas.NewSerde(codec, topics.Snapshots, schemas.FullTransitive, ledgerline.ReceivedType),
		snapshots:   schemas.NewSerde(codec, topics.Snapshots, schemas.FullTransitive, ledgerline.SnapshotType),
		checkpoints: schemas.NewSerde(codec, topics.Snapshots, schemas.FullTransitive, ledgerline.CheckpointType),
	}
	ctx := t.Context()
	for _, err := range []error{
		m.register(ctx), w.replies.Register(ctx), w.marks.Register(ctx), w.positions.Register(ctx), w.trials.Register(ctx), w.timers.Register(ctx), w.received.Register(ctx), w.snapshots.Register(ctx), w.checkpoints.Register(ctx),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	encoder := account.Kind.CommandEncoder(codec, topics.Commands)
	if err := encoder.Register(ctx); err != nil {
		t.Fatal(err)
	}
	w.receivers = receivers{"account": {topic: topics.Internal, partitions: 1, encoder: encoder}}
	cache := pebble.NewCache(1 << 20)
	t.Cleanup(cache.Unref)
	return &restorer{
		cfg: Config{Window: time.Hour}.withDefaults(), machine: m, writer: w, log: slog.New(slog.DiscardHandler), metrics: newMetrics(nil, "account"),
		limits: limits{eventBytes: 64 << 10, events: 10, sources: 4, tail: 20, memory: 6}, group: "g", cache: cache, watched: make([]watched[command], 1), tried: &tried{},
	}
}

func (l *partitionLog) must(err error) {
	if err != nil {
		l.t.Fatalf("%+v", err)
	}
}

// transaction decides some commands and commits, or rolls back.
func (l *partitionLog) transaction() {
	commit := rapid.IntRange(0, 3).Draw(l.t, "commit") > 0
	balances, versions, numbers, timers := maps.Clone(l.balances), maps.Clone(l.versions), maps.Clone(l.numbers), maps.Clone(l.timers)
	var events, notes, replies, fired []*kgo.Record
	var ids []commandID
	defer func() {
		if commit {
			l.timers, l.fired = timers, append(l.fired, fired...)
		}
	}()
	for range rapid.IntRange(1, 12).Draw(l.t, "commands") {
		switch rapid.IntRange(0, 9).Draw(l.t, "from a clock") {
		case 0:
			fired = append(fired, l.tick(timers)...)
			continue
		case 1:
			l.fire(timers, balances, versions, &events, &replies, &ids)
			continue
		}
		id, amount := fmt.Sprint("a", rapid.IntRange(0, 15).Draw(l.t, "aggregate")), rapid.Int64Range(-1, 5).Draw(l.t, "amount")
		rec := &kgo.Record{Topic: l.restorer.writer.topics.Commands, Offset: l.commands, Key: []byte(id), Timestamp: time.Now()}
		if rapid.Bool().Draw(l.t, "numbered") {
			numbers[id]++
			rec.Headers = []kgo.RecordHeader{header(schemas.HeaderStreamSource, "s"), header(schemas.HeaderStreamSequence, fmt.Sprint(numbers[id]))}
		}
		l.commands++
		c := readCommand(rec)
		c.windowID = idOf(c.id, c.meta.CommandID)
		c.record = &account.DepositMoney{AmountMinor: amount}
		res, err := l.book.process(context.Background(), &c)
		l.must(err)
		if want := map[bool]string{true: Accepted, false: Rejected}[amount >= 0]; res.outcome != want {
			l.t.Fatalf("deposit of %d on %s is %s", amount, id, res.outcome)
		}
		if amount >= 0 {
			balances[id] += amount
			versions[id]++
		}
		switch amount {
		case putOff:
			timers[id] = timed{due: rec.Timestamp.Add(time.Minute).UnixMilli()}
		case takenBack:
			delete(timers, id)
		}
		l.collect(&c, res, &events, &replies, &ids)
	}
	more, err := l.book.bookmarks(rapid.IntRange(1, 8).Draw(l.t, "room"))
	l.must(err)
	notes = append(notes, more...)
	if !commit {
		l.book.rollback()
		return
	}
	place := func(log, recs []*kgo.Record) []*kgo.Record {
		for _, rec := range recs {
			rec.Offset = int64(len(log))
			log = append(log, rec)
		}
		return append(log, nil)
	}
	l.events, l.notes = place(l.events, events), place(l.notes, notes)
	for i, id := range ids {
		l.answered = append(l.answered, id)
		replies[i].Offset = int64(len(l.replies))
		l.replies = append(l.replies, replies[i])
	}
	l.must(l.book.commit())
	l.must(l.book.save(rapid.IntRange(-1, 4).Draw(l.t, "save")))
	l.balances, l.versions, l.numbers = balances, versions, numbers
}

// collect puts aside what a command led to.
func (l *partitionLog) collect(c *command, res result, events, replies *[]*kgo.Record, ids *[]commandID) {
	for _, rec := range res.records {
		switch rec.Topic {
		case l.restorer.writer.topics.Events:
			*events = append(*events, rec)
		case l.restorer.writer.topics.Replies:
			rec.Timestamp = c.rec.Timestamp
			*replies, *ids = append(*replies, rec), append(*ids, c.windowID)
		}
	}
}

// next is a record that stands at the end of the internal topic.
func (l *partitionLog) next(rec *kgo.Record) command {
	c := readCommand(&kgo.Record{Topic: l.restorer.writer.topics.Internal, Offset: l.internal, Key: rec.Key, Value: rec.Value, Headers: rec.Headers, Timestamp: rec.Timestamp})
	l.internal++
	c.windowID = idOf(c.id, c.meta.CommandID)
	return c
}

// tick has what is due fired, and gives it.
func (l *partitionLog) tick(timers map[string]timed) []*kgo.Record {
	now := time.Now().Add(time.Duration(rapid.IntRange(0, 120).Draw(l.t, "seconds on")) * time.Second)
	c := l.next(&kgo.Record{Timestamp: now})
	c.tick = true
	res, err := l.book.process(context.Background(), &c)
	l.must(err)
	seen := map[string]bool{}
	for _, rec := range res.records {
		id := string(rec.Key)
		if t, ok := timers[id]; !ok || t.fired || t.due > now.UnixMilli() || seen[id] {
			l.t.Fatalf("%s is fired at %v, the model says %+v", id, now, t)
		}
		seen[id] = true
	}
	for id, t := range timers {
		if due, known := l.timers[id]; known && due == t && !t.fired && t.due <= now.UnixMilli() { // not one of this transaction: the next tick finds it
			if !seen[id] {
				l.t.Fatalf("%s was due at %d and is not fired at %d", id, t.due, now.UnixMilli())
			}
		}
		if seen[id] {
			timers[id] = timed{t.due, true}
		}
	}
	return slices.Clone(res.records)
}

// fire has one of the commands decided that were fired, maybe not for the first time.
func (l *partitionLog) fire(timers map[string]timed, balances, versions map[string]int64, events, replies *[]*kgo.Record, ids *[]commandID) {
	if len(l.fired) == 0 {
		return
	}
	rec := rapid.SampledFrom(l.fired).Draw(l.t, "fired")
	rec.Timestamp = time.Now()
	c := l.next(rec)
	c.internal, c.record = true, &account.DepositMoney{AmountMinor: 2}
	res, err := l.book.process(context.Background(), &c)
	l.must(err)
	want := outcomeCancelled
	if t, ok := timers[c.id]; ok && t.fired && t.due == c.deliverAt {
		want = Accepted
		delete(timers, c.id)
		balances[c.id] += 2
		versions[c.id]++
	}
	if res.outcome != want {
		l.t.Fatalf("what %s had put off is %s, wanted %s", c.id, res.outcome, want)
	}
	l.collect(&c, res, events, replies, ids)
}

// checkTimers holds what waits against the model: what the store has, as what is recent changes it.
func (l *partitionLog) checkTimers() {
	t := &l.book.timers
	has, stored, waiting, next := map[string]timed{}, map[string]mark{}, 0, int64(noTimer)
	l.must(l.book.store.each(timerPrefix, func(key string, value []byte) error {
		timer, err := l.restorer.writer.timers.Decode(context.Background(), value)
		stored[key] = mark{timer.Due, timer.Fired}
		return err
	}))
	if !maps.Equal(stored, t.known) {
		l.t.Fatalf("the store has %v, known is %v", stored, t.known)
	}
	idOf := func(key string) string {
		id, _, _ := strings.Cut(key[len(timerPrefix):], "/")
		return id
	}
	for key, m := range stored {
		has[idOf(key)] = timed(m)
	}
	for key, r := range t.recent.of {
		if m, ok := stored[key]; ok != (r.stored != nil) || ok && m != *r.stored {
			l.t.Fatalf("%s is stored as %+v, which is taken for %+v", key, m, r.stored)
		}
		if r.now == nil {
			delete(has, idOf(key))
		} else {
			has[idOf(key)] = timed(*r.now)
		}
	}
	if !maps.Equal(has, l.timers) {
		l.t.Fatalf("what waits is %v, the model says %v", has, l.timers)
	}
	for _, t := range has {
		if !t.fired {
			waiting, next = waiting+1, min(next, t.due)
		}
	}
	inOrder := 0
	l.must(l.book.store.due(0, func(due int64, key string) error {
		if m := stored[key]; m.due != due || m.fired {
			l.t.Fatalf("by time %s is due at %d, its timer says %+v", key, due, m)
		}
		inOrder++
		return nil
	}))
	for _, m := range stored {
		if !m.fired {
			inOrder--
		}
	}
	if inOrder != 0 || t.count != waiting || t.next > next {
		l.t.Fatalf("%d wait, the first until %d: found by time are %d more than are stored, counted %d, the first is due at %d", waiting, next, inOrder, t.count, t.next)
	}
}

// bounds are those of the log as it is.
func (l *partitionLog) bounds() bounds {
	topics := l.restorer.writer.topics
	listed := func(topic string, at int) map[int32]kadm.ListedOffset {
		return map[int32]kadm.ListedOffset{0: {Topic: topic, Offset: int64(at)}}
	}
	return bounds{
		starts: kadm.ListedOffsets{topics.Events: listed(topics.Events, 0), topics.Snapshots: listed(topics.Snapshots, 0)},
		ends:   kadm.ListedOffsets{topics.Events: listed(topics.Events, len(l.events)), topics.Snapshots: listed(topics.Snapshots, len(l.notes)), topics.Replies: listed(topics.Replies, len(l.replies))},
	}
}

// restore gives the book of a new owner, who has dir or nothing, and reports how many events it had to read.
func (l *partitionLog) restore(dir string, compacted bool) (read int) {
	l.restorer.cfg.StateDir = dir
	parts, err := l.restorer.open(context.Background(), []int32{0}, nil, l.bounds())
	l.must(err)
	read = l.bring(parts[0], compacted)
	l.book = parts[0].book
	checkpoint, err := l.restorer.writer.checkpointOf(context.Background(), l.book.store)
	l.must(err)
	if next := l.book.agenda.offset(); next < checkpoint {
		l.t.Fatalf("the checkpoint goes back from %d to %d", checkpoint, next)
	}
	return read
}

// bring brings a copy up to the end of the log, and reports how many events it had to read.
func (l *partitionLog) bring(part *restoring, compacted bool) (read int) {
	r := l.restorer
	last := map[string]int64{}
	for _, rec := range l.notes {
		if rec != nil {
			last[string(rec.Key)] = rec.Offset
		}
	}
	for _, rec := range l.notes {
		if rec == nil || rec.Offset < part.snapshotsEnd || compacted && last[string(rec.Key)] != rec.Offset {
			continue
		}
		l.must(r.replay(context.Background(), part, []*kgo.Record{rec}))
	}
	for _, rec := range l.replies[part.window.end:] {
		l.must(r.replayReply(context.Background(), part, rec))
	}
	from, err := r.settle(context.Background(), part, l.bounds())
	l.must(err)
	for _, rec := range l.events[from:] {
		if rec != nil {
			l.must(r.replayEvents(context.Background(), part, []*kgo.Record{rec}))
			read++
		}
	}
	part.eventsNext = int64(len(l.events))
	part.agenda.eventsEnd = part.eventsNext
	part.line()
	return read
}

// follow has the standby, which is made if there is none, read some way on in both topics, independently of each other.
func (l *partitionLog) follow() {
	if l.copy == nil {
		fs, dir := l.restorer.fs, l.restorer.cfg.StateDir
		l.restorer.fs, l.restorer.cfg.StateDir = l.away, "state"
		parts, err := l.restorer.open(context.Background(), []int32{0}, nil, l.bounds())
		l.must(err)
		l.bring(parts[0], false)
		l.copy, l.restorer.fs, l.restorer.cfg.StateDir = parts[0], fs, dir
		l.copy.beginToFollow()
		return
	}
	topics := l.restorer.writer.topics
	some := func(topic string, log []*kgo.Record, from int64) kgo.FetchTopicPartition {
		f := kgo.FetchTopicPartition{Topic: topic}
		for _, rec := range log[from : from+rapid.Int64Range(0, int64(len(log))-from).Draw(l.t, "read on")] {
			if rec != nil {
				f.Records = append(f.Records, &kgo.Record{Topic: topic, Key: rec.Key, Value: rec.Value, Offset: rec.Offset})
			}
		}
		return f
	}
	l.must(l.restorer.follow(context.Background(), l.copy, []kgo.FetchTopicPartition{
		some(topics.Events, l.events, l.copy.eventsNext), some(topics.Snapshots, l.notes, l.copy.snapshotsEnd),
	}))
	l.must(l.copy.save(rapid.IntRange(-1, 4).Draw(l.t, "save")))
}

// check holds every aggregate against the model.
func (l *partitionLog) check() {
	shelf := l.book.shelf.(*typedShelf[account.State, account.Command, account.Event])
	for n := range 16 {
		id := fmt.Sprint("a", n)
		c, err := shelf.cell(context.Background(), id)
		l.must(err)
		if c.version != l.versions[id] || c.state.BalanceMinor != l.balances[id] {
			l.t.Fatalf("%s is at version %d with %d, the model says %d with %d", id, c.version, c.state.BalanceMinor, l.versions[id], l.balances[id])
		}
		if last, _ := lastOf(c.sources, "s"); last.sequence != l.numbers[id] {
			l.t.Fatalf("%s has number %d of its sender, the model says %d", id, last.sequence, l.numbers[id])
		}
		l.must(shelf.trim())
	}
	l.checkTimers()
	for offset, id := range l.answered {
		if at := l.book.window.places[id.hash]; at != int64(offset) {
			l.t.Fatalf("the reply to %s is known at offset %d, it stands at %d", id.command, at, offset)
		}
	}
	if n := l.book.window.len(); n != len(l.answered) {
		l.t.Fatalf("%d answers are remembered, %d were given", n, len(l.answered))
	}
	if got := l.book.next[l.restorer.writer.topics.Commands]; len(l.notes) > 0 && got > l.commands {
		l.t.Fatalf("next command is %d of %d", got, l.commands)
	}
}

// However transactions end, and whenever the owner goes, cleanly or by a crash, with its local state, an older copy of it, or
// none, or a standby's copy: the next one has the state that the events lead to, and need not read all of them.
func TestP4_SnapshotsAndLocalState_AgainstAModel(t *testing.T) {
	base := newRestorer(t, deposits)
	rapid.Check(t, func(rt *rapid.T) {
		r := *base
		l := &partitionLog{
			t: rt, restorer: &r, away: vfs.NewCrashableMem(),
			balances: map[string]int64{}, versions: map[string]int64{}, numbers: map[string]int64{}, timers: map[string]timed{},
		}
		disk := vfs.NewCrashableMem()
		r.fs = disk
		l.restore("state", false)
		var older *vfs.MemFS
		for step := range rapid.IntRange(5, 60).Draw(rt, "steps") {
			switch rapid.IntRange(0, 16).Draw(rt, "step") {
			case 0: // leaves, and is back
				l.must(l.book.save(-1))
				whole := l.book.store.has.events == l.book.agenda.eventsEnd && l.book.store.lock != nil
				l.must(l.book.close())
				if read := l.restore("state", rapid.Bool().Draw(rt, "compacted")); whole && read > 0 {
					rt.Fatalf("%d events were read, though the local state has all", read)
				}
				l.check()
			case 1: // is killed, or the power fails: some of what was not synced is left
				crashed := disk.CrashClone(vfs.CrashCloneCfg{
					UnsyncedDataPercent: rapid.SampledFrom([]int{0, 50, 100}).Draw(rt, "left"),
					RNG:                 rand.New(rand.NewPCG(1, uint64(step))),
				})
				l.must(l.book.store.close())
				disk, r.fs = crashed, crashed
				l.restore("state", rapid.Bool().Draw(rt, "compacted"))
				l.check()
			case 2: // another takes over, who has nothing
				l.must(l.book.close())
				l.restore("", rapid.Bool().Draw(rt, "compacted"))
				l.check()
				l.must(l.book.close())
				l.restore("state", false)
				l.check()
			case 3: // a copy from before comes back
				l.must(l.book.close())
				if older == nil {
					older = disk.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: rand.New(rand.NewPCG(1, 1))})
				} else {
					disk, older = older, nil
					r.fs = disk
				}
				l.restore("state", rapid.Bool().Draw(rt, "compacted"))
				l.check()
			case 4, 5, 6:
				l.follow()
			case 7: // the standby takes over
				if l.copy == nil {
					continue
				}
				l.must(l.book.close())
				l.bring(l.copy, rapid.Bool().Draw(rt, "compacted"))
				l.book, l.copy = l.copy.book, nil
				disk, l.away = l.away, disk
				r.fs = disk
				l.check()
				waits := map[string]bool{}
				for _, d := range l.book.agenda.queue {
					if waits[d.id] {
						rt.Fatalf("%s waits for two snapshots", d.id)
					}
					waits[d.id] = true
				}
			default:
				l.transaction()
			}
		}
		if l.copy != nil {
			l.must(l.copy.store.close())
		}
		l.must(l.book.close())
		read := l.restore("", true)
		l.check()
		// Each transaction may take one snapshot at least, so what is not in one is bounded by the tail and what came since.
		if checkpoint, err := r.writer.checkpointOf(context.Background(), l.book.store); err != nil || read > len(l.events)-int(checkpoint) {
			rt.Fatalf("%d events read of %d, the checkpoint is %d, %v", read, len(l.events), checkpoint, err)
		}
		l.must(l.book.store.close())
	})
}
