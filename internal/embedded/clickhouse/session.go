package clickhouse

import (
	"sync"
	"time"
)

// sessions keep the connections of requests that name a session_id, so that a SET, a USE or a temporary table of one
// reaches the next. Settings in the URL stay in the session, too; on a server they would not.
type sessions struct {
	mu   sync.Mutex
	open map[string]*session
}

type session struct {
	conn   conn
	busy   bool
	expire *time.Timer
}

const (
	defaultSessionTimeout = 60 * time.Second
	maxSessionTimeout     = time.Hour
)

// take returns the named session for one request, made by connect if there is none.
func (s *sessions) take(id string, mustExist bool, connect func() (conn, error)) (conn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if found, ok := s.open[id]; ok {
		if found.busy {
			return conn{}, errSessionLocked
		}
		found.busy = true
		found.expire.Stop()
		return found.conn, nil
	}
	if mustExist {
		return conn{}, errSessionGone
	}
	c, err := connect()
	if err != nil {
		return conn{}, err
	}
	s.open[id] = &session{conn: c, busy: true}
	return c, nil
}

// giveBack ends a request of the session; without another one within timeout the session ends.
func (s *sessions) giveBack(id string, timeout time.Duration, end bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	used := s.open[id]
	if end {
		delete(s.open, id)
		used.conn.Close()
		return
	}
	used.busy = false
	used.expire = time.AfterFunc(timeout, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.open[id] == used && !used.busy {
			delete(s.open, id)
			used.conn.Close()
		}
	})
}

func (s *sessions) closeAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, open := range s.open {
		if open.expire != nil {
			open.expire.Stop()
		}
		open.conn.Close()
		delete(s.open, id)
	}
}
