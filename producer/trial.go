package producer

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ledgerline-es/ledgerline/schemas/ledgerline"
)

// A command can end the process that decides it, and nothing in the process can help: its stack or its memory overflows, or its rules do
// not return (which the watch turns into an end). So what happens is counted outside, in the snapshots topic. A process that takes over
// a partition with commands waiting writes down where it begins. One that begins where another one began and committed nothing decides
// in small transactions, the next in transactions of one command, each written down before. A command that was begun alone twice is a
// dead letter. Processes that are killed for another reason are counted too: they cost a slower start, and nothing else.

const (
	smallStart = 2   // the start at one place from which transactions are small …
	aloneStart = 3   // … and of one command
	smallBatch = 100 // commands
	mostTries  = 2   // of one command alone

	// smallTime ends small transactions also where a partition has fewer commands waiting: the others wait for it.
	smallTime = time.Minute
)

const trialKey = "/trial"

// wary is for how many commands of a partition a transaction is small, or of one command: as many as what ended the process can be among.
func wary(t *ledgerline.Trial, most int) (commands, limit int) {
	switch {
	case t == nil:
		return 0, most
	case t.Starts >= aloneStart || t.Tries > 0:
		return smallBatch, 1
	case t.Starts >= smallStart:
		return most, min(most, smallBatch)
	}
	return 0, most
}

// begin counts that a process begins on partitions that it has just restored. Those without waiting commands can't have ended one.
func (s *session) begin(ctx context.Context, partitions []int32) error {
	var records []*kgo.Record
	for _, p := range partitions {
		b := s.books[p]
		if !b.waiting {
			continue
		}
		commands, internal := b.next[s.writer.topics.Commands], b.next[s.writer.topics.Internal]
		was, now := b.trial, &ledgerline.Trial{Process: s.process, Commands: commands, Internal: internal, Starts: 1}
		if was != nil && was.Commands == commands && was.Internal == internal {
			now.Starts = was.Starts
			if was.Process != s.process {
				now.Starts++
			}
		}
		if was != nil && was.Tries > 0 && was.Offset >= b.next[was.Topic] {
			now.Topic, now.Offset, now.Tries = was.Topic, was.Offset, was.Tries
		}
		b.trial = now
		if b.wary, b.limit = wary(now, s.cfg.MaxPollRecords); b.wary > 0 {
			s.small = time.Now().Add(smallTime)
			s.log.Warn("processes ended before they had decided what waits here: its commands are decided in small transactions",
				"partition", p, "starts", now.Starts, "commands", b.limit, "offset", commands)
		}
		rec, err := s.writer.trial(p, now)
		if err != nil {
			return err
		}
		records = append(records, rec)
	}
	return s.writeTrials(ctx, records...)
}

// room is how many commands the next poll may bring.
func (s *session) room() int { return s.waiting.room(s.caution()) }

// caution is how many commands may be decided together where one of them may have ended processes.
func (s *session) caution() int {
	n := s.cfg.MaxPollRecords
	if time.Now().After(s.small) {
		return n
	}
	for _, b := range s.books {
		if b.wary > 0 {
			n = min(n, b.limit)
		}
	}
	return n
}

// fatality refuses a command that has ended processes when it was decided alone.
func (b *book) fatality(rec *kgo.Record) *refusal {
	t := b.trial
	if t == nil || t.Topic != rec.Topic || t.Offset != rec.Offset {
		return nil
	}
	ended := t.Tries
	if b.tried.has(rec) {
		ended-- // this process lives: that its transaction failed says nothing of the command
	}
	if ended < mostTries {
		return nil
	}
	return refuse(CodeFatal, "each process that decided it ended: it was decided alone %d times", ended)
}

// tried are the commands that this process has counted as decided alone. It lives: so it counts each once, however often it must try.
type tried struct {
	mu sync.Mutex
	at map[string]bool
}

func (t *tried) has(rec *kgo.Record) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.at[origin(rec)]
}

func (t *tried) add(rec *kgo.Record) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.at == nil {
		t.at = map[string]bool{}
	}
	t.at[origin(rec)] = true
}

