package verify

import (
	"fmt"
	"sync"
	"time"
)

// Report is what was found. Its JSON form is for scripts.
type Report struct {
	Equal       bool               `json:"equal"` // no finding, and nothing unfinished
	Logs        []LogReport        `json:"logs"`
	Projections []ProjectionReport `json:"projections"`
	Findings    []Finding          `json:"findings"` // the first ones, see Config.MaxFindings
	Found       int64              `json:"found"`    // all of them
	Seconds     float64            `json:"seconds"`
}

// LogReport is about one kind's events.
type LogReport struct {
	Kind            string          `json:"kind"`
	Topic           string          `json:"topic"`
	TopicID         string          `json:"topic_id"`
	Partitions      int32           `json:"partitions"`
	Events          int64           `json:"events"`
	Aggregates      int64           `json:"aggregates"`
	Commands        int64           `json:"commands"`      // read to find causes in
	Judged          int64           `json:"causes_judged"` // events whose cause could be looked for
	Findings        int64           `json:"findings"`      // about the log alone
	Ends            map[int32]int64 `json:"ends"`          // last stable offset of each partition
	Bytes           int64           `json:"bytes"`         // keys, values and headers of the events
	Seconds         float64         `json:"seconds"`       // reading, checking and folding
	EventsPerSecond float64         `json:"events_per_second"`
	MBPerSecond     float64         `json:"mb_per_second"`
}

// ProjectionReport is about one projection's rows.
type ProjectionReport struct {
	Projection string          `json:"projection"`
	Store      string          `json:"store"`
	Table      string          `json:"table"`
	Rows       int64           `json:"rows"`     // that are stored and were compared
	Findings   int64           `json:"findings"` // about its rows alone
	Vector     map[int32]int64 `json:"vector"`   // the offsets that the rows stand at
	Behind     int64           `json:"behind"`   // offsets between that and the end of the log, markers of transactions included

	// EventsBehind are the events between that and the end of the log: the rows are right as far as they have come.
	EventsBehind int64 `json:"events_behind"`

	Unfinished []Unfinished `json:"unfinished,omitempty"`
}

// Unfinished is a range that a store recorded as begun and that is not there in full, although it was waited for: its
// writer has stopped or is stuck, or rows were taken away. Its rows are compared all the same. A projector settles it when
// it starts.
type Unfinished struct {
	Partition   int32     `json:"partition"`
	FirstOffset int64     `json:"first_offset"`
	NextOffset  int64     `json:"next_offset"`
	Rows        int64     `json:"rows"`
	Stored      int64     `json:"stored"`
	Since       time.Time `json:"since"`
}

// Finding is something that is not as it should be: about an event, or about a row.
type Finding struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"` // of the event; of a row that no event gives -1, unless the store says more
	Offset    int64  `json:"offset"`    // likewise; of a fold's row: of its last event
	Key       string `json:"key"`
	Reason    string `json:"reason"`

	Projection string `json:"projection,omitempty"` // about a row: whose
	Table      string `json:"table,omitempty"`
	Kind       string `json:"kind,omitempty"`   // missing, extra, doubled, altered
	Column     string `json:"column,omitempty"` // altered: which
	Want       string `json:"want,omitempty"`   // what the log gives
	Have       string `json:"have,omitempty"`   // what is stored
}

func (f Finding) String() string {
	where := f.Topic
	switch {
	case f.Partition >= 0:
		where = fmt.Sprintf("%s/%d offset %d", f.Topic, f.Partition, f.Offset)
	case f.Key == "":
		return fmt.Sprintf("%s: %s", where, f.Reason)
	}
	if f.Projection != "" {
		return fmt.Sprintf("%s (%s) key %s, %s: %s", f.Projection, f.Table, f.Key, where, f.Reason)
	}
	return fmt.Sprintf("%s key %s: %s", where, f.Key, f.Reason)
}

// findings collects findings from several goroutines: all are counted, the first are kept.
type findings struct {
	mu    sync.Mutex
	most  int
	kept  []Finding
	found int64
}

func (f *findings) add(finding Finding, count *int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.found++
	*count++
	if len(f.kept) < f.most {
		f.kept = append(f.kept, finding)
	}
}
