package schemas

import "errors"

// What can be wrong with bytes or with the registry; compare with errors.Is. The errors that wrap them say which subject,
// schema id, record or field.
var (
	// ErrNotWireFormat: the value does not begin with 0x00 and a schema id, so no Avro client wrote it.
	ErrNotWireFormat = errors.New("not in Confluent wire format")
	// ErrTruncated: the value ends before its record does.
	ErrTruncated = errors.New("value is cut short")
	// ErrTrailingBytes: the value goes on after its record.
	ErrTrailingBytes = errors.New("value has bytes after its record")
	// ErrMalformed: the bytes cannot be a record of their schema, such as an enum's symbol that does not exist.
	ErrMalformed = errors.New("value is not valid Avro")
	// ErrTooLarge: the value, or a list in it, is beyond the codec's limits.
	ErrTooLarge = errors.New("value is too large")
	// ErrUnknownSchema: the registry says that it has no schema with the value's id.
	ErrUnknownSchema = errors.New("unknown schema id")
	// ErrUnknownType: the record is none of those that are expected here.
	ErrUnknownType = errors.New("unexpected record type")
	// ErrIncompatible: the value's schema, or a new one, cannot be read as the record that is expected.
	ErrIncompatible = errors.New("incompatible schema")
	// ErrRegistryUnavailable: the registry could not be asked. Nothing is wrong with the value: try again later.
	ErrRegistryUnavailable = errors.New("schema registry unavailable")
	// ErrInvalidJSON: a JSON document that is no record of the type asked for.
	ErrInvalidJSON = errors.New("invalid JSON document")
	// ErrNotRegistered: Append before Register.
	ErrNotRegistered = errors.New("type is not registered")
)
