package producer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ledgerline-es/ledgerline/schemas"
)

const (
	// recallTimeout is how long reading replies again may take before the session gives up, and begins anew from the log.
	recallTimeout = 30 * time.Second
	// recallGap is how many replies that nobody wants are read rather than asked for the next one anew.
	recallGap = 1000
)

// recall reads the replies again to which commands of a batch may be repetitions: those whose ids have a hash that the window knows.
// What it finds is at hand until the transaction ends. It comes before the transaction begins, so that nothing is held open meanwhile.
func (s *session) recall(ctx context.Context, all batch) error {
	ctx, cancel := context.WithTimeout(ctx, recallTimeout)
	defer cancel()
	for _, p := range all {
		if err := s.recallFrom(ctx, p.book.partition, p.unsure, p.maybe); err != nil {
			return fmt.Errorf("read replies again from %s partition %d: %w", s.writer.topics.Replies, p.book.partition, err)
		}
	}
	return nil
}

// lookBack finds the commands that may be repetitions, and where it stands what they are.
func (p *portion) lookBack() {
	for i := range p.commands {
		c := &p.commands[i]
		if c.refused != nil || c.tick || p.book.seen(c.rec) {
			continue
		}
		if c.windowID = idOf(c.id, c.meta.CommandID); c.timer != "" { // its timer says whether it is a repetition
			continue
		}
		offsets, maybe := p.book.window.toRecall(c.windowID)
		c.unanswered = !maybe
		if len(offsets) == 0 {
			continue
		}
		if p.maybe == nil {
			p.maybe = map[commandID]bool{}
		}
		p.unsure, p.maybe[c.windowID] = append(p.unsure, offsets...), true
	}
	slices.Sort(p.unsure)
	p.unsure = slices.Compact(p.unsure)
}

// recallFrom reads one partition's replies at some offsets, which are ascending.
func (s *session) recallFrom(ctx context.Context, p int32, offsets []int64, ids map[commandID]bool) (err error) {
	for len(offsets) > 0 && err == nil {
		offsets, err = s.recallRun(ctx, p, offsets, ids)
	}
	return err
}

// recallRun reads from the first offset on until a gap, and gives the offsets that are left.
func (s *session) recallRun(ctx context.Context, p int32, offsets []int64, ids map[commandID]bool) ([]int64, error) {
	topic, cl, at := s.writer.topics.Replies, s.replies.client, offsets[0]
	cl.AddConsumePartitions(map[string]map[int32]kgo.Offset{topic: {p: kgo.NewOffset().At(at)}})
	defer cl.RemoveConsumePartitions(map[string][]int32{topic: {p}})
	for len(offsets) > 0 && offsets[0]-at <= recallGap {
		fetches := cl.PollFetches(ctx)
		err := fetches.Err()
		if errors.Is(err, kerr.OffsetOutOfRange) {
			return offsets[1:], nil // gone: it is older than replies are kept, so it is no longer in the window
		}
		if err != nil {
			return nil, err
		}
		for _, rec := range fetches.Records() {
			if rec.Topic != topic || rec.Partition != p {
				continue
			}
			for len(offsets) > 0 && offsets[0] < rec.Offset { // a reply that is not there any more
				offsets = offsets[1:]
			}
			if len(offsets) > 0 && offsets[0] == rec.Offset {
				if err := s.recallReply(ctx, rec, ids); err != nil {
					return nil, err
				}
				offsets = offsets[1:]
			}
			at = rec.Offset
		}
	}
	return offsets, nil
}

func (s *session) recallReply(ctx context.Context, rec *kgo.Record, ids map[commandID]bool) error {
	text, _ := schemas.Header(rec, schemas.HeaderCommandHash)
	hash, ok := parseHash(text)
	if !ok {
		return nil
	}
	reply, err := s.writer.replies.Decode(ctx, rec.Value)
	if err != nil {
		return err
	}
	id := idOf(string(rec.Key), reply.CommandID)
	if !ids[id] { // another id with the same hash
		return nil
	}
	s.metrics.recalled.Inc()
	s.books[rec.Partition].window.recall(id, answer{
		hash: hash, outcome: reply.Outcome, code: reply.Code, message: reply.Message,
		first: reply.FirstSequence, last: reply.LastSequence, version: reply.Version, at: rec.Timestamp.UnixMilli(),
	})
	return nil
}
