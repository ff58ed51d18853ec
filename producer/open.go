package producer

import (
	"context"
	"errors"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// open opens the partitions' stores, and begins those anew that can't be of this log. What it has opened it gives also with an
// error.
func (r *restorer) open(ctx context.Context, partitions []int32, pending map[int32]time.Time, bounds bounds) (map[int32]*restoring, error) {
	ctx, cancel := context.WithTimeout(ctx, folderPatience)
	defer cancel()
	parts := make(map[int32]*restoring, len(partitions))
	var mu sync.Mutex
	var g errgroup.Group
	g.SetLimit(4)
	for _, p := range partitions {
		g.Go(func() error {
			from := time.Now()
			if t, ok := pending[p]; ok && t.Before(from) {
				from = t
			}
			part, err := r.openPart(ctx, p, from.Add(-r.cfg.Window), bounds)
			if part != nil {
				mu.Lock()
				defer mu.Unlock()
				parts[p] = part
			}
			return err
		})
	}
	return parts, g.Wait()
}

// openPart takes what the standby has of a partition, or begins with what its store has. While ctx lasts it waits for a folder that is in use.
func (r *restorer) openPart(ctx context.Context, p int32, since time.Time, bounds bounds) (*restoring, error) {
	if part := r.standby.take(p); part != nil {
		if since.Before(part.since) { // a command waits for so long that answers may be asked for which were forgotten here
			part.window, part.since = newWindow(r.cfg.Window), since
			if err := part.window.load(part.store, since); err != nil {
				return part, err
			}
		}
		part.events = 0
		return part, nil
	}
	s, err := r.openStore(ctx, p, bounds)
	if err != nil {
		return nil, err
	}
	s.loads = r.metrics.stateLoads
	part := &restoring{
		book:  newBook(p, r.writer, r.limits, r.machine, s, newWindow(r.cfg.Window), r.log),
		since: since, held: s.has.events, local: !s.fresh, waiting: map[string]int64{},
	}
	part.watched, part.tried = &r.watched[p], r.tried
	part.snapshotsEnd = max(s.has.snapshots, bounds.start(r.writer.topics.Snapshots, p))
	return part, part.window.load(s, since)
}

// folderPatience is how long a restore waits for folders that are in use. Another session of this process that had the partition lets go
// of it when it sees that it is not its own any more, which may be a transaction later.
const folderPatience = 2 * time.Second

func (r *restorer) openStore(ctx context.Context, p int32, bounds bounds) (*store, error) {
	want, dir := r.pinned, storeDir(r.cfg.StateDir, r.group, p)
	want.Partition = p
	log := r.log.With("partition", p)
	s, err := openStore(r.fs, dir, want, r.cache, log)
	for errors.Is(err, errStoreInUse) && ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-time.After(10 * time.Millisecond):
		}
		s, err = openStore(r.fs, dir, want, r.cache, log)
	}
	if errors.Is(err, errStoreInUse) {
		log.Warn("local state is in use: this partition does without", "error", err)
		return openStore(r.fs, "", want, r.cache, log)
	}
	if err != nil {
		return nil, err
	}
	topics := r.writer.topics
	var wrong string
	switch {
	case s.has.snapshots > bounds.end(topics.Snapshots, p), s.has.events > bounds.end(topics.Events, p), s.has.replies > bounds.end(topics.Replies, p):
		wrong = "it is ahead of the log"
	case s.has.snapshots > 0 && s.has.snapshots < bounds.start(topics.Snapshots, p):
		wrong = "snapshots that it has not seen were deleted"
	default:
		return s, nil
	}
	log.Warn("local state is not believed and built anew", "dir", dir, "reason", wrong, "snapshots", s.has.snapshots, "events", s.has.events)
	if err := errors.Join(s.close(), empty(r.fs, dir)); err != nil {
		return nil, err
	}
	return openStore(r.fs, dir, want, r.cache, log)
}
