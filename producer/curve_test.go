package producer_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/ledgerline-es/ledgerline/producer"
)

// BenchmarkCommandsInFlight shows what a command waits for its reply, and how many are answered, by how many are on their way at once,
// on Apache Kafka: a small poll commits at once, a backlog in large transactions. One client asks and, on the same machine, one
// producer answers, with one session or more.
//
//	make bench PKG=./producer BENCH=CommandsInFlight
func BenchmarkCommandsInFlight(b *testing.B) {
	const accounts, lasts = 10_000, 5 * time.Second
	for _, sessions := range []int{1, 2, 4} {
		s := realSystem(b)
		s.quiet = true
		s.change = func(c *producer.Config) { c.Sessions, c.Partitions, c.TransactionTimeout = sessions, 12, time.Minute }
		r := s.start()
		c := s.client()
		id := func(n int) string { return fmt.Sprintf("acc-%d", n%accounts) }
		flow := func(inFlight int, command func(n int) producer.Command, until func(n int) bool) (waits []time.Duration) {
			var mu sync.Mutex
			var answering sync.WaitGroup
			tokens := make(chan struct{}, inFlight)
			for n := 0; !until(n); n++ {
				tokens <- struct{}{}
				sent := time.Now()
				p, err := c.Send(context.Background(), command(n))
				if err != nil {
					b.Fatal(err)
				}
				answering.Go(func() {
					<-p.Done()
					waited := time.Since(sent)
					<-tokens
					mu.Lock()
					defer mu.Unlock()
					waits = append(waits, waited)
				})
			}
			answering.Wait()
			return waits
		}
		flow(1000, func(n int) producer.Command { return open(id(n), 0) }, func(n int) bool { return n == accounts })
		for _, inFlight := range []int{1, 10, 100, 1000, 10_000} {
			b.Run(fmt.Sprintf("sessions=%d/in_flight=%d", sessions, inFlight), func(b *testing.B) {
				for range b.N {
					started := time.Now()
					end := started.Add(lasts)
					waits := flow(inFlight, func(n int) producer.Command { return deposit(id(n), 1) }, func(int) bool { return time.Now().After(end) })
					took := time.Since(started)
					slices.Sort(waits)
					b.ReportMetric(float64(len(waits))/took.Seconds(), "commands/s")
					b.ReportMetric(float64(waits[len(waits)/2].Microseconds())/1000, "p50_ms")
					b.ReportMetric(float64(waits[len(waits)*99/100].Microseconds())/1000, "p99_ms")
				}
				b.ReportMetric(0, "ns/op")
			})
		}
		r.stop()
	}
}
