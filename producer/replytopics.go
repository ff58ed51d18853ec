package producer

import (
	"context"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
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

// resolve gives the partition that the copy of a reply goes to, or why it can't go there.
func (r *replyTopics) resolve(ctx context.Context, to replyTo, id string) (int32, *refusal) {
	if !r.allows(to.topic) {
		return 0, refuse(CodeReplyTopic, "replies may not go to topic %q: the setting --reply-topics lists where they may", clip(to.topic, 249))
	}
	n := r.partitions(ctx, to.topic)
	switch {
	case n == 0:
		return 0, refuse(CodeReplyTopic, "reply topic %s does not exist", to.topic)
	case to.partition >= n:
		return 0, refuse(CodeReplyTopic, "reply topic %s has %d partitions, there is no partition %d", to.topic, n, to.partition)
	case to.partition >= 0:
		return to.partition, nil
	case to.key != nil:
		return schemas.Partition(string(to.key), n), nil
	}
	return schemas.Partition(id, n), nil
}

func (r *replyTopics) allows(topic string) bool {
	own := []string{r.own.Commands, r.own.Internal, r.own.Events, r.own.Snapshots, r.own.Replies, r.own.DeadLetters}
	if slices.Contains(own, topic) || strings.HasSuffix(topic, ".events") || strings.HasSuffix(topic, ".snapshots") {
		return false
	}
	return slices.ContainsFunc(r.allowed, func(pattern string) bool {
		ok, err := path.Match(pattern, topic)
		return ok && err == nil
	})
}

// partitions asks the broker, and believes the answer for some seconds: commands of one sender come in crowds.
func (r *replyTopics) partitions(ctx context.Context, topic string) int32 {
	r.mu.Lock()
	defer r.mu.Unlock()
	if k, ok := r.known[topic]; ok && time.Since(k.asked) < 5*time.Second {
		return k.partitions
	}
	var n int32
	details, err := kadm.NewClient(r.client).ListTopics(ctx, topic)
	if err == nil && details[topic].Err == nil {
		n = int32(len(details[topic].Partitions))
	}
	if r.known == nil || len(r.known) > 10_000 {
		r.known = map[string]replyTopic{}
	}
	r.known[topic] = replyTopic{n, time.Now()}
	return n
}
