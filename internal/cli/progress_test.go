package cli

import (
	"bytes"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// Elsewhere than on a terminal: a line every few seconds, with the rate and the time left, and none after the end.
func TestProgress_Lines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		p := NewProgress(&out, slog.New(slog.NewTextHandler(&out, nil)), "import", "rows", 1000)
		var adders sync.WaitGroup
		for range 4 {
			adders.Go(func() { p.Add(25) })
		}
		adders.Wait()
		time.Sleep(2*logEvery + time.Second) //nolint:forbidigo // the bubble's clock, not ours
		synctest.Wait()
		p.End()
		p.End()
		lines := strings.Split(strings.TrimSpace(out.String()), "\n")
		if len(lines) != 2 {
			t.Fatalf("%d lines:\n%s", len(lines), out.String())
		}
		for _, want := range []string{"done=100", "per_second=20", "of=1000", "left=45s", "import"} {
			if !strings.Contains(lines[0], want) {
				t.Errorf("%q does not say %s", lines[0], want)
			}
		}
		if !strings.Contains(lines[1], "per_second=10") || !strings.Contains(lines[1], "left=1m30s") {
			t.Errorf("second line %q", lines[1])
		}
	})
}

func TestProgress_OfUnknownLength(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		p := NewProgress(&out, slog.New(slog.NewTextHandler(&out, nil)), "verify", "events", -1)
		p.Add(10)
		time.Sleep(logEvery + time.Second) //nolint:forbidigo // the bubble's clock, not ours
		synctest.Wait()
		p.End()
		if got := out.String(); !strings.Contains(got, "done=10") || strings.Contains(got, "left=") {
			t.Errorf("got %q", got)
		}
	})
}

func TestProgress_BarOnATerminal(t *testing.T) {
	terminal, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer terminal.Close()
	p := NewProgress(terminal, nil, "import", "rows", 1000)
	p.Add(500)
	if p.bar == nil || p.bar.State().CurrentNum != 500 {
		t.Errorf("no bar at 500: %+v", p)
	}
	p.End()
}

func TestRate(t *testing.T) {
	if got := Rate(15600, "rows", 1200*time.Millisecond); got != "15600 rows in 1.2s (13000/s)" {
		t.Error(got)
	}
	if got := Rate(0, "rows", 0); got != "0 rows in 0s (0/s)" {
		t.Error(got)
	}
}
