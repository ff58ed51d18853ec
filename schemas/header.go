package schemas

import (
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Header gives the value of a record's header. Kafka allows a key more than once; the last one counts, as it does for
// Java's Headers.lastHeader.
func Header(rec *kgo.Record, key string) (string, bool) {
	for _, h := range slices.Backward(rec.Headers) {
		if h.Key == key {
			return string(h.Value), true
		}
	}
	return "", false
}

// timeLayout has always six decimals, so that times of one instant are equal as text, and times in order are in order
// as text too.
const timeLayout = "2006-01-02T15:04:05.000000Z"

// FormatTime is RFC 3339 in UTC with six decimals; what is finer than a microsecond is cut off.
func FormatTime(t time.Time) string { return t.UTC().Format(timeLayout) }

// ParseTime reads any RFC 3339 time, as other clients send them, and gives it in UTC, cut to microseconds.
func ParseTime(s string) (time.Time, error) {
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return time.Time{}, fmt.Errorf("time %q is not RFC 3339: write it like %s", s, timeLayout)
	}
	t = t.UTC()
	if y := t.Year(); y < 0 || y > 9999 { // in UTC, where FormatTime writes it
		return time.Time{}, fmt.Errorf("time %q is in year %d of UTC: give one from 0000 to 9999", s, y)
	}
	return t.Add(-time.Duration(t.Nanosecond() % 1000)), nil
}
