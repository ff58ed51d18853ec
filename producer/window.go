package producer

import "time"

// window remembers the answers to the commands of one partition for as long as a repetition is to be recognised. Time is
// append time, as the records carry it: what is a repetition does not depend on when somebody looks.
type window struct {
	span    time.Duration
	answers map[string]*answer
	queue   []remembered // in the order remembered, for forgetting
	added   []string     // by the open transaction, for rollback
	newest  int64        // highest append time seen, Unix milliseconds
}

// answer is the first reply to a command, and the hash of the command that it answered.
type answer struct {
	hash          uint64
	outcome       string
	code, message string
	first, last   int64
	version       int64
	at            int64 // append time of the command, Unix milliseconds
}

type remembered struct {
	key string
	at  int64
}

func newWindow(span time.Duration) *window {
	return &window{span: span, answers: map[string]*answer{}}
}

// windowKey joins an aggregate id and a command id: the same command id sent to two aggregates is two commands.
func windowKey(id, commandID string) string { return id + "\x00" + commandID }

// find gives the answer to a command that was appended at the given time, nil when none is remembered.
func (w *window) find(id, commandID string, at int64) *answer {
	a := w.answers[windowKey(id, commandID)]
	if a == nil || at-a.at > w.span.Milliseconds() {
		return nil
	}
	return a
}

// add remembers an answer until it is older than the window, or the transaction is rolled back.
func (w *window) add(id, commandID string, a answer) {
	key := windowKey(id, commandID)
	w.put(key, a)
	w.added = append(w.added, key)
}

func (w *window) put(key string, a answer) {
	w.answers[key] = &a
	w.queue = append(w.queue, remembered{key, a.at})
	w.newest = max(w.newest, a.at)
}

func (w *window) commit() {
	w.added = w.added[:0]
	w.forget()
}

func (w *window) rollback() {
	for _, key := range w.added {
		delete(w.answers, key)
	}
	w.queue = w.queue[:len(w.queue)-len(w.added)]
	w.added = w.added[:0]
}

// forget drops what is older than the window. A key that was answered anew since keeps its newer answer.
func (w *window) forget() {
	oldest := w.newest - w.span.Milliseconds()
	n := 0
	for n < len(w.queue) && w.queue[n].at < oldest {
		r := w.queue[n]
		if a := w.answers[r.key]; a != nil && a.at <= r.at {
			delete(w.answers, r.key)
		}
		n++
	}
	w.queue = w.queue[n:] // the next growth of the slice leaves the front behind
}
