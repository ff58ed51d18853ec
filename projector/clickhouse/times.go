package clickhouse

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"time"

	"github.com/ledgerline-es/ledgerline/projector"
)

// timeColumn is a column of the projection that holds times, and which of them its type keeps as they are.
type timeColumn struct {
	index int // in the plan
	name  string
	typ   string
	timeLimits
}

// timeLimits are the times of a type: from first on, before end, in whole steps.
type timeLimits struct {
	first, end time.Time
	step       time.Duration
}

// The driver counts the nanoseconds since 1970 in 64 bits, whatever the type: behind this moment they begin anew in 1677.
var endOfNanoseconds = time.Unix(0, math.MaxInt64).UTC()

var timeType = regexp.MustCompile(`^(?:Nullable\(|LowCardinality\()*(DateTime64|DateTime|Date32|Date)\b(?:\((\d))?`)

// limitsOf gives the limits of a type; false if it holds no times.
func limitsOf(typ string) (timeLimits, bool) {
	day := func(year int, month time.Month, day int) time.Time {
		return time.Date(year, month, day, 0, 0, 0, 0, time.UTC)
	}
	m := timeType.FindStringSubmatch(typ)
	if m == nil {
		return timeLimits{}, false
	}
	switch m[1] {
	case "DateTime64":
		digits, _ := strconv.Atoi(m[2]) // the server prints them always
		step := time.Second
		for range digits {
			step /= 10
		}
		return timeLimits{day(1900, 1, 1), endOfNanoseconds, step}, true
	case "DateTime":
		return timeLimits{time.Unix(0, 0).UTC(), time.Unix(math.MaxUint32+1, 0).UTC(), time.Second}, true
	case "Date32":
		return timeLimits{day(1900, 1, 1), day(2300, 1, 1), 24 * time.Hour}, true
	default: // Date: 16 bits of days
		return timeLimits{day(1970, 1, 1), day(2149, 6, 7), 24 * time.Hour}, true
	}
}

// keep reports whether a column with these limits gives back t as it is. Of a date the driver takes the day in t's own zone.
func (l timeLimits) keep(t time.Time) bool {
	if l.step == 24*time.Hour {
		if _, east := t.Zone(); east != 0 {
			return false
		}
	}
	return !t.Before(l.first) && t.Before(l.end) && t.Truncate(l.step).Equal(t)
}

// checkTimes refuses what server or driver would store as another time without a word: the rows could never again be those
// that the log gives.
func (s *store) checkTimes(partition int32, rows projector.Rows) error {
	refuse := func(c timeColumn, row int, value string) error {
		return projector.Fatal(
			fmt.Errorf("event %s/%d offset %d: column %s of table %s is %s and can't hold %s: it keeps UTC from %s to before %s in steps of %s", s.plan.Topic, partition, rows.Offset(row), c.name, s.table, c.typ, value,
				c.first.Format(time.RFC3339), c.end.Format(time.RFC3339), c.step),
			"let the projection's Apply give a time that fits or declare a type that holds it, then rebuild the projection; and let the rules of the kind refuse such times")
	}
	for _, c := range s.times {
		switch values := rows.Column(c.index).(type) {
		case []time.Time:
			for i, t := range values {
				if !c.keep(t) {
					return refuse(c, i, t.Format(time.RFC3339Nano))
				}
			}
		case []*time.Time:
			for i, t := range values {
				if t != nil && !c.keep(*t) {
					return refuse(c, i, t.Format(time.RFC3339Nano))
				}
			}
		default: // the driver would take a number for milliseconds, or read a text
			return projector.Fatal(fmt.Errorf("column %s of table %s is %s, the projection gives %T for it", c.name, s.table, c.typ, values), "make the row's field a time.Time or *time.Time")
		}
	}
	return nil
}
