package cli

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// Progress shows how far something is, its rate and the time left: a bar on a terminal, a log line every few seconds
// elsewhere.
type Progress struct {
	bar   *progressbar.ProgressBar
	what  string
	total int64
	done  atomic.Int64
	start time.Time
	log   *slog.Logger
	stop  chan struct{}
	end   sync.Once
	ended sync.WaitGroup
}

// logEvery is the time between two log lines of a progress without a terminal.
const logEvery = 5 * time.Second

// NewProgress begins to show progress on w. total is in units, -1 when unknown; unit is one of them, such as "rows".
func NewProgress(w io.Writer, log *slog.Logger, what, unit string, total int64) *Progress {
	p := &Progress{what: what, total: total, start: time.Now(), log: log, stop: make(chan struct{})}
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		p.bar = progressbar.NewOptions64(total,
			progressbar.OptionSetWriter(w), progressbar.OptionSetDescription(what), progressbar.OptionSetItsString(unit),
			progressbar.OptionShowIts(), progressbar.OptionShowCount(), progressbar.OptionSetPredictTime(total > 0),
			progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionClearOnFinish(), progressbar.OptionFullWidth())
		return p
	}
	p.ended.Go(p.logLines)
	return p
}

func (p *Progress) logLines() {
	tick := time.NewTicker(logEvery)
	defer tick.Stop()
	for {
		select {
		case <-p.stop:
			return
		case <-tick.C:
		}
		done := p.done.Load()
		rate := float64(done) / time.Since(p.start).Seconds()
		args := []any{"done", done, "per_second", int(rate)}
		if p.total > 0 && rate > 0 {
			left := time.Duration(float64(max(0, p.total-done)) / rate * float64(time.Second))
			args = append(args, "of", p.total, "left", left.Round(time.Second).String())
		}
		p.log.Info("progress", append(args, "of_what", p.what)...)
	}
}

// Add says that n more units are done. Safe for concurrent use.
func (p *Progress) Add(n int64) {
	p.done.Add(n)
	if p.bar != nil {
		_ = p.bar.Add64(n) // a bar that can't be drawn stops nothing
	}
}

// End takes the bar away. A second call does nothing.
func (p *Progress) End() {
	p.end.Do(func() {
		close(p.stop)
		p.ended.Wait()
		if p.bar != nil {
			_ = p.bar.Finish()
		}
	})
}

// Rate puts a count and a time in words: "15600 rows in 1.2s (13000/s)".
func Rate(n int64, unit string, took time.Duration) string {
	return fmt.Sprintf("%d %s in %v (%.0f/s)", n, unit, took.Round(time.Millisecond), float64(n)/max(took.Seconds(), 1e-9))
}
