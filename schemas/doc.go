// Package schemas is the contract on the wire: records and their codec, the schema registry, compatibility between
// versions, and the names of topics and headers. Everything else in Ledgerline speaks through it.
//
// The .avsc files are the source. An aggregate kind has a folder (account/) with commands/*.avsc, events/*.avsc and
// state.avsc, and the generated Go code beside them; ledgerline/ holds the platform's own records.
//
//	types.go, names.go         what a record, a kind, a topic and a header are called
//	header.go, partition.go    headers, times, and where an aggregate id belongs
//	serde.go                   Serde: the records of one topic as bytes, for the types it is given
//	codec.go, fit.go           Codec: the one place that the Avro library is used, and its guards
//	shape.go, wire.go          a schema compiled for walking over bytes; the walk that no value escapes
//	resolve.go                 bytes of another version's schema turned into bytes of today's
//	json.go, jsonvalue.go      records as plain JSON
//	logical.go                 decimals, dates, times of day, UUIDs
//	position.go                the token that says how far in the log an answer reaches
//	registry.go, written.go    the registry's protocol; the schemas that values were written with, by id
//	compatibility.go           which new version may follow the earlier ones
//
// What is not obvious:
//
//   - A value is walked over before the Avro library sees it. The library believes lengths, takes what is cut short for
//     zeros and reads past what it should; the walk costs about a fifth of decoding.
//   - The library never resolves schemas. Its resolution gave wrong defaults for some logical types; ours works on the bytes
//     and is tested against another library's, with schemas drawn at random.
//   - ErrRegistryUnavailable says nothing about a value. Who meets it waits and tries again; who meets any other error of
//     Decode has a value that will not get better.
//   - A 404 counts as an unknown schema only with the registry's own error code: a wrong URL answers 404 too.
//   - Encoded maps come in any order. Compare records, not bytes.
package schemas
