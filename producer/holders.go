package producer

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
)

// A transaction that is open in a partition hides all behind it from everybody who reads what is committed. One that stays open and is
// not ours is never aborted by us: somebody may still mean it. It is named.

// holder is an open transaction in a partition.
type holder struct {
	topic      string
	partition  int32
	offset     int64 // of its first record there
	producerID int64
	id         string // transactional id; "" where the broker does not tell us
	age        time.Duration
	living     bool // of a member of our group
}

func (h holder) String() string {
	id := h.id
	if id == "" {
		id = "(unknown)"
	}
	return fmt.Sprintf("transactional id %s, producer id %d, open for %v, holds %s partition %d from offset %d", id, h.producerID, h.age, h.topic, h.partition, h.offset)
}

// holders are the transactions that are open in partitions of our topics, the oldest first; our own is not among them.
func (t *takeover) holders(ctx context.Context, partitions []int32) ([]holder, error) {
	adm := kadm.NewClient(t.cl)
	var look kadm.TopicsSet
	for _, topic := range t.watched() {
		look.Add(topic, partitions...)
	}
	producers, err := adm.DescribeProducers(ctx, look)
	if err != nil {
		return nil, fmt.Errorf("describe producers of %v: %w", t.watched(), err)
	}
	var found []holder
	var producerIDs []int64
	producers.EachProducer(func(p kadm.DescribedProducer) {
		if p.CurrentTxnStartOffset < 0 {
			return
		}
		found = append(found, holder{
			topic: p.Topic, partition: p.Partition, offset: p.CurrentTxnStartOffset, producerID: p.ProducerID, age: age(p.LastTimestamp),
		})
		producerIDs = append(producerIDs, p.ProducerID)
	})
	if len(found) == 0 {
		return nil, nil
	}
	// The rest is told where we may ask; without it a holder has at least its producer id.
	living, _ := t.members(ctx)
	if listed, err := adm.ListTransactions(ctx, producerIDs, nil); err == nil && len(listed) > 0 {
		described, _ := adm.DescribeTransactions(ctx, listed.TransactionalIDs()...)
		for i, h := range found {
			for _, tx := range listed {
				if tx.ProducerID != h.producerID {
					continue
				}
				found[i].id, found[i].living = tx.TxnID, living[tx.TxnID]
				if d := described[tx.TxnID]; d.Err == nil && d.StartTimestamp > 0 {
					found[i].age = age(d.StartTimestamp)
				}
			}
		}
	}
	found = slices.DeleteFunc(found, func(h holder) bool { return h.id == t.self })
	slices.SortFunc(found, func(a, b holder) int { return cmp.Compare(b.age, a.age) })
	return found, nil
}

// hung counts the transactions that are open in our partitions for longer than any of ours may be, and says each once in the log.
func (t *takeover) hung(ctx context.Context, partitions []int32) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	holders, err := t.holders(ctx, partitions)
	if err != nil {
		if ctx.Err() == nil {
			t.log.Warn("open transactions can't be looked for", "error", err)
		}
		return
	}
	seen := map[string]bool{}
	ids := map[int64]bool{}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, h := range holders {
		if h.living || h.age <= t.cfg.TransactionTimeout {
			continue
		}
		ids[h.producerID] = true
		key := fmt.Sprintf("%d/%s/%d/%d", h.producerID, h.topic, h.partition, h.offset)
		seen[key] = true
		if !t.said[key] {
			t.log.Error("a transaction holds up everybody who reads this partition; end it at its owner; doctor names it, and doctor --abort ends it",
				"transactional_id", h.id, "producer_id", h.producerID, "topic", h.topic, "partition", h.partition, "offset", h.offset, "age", h.age.String())
		}
	}
	t.said = seen
	t.hanging.set(float64(len(ids)))
}

// blame says what holds the partitions, for an error.
func (t *takeover) blame(ctx context.Context, partitions []int32) string {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	holders, err := t.holders(ctx, partitions)
	switch {
	case err != nil:
		return fmt.Sprintf("a transaction there is open; which one could not be found out: %v", err)
	case len(holders) == 0:
		return "no transaction is open there: the brokers do not answer in time"
	}
	var text []string
	for _, h := range holders {
		text = append(text, h.String())
	}
	return strings.Join(text, "; ")
}

// watchHung looks every so often for transactions that hold up the partitions that this member owns.
func (t *takeover) watchHung(ctx context.Context, every time.Duration, owned func() []int32) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	defer func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.hanging.set(0)
	}()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			if partitions := owned(); len(partitions) > 0 {
				t.hung(ctx, partitions)
			}
		}
	}
}
