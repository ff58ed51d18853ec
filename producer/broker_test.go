package producer_test

import (
	"context"
	"errors"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/ledgerline-es/ledgerline/internal/kit"
)

// The broker is killed while a transaction is open: its owner stands still meanwhile, so that it can't have ended. The test stands in a file
// that comes early, since each time the broker goes through the logs of all tests before.
func TestP13_BrokerKilledInTransactions_NothingLostNothingTwice(t *testing.T) {
	s := realSystem(t)
	p := s.spawn(kit.Registry(t).URL())
	s.awaitTopics()
	l := s.load(20)
	kafka := kit.Kafka(t)
	signal := func(sig syscall.Signal) {
		t.Helper()
		if err := syscall.Kill(p.Pid(), sig); err != nil {
			t.Fatal(err)
		}
	}
	const wanted = 5
	hits := 0
	for deadline := time.Now().Add(4 * time.Minute); hits < wanted && time.Now().Before(deadline); {
		l.work(s, l.answered()+50)
		cl := s.kafka()
		adm := kadm.NewClient(cl)
		s.await("a transaction that is open while its owner stands still", func() error {
			if s.ongoing(adm) == "" {
				return errors.New("none")
			}
			signal(syscall.SIGSTOP)
			if s.ongoing(adm) != "" {
				return nil
			}
			signal(syscall.SIGCONT)
			return errors.New("it ended in time")
		})
		cl.Close()
		kafka.Kill9()
		hits++
		signal(syscall.SIGCONT)
		kafka.Restart(t)
	}
	accepted := l.stop()
	t.Logf("%d kills of the broker, each while a transaction was open", hits)
	if hits < wanted {
		t.Errorf("wanted %d", wanted)
	}
	s.check(accepted)
	if err := p.Stop(context.Background()); err != nil {
		t.Errorf("a clean stop: %v", err)
	}
}
