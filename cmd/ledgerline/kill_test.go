package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sr"

	"github.com/ledgerline-es/ledgerline/bank"
	"github.com/ledgerline-es/ledgerline/producer"
	"github.com/ledgerline-es/ledgerline/schemas"
	"github.com/ledgerline-es/ledgerline/schemas/account"
)

const (
	kills        = 20 // in the middle of the load
	startKills   = 2  // more, while it starts
	brokerEvery  = 4  // each such kill under load is its broker's alone
	leastHits    = 5  // kills that must have found a transaction open
	leastReplies = 200
)

// Killed again and again, whole or its broker alone, the demo leaves no process behind and comes back with everything: each
// account holds exactly what was acknowledged, and every row is what the log says.
func TestP13_DemoKilledUnderLoad_NothingLostNothingDoubled(t *testing.T) {
	s := newStand(t)
	load := newLoad(s)
	var starts, ends []time.Duration
	for kill := range kills {
		if kill%(kills/startKills) == kills/startKills/2 {
			d := s.begin(append([]string{"demo", "--sample=false"}, s.flags()...)...)
			d.says("kafka ")
			d.signal(syscall.SIGKILL)
			d.ends(-1)
			s.gone("killed while it starts")
		}
		d := s.start("--sample=false")
		starts = append(starts, d.took)
		stop := load.run()
		load.awaitTransaction()
		killed := time.Now()
		if kill%brokerEvery == brokerEvery-1 {
			s.killBroker()
			d.ends(1)
			if !strings.Contains(d.terminal.text(), "kafka ended") {
				t.Errorf("it does not say that its broker has ended:\n%s", d.terminal.text())
			}
		} else {
			d.signal(syscall.SIGKILL)
			d.ends(-1)
		}
		s.gone(fmt.Sprintf("after kill %d", kill+1))
		ends = append(ends, time.Since(killed))
		stop()
	}
	s.start("--sample=false")
	load.finish()
	load.compare()
	t.Log(s.verify(0).out)
	hits := s.hits()
	t.Logf("%d kills under load, %d of them of the broker alone, %d while it started; %d found a transaction open; %d commands, each answered; ready after %v, gone after %v",
		kills, kills/brokerEvery, startKills, hits, load.answered.Load(), slowest(starts), slowest(ends))
	if hits < leastHits {
		t.Errorf("only %d of %d kills found a transaction open, wanted %d: the others proved nothing", hits, kills, leastHits)
	}
}

func slowest(all []time.Duration) string {
	var sum, most time.Duration
	for _, d := range all {
		sum, most = sum+d, max(most, d)
	}
	return fmt.Sprintf("%v (at most %v)", (sum / time.Duration(len(all))).Round(10*time.Millisecond), most.Round(10*time.Millisecond))
}

// killBroker kills the child in which the broker runs.
func (s *stand) killBroker() {
	s.t.Helper()
	for _, p := range s.processes() {
		if strings.Contains(p.args, "role:kafka") {
			if err := syscall.Kill(p.pid, syscall.SIGKILL); err != nil {
				s.t.Fatal(err)
			}
			return
		}
	}
	s.t.Fatalf("no broker among %v", s.processes())
}

// hits counts the starts at which the broker found transactions open.
func (s *stand) hits() int {
	s.t.Helper()
	log, err := os.ReadFile(filepath.Join(s.data, "kafka.log"))
	if err != nil {
		s.t.Fatal(err)
	}
	return strings.Count(string(log), "open transactions of an earlier run")
}

// load publishes deposits without a pause, each until it is answered, whatever dies meanwhile.
type load struct {
	s        *stand
	workers  []*worker
	answered atomic.Int64
	life     int64 // answered before this life of the demo began
}

// worker fills one account. Its commands have ids of their own, so that one that must be sent again has its effect once.
type worker struct {
	account string
	next    int
	open    map[string]int64 // by command id: the amount, not answered yet
	balance int64            // acknowledged
}

const (
	workers = 16
	burst   = 25 // commands of one worker under way
)

func newLoad(s *stand) *load {
	l := &load{s: s}
	for i := range workers {
		l.workers = append(l.workers, &worker{account: fmt.Sprintf("load-%d", i), open: map[string]int64{}})
	}
	return l
}

// run publishes until stop is called.
func (l *load) run() (stop func()) {
	l.s.t.Helper()
	l.life = l.answered.Load()
	return l.work(false)
}

