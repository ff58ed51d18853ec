package deadletters

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ledgerline-es/ledgerline/internal/logread"
	"github.com/ledgerline-es/ledgerline/schemas"
)

// Settler retries and drops the dead letters of one kind.
type Settler struct {
	Box *Box // as of when this settler took over

	// Foreign says that this login may not write the internal topic: then what aggregates sent each other is not retried.
	Foreign bool

	cl         *kgo.Client
	topics     schemas.Topics
	partitions int32 // of the commands
	by         string
}

// transactionTimeout is how long what an operator left unfinished can hold up readers of the commands.
const transactionTimeout = 10 * time.Second

// Take begins settling: another operator's unfinished work is aborted first. by is who does it, for those who look later.
func Take(ctx context.Context, options []kgo.Opt, reader logread.Reader, prefix, kind, transactionalID, by string) (*Settler, error) {
	cl, err := kgo.NewClient(slices.Concat(options, []kgo.Opt{
		kgo.TransactionalID(transactionalID), kgo.TransactionTimeout(transactionTimeout),
		kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.RequiredAcks(kgo.AllISRAcks()), kgo.RecordDeliveryTimeout(transactionTimeout),
	})...)
	if err != nil {
		return nil, err
	}
	s := &Settler{cl: cl, topics: schemas.TopicsOf(prefix, kind), by: by}
	if err := s.take(ctx, reader, prefix, kind); err != nil {
		cl.Close()
		return nil, err
	}
	return s, nil
}

func (s *Settler) take(ctx context.Context, reader logread.Reader, prefix, kind string) error {
	if _, _, err := s.cl.ProducerID(ctx); err != nil {
		return fmt.Errorf("take over the dead letters of %s: %w", kind, err)
	}
	admin := kadm.NewClient(s.cl)
	details, err := admin.ListTopics(ctx, s.topics.Commands)
	if err == nil {
		err = details.Error()
	}
	if err != nil {
		return fmt.Errorf("look up topic %s: %w", s.topics.Commands, err)
	}
	s.partitions = int32(len(details[s.topics.Commands].Partitions))
	s.Box, err = open(ctx, admin, reader, prefix, kind, true)
	return err
}

// Close ends the connections.
func (s *Settler) Close() { s.cl.Close() }

// Why a letter is not settled.
var (
	ErrSettled  = errors.New("it is settled already")
	ErrHopeless = errors.New("trying again would come to the same")
	ErrTaken    = errors.New("another operator settles dead letters of this kind at the moment: try again")
	ErrForeign  = errors.New("an aggregate sent it, and only the producer's login may write such messages: retry it under that one")
)

// Settle retries or drops letters of the box, in one transaction: all of them or none. The caller leaves out those for which Can
// gives an error.
func (s *Settler) Settle(ctx context.Context, what string, letters []Letter) error {
	if err := s.cl.BeginTransaction(); err != nil {
		return err
	}
	var records []*kgo.Record
	for _, l := range letters {
		if what == Retried {
			records = append(records, l.command(s.topics, s.partitions))
		}
		records = append(records, s.mark(l, what))
	}
	if err := s.cl.ProduceSync(ctx, records...).FirstErr(); err != nil {
		abort, cancel := context.WithTimeout(context.WithoutCancel(ctx), transactionTimeout)
		defer cancel()
		_ = s.cl.EndTransaction(abort, kgo.TryAbort) // or the broker does, when its timeout ends
		return fmt.Errorf("settle dead letters: nothing was done: %w", taken(err))
	}
	if err := s.cl.EndTransaction(ctx, kgo.TryCommit); err != nil {
		if errors.Is(err, kerr.UnknownServerError) {
			// Kafka 4.3 says no better when it fences us for somebody at this very moment (it finds the state PREPARE_EPOCH_FENCE).
			err = fmt.Errorf("%w, or the broker failed (%w)", ErrTaken, err)
		}
		return fmt.Errorf("settle dead letters: list shows whether they are: %w", taken(err))
	}
	for _, l := range letters {
		s.Box.settled[at{l.Partition, l.Offset}] = what
	}
	return nil
}

// taken says so when an error comes of another operator who has taken over: the brokers have aborted this one's transaction then,
// unless it was committed before and the answer was lost.
func taken(err error) error {
	for _, fenced := range []error{kerr.InvalidProducerEpoch, kerr.ProducerFenced, kerr.InvalidTxnState} {
		if errors.Is(err, fenced) {
			return fmt.Errorf("%w (%w)", ErrTaken, err)
		}
	}
	return err
}

// Can says why a letter can't be settled so; nil when it can.
func (s *Settler) Can(what string, l Letter) error {
	switch {
	case l.Settled != "":
		return fmt.Errorf("%w: %s", ErrSettled, l.Settled)
	case what == Retried && l.Hopeless() != "":
		return fmt.Errorf("%w: %s", ErrHopeless, l.Hopeless())
	case what == Retried && s.Foreign && l.Internal(s.topics):
		return ErrForeign
	}
	return nil
}

// mark is the record that says what became of a letter.
func (s *Settler) mark(l Letter, what string) *kgo.Record {
	h := func(key, value string) kgo.RecordHeader { return kgo.RecordHeader{Key: key, Value: []byte(value)} }
	return &kgo.Record{
		Topic: s.topics.DeadLetters, Partition: l.Partition, Key: l.Record.Key,
		Headers: []kgo.RecordHeader{
			h(schemas.HeaderSettled, what),
			h(schemas.HeaderSettles, fmt.Sprintf("%s/%d/%d", s.topics.DeadLetters, l.Partition, l.Offset)),
			h(schemas.HeaderAuthID, s.by),
		},
	}
}
