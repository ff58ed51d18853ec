package process

import (
	"bytes"
	"io"
	"slices"
	"strings"
	"sync"
)

const (
	tailLines    = 40
	tailLineSize = 2048 // longer lines are cut: the tail belongs into an error message
)

// tail passes output on and remembers its last lines.
type tail struct {
	mu    sync.Mutex
	out   io.Writer // may be nil
	lines []string
	part  []byte // a line that has not ended yet
}

func newTail(out io.Writer) *tail { return &tail{out: out} }

// Write never fails: a child must not stall or die because its log cannot be written.
func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.out != nil {
		if _, err := t.out.Write(b); err != nil {
			t.out = nil
		}
	}
	for rest := b; len(rest) > 0; {
		line, after, ended := bytes.Cut(rest, []byte{'\n'})
		if room := tailLineSize - len(t.part); room > 0 {
			t.part = append(t.part, line[:min(room, len(line))]...)
		}
		if ended {
			t.keep()
		}
		rest = after
	}
	return len(b), nil
}

func (t *tail) keep() {
	if len(t.lines) == tailLines {
		t.lines = append(t.lines[:0], t.lines[1:]...)
	}
	t.lines = append(t.lines, string(t.part))
	t.part = t.part[:0]
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	lines := t.lines
	if len(t.part) > 0 {
		lines = append(slices.Clip(lines), string(t.part))
	}
	return strings.Join(lines, "\n")
}
