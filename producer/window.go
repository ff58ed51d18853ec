package producer

import (
	"cmp"
	"encoding/binary"
	"math"
	"slices"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/twmb/franz-go/pkg/kgo"
)

// window remembers which commands of one partition were answered lately, for as long as a repetition is to be recognised. Of each it
// keeps a hash of the id and where its reply stands. When a command's hash is known, the reply is read again (recall.go) and the full
// id compared. Time is append time, as the records carry it: what is a repetition does not depend on when somebody looks.
//
// It costs about 45 bytes for each command of the window.
type window struct {
	span   time.Duration
	places map[uint64]int64   // offset of the reply
	more   map[uint64][]int64 // further offsets, where ids have one hash
	minute []minuteOf         // oldest first
	newest int64              // highest append time of a command that was answered here, Unix milliseconds
	end    int64              // offset behind the last reply that was looked at

	// What the local state has of it.
	kept   bool    // it has something, or is to have
	anew   bool    // what it has must go
	since  int64   // answers to commands appended before may be missing, Unix milliseconds
	unkept []dated // what it does not have yet, in the order of the log

	// Answers in full: of the open transaction, those called back for it, and the last ones given, in two generations.
	open, recalled, young, aged answers
	given                       []*remembered // by the open transaction
	free                        []remembered  // room for those to come
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

// commandID names a command: the same id sent to two aggregates is two commands.
type commandID struct {
	aggregate, command string
	hash               uint64
}

// remembered is an answer with the id that it belongs to.
type remembered struct {
	id commandID
	answer
	reply *kgo.Record // of the open transaction: its offset is known when that is committed
	next  *remembered // another one with the same hash
}

// answers are found by the hash of their ids.
type answers map[uint64]*remembered

func (a answers) find(id commandID) *remembered {
	for r := a[id.hash]; r != nil; r = r.next {
		if r.id.command == id.command && r.id.aggregate == id.aggregate {
			return r
		}
	}
	return nil
}

func (a answers) add(r *remembered) {
	r.next = a[r.id.hash]
	a[r.id.hash] = r
}

// minuteOf is what was answered in one minute of append time.
type minuteOf struct {
	minute  int64 // since 1970
	answers []place
}

type place struct {
	hash   uint64
	offset int64
}

type dated struct {
	place
	minute int64
}

// recentAnswers of one partition are remembered in full: a client that tries again does so soon.
const recentAnswers = 2048

func newWindow(span time.Duration) *window {
	return &window{
		span: span, places: map[uint64]int64{}, more: map[uint64][]int64{},
		open: answers{}, recalled: answers{}, young: answers{}, aged: answers{},
	}
}

// idOf is how the window knows a command.
func idOf(aggregate, command string) commandID {
	var d xxhash.Digest
	d.Reset()
	_, _ = d.WriteString(aggregate) // never fails
	_, _ = d.WriteString("\x00")
	_, _ = d.WriteString(command)
	return commandID{aggregate, command, d.Sum64()}
}

// find gives the answer to a command that was appended at the given time, nil when none is remembered. What is not at hand in full
// must have been called back before.
func (w *window) find(id commandID, at int64) *answer {
	r := w.inFull(id)
	if r == nil || at-r.at > w.span.Milliseconds() {
		return nil
	}
	return &r.answer
}

// findNew is find, of an id for which toRecall knew no reply: only the open transaction can have answered it.
func (w *window) findNew(id commandID, at int64) *answer {
	r := w.open.find(id)
	if r == nil || at-r.at > w.span.Milliseconds() {
		return nil
	}
	return &r.answer
}

func (w *window) inFull(id commandID) *remembered {
	if r := w.open.find(id); r != nil {
		return r
	}
	if _, known := w.places[id.hash]; !known {
		return nil
	}
	return cmp.Or(w.recalled.find(id), w.young.find(id), w.aged.find(id))
}

// toRecall are the offsets at which the reply to a command may stand that is not at hand in full, and whether a committed reply to it
// may be there at all.
func (w *window) toRecall(id commandID) (offsets []int64, maybe bool) {
	offset, known := w.places[id.hash]
	if !known || w.inFull(id) != nil {
		return nil, known
	}
	return append([]int64{offset}, w.more[id.hash]...), true
}

// recall is an answer that was called back. It stays until the transaction ends. Of several to one id, as there are when it was used
// again after the window, the last counts.
func (w *window) recall(id commandID, a answer) {
	r := w.recalled.find(id)
	switch {
	case r == nil:
		w.recalled.add(&remembered{id: id, answer: a})
	case r.at <= a.at:
		r.answer = a
	}
}

// add remembers an answer until it is older than the window, or the transaction is rolled back.
func (w *window) add(id commandID, a answer, reply *kgo.Record) {
	if len(w.free) == 0 {
		w.free = make([]remembered, rememberedChunk)
	}
	r := &w.free[0]
	w.free = w.free[1:]
	*r = remembered{id: id, answer: a, reply: reply}
	w.open.add(r)
	w.given = append(w.given, r)
}

// rememberedChunk answers are one allocation, and are collected together.
const rememberedChunk = 64

// put remembers where the reply to a command stands, by the hash of its id, and when the command was appended. What is restored
// comes with the time of the reply, which is later, by hours where there is a backlog. So it says nothing of what may be forgotten.
func (w *window) put(h uint64, offset, at int64) {
	p, minute := place{h, offset}, at/time.Minute.Milliseconds()
	w.place(p, minute)
	if w.end = max(w.end, offset+1); w.kept {
		w.unkept = append(w.unkept, dated{p, minute})
	}
}

func (w *window) place(p place, minute int64) {
	if other, taken := w.places[p.hash]; taken && other != p.offset {
		w.more[p.hash] = append(w.more[p.hash], other)
	}
	w.places[p.hash] = p.offset
	i := len(w.minute)
	for i > 0 && w.minute[i-1].minute > minute {
		i--
	}
	if i == 0 || w.minute[i-1].minute != minute {
		w.minute = slices.Insert(w.minute, i, minuteOf{minute: minute})
		i++
	}
	w.minute[i-1].answers = append(w.minute[i-1].answers, p)
}

func (w *window) commit() {
	for _, r := range w.given {
		w.put(r.id.hash, r.reply.Offset, r.at)
		w.newest = max(w.newest, r.at)
		r.reply = nil
		w.young.add(r)
	}
	if len(w.young) >= recentAnswers/2 {
		w.young, w.aged = answers{}, w.young
	}
	w.rollback()
	w.forget()
}

func (w *window) rollback() {
	clear(w.open)
	clear(w.given)
	clear(w.recalled)
	w.given = w.given[:0]
}

// forget drops the minutes that lie before the window.
func (w *window) forget() { w.forgetBefore(w.newest - w.span.Milliseconds()) }

// forgetBefore drops the minutes that lie before a time, in Unix milliseconds.
func (w *window) forgetBefore(at int64) {
	oldest := at / time.Minute.Milliseconds()
	w.since = max(w.since, oldest*time.Minute.Milliseconds())
	n := 0
	for n < len(w.minute) && w.minute[n].minute < oldest {
		for _, p := range w.minute[n].answers {
			w.drop(p)
		}
		n++
	}
	if n > 0 {
		w.minute = slices.Delete(w.minute, 0, n)
	}
}

func (w *window) drop(p place) {
	others := w.more[p.hash]
	switch {
	case w.places[p.hash] != p.offset:
		if i := slices.Index(others, p.offset); i >= 0 {
			others = slices.Delete(others, i, i+1)
		}
	case len(others) > 0:
		w.places[p.hash] = others[len(others)-1]
		others = others[:len(others)-1]
	default:
		delete(w.places, p.hash)
	}
	if len(others) == 0 {
		delete(w.more, p.hash)
		return
	}
	w.more[p.hash] = others
}

// len is the number of answers that are remembered.
func (w *window) len() int {
	n := 0
	for _, m := range w.minute {
		n += len(m.answers)
	}
	return n
}

// placeBytes are those of a place in the local state: its hash and its offset.
const placeBytes = 16

// keep stages what the local state lacks of the window, and takes out what is forgotten. to is how far the store will have the log.
func (w *window) keep(s *store, to *progress) error {
	if !w.kept {
		return nil
	}
	from := uint64(w.since / time.Minute.Milliseconds())
	if w.anew {
		from, w.anew = math.MaxInt64, false
	}
	if err := s.staged.DeleteRange(windowKey, binary.BigEndian.AppendUint64(slices.Clone(windowKey), from), nil); err != nil {
		return err
	}
	for n := 0; n < len(w.unkept); {
		first := w.unkept[n]
		key := binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(slices.Clone(windowKey), uint64(first.minute)), uint64(first.offset))
		var value []byte
		for ; n < len(w.unkept) && w.unkept[n].minute == first.minute; n++ {
			value = binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(value, w.unkept[n].hash), uint64(w.unkept[n].offset))
		}
		if err := s.staged.Set(key, value, nil); err != nil {
			return err
		}
	}
	w.unkept = w.unkept[:0]
	to.replies, to.since = w.end, w.since
	return nil
}

