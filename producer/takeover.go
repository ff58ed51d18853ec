package producer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ledgerline-es/ledgerline/internal/transactions"
	"github.com/ledgerline-es/ledgerline/schemas"
)

// A producer that dies inside a transaction leaves it open until its timeout, and whoever reads the partitions that it wrote stands
// still for that long: the member that takes them over, projectors, those who wait for replies. Kafka aborts a transaction at once
// when its transactional id is claimed anew (InitProducerID). So whoever is assigned partitions claims the ids of the dead.
//
// Who is dead is told by the group. Each member's client id is its transactional id, so that the coordinator's list of members is a
// list of the transactional ids that live. The open transactions are listed first and the members afterwards, and the lister must be
// among them. Then an id that has a transaction and is not in the list is that of a member that the group had given up, for a member
// begins no transaction before the group has assigned it something, and a session's id is never used by another session. (A static
// member's is. One that comes back between the two lists and begins a transaction is fenced by mistake, and starts again from the log.) Such a transaction can't commit any more, with one exception: its owner had committed the offsets in time
// and its EndTxn is on the way. Then the coordinator takes one of the two first, and the transaction as a whole is committed or
// aborted; a restore that has begun meanwhile waits for either. An owner that is alive after all (stopped for longer than its session,
// and continued) is told by the broker that it is fenced, drops everything it holds, and starts again from the log.
//
// Left alone are: the transactions of living members, whatever partitions they touch; ids that do not begin as this group's do; those
// that touch only partitions of other owners, who see to it themselves; and all, when a member of the group does not say its id.

// takeover ends what dead members of the group left open, and names what others hold.
type takeover struct {
	cfg     Config
	kind    string
	topics  schemas.Topics
	self    string // our own transactional id
	static  bool   // which our former self had as well
	cl      *kgo.Client
	log     *slog.Logger
	metrics *metrics

	mu      sync.Mutex
	hanging share
	said    map[string]bool // what was logged about strangers
	tried   time.Time       // when standstill last acted
}

// idPrefix begins the transactional ids of a kind's producers, and nobody else's.
func (c Config) idPrefix(kind string) string { return TransactionalIDPrefix(c.TopicPrefix, kind) }

// abandoned aborts the transactions of dead members that touch the partitions. What it can't find out it says in the log: the
// transactions end by themselves at their timeout.
func (t *takeover) abandoned(ctx context.Context, partitions []int32) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if err := t.abort(ctx, partitions); err != nil && ctx.Err() == nil {
		t.log.Warn("transactions that dead producers may have left open can't be looked for; they end at their timeout", "error", err)
	}
}

