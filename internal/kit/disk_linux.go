package kit

import (
	"time"

	"golang.org/x/sys/unix"
)

// FillDisk has the broker's files grow no more, which it takes as it takes a disk that is full: what it can't write ends it. Somebody must
// be writing; FillDisk returns when the broker is gone. Restart starts it with room again.
func (k *KafkaServer) FillDisk() {
	k.t.Helper()
	s := k.server
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := unix.Prlimit(s.run.Pid(), unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: 1, Max: unix.RLIM_INFINITY}, nil); err != nil {
		k.t.Fatal("limit the size of the broker's files: ", err)
	}
	select {
	case <-s.run.Done():
		s.run = nil // that it failed is what was asked for
	case <-time.After(startTimeout):
		k.t.Fatalf("the broker can't write for %v, and has not ended", startTimeout)
	}
}
