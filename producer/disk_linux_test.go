package producer_test

import (
	"testing"

	"github.com/ledgerline-es/ledgerline/internal/kit"
	"github.com/ledgerline-es/ledgerline/producer"
)

func TestP13_BrokersDiskFull_Waits_SaysSo_GoesOn(t *testing.T) {
	s := realSystem(t)
	w := s.writer(func(*producer.Config) {})
	l := s.load(20)
	l.work(s, l.answered()+50)
	broker := kit.Kafka(t)
	broker.FillDisk()
	w.waits("brokers", "no broker answers")
	before := l.progress()
	broker.Restart(t)
	s.await("each account to go on", func() error { return l.further(before, 2) })
	w.goesOn("brokers")
	s.check(l.stop())
}
