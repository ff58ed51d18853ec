// Code generated from this folder's .avsc files by ledgerline generate; DO NOT EDIT.

// Package everything holds the records of the aggregate kind "everything": the commands it takes, the events that
// are its history, and its state.
package everything

import (
	"math/big"
	"time"

	"github.com/ledgerline-es/ledgerline/schemas"
)

// Kind describes the aggregate kind "everything" to producer and projector.
var Kind = schemas.Kind[EverythingState, Command, Event]{
	Name: "everything",
	State: schemas.StateType[EverythingState]{
		Name:   "ledgerline.everything.EverythingState",
		Schema: everythingStateSchema,
		Record: func(s *EverythingState) schemas.Record { return s },
	},
	Commands: []schemas.Type[Command]{
		{Name: "ledgerline.everything.Everything", Schema: everythingSchema, New: func() Command { return new(Everything) }},
		{Name: "ledgerline.everything.Pointer", Schema: pointerSchema, New: func() Command { return new(Pointer) }},
	},
	Events: []schemas.Type[Event]{
		{Name: "ledgerline.everything.Nothing", Schema: nothingSchema, New: func() Event { return new(Nothing) }},
	},
}

// Command is one command of this kind: *Everything or *Pointer.
type Command interface {
	schemas.Record
	isCommand()
}

// Event is one event of this kind: *Nothing.
type Event interface {
	schemas.Record
	isEvent()
}

// EverythingState is an Avro record.
type EverythingState struct {
	OwnerID  string `avro:"owner_id"`
	URLOfAPI string `avro:"url_of_api"`
	Place    *Place `avro:"place"`
}

// AvroName is ledgerline.everything.EverythingState.
func (*EverythingState) AvroName() string { return "ledgerline.everything.EverythingState" }

// Everything has a field of every type the generator knows, each with a default that is not Go's zero.
type Everything struct {
	// Default true.
	Flag bool `avro:"flag"`
	// Default -2147483648.
	Small int32 `avro:"small"`
	// Default 9007199254740992.
	Big int64 `avro:"big"`
	// Default 1.5.
	Ratio float32 `avro:"ratio"`
	// Default -2.25e-300.
	Exact float64 `avro:"exact"`
	// Default "až \"quoted\" \\ `back`".
	Text string `avro:"text"`
	// Default in the schema.
	Raw []byte `avro:"raw"`
	// Default "green".
	Color Color `avro:"color"`
	// Default in the schema.
	Digest Digest `avro:"digest"`
	// Default in the schema.
	Tags []string `avro:"tags"`
	// Default in the schema.
	Counts map[string]int64 `avro:"counts"`
	// Default in the schema.
	Origin Place `avro:"origin"`
	// Default in the schema.
	Places []Place `avro:"places"`
	// Default in the schema.
	ByName    map[string]Place `avro:"by_name"`
	MaybeText *string          `avro:"maybe_text"`
	// Default "there".
	SurelyText *string `avro:"surely_text"`
	MaybeBig   *int64  `avro:"maybe_big"`
	// Default 7.
	SurelyBig   *int64     `avro:"surely_big"`
	MaybePlace  *Place     `avro:"maybe_place"`
	MaybeRaw    []byte     `avro:"maybe_raw"`
	MaybeTags   []string   `avro:"maybe_tags"`
	MaybeColor  *Color     `avro:"maybe_color"`
	MaybeDigest *Digest    `avro:"maybe_digest"`
	MaybeAt     *time.Time `avro:"maybe_at"`
	// When, to the microsecond. Default 1700000000123456.
	At time.Time `avro:"at"`
	// Default -1.
	AtMillis time.Time `avro:"at_millis"`
	// Default -1.
	Day time.Time `avro:"day"`
	// Default 1001.
	Clock time.Duration `avro:"clock"`
	// Default 1000001.
	PreciseClock time.Duration `avro:"precise_clock"`
	// Default in the schema.
	Rate *big.Rat `avro:"rate"`
	// Default in the schema.
	FixedRate *big.Rat `avro:"fixed_rate"`
	// Default "018f4d3c-7a00-7000-8000-000000000000".
	ID string `avro:"id"`
	// Default in the schema.
	RawID RawID `avro:"raw_id"`
	// Default in the schema.
	Matrix     [][]int32          `avro:"matrix"`
	Holes      []*int64           `avro:"holes"`
	MapOfHoles map[string]*string `avro:"map_of_holes"`
}

