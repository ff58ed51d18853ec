package producer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ledgerline-es/ledgerline/producer/internal/mutant"
	"github.com/ledgerline-es/ledgerline/schemas"
	"github.com/ledgerline-es/ledgerline/schemas/ledgerline"
)

// rewind makes the client poll again what was polled and not committed, of the partitions that are still assigned. Passing over it
// would lose commands: the next commit would carry the offsets behind them.
func (s *session) rewind(ctx context.Context) error {
	if _, err := s.gts.End(ctx, kgo.TryAbort); err != nil && ctx.Err() == nil {
		return fmt.Errorf("go back to what is committed: %w", err)
	}
	return nil
}

// batch is what one transaction decides, partition by partition. Partitions are decided side by side; in each, and so for each aggregate,
// the order is that of the log.
type batch []*portion

// portion is what was polled of one partition.
type portion struct {
	book     *book
	inputs   []*polled
	commands []command  // of all inputs …
	room     *[]command // … and what they lie in

	unsure []int64            // offsets of replies that tell whether …
	maybe  map[commandID]bool // … these commands are repetitions
}

// polled is what was polled of one input of a partition.
type polled struct {
	input
	records []*kgo.Record
	waits   *kgo.Record // the first that the registry can't tell the schema of: none is taken now …
	why     error       // … and this is what it said
}

// done lets go of what was read, when nobody looks at it any more. The room is for what is polled next.
func (s *session) done(all batch) {
	for _, p := range all {
		clear(p.commands)
		*p.room = p.commands[:0]
		s.rooms.Put(p.room)
	}
}

func (b batch) size() (n int) {
	for _, p := range b {
		n += len(p.commands)
	}
	return n
}

// sideBySide does something with each of several things that have nothing to do with each other, and returns when all is done. The error
// is the first one's that has one.
func sideBySide[T any](all []T, do func(T) error) error {
	errs := make([]error, len(all))
	eachSideBySide(all, func(i int, one T) { errs[i] = do(one) })
	return cmp.Or(errs...)
}

func eachSideBySide[T any](all []T, do func(i int, one T)) {
	if len(all) == 1 {
		do(0, all[0])
		return
	}
	var running sync.WaitGroup
	for i, one := range all {
		running.Go(func() { do(i, one) })
	}
	running.Wait()
}

// read reads the polled records of owned partitions and decodes them, before a transaction begins: a registry that does not
// answer must not hold a transaction open. It is incomplete when records were polled of a partition that has no book: it was lost
// since, or what the group assigned to us is not known yet.
func (s *session) read(ctx context.Context, fetches kgo.Fetches) (all batch, complete bool, err error) {
	if all, complete = s.portions(fetches); !complete {
		return nil, false, nil
	}
	look, cancel := context.WithTimeout(ctx, registryPatience)
	defer cancel()
	eachSideBySide(all, func(_ int, p *portion) {
		n := 0
		for _, in := range p.inputs {
			n += len(in.records)
		}
		p.room, _ = s.rooms.Get().(*[]command)
		if p.room == nil {
			p.room = new([]command)
		}
		p.commands = slices.Grow(*p.room, n)
		for _, in := range p.inputs {
			s.readInput(look, p, in)
		}
		p.lookBack()
	})
	for _, p := range all {
		for _, in := range p.inputs {
			if in.waits != nil {
				s.hold(ctx, in)
			}
		}
		if err := s.resolveReplies(ctx, p.commands); err != nil {
			return nil, true, err
		}
	}
	return slices.DeleteFunc(all, func(p *portion) bool { return len(p.commands) == 0 }), true, nil
}

// portions puts together what belongs to one partition, what comes from other aggregates first. What is polled again is left out.
func (s *session) portions(fetches kgo.Fetches) (all batch, complete bool) {
	complete = true
	of, inputs := map[int32]*portion{}, map[input]*polled{}
	fetches.EachPartition(func(f kgo.FetchTopicPartition) {
		at := input{f.Topic, f.Partition}
		if len(f.Records) == 0 || s.astray[at] || s.held[at] != nil {
			return
		}
		b := s.books[f.Partition]
		if b == nil {
			complete = false
			return
		}
		in := inputs[at]
		if in == nil {
			in = &polled{input: at}
			inputs[at] = in
			p := of[f.Partition]
			if p == nil {
				p = &portion{book: b}
				of[f.Partition] = p
				all = append(all, p)
			}
			if p.inputs = append(p.inputs, in); f.Topic == s.writer.topics.Internal {
				slices.Reverse(p.inputs)
			}
		}
		in.records = append(in.records, f.Records...)
	})
	return all, complete
}

