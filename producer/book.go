package producer

import (
	"context"
	"errors"
	"log/slog"
	"maps"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ledgerline-es/ledgerline/producer/internal/mutant"
	"github.com/ledgerline-es/ledgerline/schemas"
	"github.com/ledgerline-es/ledgerline/schemas/ledgerline"
)

// book is what this member knows of one partition: the aggregates, the answers given lately, and how far the input is
// processed. Everything in it can be rebuilt from the log, and everything that a transaction changed can be taken back.
type book struct {
	partition  int32
	writer     *writer
	limits     limits
	log        *slog.Logger
	store      *store
	shelf      shelf
	agenda     agenda
	timers     timers
	mail       mail
	window     *window
	next       map[string]int64 // input topic → offset of the next record to process
	nextBefore map[string]int64 // as it was before the open transaction
	marks      map[markKey]sourceSeen
	out        []*kgo.Record // of the last command …
	reply      ledgerline.Reply
	watched    *watched[command]
	tried      *tried

	trial   *ledgerline.Trial // how processes fared that decided here before
	waiting bool              // there were commands to decide when it was restored
	wary    int               // commands for which …
	limit   int               // … transactions have so many commands at most

	snapshotsEnd int64 // offset behind the last record of the snapshots topic that the store has, or is to have
}

// limits bound what one command may cause.
type limits struct {
	eventBytes int // of one encoded event
	events     int // of one command
	sources    int // numbered senders of one aggregate

	tail   int64 // events that no snapshot holds, in one partition
	memory int   // aggregates in memory, in one partition
}

type markKey struct{ id, source string }

// result is what one command leads to.
type result struct {
	records []*kgo.Record // until the next command
	outcome string        // for metrics: a reply's outcome, "duplicate" or "forwarded"
	dead    bool
}

func newBook(partition int32, w *writer, l limits, m machine, s *store, win *window, log *slog.Logger) *book {
	w = w.own()
	return &book{
		partition: partition, writer: w, limits: l, log: log.With("partition", partition), store: s, shelf: m.newShelf(w, s, l.memory), window: win,
		agenda: agenda{unkept: map[string]int64{}}, timers: newTimers(), mail: newMail(),
		next: map[string]int64{}, nextBefore: map[string]int64{}, marks: map[markKey]sourceSeen{},
	}
}

// seen reports whether the record was processed and committed before: then it must not have an effect again, wherever the
// group's offsets point.
func (b *book) seen(rec *kgo.Record) bool { return rec.Offset < b.next[rec.Topic] }

// process decides one command. Its effects on the book hold until rollback; an error means that the transaction can't go
// on, never that the command is bad.
func (b *book) process(ctx context.Context, c *command) (result, error) {
	b.advance(c.rec)
	if c.tick {
		return b.fire(ctx, c)
	}
	if c.from != "" && c.internal && schemas.Partition(c.id, b.writer.partitions) == b.partition && !b.mail.take(c) {
		return result{outcome: outcomeDuplicate}, nil
	}
	waited := c.timer != ""
	if waited {
		if wanted, err := b.take(ctx, c); err != nil || !wanted {
			return result{outcome: outcomeCancelled}, err
		}
	}
	if c.refused != nil && !c.refused.elsewhere {
		return b.refuse(ctx, c, c.refused)
	}
	if schemas.Partition(c.id, b.writer.partitions) != b.partition && !mutant.Is(mutant.Forward) {
		if from, ok := schemas.Header(c.rec, schemas.HeaderOrigin); ok {
			return b.refuse(ctx, c, refuse(CodeMisrouted, "forwarded from %s to partition %d, which is not %s's", from, b.partition, c.id))
		}
		return result{records: []*kgo.Record{b.writer.forward(c)}, outcome: outcomeForwarded}, nil
	}
	if c.refused != nil {
		return b.refuse(ctx, c, c.refused)
	}
	h, err := b.shelf.head(ctx, c.id)
	if err != nil {
		return result{}, err
	}
	if a := b.answered(c); a != nil && !waited {
		if a.hash != c.hash {
			return b.refuse(ctx, c, &refusal{code: CodeCommandIDReused, message: "command id " + c.meta.CommandID + " was used for another command: its content differs, or who asks for it"})
		}
		b.noteRepetition(c, h, a)
		return b.answer(c, ledgerline.Reply{
			Outcome: a.outcome, Duplicate: true, Code: a.code, Message: a.message,
			FirstSequence: a.first, LastSequence: a.last, Version: a.version,
		}, false)
	}
	version, sources := h.version, h.sources
	if c.source != "" && !waited {
		last, ok := lastOf(sources, c.source)
		if outcome, seen := last.processed(c.sequence); seen {
			return b.answerSeen(c, outcome, last, version)
		}
		if !ok && len(sources) >= b.limits.sources {
			return b.refuse(ctx, c, refuse(CodeTooManySources, "aggregate %s already has %d numbered senders: send without source, or raise the limit", c.id, len(sources)))
		}
	}
	if c.deliverAt > c.at && !waited {
		return b.schedule(ctx, c, h)
	}
	if c.expected >= 0 && c.expected != version {
		return b.answer(c, ledgerline.Reply{
			Outcome: Conflict, Code: CodeVersionConflict, Version: version,
			Message: "the aggregate is at another version than expected: read it again and decide anew",
		}, false)
	}
	if cancel, ok := c.record.(*ledgerline.CancelScheduled); ok {
		return b.cancel(ctx, c, h, cancel)
	}
	return b.decide(ctx, c, h)
}