// AvroName is ledgerline.everything.Everything.
func (*Everything) AvroName() string { return "ledgerline.everything.Everything" }

func (*Everything) isCommand() {}

// Pointer has one field that Go holds as a pointer, which codecs have taken for the record's own.
type Pointer struct {
	// May be absent.
	It *int64 `avro:"it"`
}

// AvroName is ledgerline.everything.Pointer.
func (*Pointer) AvroName() string { return "ledgerline.everything.Pointer" }

func (*Pointer) isCommand() {}

// Nothing has no fields.
type Nothing struct {
}

// AvroName is ledgerline.everything.Nothing.
func (*Nothing) AvroName() string { return "ledgerline.everything.Nothing" }

func (*Nothing) isEvent() {}

// Place: A spot on the map.
type Place struct {
	Lat float64 `avro:"lat"`
	Lon float64 `avro:"lon"`
	// Default "nowhere".
	Label string `avro:"label"`
}

// Color: What a thing looks like.
type Color string

// The symbols of Color.
const (
	ColorRed      Color = "RED"
	ColorGreen    Color = "green"
	ColorDarkBlue Color = "DARK_BLUE"
	ColorOther    Color = "OTHER"
)

// Digest is 4 bytes.
type Digest [4]byte

// RawID is 16 bytes.
type RawID [16]byte

const everythingStateSchema = `{"type":"record","name":"EverythingState","namespace":"ledgerline.everything","fields":[{"name":"owner_id","type":"string","default":""},{"name":"url_of_api","type":"string","default":""},{"name":"place","type":["null",{"type":"record","name":"Place","doc":"A spot on the map.","fields":[{"name":"lat","type":"double"},{"name":"lon","type":"double"},{"name":"label","type":"string","default":"nowhere"}]}],"default":null}]}`

