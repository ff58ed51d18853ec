package api

import (
	"sync"

	"github.com/ledgerline-es/ledgerline/producer"
	"github.com/ledgerline-es/ledgerline/schemas/ledgerline"
)

// commandKey names a command: its id is its sender's own, and counts for one aggregate.
type commandKey struct{ aggregateID, commandID string }

// repliesKept is how many replies of a kind are remembered, a few MiB.
const repliesKept = 20_000

// replies are the last replies of a kind, whoever asked for them: any instance can say what became of a command that
// another one took.
type replies struct {
	mu    sync.Mutex
	known map[commandKey]*ledgerline.Reply
	ring  []commandKey
	at    int
}

func newReplies(keep int) *replies {
	return &replies{known: make(map[commandKey]*ledgerline.Reply), ring: make([]commandKey, keep)}
}

func (r *replies) add(id string, reply *ledgerline.Reply) {
	key := commandKey{id, reply.CommandID}
	r.mu.Lock()
	defer r.mu.Unlock()
	before, again := r.known[key]
	if again && reply.Code == producer.CodeCommandIDReused && before.Code != reply.Code {
		return // that is about another command, which was not let have this id
	}
	if !again {
		delete(r.known, r.ring[r.at])
		r.ring[r.at] = key
		r.at = (r.at + 1) % len(r.ring)
	}
	r.known[key] = reply
}

func (r *replies) find(key commandKey) *ledgerline.Reply {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.known[key]
}
