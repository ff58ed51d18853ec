package write

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ledgerline-es/ledgerline/schemas"
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
	rate    float64 // commands/s, or transfers/s, from the start of the process
	steady  float64 // the same between a tenth and nine tenths
	cpu     float64 // of the contender's process, seconds a million
	bytes   float64 // that the broker's logs have grown by, a million
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

// job is what a contender has to do.
type job struct {
	who, setting string
	prefix       string
	all          int64                 // commands, or what else is counted …
	done         func() (int64, error) // … and how many of them are done
	each         int64                 // of these make one of what rates are of; 0 is 1
}

// commandsOf is the job to work off all commands of a prefix. They are done when a group has committed them.
func (p *plant) commandsOf(prefix, group string) job {
	topic := schemas.TopicsOf(prefix, "account").Commands
	return job{prefix: prefix, all: p.end(topic), done: func() (done int64, err error) {
		offsets, err := p.adm.FetchOffsets(p.b.Context(), group)
		offsets.Each(func(o kadm.OffsetResponse) {
			if o.Topic == topic && o.At > 0 {
				done += o.At
			}
		})
		return done, err
	}}
}

// run lets a contender do a job.
func (p *plant) run(j job, start func() running) result {
	contender := start()
	started, used, stored := time.Now(), contender.cpu(), p.stored(j.prefix)
	rate, steady := p.watch(j, started, contender.dead)
	used = contender.cpu() - used
	contender.stop()
	each := max(j.each, 1)
	million := float64(j.all/each) / 1e6
	return result{
		who: j.who, setting: j.setting, rate: rate / float64(each), steady: steady / float64(each),
		cpu: used / million, bytes: float64(p.stored(j.prefix)-stored) / million,
	}
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
