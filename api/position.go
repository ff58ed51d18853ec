package api

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// HeaderPosition is on every answer: how far in the log it reaches.
const HeaderPosition = "Ledgerline-Position"

// Place is how far one partition of a kind's events is covered: Next is the offset of the first event that is not.
type Place struct {
	Kind      string
	Partition int32
	Next      int64
}

// Position is how far in the log something reaches, in order of kind and partition, each at most once. As text it is a
// token such as "account/3:1502" or "account/0:17,3:1502,order/1:9"; "-" covers nothing.
type Position []Place

// nowhere is the token of a position that covers nothing.
const nowhere = "-"

// maxPlaces bounds the work that a stranger's token makes.
const maxPlaces = 1024

// String is the token.
func (p Position) String() string {
	if len(p) == 0 {
		return nowhere
	}
	b := make([]byte, 0, 16*len(p))
	kind := ""
	for i, place := range p {
		if i > 0 {
			b = append(b, ',')
		}
		if place.Kind != kind {
			kind = place.Kind
			b = append(append(b, kind...), '/')
		}
		b = strconv.AppendInt(b, int64(place.Partition), 10)
		b = append(b, ':')
		b = strconv.AppendInt(b, place.Next, 10)
	}
	return string(b)
}

// ParsePosition reads a token as [Position.String] writes it.
func ParsePosition(token string) (Position, error) {
	if token == "" || token == nowhere {
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
	kind := ""
	for _, part := range parts {
		place := part
		if k, rest, ok := strings.Cut(part, "/"); ok {
			kind, place = k, rest
		}
		number, next, ok := strings.Cut(place, ":")
		if !ok || kind == "" {
			return bad(part, "is not kind/partition:offset")
		}
		n, err := strconv.ParseUint(number, 10, 31)
		if err != nil {
			return bad(part, "has no partition number")
		}
		offset, err := strconv.ParseUint(next, 10, 63)
		if err != nil {
			return bad(part, "has no offset")
		}
		p = append(p, Place{Kind: kind, Partition: int32(n), Next: int64(offset)})
	}
	slices.SortFunc(p, comparePlaces)
	if len(slices.CompactFunc(slices.Clone(p), func(a, b Place) bool { return comparePlaces(a, b) == 0 })) != len(p) {
		return bad(token, "names a partition twice")
	}
	return p, nil
}

func comparePlaces(a, b Place) int {
	return cmp.Or(strings.Compare(a.Kind, b.Kind), cmp.Compare(a.Partition, b.Partition))
}

// unknownPartition is that of a place which nobody could say, as long as Kafka has not told how many partitions there are.
const unknownPartition = -1

func (p Place) known() bool { return p.Kind != "" && p.Partition != unknownPartition }

// position is the place alone; nil when it is not known.
func (p Place) position() Position {
	if !p.known() {
		return nil
	}
	return Position{p}
}