// answered is the answer that a command had before, nil when it is the first of its id.
func (b *book) answered(c *command) *answer {
	if c.unanswered {
		return b.window.findNew(c.windowID, c.at)
	}
	return b.window.find(c.windowID, c.at)
}

func (b *book) decide(ctx context.Context, c *command, h *head) (result, error) {
	version := h.version

	b.watched.begin(c)
	v, err := b.shelf.decide(c.id, c.record, c.meta)
	b.watched.end()
	var panicked *panicError
	switch {
	case errors.As(err, &panicked):
		why := refuse(CodePanic, "panic: %v", panicked.value)
		why.stack = string(panicked.stack)
		return b.refuse(ctx, c, why)
	case err != nil:
		return b.refuse(ctx, c, refuse(CodeUndecodable, "%v", err))
	}
	if v.rejected {
		b.note(c, h, Rejected, v.code)
		return b.answer(c, ledgerline.Reply{Outcome: Rejected, Code: v.code, Message: v.message, Version: version}, true)
	}
	if len(v.events) > b.limits.events {
		return b.refuse(ctx, c, refuse(CodeTooManyEvents, "%d events from one command: at most %d", len(v.events), b.limits.events))
	}
	for _, e := range v.events {
		if len(e.data) > b.limits.eventBytes {
			return b.refuse(ctx, c, refuse(CodeEventTooLarge, "event %s has %d bytes: at most %d", e.name, len(e.data), b.limits.eventBytes))
		}
	}
	if n := len(v.sent) + len(v.delayed); n > b.limits.events {
		return b.refuse(ctx, c, refuse(CodeTooManyEvents, "%d messages from one command: at most %d", n, b.limits.events))
	}
	var sent []*kgo.Record
	for n, m := range v.sent {
		rec, err := b.writer.send(c, n, m)
		if err != nil {
			return b.refuse(ctx, c, refuse(CodeBadMessage, "message %d, for %s/%s: %v", n+1, m.KindName(), clip(m.ID(), maxText), err))
		}
		sent = append(sent, rec)
	}
	timers, err := b.writer.timersOf(c, v)
	if err != nil {
		return b.refuse(ctx, c, refuse(CodeBadMessage, "%v", err))
	}
	for name, timer := range timers {
		if err := b.setTimer(ctx, timerKey(c.id, name), timer); err != nil {
			return result{}, err
		}
	}
	b.shelf.keep()
	b.note(c, h, Accepted, "")
	r := ledgerline.Reply{Outcome: Accepted, Version: version + int64(len(v.events))}
	if len(v.events) > 0 {
		r.FirstSequence, r.LastSequence = version+1, r.Version
	}
	res, err := b.answer(c, r, true)
	if err != nil {
		return result{}, err
	}
	for i, e := range v.events {
		rec := b.writer.event(c, version+1+int64(i), i == 0, e)
		b.out = append(b.out, rec)
		if !h.queued {
			h.queued = true
			b.agenda.changed = append(b.agenda.changed, changed{c.id, rec})
		}
		b.agenda.last = rec
	}
	for _, rec := range sent {
		rec.Headers = append(rec.Headers, b.number())
	}
	b.out = append(b.out, sent...)
	res.records = b.out
	return res, nil
}

// answer writes a reply, and remembers it when a repetition is to get it again.
func (b *book) answer(c *command, r ledgerline.Reply, remember bool) (result, error) {
	r.CommandID, r.Code, r.Message = c.meta.CommandID, clip(r.Code, maxText), clip(r.Message, maxMessage) // a rule may have quoted anything
	b.reply = r                                                                                           // a copy that lasts: each reply would be an allocation
	own, copied, err := b.writer.reply(c, &b.reply, remember)
	if err != nil {
		return result{}, err
	}
	b.out = append(b.out[:0], own)
	if copied != nil {
		if c.internal {
			copied.Headers = append(copied.Headers, b.number())
		}
		b.out = append(b.out, copied)
	}
	if remember {
		b.window.add(c.windowID, answer{
			hash: c.hash, outcome: r.Outcome, code: r.Code, message: r.Message,
			first: r.FirstSequence, last: r.LastSequence, version: r.Version, at: c.at,
		}, own)
	}
	outcome := r.Outcome
	if r.Duplicate {
		outcome = outcomeDuplicate
	}
	return result{records: b.out, outcome: outcome}, nil
}

