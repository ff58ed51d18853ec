package api

import "github.com/ledgerline-es/ledgerline/schemas"

// HeaderPosition is on every answer: how far in the log it reaches.
const HeaderPosition = schemas.HeaderPosition

type (
	// Position is how far in the log something reaches.
	Position = schemas.Position
	// Place is how far in one partition.
	Place = schemas.Place
)

// unknownPartition is that of a place which nobody could say, as long as Kafka has not told how many partitions there are.
const unknownPartition = -1

func isKnown(p Place) bool { return p.Log != "" && p.Partition != unknownPartition }

// alone is the position of one place; nil when it is not known.
func alone(p Place) Position {
	if !isKnown(p) {
		return nil
	}
	return Position{p}
}