// readInput reads and decodes the commands of one input: all, or none if one has to wait.
func (s *session) readInput(look context.Context, p *portion, in *polled) {
	before := len(p.commands)
	for _, rec := range in.records {
		p.commands = append(p.commands, readCommand(rec))
		c := &p.commands[len(p.commands)-1]
		if s.place(c); c.tick {
			continue
		}
		if c.refused == nil || c.refused.elsewhere {
			if size := overhead(rec); len(rec.Value) > s.cfg.MaxCommandBytes || size > maxOverhead || len(rec.Headers) > maxHeaders {
				c.refused = refuse(CodeTooLarge, "the command has %d bytes, and %d in its key and %d headers: at most %d, and %d in the key and %d headers",
					len(rec.Value), size, len(rec.Headers), s.cfg.MaxCommandBytes, maxOverhead, maxHeaders)
			}
		}
		if c.refused == nil {
			c.refused = p.book.fatality(rec)
		}
		if c.refused == nil && (schemas.Partition(c.id, s.writer.partitions) == rec.Partition || mutant.Is(mutant.Forward)) {
			if err := s.decode(look, c); err != nil {
				in.waits, in.why = rec, err
				p.commands = p.commands[:before]
				return
			}
		}
	}
}

// place says where a command comes from. What clients put off comes back through the internal topic, and stays theirs.
func (s *session) place(c *command) {
	if c.rec.Topic != s.writer.topics.Internal {
		c.timer = ""
		return
	}
	typ, _ := schemas.Header(c.rec, schemas.HeaderType)
	switch {
	case typ == tickType:
		c.tick, c.refused = true, nil
	case !strings.HasPrefix(c.timer, scheduledPrefix):
		c.internal, c.meta.Sender = true, senderOf(c.rec)
	}
}

// resolveReplies finds where copies of replies go, of those commands that ask for one.
func (s *session) resolveReplies(ctx context.Context, commands []command) error {
	for i := range commands {
		c := &commands[i]
		if c.reply.topic == "" {
			continue
		}
		to, why, err := s.replies.resolve(ctx, c)
		if err != nil {
			return err
		}
		c.replyCopy = to
		if c.refused == nil {
			c.refused = why
		}
	}
	return nil
}

// registryPatience is how long look-ups in the registry may hold up a batch.
const registryPatience = 2 * time.Second

// decode decodes a command. An error means that the registry can't say yet what it is.
func (s *session) decode(look context.Context, c *command) error {
	var err error
	switch typ, _ := schemas.Header(c.rec, schemas.HeaderType); {
	case c.internal && typ == string(replyType):
		c.record, err = s.writer.replies.Decode(look, c.rec.Value)
	case typ == ledgerline.CancelScheduledType.Name:
		c.record, err = s.writer.cancels.Decode(look, c.rec.Value)
	default:
		c.record, err = s.machine.decodeCommand(look, c.rec.Value)
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(err, schemas.ErrRegistryUnavailable), look.Err() != nil:
		return err
	}
	c.refused = refuse(decodeCode(err), "%v", err)
	return nil
}

// hold stops fetching an input until the registry can say what the schema of one of its records is; then it is polled again from where
// this poll began, for a transaction commits all that was polled of it or nothing. Others go on meanwhile.
func (s *session) hold(ctx context.Context, in *polled) {
	known := make(chan struct{})
	s.held[in.input] = known
	s.state.set(fmt.Errorf("waiting for the schema registry: %w", in.why))
	s.log.Warn("waiting for the schema registry", "error", in.why, "topic", in.topic, "partition", in.partition, "offset", in.waits.Offset)
	cl := s.gts.Client()
	cl.PauseFetchPartitions(map[string][]int32{in.topic: {in.partition}})
	cl.SetOffsets(map[string]map[int32]kgo.EpochOffset{in.topic: {in.partition: {Epoch: -1, Offset: in.records[0].Offset}}})
	go func() {
		defer close(known)
		for wait := 100 * time.Millisecond; ; wait = min(2*wait, 2*time.Second) {
			select {
			case <-ctx.Done():
				return
			case <-time.After(wait):
			}
			if _, err := s.machine.decodeCommand(ctx, in.waits.Value); !errors.Is(err, schemas.ErrRegistryUnavailable) {
				return
			}
		}
	}()
}

// release lets partitions go on whose wait is over.
func (s *session) release() {
	for at, known := range s.held {
		select {
		case <-known:
			s.resume(at)
		default:
		}
	}
}

// releaseAll forgets what waits: another generation polls everything anew.
func (s *session) releaseAll() {
	for at := range s.held {
		s.resume(at)
	}
	s.askForLeadersAnew()
}

func (s *session) resume(at input) {
	delete(s.held, at)
	s.gts.Client().ResumeFetchPartitions(map[string][]int32{at.topic: {at.partition}})
}