// load reads what the local state has, which must reach back to since; else there is nothing in it, and it begins anew.
func (w *window) load(s *store, since time.Time) error {
	w.kept = s.lock != nil
	ok := s.has.replies > 0 && s.has.since <= since.UnixMilli()
	if !ok {
		w.beginAnew(since)
		return nil
	}
	w.end, w.since = s.has.replies, s.has.since
	var all []dated
	err := s.each(string(windowKey), func(key string, value []byte) error {
		if ok = len(key) == len(windowKey)+16 && len(value)%placeBytes == 0; !ok {
			return errStop
		}
		minute := int64(binary.BigEndian.Uint64([]byte(key)[len(windowKey):]))
		for ; len(value) > 0; value = value[placeBytes:] {
			all = append(all, dated{place{binary.BigEndian.Uint64(value), int64(binary.BigEndian.Uint64(value[8:]))}, minute})
		}
		return nil
	})
	if err != nil || !ok {
		w.beginAnew(since)
		return err
	}
	w.places = make(map[uint64]int64, len(all)) // it need not grow
	for _, p := range all {
		w.place(p.place, p.minute)
	}
	return nil
}

func (w *window) beginAnew(since time.Time) {
	kept := w.kept
	*w = *newWindow(w.span)
	w.kept, w.anew, w.since = kept, true, since.UnixMilli()
}