// finish publishes what was not answered yet until all of it is.
func (l *load) finish() {
	l.s.t.Helper()
	l.life = l.answered.Load()
	l.work(true)()
}

// work runs all workers on one client; lastRound: until nothing is open, else until stop is called.
func (l *load) work(lastRound bool) (stop func()) {
	l.s.t.Helper()
	registry, err := sr.NewClient(sr.URLs("http://" + l.s.address["registry"]))
	if err != nil {
		l.s.t.Fatal(err)
	}
	client := producer.NewClient(producer.ClientConfig{
		Brokers: []string{l.s.address["kafka"]}, Registry: schemas.NewRegistry(registry), Logger: slog.New(slog.DiscardHandler),
	}, bank.Account)
	ctx, cancel := context.WithCancel(context.Background())
	var group, clients sync.WaitGroup
	clients.Go(func() { _ = client.Run(ctx) }) // that its broker is gone is what the test is about
	for _, w := range l.workers {
		group.Go(func() {
			for ctx.Err() == nil && (!lastRound || len(w.open) > 0) {
				w.round(ctx, l, client, lastRound)
			}
		})
	}
	stop = sync.OnceFunc(func() {
		if !lastRound {
			cancel()
		}
		group.Wait()
		cancel()
		clients.Wait()
	})
	l.s.t.Cleanup(stop)
	return stop
}

// round sends what is open, and new deposits, and takes the answers.
func (w *worker) round(ctx context.Context, l *load, client *producer.Client, lastRound bool) {
	for !lastRound && len(w.open) < burst {
		w.next++
		w.open[fmt.Sprintf("%s-%d", w.account, w.next)] = rand.Int64N(1000) + 1
	}
	waiting := map[string]*producer.Pending{}
	opening := w.account + "-1"
	for id, amount := range w.open {
		var c account.Command = &account.DepositMoney{AmountMinor: amount}
		if _, unopened := w.open[opening]; unopened { // first of all, and alone
			id, amount = opening, w.open[opening]
			c = &account.OpenAccount{Owner: w.account, Currency: "EUR", InitialDepositMinor: amount}
		}
		p, err := client.Send(ctx, producer.Command{AggregateID: w.account, CommandID: id, Record: c})
		if err != nil {
			return // the next life sends it again
		}
		waiting[id] = p
		if id == opening {
			break
		}
	}
	for id, p := range waiting {
		r, err := p.Wait(ctx)
		switch {
		case err != nil:
			continue
		case r.Outcome != producer.Accepted:
			l.s.t.Errorf("%s is answered %s %s: %s", id, r.Outcome, r.Code, r.Message)
		default:
			w.balance += w.open[id]
		}
		delete(w.open, id)
		l.answered.Add(1)
	}
}

// awaitTransaction returns when the load is on its way and, a random while later, a transaction is seen open.
func (l *load) awaitTransaction() {
	l.s.t.Helper()
	l.s.await(func() error {
		if n := l.answered.Load() - l.life; n < leastReplies {
			return fmt.Errorf("%d commands are answered since the demo is ready", n)
		}
		return nil
	})
	<-time.After(rand.N(300 * time.Millisecond)) // so that the kills fall anywhere
	cl, err := kgo.NewClient(kgo.SeedBrokers(l.s.address["kafka"]))
	if err != nil {
		l.s.t.Fatal(err)
	}
	defer cl.Close()
	adm := kadm.NewClient(cl)
	l.s.await(func() error {
		listed, err := adm.ListTransactions(l.s.t.Context(), nil, []string{"Ongoing"})
		if err == nil && len(listed) == 0 {
			err = errors.New("no transaction is open under load")
		}
		return err
	})
}

// compare holds each account in Postgres against what was acknowledged.
func (l *load) compare() {
	l.s.t.Helper()
	conn, err := pgx.Connect(l.s.t.Context(), l.s.postgresURL())
	if err != nil {
		l.s.t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(l.s.t.Context()))
	for _, w := range l.workers {
		l.s.await(func() error { // the projection may be a moment behind
			var balance int64
			err := conn.QueryRow(l.s.t.Context(), "SELECT balance_minor FROM bank.account_summary WHERE account_id = $1", w.account).Scan(&balance)
			if err == nil && balance != w.balance {
				err = fmt.Errorf("%s holds %d, %d were acknowledged", w.account, balance, w.balance)
			}
			return err
		})
	}
}