// answerSeen answers a number that its sender used before.
func (b *book) answerSeen(c *command, outcome string, last sourceSeen, version int64) (result, error) {
	r := ledgerline.Reply{Outcome: outcome, Duplicate: true, Code: CodeSourceSequenceSeen, Version: version}
	r.Message = "this number of source " + c.source + " was processed before; nothing was done again"
	if c.sequence == last.sequence && last.code != "" {
		r.Message += "; it was " + last.outcome + ": " + last.code
	}
	return b.answer(c, r, false)
}

// maxMessage bounds a reply's message, in bytes.
const maxMessage = 2 << 10

// refuse answers with an error, and keeps the record as a dead letter where somebody must look at it.
func (b *book) refuse(ctx context.Context, c *command, why *refusal) (result, error) {
	var version int64
	if schemas.ValidateID(c.id) == nil { // else it could be the key of something else
		h, err := b.shelf.head(ctx, c.id)
		if err != nil {
			return result{}, err
		}
		version = h.version
	}
	res, err := b.answer(c, ledgerline.Reply{Outcome: Error, Code: why.code, Message: why.message, Version: version}, false)
	if err != nil {
		return result{}, err
	}
	if why.dead {
		res.records, res.dead = append(res.records, b.writer.deadLetter(c, why)), true
	}
	return res, nil
}

// note keeps that a numbered sender's command was processed.
func (b *book) note(c *command, h *head, outcome, code string) {
	if c.source == "" {
		return
	}
	b.shelf.touch(c.id)
	last, _ := lastOf(h.sources, c.source)
	last = last.process(c.sequence, outcome, code)
	h.sources = with(h.sources, last)
	b.marks[markKey{c.id, c.source}] = last
}

// noteRepetition keeps the number of a command that came again, known by its id, under a number that its sender had not used:
// beyond the window the number must do.
func (b *book) noteRepetition(c *command, h *head, a *answer) {
	if c.source == "" {
		return
	}
	last, known := lastOf(h.sources, c.source)
	if _, seen := last.processed(c.sequence); !seen && (known || len(h.sources) < b.limits.sources) {
		b.note(c, h, a.outcome, a.code)
	}
}

func (b *book) advance(rec *kgo.Record) {
	if _, ok := b.nextBefore[rec.Topic]; !ok {
		b.nextBefore[rec.Topic] = b.next[rec.Topic]
	}
	b.next[rec.Topic] = rec.Offset + 1
}

// bookmarks are the records that the open transaction adds to the snapshots topic: how far the input is processed, the last
// numbers of the senders that it met, and snapshots of aggregates whose turn it is. room is how many of these it may be.
func (b *book) bookmarks(room int) ([]*kgo.Record, error) {
	out := make([]*kgo.Record, 0, len(b.nextBefore)+len(b.marks))
	for topic := range b.nextBefore {
		rec, err := b.writer.position(b.partition, topic, b.next[topic], b.mail.sent)
		if err != nil {
			return nil, err
		}
		out = append(out, rec)
	}
	switch rec, err := b.mail.mark(b.writer, b.partition); {
	case err != nil:
		return nil, err
	case rec != nil:
		out = append(out, rec)
	}
	for key, s := range b.marks {
		rec, err := b.writer.sourceMark(b.partition, key.id, s)
		if err != nil {
			return nil, err
		}
		out = append(out, rec)
	}
	timers, err := b.timerMarks()
	if err != nil {
		return nil, err
	}
	out = append(out, timers...)
	snapshots, err := b.snapshots(room)
	if err != nil {
		return nil, err
	}
	out = append(out, snapshots...)
	b.agenda.kept = append(b.agenda.kept, out...)
	return out, nil
}

// commit makes what the transaction did the truth. An error is one of the local state.
func (b *book) commit() error {
	b.window.commit()
	b.mail.commit()
	clear(b.nextBefore)
	clear(b.marks)
	if err := b.agenda.commit(b); err != nil {
		return err
	}
	if err := b.timers.commit(b.store); err != nil {
		return err
	}
	return b.shelf.commit()
}

func (b *book) rollback() {
	b.shelf.rollback()
	b.window.rollback()
	b.mail.rollback()
	b.agenda.rollback()
	clear(b.timers.open)
	maps.Copy(b.next, b.nextBefore)
	clear(b.nextBefore)
	clear(b.marks)
}

// close keeps the local state for the next one who opens it.
func (b *book) close() error { return errors.Join(b.save(-1), b.keepQueue(), b.store.close()) }
