package api

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ledgerline-es/ledgerline/internal/logread"
	"github.com/ledgerline-es/ledgerline/producer"
	"github.com/ledgerline-es/ledgerline/schemas"
	"github.com/ledgerline-es/ledgerline/schemas/ledgerline"
)

// What is looked up in the log: an instance that was not there, or was started since, knows nothing of a command that another
// one took. Looking costs the brokers something, so it is bounded, and one request a kind looks at a time.
const (
	lookBack    = lateFor         // how old a reply may be
	lookRecords = 50_000          // how many records of a partition are looked at, the latest
	lookTime    = 3 * time.Second // how long it may take
)

// errFound ends the reading of a partition.
var errFound = errors.New("found")

// lookUp asks the log what became of a command: its reply; nil and true as long as it waits to be decided; else nil and false.
func (w *writer) lookUp(ctx context.Context, key commandKey) (reply *ledgerline.Reply, waits bool, err error) {
	partition, known := w.follower.partition(key.aggregateID)
	admin := w.follower.asker()
	if !known || admin == nil {
		return nil, false, errNotStarted
	}
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	select {
	case w.looking <- struct{}{}:
		defer func() { <-w.looking }()
	case <-ctx.Done():
		return nil, false, ctx.Err()
	}
	topics := schemas.TopicsOf(w.api.cfg.Client.TopicPrefix, w.kind)
	// First how far commands are decided: what is before has its reply by now, what is behind is looked for afterwards.
	decided, err := admin.FetchOffsets(ctx, producer.Group(w.api.cfg.Client.TopicPrefix, w.kind))
	if err != nil {
		return nil, false, err
	}
	if reply, err = w.lookForReply(ctx, admin, topics.Replies, partition, key); reply != nil || err != nil {
		return reply, false, err
	}
	commands, err := w.lookAt(ctx, admin, topics.Commands, partition)
	if err != nil {
		return nil, false, err
	}
	if at, ok := decided.Lookup(topics.Commands, partition); ok {
		commands.Starts[partition] = max(commands.Starts[partition], at.At)
	}
	err = w.reader().Partition(ctx, commands, partition, func(rec *kgo.Record) error {
		if id, ok := schemas.Header(rec, schemas.HeaderID); ok && id == key.commandID && string(rec.Key) == key.aggregateID {
			return errFound
		}
		return nil
	})
	if errors.Is(err, errFound) {
		return nil, true, nil
	}
	return nil, false, err
}

// lookForReply gives the reply to a command, if it came lately. The reply to another command that was not let have its id is none.
func (w *writer) lookForReply(ctx context.Context, admin *kadm.Client, topic string, partition int32, key commandKey) (found *ledgerline.Reply, err error) {
	replies, err := w.lookAt(ctx, admin, topic, partition)
	if err != nil {
		return nil, err
	}
	since, err := admin.ListOffsetsAfterMilli(ctx, time.Now().Add(-lookBack).UnixMilli(), topic)
	if err != nil {
		return nil, err
	}
	if at, ok := since.Lookup(topic, partition); ok {
		replies.Starts[partition] = max(replies.Starts[partition], at.Offset)
	}
	codec := schemas.NewSerde(schemas.NewCodec(w.api.cfg.Client.Registry), topic, schemas.ForwardTransitive, ledgerline.ReplyType)
	err = w.reader().Partition(ctx, replies, partition, func(rec *kgo.Record) error {
		if string(rec.Key) != key.aggregateID {
			return nil
		}
		reply, err := codec.Decode(ctx, rec.Value)
		if err != nil {
			return err
		}
		if reply.CommandID == key.commandID && (found == nil || reply.Code != producer.CodeCommandIDReused) {
			found = reply
		}
		return nil
	})
	return found, err
}

// lookAt is the end of a partition that is looked at.
func (w *writer) lookAt(ctx context.Context, admin *kadm.Client, topic string, partition int32) (logread.Topic, error) {
	t, err := logread.Look(ctx, admin, topic)
	if err == nil {
		t.Starts[partition] = max(t.Starts[partition], t.Ends[partition]-lookRecords)
	}
	return t, err
}

func (w *writer) reader() logread.Reader {
	return logread.Reader{
		Client:       slices.Concat(w.api.cfg.Client.Client, []kgo.Opt{kgo.SeedBrokers(w.api.cfg.Client.Brokers...), kgo.FetchMaxWait(100 * time.Millisecond)}),
		StallTimeout: lookTime,
	}
}
