package schemas

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// HeaderPosition is the header of every answer over HTTP that says how far in the log it reaches.
const HeaderPosition = "Ledgerline-Position"

// Place is how far one partition of a kind's events is covered: Next is the offset of the first event that is not.
type Place struct {
	Log       string // the events topic without its ".events": the kind, with the topics' prefix before it
	Partition int32
	Next      int64
}

// LogOf is the log of an events topic, as a Place names it.
func LogOf(eventsTopic string) string {
	return strings.TrimSuffix(eventsTopic, TopicsOf("", "").Events)
}

// Position is how far in the log something reaches, in order of log and partition, each at most once. As text it is a token
// such as "account/3:1502" or "account/0:17,3:1502,order/1:9"; "-" covers nothing.
type Position []Place

// Nowhere is the token of a position that covers nothing.
const Nowhere = "-"

// maxPlaces bounds the work that a stranger's token makes.
const maxPlaces = 1024

// String is the token.
func (p Position) String() string {
	if len(p) == 0 {
		return Nowhere
	}
	b := make([]byte, 0, 16*len(p))
	log := ""
	for i, place := range p {
		if i > 0 {
			b = append(b, ',')
		}
		if place.Log != log {
			log = place.Log
			b = append(append(b, log...), '/')
		}
		b = strconv.AppendInt(b, int64(place.Partition), 10)
		b = append(b, ':')
		b = strconv.AppendInt(b, place.Next, 10)
	}
	return string(b)
}

// ParsePosition reads a token as [Position.String] writes it.
func ParsePosition(token string) (Position, error) {
	if token == "" || token == Nowhere {
		return nil, nil
	}
	bad := func(part, why string) (Position, error) {
		return nil, fmt.Errorf("%q in position %.80q %s: give the header %s of an answer as it was", part, token, why, HeaderPosition)
	}
	parts := strings.Split(token, ",")
	if len(parts) > maxPlaces {
		return nil, fmt.Errorf("the position names %d partitions: at most %d", len(parts), maxPlaces)
	}
	p := make(Position, 0, len(parts))
	log := ""
	for _, part := range parts {
		place := part
		if l, rest, ok := strings.Cut(part, "/"); ok {
			log, place = l, rest
		}
		number, next, ok := strings.Cut(place, ":")
		if !ok || log == "" {
			return bad(part, "is not log/partition:offset")
		}
		n, err := strconv.ParseUint(number, 10, 31)
		if err != nil {
			return bad(part, "has no partition number")
		}
		offset, err := strconv.ParseUint(next, 10, 63)
		if err != nil {
			return bad(part, "has no offset")
		}
		p = append(p, Place{Log: log, Partition: int32(n), Next: int64(offset)})
	}
	slices.SortFunc(p, ComparePlaces)
	if len(slices.CompactFunc(slices.Clone(p), func(a, b Place) bool { return ComparePlaces(a, b) == 0 })) != len(p) {
		return bad(token, "names a partition twice")
	}
	return p, nil
}

// ComparePlaces is the order of a Position.
func ComparePlaces(a, b Place) int {
	return cmp.Or(strings.Compare(a.Log, b.Log), cmp.Compare(a.Partition, b.Partition))
}