const everythingSchema = "{\"type\":\"record\",\"name\":\"Everything\",\"namespace\":\"ledgerline.everything\",\"doc\":\"Everything has a field of every type the generator knows, each with a default that is not Go's zero.\",\"fields\":[{\"name\":\"flag\",\"type\":\"boolean\",\"default\":true},{\"name\":\"small\",\"type\":\"int\",\"default\":-2147483648},{\"name\":\"big\",\"type\":\"long\",\"default\":9007199254740992},{\"name\":\"ratio\",\"type\":\"float\",\"default\":1.5},{\"name\":\"exact\",\"type\":\"double\",\"default\":-2.25e-300},{\"name\":\"text\",\"type\":\"string\",\"default\":\"až \\\"quoted\\\" \\\\ `back`\"},{\"name\":\"raw\",\"type\":\"bytes\",\"default\":\"\\u0000\\u00ff\"},{\"name\":\"color\",\"type\":{\"type\":\"enum\",\"name\":\"Color\",\"doc\":\"What a thing looks like.\",\"symbols\":[\"RED\",\"green\",\"DARK_BLUE\",\"OTHER\"],\"default\":\"OTHER\"},\"default\":\"green\"},{\"name\":\"digest\",\"type\":{\"type\":\"fixed\",\"name\":\"Digest\",\"size\":4},\"default\":\"\\u0001\\u0002\\u0003\\u00ff\"},{\"name\":\"tags\",\"type\":{\"type\":\"array\",\"items\":\"string\"},\"default\":[\"a\",\"b\"]},{\"name\":\"counts\",\"type\":{\"type\":\"map\",\"values\":\"long\"},\"default\":{\"one\":1}},{\"name\":\"origin\",\"type\":{\"type\":\"record\",\"name\":\"Place\",\"doc\":\"A spot on the map.\",\"fields\":[{\"name\":\"lat\",\"type\":\"double\"},{\"name\":\"lon\",\"type\":\"double\"},{\"name\":\"label\",\"type\":\"string\",\"default\":\"nowhere\"}]},\"default\":{\"lat\":50.1,\"lon\":14.4}},{\"name\":\"places\",\"type\":{\"type\":\"array\",\"items\":\"Place\"},\"default\":[{\"lat\":1,\"lon\":2,\"label\":\"x\"}]},{\"name\":\"by_name\",\"type\":{\"type\":\"map\",\"values\":\"Place\"},\"default\":{\"home\":{\"lat\":1,\"lon\":2,\"label\":\"y\"}}},{\"name\":\"maybe_text\",\"type\":[\"null\",\"string\"],\"default\":null},{\"name\":\"surely_text\",\"type\":[\"string\",\"null\"],\"default\":\"there\"},{\"name\":\"maybe_big\",\"type\":[\"null\",\"long\"],\"default\":null},{\"name\":\"surely_big\",\"type\":[\"long\",\"null\"],\"default\":7},{\"name\":\"maybe_place\",\"type\":[\"null\",\"Place\"],\"default\":null},{\"name\":\"maybe_raw\",\"type\":[\"null\",\"bytes\"],\"default\":null},{\"name\":\"maybe_tags\",\"type\":[\"null\",{\"type\":\"array\",\"items\":\"string\"}],\"default\":null},{\"name\":\"maybe_color\",\"type\":[\"null\",\"Color\"],\"default\":null},{\"name\":\"maybe_digest\",\"type\":[\"null\",\"Digest\"],\"default\":null},{\"name\":\"maybe_at\",\"type\":[\"null\",{\"type\":\"long\",\"logicalType\":\"timestamp-micros\"}],\"default\":null},{\"name\":\"at\",\"type\":{\"type\":\"long\",\"logicalType\":\"timestamp-micros\"},\"doc\":\"When, to the microsecond.\",\"default\":1700000000123456},{\"name\":\"at_millis\",\"type\":{\"type\":\"long\",\"logicalType\":\"timestamp-millis\"},\"default\":-1},{\"name\":\"day\",\"type\":{\"type\":\"int\",\"logicalType\":\"date\"},\"default\":-1},{\"name\":\"clock\",\"type\":{\"type\":\"int\",\"logicalType\":\"time-millis\"},\"default\":1001},{\"name\":\"precise_clock\",\"type\":{\"type\":\"long\",\"logicalType\":\"time-micros\"},\"default\":1000001},{\"name\":\"rate\",\"type\":{\"type\":\"bytes\",\"logicalType\":\"decimal\",\"precision\":9,\"scale\":4},\"default\":\"\\u00ff\"},{\"name\":\"fixed_rate\",\"type\":{\"type\":\"fixed\",\"name\":\"FixedRate\",\"size\":4,\"logicalType\":\"decimal\",\"precision\":6,\"scale\":2},\"default\":\"\\u0000\\u0000\\u0000\\u0001\"},{\"name\":\"id\",\"type\":{\"type\":\"string\",\"logicalType\":\"uuid\"},\"default\":\"018f4d3c-7a00-7000-8000-000000000000\"},{\"name\":\"raw_id\",\"type\":{\"type\":\"fixed\",\"name\":\"RawID\",\"size\":16,\"logicalType\":\"uuid\"},\"default\":\"\\u0001\\u0002\\u0003\\u0004\\u0005\\u0006\\u0007\\b\\t\\n\\u000b\\f\\r\\u000e\\u000f\\u0010\"},{\"name\":\"matrix\",\"type\":{\"type\":\"array\",\"items\":{\"type\":\"array\",\"items\":\"int\"}},\"default\":[[1,2],[]]},{\"name\":\"holes\",\"type\":{\"type\":\"array\",\"items\":[\"null\",\"long\"]},\"default\":[]},{\"name\":\"map_of_holes\",\"type\":{\"type\":\"map\",\"values\":[\"null\",\"string\"]},\"default\":{}}]}"

const pointerSchema = `{"type":"record","name":"Pointer","namespace":"ledgerline.everything","doc":"Pointer has one field that Go holds as a pointer, which codecs have taken for the record's own.","fields":[{"name":"it","type":["null","long"],"doc":"May be absent.","default":null}]}`

const nothingSchema = `{"type":"record","name":"Nothing","namespace":"ledgerline.everything","doc":"Nothing has no fields.","fields":[]}`
