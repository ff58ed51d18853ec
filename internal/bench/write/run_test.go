package write

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Who is measured.
const (
	nameOurs    = "Ledgerline"
	nameBare    = "bare loop"
	nameStreams = "Kafka Streams"
	nameWindow  = "Kafka Streams with a window" // in which a repeated command gets its first reply, as Ledgerline gives it
)

// result is one run.
type result struct {
	who     string
	setting string  // where several are tried
	rate    float64 // commands/s from the start of the process
	steady  float64 // commands/s between a tenth and nine tenths
	cpu     float64 // of the contender's process, seconds a million commands
	bytes   float64 // that the broker's logs have grown by, a million commands
	shape   shape
}

func (r result) String() string {
	if r.setting == "" {
		return r.who
	}
	return r.who + ": " + r.setting
}

// shape is what the platform writes for a command, and how many snapshots.
type shape struct {
	event, reply *kgo.Record
	snapshots    float64 // a command
}

// running is a contender at work.
type running struct {
	stop func()
	cpu  func() float64 // seconds that its process has used
	dead func() error   // why it works no more
}

// within is a contender in this process.
func within(stop func()) running {
	return running{stop: stop, cpu: cpuSeconds, dead: func() error { return nil }}
}

// run lets a contender work off all commands of a prefix.
func (p *plant) run(who, setting, prefix, group string, start func() running) result {
	r := result{who: who, setting: setting}
	contender := start()
	started, used, stored := time.Now(), contender.cpu(), p.stored(prefix)
	r.rate, r.steady = p.watch(prefix, group, started, contender.dead)
	used = contender.cpu() - used
	contender.stop()
	million := float64(p.end(prefix+"account.commands")) / 1e6
	r.cpu, r.bytes = used/million, float64(p.stored(prefix)-stored)/million
	return r
}

// stored is the size in bytes of all logs that a contender writes under a prefix, its commands left out, and of Kafka's own that hold
// groups and transactions.
func (p *plant) stored(prefix string) (n int64) {
	dirs, err := p.adm.DescribeAllLogDirs(p.b.Context(), nil)
	if err != nil {
		p.b.Fatal("ask for the size of the logs: ", err)
	}
	dirs.Each(func(d kadm.DescribedLogDir) {
		for topic, in := range d.Topics {
			if strings.HasPrefix(topic, prefix) && topic != prefix+"account.commands" || topic == "__consumer_offsets" || topic == "__transaction_state" {
				for _, part := range in {
					n += part.Size
				}
			}
		}
	})
	return n
}

// cpuSeconds are those that this process has used.
func cpuSeconds() float64 {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		return 0
	}
	return float64(used.Utime.Nano()+used.Stime.Nano()) / 1e9
}

// cpuSecondsOf are those of another process, in hundredths: so Linux counts them for everybody (USER_HZ).
func cpuSecondsOf(pid int) (float64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	_, fields, _ := strings.Cut(string(text), ") ")
	var user, system float64
	if f := strings.Fields(fields); len(f) < 13 {
		err = fmt.Errorf("/proc/%d/stat holds %q", pid, text)
	} else {
		_, err = fmt.Sscan(f[11]+" "+f[12], &user, &system)
	}
	return (user + system) / 100, err
}
