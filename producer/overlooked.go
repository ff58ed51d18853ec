package producer

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// A client that is a member in good standing can come to fetch nothing any more. It was seen in one of about 150 restarts of a broker, after
// its coordinator had been away for longer than a few heartbeats. Then the group counts its partitions as taken care of, and their commands wait
// for ever. So a session that has polled nothing for a while looks with another client whether there is something; if there is, it ends, and
// the next one begins with a client of its own.

// overlookedAfter is how long a command may wait beside a session that polls nothing, and how often such a session looks.
const overlookedAfter = 15 * time.Second

// watchful is what a session knows of what it may overlook.
type watchful struct {
	polled time.Time       // when something was polled last
	looked time.Time       // when it was looked for
	clear  map[input]int64 // up to where there is nothing but markers of transactions
}

// overlooked looks for commands that wait though nothing is polled. An error says that there is one, and where; what can't be looked at
// can't be said.
func (s *session) overlooked(ctx context.Context) error {
	w := &s.watchful
	if now := time.Now(); now.Sub(w.polled) < overlookedAfter || now.Sub(w.looked) < overlookedAfter {
		return nil
	}
	w.looked = time.Now()
	if now := s.owned(); now.partitions == nil || now.generation != s.generation || time.Now().UnixNano() < s.waiting.held.Load() {
		return nil // a rebalance is under way, or a quota is reached
	}
	cl, err := kgo.NewClient(slices.Concat(s.restorer.options, []kgo.Opt{
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords(), kgo.ConsumeResetOffset(kgo.NoResetOffset()), kgo.FetchMaxWait(500 * time.Millisecond),
		kgo.DisableFetchSessions(), // as in restorer.bring
	})...)
	if err != nil {
		return err
	}
	defer cl.CloseAllowingRebalance()
	look, cancel := context.WithTimeout(ctx, overlookedAfter)
	defer cancel()
	adm, inputs := kadm.NewClient(cl), []string{s.writer.topics.Commands, s.writer.topics.Internal}
	starts, err := adm.ListStartOffsets(look, inputs...)
	if err != nil {
		return nil
	}
	ends, err := adm.ListCommittedOffsets(look, inputs...)
	if err != nil {
		return nil
	}
	from, left := map[string]map[int32]kgo.Offset{}, map[input]int64{}
	for _, topic := range inputs {
		from[topic] = map[int32]kgo.Offset{}
		for p, b := range s.books {
			at := input{topic, p}
			start, ok := starts.Lookup(topic, p)
			end, known := ends.Lookup(topic, p)
			next := max(b.next[topic], w.clear[at], start.Offset)
			if !ok || !known || start.Err != nil || end.Err != nil || s.held[at] != nil || next >= end.Offset {
				continue
			}
			from[topic][p], left[at] = kgo.NewOffset().At(next), end.Offset
		}
	}
	cl.AddConsumePartitions(from)
	for len(left) > 0 && look.Err() == nil {
		for _, rec := range cl.PollFetches(look).Records() {
			at := input{rec.Topic, rec.Partition}
			end, ok := left[at]
			switch {
			case !ok:
			case rec.Offset < end && !rec.Attrs.IsControl() && time.Since(rec.Timestamp) > overlookedAfter:
				return fmt.Errorf("the client has fetched nothing for %v, and a command waits at %s", time.Since(w.polled).Round(time.Second), origin(rec))
			case rec.Offset < end && !rec.Attrs.IsControl():
				delete(left, at) // it has just come
			default:
				w.clear[at] = rec.Offset + 1
				if rec.Offset+1 >= end {
					delete(left, at)
				}
			}
		}
	}
	return nil
}
