package benchmark_test

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/ledgerline-es/ledgerline/internal/benchmark"
)

func TestJudge(t *testing.T) {
	for _, c := range []struct {
		unit            benchmark.Unit
		target, current float64
		want            benchmark.Status
	}{
		{benchmark.Milliseconds, 50, 35, benchmark.Excellent},
		{benchmark.Milliseconds, 100, 85, benchmark.Good},
		{benchmark.Milliseconds, 500, 320, benchmark.Excellent},
		{benchmark.Milliseconds, 200, 150, benchmark.Good},
		{benchmark.Milliseconds, 300, 220, benchmark.Good},
		{benchmark.Milliseconds, 100, 100, benchmark.Good},
		{benchmark.Milliseconds, 100, 105, benchmark.Acceptable},
		{benchmark.Milliseconds, 100, 105.1, benchmark.Failing},
		{benchmark.PerSecond, 5000, 4800, benchmark.Good},
		{benchmark.PerSecond, 5000, 100_000, benchmark.Excellent},
		{benchmark.PerSecond, 5000, 4600, benchmark.Acceptable},
		{benchmark.PerSecond, 5000, 4500, benchmark.Failing},
		{benchmark.Percent, 99.99, 99.98, benchmark.Acceptable},
		{benchmark.Percent, 99.99, 99.99, benchmark.Good},
		{benchmark.Percent, 99.99, 100, benchmark.Good},
		{benchmark.Percent, 99.99, 99.97, benchmark.Failing},
		{benchmark.Seconds, 1, 0.45, benchmark.Excellent},
		{benchmark.Seconds, 1, math.NaN(), benchmark.NotMeasured},
	} {
		if got := benchmark.Judge(c.unit, c.target, c.current); got != c.want {
			t.Errorf("%v of %v %s is %s, wanted %s", c.current, c.target, c.unit, got, c.want)
		}
	}
}

func TestQuantile_NearestRank(t *testing.T) {
	var s benchmark.Samples
	for v := 100; v >= 1; v-- {
		s.Add(float64(v))
	}
	for q, want := range map[float64]float64{0.5: 50, 0.9: 90, 0.99: 99, 1: 100, 0: 1} {
		if got := s.Quantile(q); got != want {
			t.Errorf("quantile %v is %v, wanted %v", q, got, want)
		}
	}
}

// While a server stands still requests go on being due, and their waiting counts.
func TestOpenLoop_AStallIsSeen(t *testing.T) {
	stalled := make(chan struct{})
	time.AfterFunc(500*time.Millisecond, func() { close(stalled) })
	s := benchmark.OpenLoop(t.Context(), 200, time.Second, 1000, func(context.Context, int) error {
		<-stalled
		return nil
	})
	if len(s.Values) != 200 || s.Errors > 0 {
		t.Fatalf("%d answers, %d errors, wanted 200 and none", len(s.Values), s.Errors)
	}
	if p := s.Quantile(0.75); p < 100 { // half of them were due while it stood still, and waited 250 ms on average
		t.Errorf("three quarters of the answers took at most %v ms: the stall is not seen", p)
	}
}

// A rate of less than one in a measurement asks once: no figure would look like none that is bad.
func TestOpenLoop_AsksOnceAtLeast(t *testing.T) {
	s := benchmark.OpenLoop(t.Context(), 0.1, 10*time.Millisecond, 5, func(context.Context, int) error { return nil })
	if len(s.Values) != 1 {
		t.Errorf("%d answers, wanted 1", len(s.Values))
	}
}

func TestOpenLoop_BoundsWhatRuns(t *testing.T) {
	var running, most atomic.Int64
	done := make(chan struct{})
	time.AfterFunc(300*time.Millisecond, func() { close(done) })
	s := benchmark.OpenLoop(t.Context(), 100, 200*time.Millisecond, 5, func(context.Context, int) error {
		most.Store(max(most.Load(), running.Add(1)))
		defer running.Add(-1)
		<-done
		return nil
	})
	if most.Load() > 5 || s.Errors != 15 || len(s.Values) != 5 {
		t.Errorf("%d ran at once, %d answers, %d errors; wanted 5, 5 and 15", most.Load(), len(s.Values), s.Errors)
	}
}

func TestWrite(t *testing.T) {
	var s, broken benchmark.Samples
	for v := range 10 {
		s.Add(float64(v))
	}
	broken.Add(1)
	broken.Fail(errors.New("no connection"))
	rows := []benchmark.Row{
		benchmark.Times("reads", benchmark.Milliseconds, 50, &s, 0.9),
		benchmark.Times("writes", benchmark.Milliseconds, 50, &broken, 0.9),
		benchmark.Single("availability", benchmark.Percent, 99.99, math.NaN(), 0, "comes later"),
	}
	var table, asJSON, asYAML strings.Builder
	for format, w := range map[benchmark.Format]*strings.Builder{benchmark.Table: &table, benchmark.JSON: &asJSON, benchmark.YAML: &asYAML} {
		if err := benchmark.Write(w, format, rows); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []string{"excellent    reads", "failing   writes", "not measured  availability", "no connection", "comes later"} {
		if !strings.Contains(strings.Join(strings.Fields(table.String()), " "), strings.Join(strings.Fields(want), " ")) {
			t.Errorf("the table does not say %q:\n%s", want, &table)
		}
	}
	for name, read := range map[string]func(any) error{
		"JSON": func(to any) error { return json.Unmarshal([]byte(asJSON.String()), to) },
		"YAML": func(to any) error { return yaml.Unmarshal([]byte(asYAML.String()), to) },
	} {
		var back []benchmark.Row
		if err := read(&back); err != nil || len(back) != 3 || *back[0].P90 != 8 || back[0].Status != benchmark.Excellent || back[2].Current != nil || back[1].Errors != 1 {
			t.Errorf("%s reads as %+v, %v", name, back, err)
		}
	}
}
