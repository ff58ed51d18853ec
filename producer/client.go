package producer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ledgerline-es/ledgerline/schemas"
	"github.com/ledgerline-es/ledgerline/schemas/ledgerline"
)

// ClientConfig of a Client. Only Brokers and Registry have no default.
type ClientConfig struct {
	Brokers     []string          // host:port addresses to start from
	Client      []kgo.Opt         // options for every connection: TLS, SASL, a dialer
	Registry    *schemas.Registry // knows the schemas
	TopicPrefix string            // stands before all topic names; default ""
	Logger      *slog.Logger      // default slog.Default()

	// Observe is called with each reply on the topic, whoever asked, before those who wait get theirs. It must not block.
	Observe func(aggregateID string, reply *ledgerline.Reply)
}

// Command is what a client publishes. Only AggregateID and Record are needed.
type Command struct {
	AggregateID string
	Record      schemas.Record // a command of the kind, such as *account.DepositMoney; or a *ledgerline.CancelScheduled

	CommandID       string    // idempotency key; default a new UUIDv7
	CorrelationID   string    // to what it belongs; default the command id
	Principal       string    // who asks for it
	Time            time.Time // business time; default when it is appended
	ExpectedVersion *int64    // refuse with a conflict when the aggregate is at another version
	DeliverAt       time.Time // decide it then; the reply says that it is scheduled, and another one what became of it. Zero: at once

	Source         string // who numbers its commands per aggregate, with SourceSequence …
	SourceSequence int64  // … 1, 2, 3 …: recognised for ever, beyond any window
}

// Client publishes commands of one kind and waits for their replies. It reads the replies topic from before it publishes, so
// that no reply is missed, without a consumer group. Safe for concurrent use while Run runs.
type Client struct {
	cfg     ClientConfig
	kind    string
	topics  schemas.Topics
	machine machine
	replies *schemas.Serde[*ledgerline.Reply]
	cancels *schemas.Serde[*ledgerline.CancelScheduled]

	started chan struct{} // closed when commands can be published
	stopped chan struct{} // closed when Run has returned

	mu         sync.Mutex
	cl         *kgo.Client
	partitions int32
	err        error // why Run has returned
	pending    map[string][]*Pending
}

// Pending is a published command whose reply may not be here yet.
type Pending struct {
	CommandID string

	client *Client
	key    string
	taken  chan struct{}
	done   chan struct{}
	once   sync.Once
	reply  *ledgerline.Reply
	err    error

	// Under the client's lock. Others may send another command under the same id, at the same time: a reply belongs to the
	// record that it names.
	here  bool              // the brokers have the record …
	at    string            // … and where, as replies name it
	early []repliedToRecord // replies that came before that was known
}

// repliedToRecord is a reply, and the place of the command that it answers.
type repliedToRecord struct {
	at    string
	reply *ledgerline.Reply
}

// answers says whether a reply is to the command at a place. One to another partition is to a forwarded command, whose first
// place it does not name.
func (r repliedToRecord) answers(at string) bool {
	return r.at == at || partitionOf(r.at) != partitionOf(at)
}

func partitionOf(at string) string { return at[:strings.LastIndexByte(at, '/')+1] }

// NewClient returns a Client for a kind. It does no I/O.
func NewClient(cfg ClientConfig, def Definition) *Client {
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	topics := schemas.TopicsOf(cfg.TopicPrefix, def.KindName())
	codec := schemas.NewCodec(cfg.Registry)
	return &Client{
		cfg: cfg, kind: def.KindName(), topics: topics,
		machine: def.machine(codec, topics),
		replies: schemas.NewSerde(codec, topics.Replies, schemas.ForwardTransitive, ledgerline.ReplyType),
		cancels: schemas.NewSerde(codec, topics.Commands, schemas.BackwardTransitive, ledgerline.CancelScheduledType),
		started: make(chan struct{}), stopped: make(chan struct{}),
		pending: map[string][]*Pending{},
	}
}

// Parse makes a command of plain JSON: no wrapped unions, absent fields take their defaults. typeName is the full Avro name or
// its last part.
func (c *Client) Parse(typeName string, doc []byte) (schemas.Record, error) {
	return c.machine.parseCommand(typeName, doc)
}

