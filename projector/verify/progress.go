package verify

import "time"

// progress tells about reading, a few times a second.
type progress struct {
	tell  func(done int64)
	next  time.Time
	every time.Duration
}

func (p *progress) at(done int64) {
	if now := time.Now(); now.After(p.next) {
		p.next = now.Add(p.every)
		p.tell(done)
	}
}
