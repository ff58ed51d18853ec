package producer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ledgerline-es/ledgerline/producer/internal/mutant"
	"github.com/ledgerline-es/ledgerline/schemas"
)

// rewind makes the client poll again what was polled and not committed, of the partitions that are still assigned. Passing over it
// would lose commands: the next commit would carry the offsets behind them.
func (s *session) rewind(ctx context.Context) error {
	if _, err := s.gts.End(ctx, kgo.TryAbort); err != nil && ctx.Err() == nil {
		return fmt.Errorf("go back to what is committed: %w", err)
	}
	return nil
}

// read reads the polled records of owned partitions and decodes them, before a transaction begins: a registry that does not
// answer must not hold a transaction open. It is incomplete when records were polled of a partition that has no book: it was lost
// since, or what the group assigned to us is not known yet.
func (s *session) read(ctx context.Context, fetches kgo.Fetches) (batch []command, complete bool, err error) {
	batch = make([]command, 0, fetches.NumRecords())
	complete = true
	first := map[input]int64{}
	look, cancel := context.WithTimeout(ctx, registryPatience)
	defer cancel()
	var failed error
	fetches.EachRecord(func(rec *kgo.Record) {
		at := input{rec.Topic, rec.Partition}
		if _, ok := first[at]; !ok {
			first[at] = rec.Offset
		}
		if s.books[rec.Partition] == nil {
			complete = false
		}
		if failed != nil || !complete || s.astray[at] || s.held[at] != nil {
			return // it is polled again
		}
		c := readCommand(rec)
		if c.refused == nil || c.refused.elsewhere {
			if size := overhead(rec); len(rec.Value) > s.cfg.MaxCommandBytes || size > maxOverhead || len(rec.Headers) > maxHeaders {
				c.refused = refuse(CodeTooLarge, "the command has %d bytes, and %d in its key and %d headers: at most %d, and %d in the key and %d headers",
					len(rec.Value), size, len(rec.Headers), s.cfg.MaxCommandBytes, maxOverhead, maxHeaders)
			}
		}
		if c.refused == nil {
			c.refused = s.books[rec.Partition].fatality(rec)
		}
		if c.refused == nil && (schemas.Partition(c.id, s.writer.partitions) == rec.Partition || mutant.Is(mutant.Forward)) {
			if err := s.decode(look, &c); err != nil {
				// A transaction commits all that was polled of a partition or nothing: none of it is taken now.
				s.hold(ctx, rec, first[at], err)
				batch = slices.DeleteFunc(batch, func(c command) bool { return input{c.rec.Topic, c.rec.Partition} == at })
				return
			}
		}
		if c.reply.topic != "" {
			to, why, err := s.replies.resolve(ctx, c.reply, c.id)
			if err != nil {
				failed = err
				return
			}
			c.replyCopy = to
			if c.refused == nil {
				c.refused = why
			}
		}
		batch = append(batch, c)
	})
	return batch, complete, failed
}

// registryPatience is how long look-ups in the registry may hold up a batch.
const registryPatience = 2 * time.Second

// decode decodes a command. An error means that the registry can't say yet what it is.
func (s *session) decode(look context.Context, c *command) error {
	var err error
	c.record, err = s.machine.decodeCommand(look, c.rec.Value)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, schemas.ErrRegistryUnavailable), look.Err() != nil:
		return err
	}
	c.refused = refuse(decodeCode(err), "%v", err)
	return nil
}

// hold stops fetching a partition until the registry can say what the schema of one of its records is; then it is polled again
// from an offset on. Other partitions go on meanwhile.
func (s *session) hold(ctx context.Context, rec *kgo.Record, from int64, err error) {
	known := make(chan struct{})
	s.held[input{rec.Topic, rec.Partition}] = known
	s.state.set(fmt.Errorf("waiting for the schema registry: %w", err))
	s.log.Warn("waiting for the schema registry", "error", err, "topic", rec.Topic, "partition", rec.Partition, "offset", rec.Offset)
	cl := s.gts.Client()
	cl.PauseFetchPartitions(map[string][]int32{rec.Topic: {rec.Partition}})
	cl.SetOffsets(map[string]map[int32]kgo.EpochOffset{rec.Topic: {rec.Partition: {Epoch: -1, Offset: from}}})
	go func() {
		defer close(known)
		for wait := 100 * time.Millisecond; ; wait = min(2*wait, 2*time.Second) {
			select {
			case <-ctx.Done():
				return
			case <-time.After(wait):
			}
			if _, err := s.machine.decodeCommand(ctx, rec.Value); !errors.Is(err, schemas.ErrRegistryUnavailable) {
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
}

func (s *session) resume(at input) {
	delete(s.held, at)
	s.gts.Client().ResumeFetchPartitions(map[string][]int32{at.topic: {at.partition}})
}
