package producer

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ledgerline-es/ledgerline/schemas"
)

// replyTopics says which topics replies may be copied to. Without it a stranger could have a reply written anywhere that
// the producer may write, the event store included.
type replyTopics struct {
	client  *kgo.Client
	allowed []string
	own     schemas.Topics

	mu    sync.Mutex
	known map[string]replyTopic
}

type replyTopic struct {
	partitions int32 // 0: there is no such topic
	asked      time.Time
}

// resolve says where the copy of a reply goes, or why it goes nowhere. An error means that the broker could not be asked.
func (r *replyTopics) resolve(ctx context.Context, c *command) (*replyTo, *refusal, error) {
	to, id := c.reply, c.id
	// An aggregate has its answer where it reads what is sent to it; a stranger could have a reply there that nobody gave.
	if !r.allows(to.topic) && (!c.internal || !strings.HasSuffix(to.topic, internalSuffix)) {
		return nil, refuse(CodeReplyTopic, "replies may not go to topic %q: the setting --producer-reply-topics lists where they may", clip(to.topic, 249)), nil
	}
	n, err := r.partitions(ctx, to.topic)
	switch {
	case err != nil:
		return nil, nil, fmt.Errorf("look up reply topic %s: %w", to.topic, err)
	case n == 0:
		return nil, refuse(CodeReplyTopic, "reply topic %s does not exist", to.topic), nil
	case to.partition >= n:
		return nil, refuse(CodeReplyTopic, "reply topic %s has %d partitions, there is no partition %d", to.topic, n, to.partition), nil
	case len(to.key) > maxText:
		return nil, refuse(CodeReplyTopic, "the reply key has %d bytes: give at most %d", len(to.key), maxText), nil
	case to.partition >= 0:
	case to.key != nil:
		to.partition = schemas.Partition(string(to.key), n)
	default:
		to.partition = schemas.Partition(id, n)
	}
	return &to, nil, nil
}

// platformTopics are the ends of names of topics that hold what everything else is made of, of whichever kind and prefix.
var platformTopics = []string{".events", ".snapshots", internalSuffix, schemas.PinsTopic("")}

var internalSuffix = strings.TrimPrefix(schemas.TopicsOf("", "x").Internal, "x")

func (r *replyTopics) allows(topic string) bool {
	own := []string{r.own.Commands, r.own.Internal, r.own.Events, r.own.Snapshots, r.own.Replies, r.own.DeadLetters}
	if slices.Contains(own, topic) || slices.ContainsFunc(platformTopics, func(end string) bool { return strings.HasSuffix(topic, end) }) {
		return false
	}
	return slices.ContainsFunc(r.allowed, func(pattern string) bool {
		ok, err := path.Match(pattern, topic)
		return ok && err == nil
	})
}

// partitions asks the broker, and believes the answer for some seconds: commands of one sender come in crowds.
func (r *replyTopics) partitions(ctx context.Context, topic string) (int32, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if k, ok := r.known[topic]; ok && time.Since(k.asked) < 5*time.Second {
		return k.partitions, nil
	}
	var n int32
	details, err := kadm.NewClient(r.client).ListTopics(ctx, topic)
	if err == nil {
		err = details[topic].Err
	}
	switch {
	case err == nil:
		n = int32(len(details[topic].Partitions))
	case unrecoverable(err) || errors.Is(err, kerr.UnknownTopicOrPartition): // it is not there, or not for us
	default:
		return 0, err
	}
	if r.known == nil || len(r.known) > 10_000 {
		r.known = map[string]replyTopic{}
	}
	r.known[topic] = replyTopic{n, time.Now()}
	return n, nil
}
