package producer

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// kafkaLog hands the client's warnings to our log. It says the same at most every sayAgain: the client warns at each try, ten times a second.
type kafkaLog struct {
	log  *slog.Logger
	mu   sync.Mutex
	said map[string]time.Time
}

const (
	sayAgain = 30 * time.Second
	mostSaid = 1000 // different things that are remembered
)

func newKafkaLog(log *slog.Logger) *kafkaLog {
	return &kafkaLog{log: log, said: map[string]time.Time{}}
}

// Level implements [kgo.Logger].
func (*kafkaLog) Level() kgo.LogLevel { return kgo.LogLevelWarn }

// Log implements [kgo.Logger].
func (k *kafkaLog) Log(level kgo.LogLevel, msg string, keyvals ...any) {
	if k.again(fmt.Sprintln(append([]any{level, msg}, keyvals...)...), time.Now()) {
		return
	}
	l := slog.LevelWarn
	if level == kgo.LogLevelError {
		l = slog.LevelError
	}
	k.log.Log(context.Background(), l, "kafka client", append(keyvals, "said", msg)...)
}

// again reports whether something was said a short time ago.
func (k *kafkaLog) again(text string, now time.Time) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if now.Sub(k.said[text]) < sayAgain {
		return true
	}
	if len(k.said) >= mostSaid {
		clear(k.said)
	}
	k.said[text] = now
	return false
}