func (t *takeover) abort(ctx context.Context, partitions []int32) error {
	adm := kadm.NewClient(t.cl)
	listed, err := adm.ListTransactions(ctx, nil, []string{"Ongoing"})
	if err != nil {
		return fmt.Errorf("list open transactions: %w", err)
	}
	var ids []string
	for id := range listed {
		if id != t.self && strings.HasPrefix(id, t.cfg.idPrefix(t.kind)) {
			ids = append(ids, id)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	described, err := adm.DescribeTransactions(ctx, ids...)
	if err != nil {
		return fmt.Errorf("describe transactions of %v: %w", ids, err)
	}
	living, err := t.members(ctx) // after the transactions: whoever began one was a member by then
	if err != nil {
		return err
	}
	var errs []error
	for _, tx := range described {
		switch {
		case tx.Err != nil:
			errs = append(errs, fmt.Errorf("describe transaction of %s: %w", tx.TxnID, tx.Err))
		case tx.State == "Ongoing" && !living[tx.TxnID] && t.concerns(tx.Topics, partitions):
			errs = append(errs, t.claim(ctx, tx))
		}
	}
	return errors.Join(errs...)
}

// members are the transactional ids of the group's living members.
func (t *takeover) members(ctx context.Context) (map[string]bool, error) {
	group := t.cfg.group(t.kind)
	members, err := groupMembers(ctx, t.cl, group, t.topics.Commands)
	if err != nil {
		return nil, err
	}
	living := map[string]bool{}
	for _, m := range members {
		if !strings.HasPrefix(m.clientID, t.cfg.idPrefix(t.kind)) {
			return nil, fmt.Errorf("group %s has a member with client id %q, which is no transactional id of a producer: who is dead can't be told", group, m.clientID)
		}
		living[m.clientID] = true
	}
	if !living[t.self] {
		return nil, fmt.Errorf("group %s does not count us (%s) among its members: who is dead is not ours to say", group, t.self)
	}
	return living, nil
}

// groupMember is a member as the coordinator knows it.
type groupMember struct {
	id, instance, clientID string
	partitions             []int32 // of the commands topic, that it is assigned
}

// process names the process, and the producer in it, that a member belongs to: see member.transactionalID.
func (m groupMember) process() string {
	process, _, _ := strings.Cut(m.clientID, "/")
	return process
}

// groupMembers asks the coordinator, of either protocol. topic is the one whose assigned partitions are told.
func groupMembers(ctx context.Context, cl *kgo.Client, group, topic string) ([]groupMember, error) {
	adm := kadm.NewClient(cl)
	var members []groupMember
	text := func(s *string) string {
		if s == nil {
			return ""
		}
		return *s
	}
	classic, err := adm.DescribeGroups(ctx, group)
	if err != nil {
		return nil, fmt.Errorf("describe group %s: %w", group, err)
	}
	for _, m := range classic[group].Members {
		member := groupMember{id: m.MemberID, instance: text(m.InstanceID), clientID: m.ClientID}
		if assigned, ok := m.Assigned.AsConsumer(); ok {
			for _, t := range assigned.Topics {
				if t.Topic == topic {
					member.partitions = t.Partitions
				}
			}
		}
		members = append(members, member)
	}
	if len(members) > 0 {
		return members, nil
	}
	consumer, err := adm.DescribeConsumerGroups(ctx, group)
	if err != nil {
		return nil, fmt.Errorf("describe group %s: %w", group, err)
	}
	for _, m := range consumer[group].Members {
		members = append(members, groupMember{m.MemberID, text(m.InstanceID), m.ClientID, slices.Collect(maps.Keys(m.Assignment[topic]))})
	}
	return members, nil
}

// watched are the topics whose partitions stand still while a transaction is open in them.
func (t *takeover) watched() []string {
	return []string{t.topics.Events, t.topics.Snapshots, t.topics.Replies, t.topics.Commands, t.topics.Internal}
}

// concerns reports whether a transaction touches one of the partitions of our topics, or none of our topics at all: nobody else would
// look after a reply's copy in a foreign topic.
func (t *takeover) concerns(touched kadm.TopicsSet, partitions []int32) bool {
	foreign := true
	for _, topic := range append(t.watched(), t.topics.DeadLetters) {
		for p := range touched[topic] {
			if slices.Contains(partitions, p) {
				return true
			}
			foreign = false
		}
	}
	return foreign
}

// claim makes the coordinator abort a transaction, if it is still the one that was seen.
func (t *takeover) claim(ctx context.Context, tx kadm.DescribedTransaction) error {
	err := transactions.Fence(ctx, t.cl, tx.TxnID, tx.ProducerID, tx.ProducerEpoch, t.cfg.TransactionTimeout)
	switch {
	case errors.Is(err, kerr.ProducerFenced), errors.Is(err, kerr.InvalidProducerEpoch):
		return nil // it ended while we looked
	case err != nil:
		return err
	}
	t.metrics.fenced.Inc()
	t.log.Info("aborted the transaction that a dead producer had left open", "transactional_id", tx.TxnID, "producer_id", tx.ProducerID,
		"age", age(tx.StartTimestamp).String(), "touches", tx.Topics.Sorted())
	return nil
}

func age(millis int64) time.Duration {
	return max(0, time.Since(time.UnixMilli(millis)).Round(100*time.Millisecond))
}

// settleOffsets waits until the group tells the offsets of partitions: it keeps them back while a transaction that commits some is
// open. One that was aborted or committed for the rebalance ends within milliseconds; one of the dead is ended. It gives up after a
// second, for the client asks again by itself.
func (t *takeover) settleOffsets(ctx context.Context, member *kgo.Client, added map[string][]int32) {
	ctx, cancel := context.WithTimeout(kadm.RequireStable(ctx), time.Second)
	defer cancel()
	if t.static {
		_, _, _ = member.ProducerID(ctx) // ends what our former self has open; an error comes again where the session claims the id
	}
	adm := kadm.NewClient(t.cl)
	for again := false; ; again = true {
		offsets, err := adm.FetchOffsets(ctx, t.cfg.group(t.kind))
		if err != nil {
			return
		}
		open := false
		for topic, partitions := range added {
			for _, p := range partitions {
				if o, ok := offsets.Lookup(topic, p); ok && errors.Is(o.Err, kerr.UnstableOffsetCommit) {
					open = true
				}
			}
		}
		switch {
		case !open:
			return
		case again:
			t.abandoned(ctx, added[t.topics.Commands])
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// standstill is called again and again while nothing moves since a time. After a second it looks for the dead once more, for some
// die late: a member that is stopped counts as living until its session ends.
func (t *takeover) standstill(ctx context.Context, partitions []int32, since time.Time) {
	t.mu.Lock()
	due := time.Since(since) > time.Second && time.Since(t.tried) > time.Second
	if due {
		t.tried = time.Now()
	}
	t.mu.Unlock()
	if !due {
		return
	}
	t.abandoned(ctx, partitions)
	if time.Since(since) > t.cfg.TransactionTimeout {
		t.hung(ctx, partitions)
	}
}