// alone writes down that a command is decided alone, while that is called for: by its own partition or another one, whose commands
// wait for it.
func (s *session) alone(ctx context.Context, all batch) error {
	b, c := all[0].book, &all[0].commands[0]
	if s.caution() > 1 || all.size() > 1 || c.refused != nil || b.seen(c.rec) || b.tried.has(c.rec) {
		return nil
	}
	t := ledgerline.Trial{Process: s.process}
	if b.trial != nil {
		t = *b.trial
	}
	if t.Topic != c.rec.Topic || t.Offset != c.rec.Offset {
		t.Topic, t.Offset, t.Tries = c.rec.Topic, c.rec.Offset, 0
	}
	t.Tries++
	b.trial = &t
	b.tried.add(c.rec)
	rec, err := s.writer.trial(b.partition, b.trial)
	if err != nil {
		return err
	}
	return s.writeTrials(ctx, rec)
}

// survived is called when a transaction has come to an end, and the process has not.
func (s *session) survived(all batch) {
	for _, p := range all {
		p.book.wary = max(0, p.book.wary-len(p.commands))
	}
}

// writeTrials writes by a client that has no transaction, and keeps what it wrote in the local state as well.
func (s *session) writeTrials(ctx context.Context, records ...*kgo.Record) error {
	if len(records) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, s.cfg.TransactionTimeout)
	defer cancel()
	if err := s.replies.client.ProduceSync(ctx, records...).FirstErr(); err != nil {
		return fmt.Errorf("write to %s which commands are about to be decided: %w", s.writer.topics.Snapshots, err)
	}
	for _, rec := range records {
		if err := s.books[rec.Partition].store.stage(rec.Key, rec.Value); err != nil {
			return err
		}
	}
	return nil
}

func (w *writer) trial(partition int32, t *ledgerline.Trial) (*kgo.Record, error) {
	value, err := w.trials.Append(nil, t)
	if err != nil {
		return nil, err
	}
	return &kgo.Record{Topic: w.topics.Snapshots, Partition: partition, Key: []byte(trialKey), Value: value}, nil
}

// trialOf is the trial that a store has; nil when it has none.
func (w *writer) trialOf(ctx context.Context, s *store) (*ledgerline.Trial, error) {
	value, ok, err := s.get([]byte(trialKey))
	if err != nil || !ok {
		return nil, err
	}
	return w.trials.Decode(ctx, value)
}

// watched says on what rules are at work: a command of a partition that is decided, or a committed event that a restore evolves a state by.
type watched[T any] struct {
	turn atomic.Uint64 // odd while they are
	on   atomic.Pointer[T]
}

func (w *watched[T]) begin(on *T) {
	w.on.Store(on)
	w.turn.Add(1)
}

func (w *watched[T]) end() { w.turn.Add(1) }

// looks is how often within DecideTimeout the watch looks. It counts looks and not time: a process that was stopped for a while, and
// goes on, has not decided all that while.
const looks = 4

// watch calls end when rules are at work on one thing for longer than limit.
func watch[T any](ctx context.Context, all []watched[T], limit time.Duration, end func(on *T)) {
	ticker := time.NewTicker(limit / looks)
	defer ticker.Stop()
	turn, same := make([]uint64, len(all)), make([]int, len(all))
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		for i := range all {
			switch now := all[i].turn.Load(); {
			case now%2 == 0 || now != turn[i]:
				turn[i], same[i] = now, 0
			case same[i] < looks-1:
				same[i]++
			default:
				end(all[i].on.Load())
				return
			}
		}
	}
}

// endless ends the process, for what runs can't be stopped otherwise.
func (s *session) endless(c *command) {
	s.log.Error("rules do not return: the process ends; the command is decided alone next time, and becomes a dead letter when that ends a process too",
		"command_id", clip(c.meta.CommandID, maxText), "aggregate_id", c.id, "topic", c.rec.Topic, "partition", c.rec.Partition, "offset", c.rec.Offset, "limit", s.cfg.DecideTimeout.String())
	panic("ledgerline: the command at " + origin(c.rec) + " is decided for longer than " + s.cfg.DecideTimeout.String())
}