// Run tails the replies until ctx ends (nil) or reading can't go on (an error). It may be called once.
func (c *Client) Run(ctx context.Context) (err error) {
	defer func() {
		c.stop(err)
	}()
	if err := c.machine.register(ctx); err != nil {
		return err
	}
	if err := c.cancels.Register(ctx); err != nil {
		return err
	}
	cl, err := kgo.NewClient(slices.Concat(c.cfg.Client, []kgo.Opt{
		kgo.SeedBrokers(c.cfg.Brokers...),
		kgo.WithLogger(newKafkaLog(c.cfg.Logger)),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		// The client knows the leader's epoch by records that it hands out. Without markers it would be behind where one was the first thing
		// that a new leader wrote, and take it, when the leader changes again, for records that were lost.
		kgo.KeepControlRecords(),
		kgo.ConsumeResetOffset(kgo.NoResetOffset()),
		kgo.FetchMaxWait(time.Second),
		kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.MetadataMinAge(100 * time.Millisecond),
		kgo.ProducerLinger(3 * time.Millisecond),
	})...)
	if err != nil {
		return err
	}
	defer cl.CloseAllowingRebalance()
	adm := kadm.NewClient(cl)
	details, err := adm.ListTopics(ctx, c.topics.Commands, c.topics.Replies)
	if err == nil {
		err = details.Error()
	}
	if err != nil {
		return fmt.Errorf("look up topics %s and %s (a producer creates them): %w", c.topics.Commands, c.topics.Replies, err)
	}
	from, err := endsOrNow(ctx, adm, details[c.topics.Replies])
	if err != nil {
		return fmt.Errorf("list end offsets of %s: %w", c.topics.Replies, err)
	}
	cl.AddConsumePartitions(map[string]map[int32]kgo.Offset{c.topics.Replies: from})
	c.mu.Lock()
	c.cl, c.partitions = cl, int32(len(details[c.topics.Commands].Partitions))
	c.mu.Unlock()
	close(c.started)
	for {
		fetches := cl.PollFetches(ctx)
		if ctx.Err() != nil {
			return nil
		}
		for _, e := range fetches.Errors() {
			if unrecoverable(e.Err) {
				return fmt.Errorf("read replies from %s partition %d: %w", e.Topic, e.Partition, e.Err)
			}
			c.cfg.Logger.Warn("reading replies", "topic", e.Topic, "partition", e.Partition, "error", e.Err)
		}
		fetches.EachRecord(func(rec *kgo.Record) { c.deliver(ctx, rec) })
	}
}

// endsOrNow are the ends of a topic's partitions; of one that has no leader, where the records of now begin: a minute early, for clocks
// differ.
func endsOrNow(ctx context.Context, adm *kadm.Client, topic kadm.TopicDetail) (map[int32]kgo.Offset, error) {
	ends, err := adm.ListEndOffsets(ctx, topic.Topic)
	if partly := (*kadm.ShardErrors)(nil); err != nil && !(errors.As(err, &partly) && !partly.AllFailed) {
		return nil, err
	}
	from := map[int32]kgo.Offset{}
	for p := range topic.Partitions {
		o, ok := ends.Lookup(topic.Topic, p)
		switch {
		case ok && o.Err == nil:
			from[p] = kgo.NewOffset().At(o.Offset)
		case ok && !kerr.IsRetriable(o.Err):
			return nil, fmt.Errorf("partition %d: %w", p, o.Err)
		default:
			from[p] = kgo.NewOffset().AfterMilli(time.Now().Add(-time.Minute).UnixMilli())
		}
	}
	return from, nil
}

// pendingKey joins an aggregate id and a command id.
func pendingKey(id, commandID string) string { return id + "\x00" + commandID }

// deliver hands a reply to those who wait for it.
func (c *Client) deliver(ctx context.Context, rec *kgo.Record) {
	if rec.Attrs.IsControl() {
		return
	}
	reply, err := c.replies.Decode(ctx, rec.Value)
	if err != nil {
		c.cfg.Logger.Warn("reply can't be read", "topic", rec.Topic, "partition", rec.Partition, "offset", rec.Offset, "error", err)
		return
	}
	key := pendingKey(string(rec.Key), reply.CommandID)
	if c.cfg.Observe != nil {
		c.cfg.Observe(string(rec.Key), reply)
	}
	at, _ := schemas.Header(rec, schemas.HeaderID)
	r := repliedToRecord{at, reply}
	var answered []*Pending
	c.mu.Lock()
	for _, p := range c.pending[key] {
		switch {
		case !p.here:
			p.early = append(p.early, r)
		case r.answers(p.at):
			answered = append(answered, p)
		}
	}
	c.mu.Unlock()
	for _, p := range answered {
		p.forget()
		p.settle(reply, nil)
	}
}

// confirmed notes where the brokers have put the record, and takes the reply that was faster.
func (p *Pending) confirmed(rec *kgo.Record) {
	at := origin(rec)
	if rec.Offset < 0 { // a repetition that the brokers knew, and no longer where from: any reply will do
		at = ""
	}
	p.client.mu.Lock()
	early := p.early
	p.here, p.at, p.early = true, at, nil
	p.client.mu.Unlock()
	close(p.taken)
	for _, r := range early {
		if r.answers(at) {
			p.forget()
			p.settle(r.reply, nil)
			return
		}
	}
}

// stop settles all who still wait.
func (c *Client) stop(err error) {
	c.mu.Lock()
	if err == nil {
		err = ErrClosed
	}
	c.err = err
	waiting := c.pending
	c.pending = map[string][]*Pending{}
	c.mu.Unlock()
	close(c.stopped)
	for _, list := range waiting {
		for _, p := range list {
			p.settle(nil, err)
		}
	}
}

// Publish sends a command and waits for its reply. When ctx ends first, the command may still have its effect: ask again
// with the same CommandID.
func (c *Client) Publish(ctx context.Context, cmd Command) (*ledgerline.Reply, error) {
	p, err := c.Send(ctx, cmd)
	if err != nil {
		return nil, err
	}
	return p.Wait(ctx)
}

