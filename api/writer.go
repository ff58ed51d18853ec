package api

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/ledgerline-es/ledgerline/producer"
	"github.com/ledgerline-es/ledgerline/schemas"
	"github.com/ledgerline-es/ledgerline/schemas/ledgerline"
)

// writer sends the commands of one kind. Its client is made again whenever it ends: topics may not be there yet, and
// brokers go away.
type writer struct {
	api      *API
	def      producer.Definition
	kind     string
	follower *follower
	replies  *replies
	location string        // path of a command, with {id} and {command_id}; empty: the domain has given none
	looking  chan struct{} // held by who looks in the log

	mu      sync.Mutex
	client  *producer.Client // nil before the first
	why     error            // why the last one ended
	waiting map[commandKey]int
	total   int
	lanes   map[int32]*lane
}

// lane is one partition, as those see it who wait for replies from it.
type lane struct {
	waiting int
	since   time.Time // of the last reply, or since when somebody waits
}

func newWriter(a *API, def producer.Definition, f *follower) *writer {
	return &writer{
		api: a, def: def, kind: def.KindName(), follower: f, replies: newReplies(repliesKept), looking: make(chan struct{}, 1),
		waiting: map[commandKey]int{}, lanes: map[int32]*lane{},
	}
}

// leastRetry and mostRetry bound the wait before a connection is made again.
const (
	leastRetry = 100 * time.Millisecond
	mostRetry  = 5 * time.Second
)

// run keeps a client running until ctx ends.
func (w *writer) run(ctx context.Context) {
	retry(ctx, w.api.log.With("kind", w.kind), "client of commands", func() error {
		cfg := w.api.cfg.Client
		cfg.Observe = w.observe
		client := producer.NewClient(cfg, w.def)
		w.mu.Lock()
		w.client = client
		w.mu.Unlock()
		err := client.Run(ctx)
		w.mu.Lock()
		w.why = err
		w.mu.Unlock()
		return err
	})
}

// sayAgain is how often it is said that something still fails.
const sayAgain = 30 * time.Second

// retry does again and again what ends, until ctx does, and says so: at once, then rarely. What ran for a while begins anew
// at once.
func retry(ctx context.Context, log *slog.Logger, what string, do func() error) {
	var said time.Time
	failed := 0
	for wait := leastRetry; ; wait = min(2*wait, mostRetry) {
		started := time.Now()
		err := do()
		if time.Since(started) > mostRetry {
			wait, said, failed = leastRetry, time.Time{}, 0
		}
		if failed++; ctx.Err() == nil && time.Since(said) > sayAgain {
			log.Warn("ended, beginning anew", "what", what, "error", err, "times", failed)
			said = time.Now()
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

// ready is nil when commands can be published.
func (w *writer) ready() error {
	_, err := w.current()
	return err
}

func (w *writer) current() (*producer.Client, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.client == nil {
		return nil, errors.New("not started")
	}
	if err := w.client.Ready(); err != nil {
		if w.why != nil {
			err = w.why
		}
		return nil, err
	}
	return w.client, nil
}

// observe takes each reply of the kind, whoever asked for it.
func (w *writer) observe(id string, reply *ledgerline.Reply) {
	w.replies.add(id, reply)
	w.mu.Lock()
	defer w.mu.Unlock()
	if l := w.lanes[schemas.Partition(id, w.client.Partitions())]; l != nil {
		l.since = time.Now()
	}
}

// enter counts a command as waited for, unless nobody answers its partition or too many wait already.
func (w *writer) enter(key commandKey, partition int32) *Problem {
	w.mu.Lock()
	defer w.mu.Unlock()
	l := w.lanes[partition]
	if l == nil {
		l = &lane{}
		w.lanes[partition] = l
	}
	if silent := time.Since(l.since); l.waiting > 0 && silent > w.api.cfg.NoReplyAfter {
		return NewProblem(503, CodeNoProducer,
			"commands to partition %d of %s wait since %v and none is answered: no producer owns it, or it can't go on; this command was not published",
			partition, w.kind, silent.Round(time.Second)).RetryAfter(mostRetry)
	}
	if w.total >= w.api.cfg.MaxPending {
		return unavailable(CodeOverloaded, "%d commands wait for replies here, as many as may; this one was not published", w.total)
	}
	if l.waiting == 0 {
		l.since = time.Now()
	}
	l.waiting++
	w.total++
	w.waiting[key]++
	w.api.metrics.pending.Inc()
	return nil
}

func (w *writer) leave(key commandKey, partition int32) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lanes[partition].waiting--
	w.total--
	if w.waiting[key]--; w.waiting[key] == 0 {
		delete(w.waiting, key)
	}
	w.api.metrics.pending.Dec()
}

// blameBrokers keeps a producer from being taken for silent that commands do not even reach.
func (w *writer) blameBrokers(partition int32) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lanes[partition].since = time.Now()
}

// waitsFor says whether this instance waits for the reply to a command.
func (w *writer) waitsFor(key commandKey) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.waiting[key] > 0
}

// confirmTimeout is how long the brokers may take to confirm a command, beyond the wait for its reply.
const confirmTimeout = 2 * time.Second

func (w *writer) pendingNow() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.total
}

// lateFor is how long the reply to a late command is waited for; later it is found among the replies all the same.
const lateFor = 10 * time.Minute

// send publishes a command and waits for its reply, for so long. It goes on without its caller: a command that is on its
// way can't be called back. late means that the brokers have it and the reply is not here yet.
func (w *writer) send(ctx context.Context, client *producer.Client, cmd producer.Command, wait time.Duration) (reply *ledgerline.Reply, late bool, err error) {
	key := commandKey{cmd.AggregateID, cmd.CommandID}
	partition := schemas.Partition(cmd.AggregateID, client.Partitions())
	if p := w.enter(key, partition); p != nil {
		return nil, false, p
	}
	publishing, cancel := context.WithCancel(context.WithoutCancel(ctx))
	pending, err := client.Send(publishing, cmd)
	if err != nil {
		cancel()
		w.leave(key, partition)
		return nil, false, w.unpublished(err)
	}
	left := sync.OnceFunc(func() { cancel(); w.leave(key, partition) })
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-pending.Done():
	case <-timer.C:
	case <-ctx.Done():
	}
	confirm := time.NewTimer(confirmTimeout)
	defer confirm.Stop()
	select {
	case <-pending.Done():
	case <-pending.Published():
	case <-confirm.C:
		cancel() // what has not gone out stays here; what has, may count
		pending.Forget(fmt.Errorf("not confirmed within %v", wait+confirmTimeout))
	}
	if isDone(pending) {
		left()
		reply, err = pending.Wait(ctx)
		if err != nil {
			w.blameBrokers(partition)
			return nil, false, w.unpublished(err)
		}
		return reply, false, nil
	}
	go func() {
		defer left()
		timer := time.NewTimer(lateFor)
		defer timer.Stop()
		select {
		case <-pending.Done():
		case <-timer.C:
			pending.Forget(errors.New("waited long enough"))
		}
	}()
	return nil, true, nil
}

func isDone(p *producer.Pending) bool {
	select {
	case <-p.Done():
		return true
	default:
		return false
	}
}

func (w *writer) unpublished(err error) *Problem {
	return unavailable(CodeLogUnavailable, "Kafka has not confirmed the command; it may still count: send it again with the same Idempotency-Key").
		Because(fmt.Errorf("publish a command of %s: %w", w.kind, err))
}
