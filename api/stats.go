package api

import (
	"context"
	"math"
	"net/http"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
)

// rate counts what happened in the last seconds.
type rate struct {
	mu      sync.Mutex
	started time.Time
	seconds [rateSpan]int64
	at      int64 // the second that was counted last
}

// rateSpan is what lately means, in seconds.
const rateSpan = 10

func newRate() *rate { return &rate{started: time.Now()} }

func (r *rate) add(now time.Time, n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.turn(now)
	r.seconds[r.at%rateSpan] += int64(n)
}

// perSecond is the mean of the last seconds.
func (r *rate) perSecond(now time.Time) float64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.turn(now)
	var sum int64
	for _, n := range r.seconds {
		sum += n
	}
	span := min(max(now.Sub(r.started).Seconds(), 1), rateSpan)
	return math.Round(float64(sum)/span*10) / 10
}

// turn empties the seconds that have passed since.
func (r *rate) turn(now time.Time) {
	second := now.Unix()
	for s := max(r.at+1, second-rateSpan+1); s <= second; s++ {
		r.seconds[s%rateSpan] = 0
	}
	r.at = max(r.at, second)
}

// Stats is what GET /stats answers.
type Stats struct {
	UptimeSeconds float64               `json:"uptime_seconds"`
	ES            statsES               `json:"es" doc:"under the names that scripts for event stores ask for"`
	Log           map[string]statsLog   `json:"log" doc:"by kind: the events as this instance sees them come"`
	Projections   map[string]statsStand `json:"projections" doc:"by projection: how far its table is"`
	Cache         statsCache            `json:"cache"`
	Writes        statsWrites           `json:"writes"`
}

type statsES struct {
	Queue struct {
		QueueName map[string]statsQueue `json:"queueName"`
	} `json:"queue"`
	ReadIndex struct {
		CachedRecord int   `json:"cachedRecord" doc:"rows in the caches"`
		Hits         int64 `json:"hits"`
		Misses       int64 `json:"misses"`
	} `json:"readIndex"`
}

type statsQueue struct {
	AvgItemsPerSecond float64 `json:"avgItemsPerSecond" doc:"events a second, of the last ten seconds"`
}

type statsLog struct {
	EventsPerSecond float64 `json:"events_per_second"`
	Following       bool    `json:"following" doc:"false: the brokers do not answer, and nothing is served from the cache"`
	Position        string  `json:"position"`
}

type statsStand struct {
	Position      string `json:"position"`
	EventsMissing int64  `json:"offsets_missing" doc:"offsets seen in the log that are not stored yet"`
}

type statsCache struct {
	Entries int     `json:"entries"`
	Limit   int     `json:"limit"`
	Hits    int64   `json:"hits"`
	Misses  int64   `json:"misses"`
	HitRate float64 `json:"hit_rate" doc:"hits of all reads, 0 to 1"`
}

type statsWrites struct {
	Pending int `json:"pending" doc:"commands that have no reply yet"`
}

type statsOutput struct{ Body Stats }

func (a *API) registerStats() {
	huma.Register(a.huma, huma.Operation{
		OperationID: "stats", Method: http.MethodGet, Path: "/stats", Tags: []string{"operations"},
		Summary: "What this instance sees and does", Description: "For operators and scripts; metrics for Prometheus are on the admin listener.",
	}, func(context.Context, *struct{}) (*statsOutput, error) { return &statsOutput{a.stats(time.Now())}, nil })
}

func (a *API) stats(now time.Time) Stats {
	s := Stats{
		UptimeSeconds: math.Round(now.Sub(a.started).Seconds()*1000) / 1000,
		Log:           map[string]statsLog{}, Projections: map[string]statsStand{},
		Cache: statsCache{Limit: a.cfg.CacheSize * len(a.caches)},
	}
	var all float64
	seen := map[Place]int64{} // by log and partition
	s.ES.Queue.QueueName = map[string]statsQueue{}
	for kind, f := range a.followers {
		perSecond, position := f.rate.perSecond(now), f.position()
		all += perSecond
		s.Log[kind] = statsLog{EventsPerSecond: perSecond, Following: f.allFresh(), Position: position.String()}
		s.ES.Queue.QueueName[kind] = statsQueue{perSecond}
		for _, place := range position {
			seen[Place{Log: place.Log, Partition: place.Partition}] = place.Next
		}
	}
	s.ES.Queue.QueueName["$all"] = statsQueue{all}
	for _, name := range a.stands.names() {
		stand := statsStand{}
		position := a.stands.at(name)
		for _, place := range position {
			stand.EventsMissing += max(0, seen[Place{Log: place.Log, Partition: place.Partition}]-place.Next)
		}
		stand.Position = position.String()
		s.Projections[name] = stand
	}
	for _, c := range a.caches {
		_, hits, misses := c.counts()
		s.Cache.Entries += c.size()
		s.Cache.Hits += hits
		s.Cache.Misses += misses
	}
	if reads := s.Cache.Hits + s.Cache.Misses; reads > 0 {
		s.Cache.HitRate = math.Round(float64(s.Cache.Hits)/float64(reads)*10_000) / 10_000
	}
	s.ES.ReadIndex.CachedRecord, s.ES.ReadIndex.Hits, s.ES.ReadIndex.Misses = s.Cache.Entries, s.Cache.Hits, s.Cache.Misses
	for _, w := range a.writers {
		s.Writes.Pending += w.pendingNow()
	}
	return s
}
