package producer

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// What the client says at each try is told once in a while.
func TestKafkaLog_SaysTheSameOnceInAWhile(t *testing.T) {
	var out bytes.Buffer
	k := newKafkaLog(slog.New(slog.NewTextHandler(&out, nil)))
	for range 100 {
		k.Log(kgo.LogLevelWarn, "no leader", "partition", 3)
		k.Log(kgo.LogLevelError, "no leader", "partition", 4)
	}
	if n := strings.Count(out.String(), "no leader"); n != 2 || !strings.Contains(out.String(), "ERROR") {
		t.Errorf("two things, a hundred times each, are told %d times: %s", n, out.String())
	}
	now := time.Now()
	if k.again("x", now) || !k.again("x", now.Add(sayAgain/2)) || k.again("x", now.Add(sayAgain)) {
		t.Errorf("it is not said again after %v", sayAgain)
	}
}
