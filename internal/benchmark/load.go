package benchmark

import (
	"context"
	"math"
	"slices"
	"sync"
	"time"
)

// Samples are measured values, and how many attempts failed.
type Samples struct {
	Values []float64
	Errors int
	First  error // the first failure
	Took   time.Duration
}

// Add notes a value.
func (s *Samples) Add(v float64) { s.Values = append(s.Values, v) }

// Fail notes a failure.
func (s *Samples) Fail(err error) {
	if s.Errors++; s.First == nil {
		s.First = err
	}
}

// Quantile is the smallest value that at least q (0 to 1) of the values do not exceed; NaN of none.
func (s *Samples) Quantile(q float64) float64 {
	if len(s.Values) == 0 {
		return math.NaN()
	}
	if !slices.IsSorted(s.Values) {
		slices.Sort(s.Values)
	}
	return s.Values[min(len(s.Values)-1, max(0, int(math.Ceil(q*float64(len(s.Values))))-1))]
}

// OpenLoop calls do with 0, 1, 2 … rate times a second for a time, and gives the milliseconds from when each was due until it
// returned: one call at least. It begins no call late because others are still running; most bounds those, and what is due
// beyond it fails.
func OpenLoop(ctx context.Context, rate float64, lasting time.Duration, most int, do func(ctx context.Context, n int) error) *Samples {
	var (
		samples Samples
		mu      sync.Mutex
		running sync.WaitGroup
	)
	slots := make(chan struct{}, most)
	begun := time.Now()
	total := max(1, int(rate*lasting.Seconds()))
	timer := time.NewTimer(0)
	defer timer.Stop()
	for n := range total {
		due := begun.Add(time.Duration(float64(n) / rate * float64(time.Second)))
		timer.Reset(time.Until(due))
		select {
		case <-ctx.Done():
		case <-timer.C:
		}
		if ctx.Err() != nil {
			break
		}
		select {
		case slots <- struct{}{}:
		default:
			mu.Lock()
			samples.Fail(errOverloaded)
			mu.Unlock()
			continue
		}
		running.Go(func() {
			defer func() { <-slots }()
			err := do(ctx, n)
			took := time.Since(due)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				samples.Fail(err)
				return
			}
			samples.Add(took.Seconds() * 1000)
		})
	}
	running.Wait()
	samples.Took = time.Since(begun)
	return &samples
}

type overloaded struct{}

func (overloaded) Error() string { return "more requests were due than may run at once" }

var errOverloaded error = overloaded{}