// Send sends a command. It returns before the broker has it; Wait tells.
func (c *Client) Send(ctx context.Context, cmd Command) (*Pending, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("send a command: %w", err)
	}
	select {
	case <-c.started:
	case <-c.stopped:
	case <-ctx.Done():
		return nil, fmt.Errorf("client is not started: %w", ctx.Err())
	}
	if err := schemas.ValidateID(cmd.AggregateID); err != nil {
		return nil, err
	}
	value, err := c.encode(cmd.Record)
	if err != nil {
		return nil, err
	}
	if cmd.CommandID == "" {
		cmd.CommandID = uuid.Must(uuid.NewV7()).String()
	}
	p := &Pending{CommandID: cmd.CommandID, client: c, key: pendingKey(cmd.AggregateID, cmd.CommandID), taken: make(chan struct{}), done: make(chan struct{})}
	c.mu.Lock()
	if c.err != nil {
		c.mu.Unlock()
		return nil, c.err
	}
	c.pending[p.key] = append(c.pending[p.key], p)
	cl, partitions := c.cl, c.partitions
	c.mu.Unlock()
	cl.Produce(ctx, &kgo.Record{
		Topic: c.topics.Commands, Partition: schemas.Partition(cmd.AggregateID, partitions),
		Key: []byte(cmd.AggregateID), Value: value, Headers: cmd.headers(c.kind),
	}, func(rec *kgo.Record, err error) {
		if err != nil {
			p.forget()
			p.settle(nil, fmt.Errorf("publish %s to %s: %w", cmd.Record.AvroName(), cmd.AggregateID, err))
			return
		}
		p.confirmed(rec)
	})
	return p, nil
}

func (c *Client) encode(rec schemas.Record) ([]byte, error) {
	if cancel, ok := rec.(*ledgerline.CancelScheduled); ok {
		return c.cancels.Append(nil, cancel)
	}
	return c.machine.encodeCommand(rec)
}

func (cmd Command) headers(kind string) []kgo.RecordHeader {
	h := envelope(make([]kgo.RecordHeader, 0, 11), []byte(cmd.CommandID), []byte(cmd.Record.AvroName()), []byte("/ledgerline/"+kind+"/client"))
	optional := func(key, value string) {
		if value != "" {
			h = append(h, header(key, value))
		}
	}
	optional(schemas.HeaderCorrelationID, cmd.CorrelationID)
	if cmd.Principal != "" {
		h = append(h, header(schemas.HeaderAuthType, "user"), header(schemas.HeaderAuthID, cmd.Principal))
	}
	if !cmd.Time.IsZero() {
		h = append(h, header(schemas.HeaderTime, schemas.FormatTime(cmd.Time)))
	}
	if !cmd.DeliverAt.IsZero() {
		h = append(h, header(schemas.HeaderDeliverAt, schemas.FormatTime(cmd.DeliverAt)))
	}
	if cmd.ExpectedVersion != nil {
		h = append(h, header(schemas.HeaderExpectedVersion, strconv.FormatInt(*cmd.ExpectedVersion, 10)))
	}
	if cmd.Source != "" {
		h = append(h, header(schemas.HeaderStreamSource, cmd.Source), header(schemas.HeaderStreamSequence, strconv.FormatInt(cmd.SourceSequence, 10)))
	}
	return h
}

// Wait gives the reply. An error means that the outcome is not known: the broker did not take the command, ctx ended, or the
// client stopped.
func (p *Pending) Wait(ctx context.Context) (*ledgerline.Reply, error) {
	select {
	case <-p.done:
		return p.reply, p.err
	case <-ctx.Done():
		p.Forget(ctx.Err())
		<-p.done
		return p.reply, p.err
	}
}

// Forget gives up waiting, for a reason that Wait then gives, unless the reply is here.
func (p *Pending) Forget(why error) {
	p.forget()
	p.settle(nil, fmt.Errorf("no reply to command %s: %w", p.CommandID, why))
}

// Published is closed when the brokers have the command: then it will have its effect, however long that takes.
func (p *Pending) Published() <-chan struct{} { return p.taken }

// Partitions is how many partitions the kind's topics have; 0 before the client is ready.
func (c *Client) Partitions() int32 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.partitions
}

// Done is closed when Wait will not block.
func (p *Pending) Done() <-chan struct{} { return p.done }

func (p *Pending) settle(reply *ledgerline.Reply, err error) {
	p.once.Do(func() {
		p.reply, p.err = reply, err
		close(p.done)
	})
}

func (p *Pending) forget() {
	p.client.mu.Lock()
	defer p.client.mu.Unlock()
	rest := slices.DeleteFunc(p.client.pending[p.key], func(q *Pending) bool { return q == p })
	if len(rest) == 0 {
		delete(p.client.pending, p.key)
		return
	}
	p.client.pending[p.key] = rest
}

// Ready reports why commands can't be published yet; nil means that they can.
func (c *Client) Ready() error {
	select {
	case <-c.stopped:
		return c.err
	default:
	}
	select {
	case <-c.started:
		return nil
	default:
		return errors.New("client is starting")
	}
}
