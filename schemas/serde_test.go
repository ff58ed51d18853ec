package schemas_test

import (
	"bytes"
	"errors"
	"math/big"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/avro"
	"pgregory.net/rapid"

	"github.com/ledgerline-es/ledgerline/internal/generate/everything"
	"github.com/ledgerline-es/ledgerline/schemas"
	"github.com/ledgerline-es/ledgerline/schemas/account"
	"github.com/ledgerline-es/ledgerline/schemas/ledgerline"
)

func TestSerde_RoundTrip(t *testing.T) {
	s := schemas.NewSerde(schemas.NewCodec(newServer(t).reg), "account.events", schemas.FullTransitive, account.Kind.Events...)
	in := &account.MoneyDeposited{AmountMinor: 5, BalanceMinor: 1 << 60, Currency: "CZK", Operation: "vklad", Category: "ž"}
	if _, err := s.Append(nil, in); !errors.Is(err, schemas.ErrNotRegistered) {
		t.Fatalf("Append before Register: %v", err)
	}
	for range 2 {
		if err := s.Register(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	data, err := s.Append([]byte("before"), in)
	if err != nil {
		t.Fatal(err)
	}
	data = data[len("before"):]
	out, err := s.Decode(t.Context(), data)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(out, account.Event(in)) {
		t.Fatalf("decoded %+v, encoded %+v", out, in)
	}
	if typ, err := s.TypeOf(t.Context(), data); err != nil || typ.ShortName() != "MoneyDeposited" {
		t.Fatalf("TypeOf = %s, %v", typ.Name, err)
	}
}

func TestDecode_CutShortOrLonger(t *testing.T) {
	s := schemas.NewSerde(schemas.NewCodec(newServer(t).reg), "account.events", schemas.FullTransitive, account.Kind.Events...)
	if err := s.Register(t.Context()); err != nil {
		t.Fatal(err)
	}
	data, err := s.Append(nil, &account.MoneyDeposited{AmountMinor: 500, BalanceMinor: 1 << 60, Currency: "CZK", Operation: "vklad"})
	if err != nil {
		t.Fatal(err)
	}
	for n := range data {
		want := schemas.ErrTruncated
		if n < 5 {
			want = schemas.ErrNotWireFormat
		}
		if v, err := s.Decode(t.Context(), data[:n]); !errors.Is(err, want) {
			t.Errorf("the first %d of %d bytes: %+v, %v; want %v", n, len(data), v, err, want)
		}
	}
	if _, err := s.Decode(t.Context(), append(bytes.Clone(data), 0)); !errors.Is(err, schemas.ErrTrailingBytes) {
		t.Errorf("one byte more: %v", err)
	}
	for _, bad := range [][]byte{nil, {1, 0, 0, 0, 1, 2}, []byte(`{"amount_minor":5}`)} {
		if _, err := s.Decode(t.Context(), bad); !errors.Is(err, schemas.ErrNotWireFormat) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// every is a value of every type, drawn at random.
func every(t *rapid.T) *everything.Everything {
	text := rapid.OneOf(rapid.String(), rapid.StringN(0, 2000, 4000))
	place := rapid.Custom(func(t *rapid.T) everything.Place {
		return everything.Place{Lat: rapid.Float64().Draw(t, "lat"), Lon: rapid.Float64().Draw(t, "lon"), Label: text.Draw(t, "label")}
	})
	color := rapid.SampledFrom([]everything.Color{everything.ColorRed, everything.ColorGreen, everything.ColorDarkBlue, everything.ColorOther})
	digest := rapid.Custom(func(t *rapid.T) (d everything.Digest) {
		copy(d[:], rapid.SliceOfN(rapid.Byte(), 4, 4).Draw(t, "d"))
		return
	})
	micros := rapid.Custom(func(t *rapid.T) time.Time {
		return time.UnixMicro(rapid.Int64Range(-62135596800_000000, 253402300799_999999).Draw(t, "micros")).UTC()
	})
	rat := func(most, scale int64) *big.Rat {
		return big.NewRat(rapid.Int64Range(-most, most).Draw(t, "unscaled"), scale)
	}
	e := &everything.Everything{
		Flag: rapid.Bool().Draw(t, "flag"), Small: rapid.Int32().Draw(t, "small"), Big: rapid.Int64().Draw(t, "big"),
		Ratio: rapid.Float32().Draw(t, "ratio"), Exact: rapid.Float64().Draw(t, "exact"), Text: text.Draw(t, "text"),
		Raw: rapid.SliceOf(rapid.Byte()).Draw(t, "raw"), Color: color.Draw(t, "color"), Digest: digest.Draw(t, "digest"),
		Tags: rapid.SliceOf(text).Draw(t, "tags"), Counts: rapid.MapOf(text, rapid.Int64()).Draw(t, "counts"),
		Origin: place.Draw(t, "origin"), Places: rapid.SliceOfN(place, 0, 250).Draw(t, "places"),
		ByName:    rapid.MapOf(text, place).Draw(t, "by_name"),
		MaybeText: rapid.Ptr(text, true).Draw(t, "maybe_text"), SurelyText: rapid.Ptr(text, true).Draw(t, "surely_text"),
		MaybeBig: rapid.Ptr(rapid.Int64(), true).Draw(t, "maybe_big"), SurelyBig: rapid.Ptr(rapid.Int64(), true).Draw(t, "surely_big"),
		MaybePlace: rapid.Ptr(place, true).Draw(t, "maybe_place"), MaybeColor: rapid.Ptr(color, true).Draw(t, "maybe_color"),
		MaybeDigest: rapid.Ptr(digest, true).Draw(t, "maybe_digest"), MaybeAt: rapid.Ptr(micros, true).Draw(t, "maybe_at"),
		At: micros.Draw(t, "at"), AtMillis: micros.Draw(t, "at_millis").Truncate(time.Millisecond),
		Day:   time.Unix(rapid.Int64Range(-719162, 2932896).Draw(t, "days")*86400, 0).UTC(),
		Clock: time.Duration(rapid.Int64Range(0, 86399999).Draw(t, "clock")) * time.Millisecond, PreciseClock: time.Duration(rapid.Int64Range(0, 86399999999).Draw(t, "precise")) * time.Microsecond,
		Rate: rat(999_999_999, 10_000), FixedRate: rat(999_999, 100), ID: "018F4D3C-7a00-7000-8000-000000000000",
		Matrix: rapid.SliceOf(rapid.SliceOf(rapid.Int32())).Draw(t, "matrix"), Holes: rapid.SliceOf(rapid.Ptr(rapid.Int64(), true)).Draw(t, "holes"),
		MapOfHoles: rapid.MapOf(text, rapid.Ptr(text, true)).Draw(t, "map_of_holes"),
	}
	copy(e.RawID[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "raw_id"))
	if rapid.Bool().Draw(t, "has raw") {
		e.MaybeRaw = rapid.SliceOf(rapid.Byte()).Draw(t, "maybe_raw")
	}
	if rapid.Bool().Draw(t, "has tags") {
		e.MaybeTags = rapid.SliceOf(text).Draw(t, "maybe_tags")
	}
	return e
}

func everythingSerde(t testing.TB) (*server, *schemas.Serde[everything.Command]) {
	srv := newServer(t)
	s := schemas.NewSerde(schemas.NewCodec(srv.reg), "every", schemas.BackwardTransitive, everything.Kind.Commands...)
	if err := s.Register(t.Context()); err != nil {
		t.Fatal(err)
	}
	return srv, s
}

func TestSerde_EveryTypeThereAndBack(t *testing.T) {
	_, s := everythingSerde(t)
	other, err := avro.Parse(everythingType(t).Schema)
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(rt *rapid.T) {
		in := every(rt)
		data, err := s.Append(nil, in)
		if err != nil {
			rt.Fatal(err)
		}
		out, err := s.Decode(t.Context(), data)
		if err != nil {
			rt.Fatal(err)
		}
		if !same(out, in) {
			rt.Fatalf("decoded %+v\nencoded %+v", out, in)
		}
		elsewhere := &everything.Everything{}
		if rest, err := other.Decode(data[5:], elsewhere); err != nil || len(rest) > 0 || !same(tidy(elsewhere), tidy(out.(*everything.Everything))) {
			rt.Fatalf("another library decoded %+v, %d bytes left, %v\nencoded %+v", elsewhere, len(rest), err, in)
		}
		doc, err := s.ToJSON(in)
		if err != nil {
			rt.Fatal(err)
		}
		again, err := s.FromJSON("Everything", doc)
		if err != nil {
			rt.Fatalf("%v\n%s", err, doc)
		}
		if !same(again, in) {
			rt.Fatalf("by JSON %+v\nencoded %+v\n%s", again, in, doc)
		}
	})
	one := int64(1)
	for _, p := range []*everything.Pointer{{}, {It: &one}} {
		data, err := s.Append(nil, p)
		if err != nil {
			t.Fatal(err)
		}
		if out, err := s.Decode(t.Context(), data); err != nil || !same(out, p) {
			t.Fatalf("%+v, %v", out, err)
		}
	}
}

func TestFromJSON_EveryDefault(t *testing.T) {
	_, s := everythingSerde(t)
	got, err := s.FromJSON("Everything", []byte("{}"))
	if err != nil {
		t.Fatal(err)
	}
	doc, err := s.ToJSON(got)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"flag":true,"small":-2147483648,"big":9007199254740992,"ratio":1.5,"exact":-2.25e-300,"text":"až \"quoted\" \\ ` + "`back`" + `","raw":"AP8=",` +
		`"color":"green","digest":"AQID/w==","tags":["a","b"],"counts":{"one":1},"origin":{"lat":50.1,"lon":14.4,"label":"nowhere"},` +
		`"places":[{"lat":1,"lon":2,"label":"x"}],"by_name":{"home":{"lat":1,"lon":2,"label":"y"}},"maybe_text":null,"surely_text":"there",` +
		`"maybe_big":null,"surely_big":7,"maybe_place":null,"maybe_raw":null,"maybe_tags":null,"maybe_color":null,"maybe_digest":null,"maybe_at":null,` +
		`"at":"2023-11-14T22:13:20.123456Z","at_millis":"1969-12-31T23:59:59.999000Z","day":"1969-12-31","clock":"00:00:01.001","precise_clock":"00:00:01.000001",` +
		`"rate":"-0.0001","fixed_rate":"0.01","id":"018f4d3c-7a00-7000-8000-000000000000","raw_id":"01020304-0506-0708-090a-0b0c0d0e0f10",` +
		`"matrix":[[1,2],[]],"holes":[],"map_of_holes":{}}`
	if string(doc) != want {
		t.Errorf("got\n%s\nwant\n%s", doc, want)
	}
}

func TestFromJSON_EveryTypeRefused(t *testing.T) {
	_, s := everythingSerde(t)
	for doc, says := range map[string]string{
		`{"flag":1}`:                                "field flag: is 1: give true or false",
		`{"small":2147483648}`:                      "field small: is 2147483648, out of range",
		`{"ratio":1e39}`:                            "field ratio: is 1e39, out of range",
		`{"exact":"x"}`:                             `field exact: is "x": give a number`,
		`{"raw":"*"}`:                               "field raw: is \"*\": give base64",
		`{"digest":"AQI="}`:                         "field digest: has 2 bytes: give 4",
		`{"color":"blue"}`:                          "field color: is \"blue\": give one of RED, green, DARK_BLUE, OTHER",
		`{"tags":{}}`:                               "field tags: is {}: give a list",
		`{"tags":["a",5]}`:                          "field tags[1]: is 5",
		`{"counts":{"x":1,"x":2}}`:                  "field counts.x: is given twice",
		`{"counts":[1]}`:                            "field counts: is [1]: give an object",
		`{"origin":{"lat":1}}`:                      "field origin.lon: is missing",
		`{"places":[{"lat":1,"lon":"2"}]}`:          "field places[0].lon: is \"2\"",
		`{"maybe_big":"7"}`:                         "field maybe_big: is \"7\": give a whole number",
		`{"maybe_place":{"x":1}}`:                   "field maybe_place.x: Place has no such field",
		`{"at":"today"}`:                            "field at: time \"today\"",
		`{"at":1700000000}`:                         "field at: is 1700000000: give a string (timestamp-micros)",
		`{"day":"2026-02-30"}`:                      "field day: \"2026-02-30\" is no date",
		`{"clock":"25:00:00"}`:                      "field clock",
		`{"rate":"1.00001"}`:                        "field rate: 1.00001 has more than 4 digits after the point",
		`{"rate":"100000"}`:                         "field rate: 100000 has more than 9 digits",
		`{"rate":1e2}`:                              "field rate",
		`{"rate":"1,5"}`:                            "field rate",
		`{"rate":null}`:                             "field rate",
		`{"id":"018f4d3c7a0070008000000000000000"}`: "field id",
		`{"raw_id":"018f4d3c-7a00-7000-8000-00000000000g"}`: "field raw_id",
	} {
		_, err := s.FromJSON("Everything", []byte(doc))
		if !errors.Is(err, schemas.ErrInvalidJSON) || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v; want it to say %q", doc, err, says)
		}
	}
	got, err := s.FromJSON("Everything", []byte(`{"rate":-12.3,"fixed_rate":"-0.10"}`))
	if err != nil {
		t.Fatal(err)
	}
	if e := got.(*everything.Everything); e.Rate.RatString() != "-123/10" || e.FixedRate.RatString() != "-1/10" {
		t.Errorf("rates %s, %s", e.Rate, e.FixedRate)
	}
}

func TestAppend_Refuses(t *testing.T) {
	_, s := everythingSerde(t)
	fresh := func(change func(*everything.Everything)) *everything.Everything {
		v, err := s.FromJSON("Everything", []byte("{}"))
		if err != nil {
			t.Fatal(err)
		}
		e := v.(*everything.Everything)
		change(e)
		return e
	}
	for name, c := range map[string]struct {
		v    everything.Command
		want error
		says string
	}{
		"nil":             {nil, nil, "nil"},
		"nil pointer":     {(*everything.Everything)(nil), nil, "nil"},
		"another type":    {stranger{&everything.Pointer{}}, schemas.ErrUnknownType, "stranger"},
		"no decimal":      {fresh(func(e *everything.Everything) { e.Rate = nil }), nil, "field rate: is nil"},
		"inexact decimal": {fresh(func(e *everything.Everything) { e.Rate = big.NewRat(1, 3) }), nil, "rate"},
		"large decimal":   {fresh(func(e *everything.Everything) { e.FixedRate = big.NewRat(10_000, 1) }), nil, "field fixed_rate: is 10000.00, which has 7 digits"},
		"no symbol":       {fresh(func(e *everything.Everything) { e.Color = "" }), nil, "Color"},
		"unknown symbol":  {fresh(func(e *everything.Everything) { e.Color = "blue" }), nil, "Color"},
		"not UTF-8":       {fresh(func(e *everything.Everything) { e.Text = "\xff" }), schemas.ErrMalformed, "text"},
		"key not UTF-8":   {fresh(func(e *everything.Everything) { e.Counts = map[string]int64{"\xff": 1} }), schemas.ErrMalformed, "counts"},
		"too long":        {fresh(func(e *everything.Everything) { e.Text = strings.Repeat("x", 1<<20) }), schemas.ErrTooLarge, "1048576"},
		"too many":        {fresh(func(e *everything.Everything) { e.Holes = make([]*int64, 1<<16+1) }), schemas.ErrTooLarge, "holes"},
		"past midnight":   {fresh(func(e *everything.Everything) { e.Clock = 24 * time.Hour }), nil, "field clock"},
		"date with hours": {fresh(func(e *everything.Everything) { e.Day = e.Day.Add(time.Hour) }), nil, "field day"},
	} {
		dst := []byte("kept")
		out, err := s.Append(dst, c.v)
		if err == nil || c.want != nil && !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v; want %v, saying %q", name, err, c.want, c.says)
		}
		if string(out) != "kept" {
			t.Errorf("%s: dst became %q", name, out)
		}
	}
}

// stranger belongs to the sealed interface by embedding alone.
type stranger struct{ *everything.Pointer }

func TestNewSerde_TypesThatDoNotFit(t *testing.T) {
	codec := schemas.NewCodec(newServer(t).reg)
	for says, typ := range map[string]schemas.Type[*ledgerline.Reply]{
		"schema is of record ledgerline.Pin": {Name: "ledgerline.Reply", Schema: ledgerline.PinType.Schema, New: ledgerline.ReplyType.New},
		"struct is record ledgerline.Reply":  {Name: "ledgerline.Pin", Schema: ledgerline.PinType.Schema, New: ledgerline.ReplyType.New},
		"not valid Avro":                     {Name: "ledgerline.Reply", Schema: "{", New: ledgerline.ReplyType.New},
		"New gives":                          {Name: "ledgerline.Reply", Schema: ledgerline.ReplyType.Schema, New: func() *ledgerline.Reply { return nil }},
		"Code":                               {Name: "ledgerline.Reply", Schema: strings.Replace(ledgerline.ReplyType.Schema, `"code","type":"string"`, `"code","type":"bytes"`, 1), New: ledgerline.ReplyType.New},
		"surprise":                           {Name: "ledgerline.Reply", Schema: strings.Replace(ledgerline.ReplyType.Schema, `"name":"code"`, `"name":"surprise"`, 1), New: ledgerline.ReplyType.New},
	} {
		s := schemas.NewSerde(codec, "t", schemas.ForwardTransitive, typ)
		err := s.Register(t.Context())
		if err == nil || !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), typ.Name) {
			t.Errorf("Register: %v; want it to say %q", err, says)
		}
		if _, err := s.Append(nil, &ledgerline.Reply{}); err == nil {
			t.Errorf("%s: Append took a record", says)
		}
		if _, err := s.Decode(t.Context(), wire(1, nil)); err == nil {
			t.Errorf("%s: Decode gave a record", says)
		}
	}
}

func TestNewSerde_TypeGivenTwice(t *testing.T) {
	s := schemas.NewSerde(schemas.NewCodec(newServer(t).reg), "t", schemas.ForwardTransitive, ledgerline.ReplyType, ledgerline.ReplyType)
	if err := s.Register(t.Context()); err == nil || !strings.Contains(err.Error(), "twice") {
		t.Errorf("%v", err)
	}
}

func TestLimits_OfOnesOwn(t *testing.T) {
	srv := newServer(t)
	for _, bad := range []schemas.Limits{{}, {MaxBytes: 100}, {MaxItems: 100}, {MaxBytes: -1, MaxItems: 1}} {
		if _, err := schemas.NewLimitedCodec(srv.reg, bad); err == nil || !strings.Contains(err.Error(), "Max") {
			t.Errorf("%+v: %v", bad, err)
		}
	}
	codec, err := schemas.NewLimitedCodec(srv.reg, schemas.Limits{MaxBytes: 64, MaxItems: 2})
	if err != nil {
		t.Fatal(err)
	}
	s := schemas.NewSerde(codec, "t", schemas.ForwardTransitive, ledgerline.ReplyType)
	wide := schemas.NewSerde(schemas.NewCodec(srv.reg), "t", schemas.ForwardTransitive, ledgerline.ReplyType)
	for _, s := range []*schemas.Serde[*ledgerline.Reply]{s, wide} {
		if err := s.Register(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	long := &ledgerline.Reply{Message: strings.Repeat("x", 64)}
	if _, err := s.Append(nil, long); !errors.Is(err, schemas.ErrTooLarge) {
		t.Errorf("Append: %v", err)
	}
	data, err := wide.Append(nil, long)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Decode(t.Context(), data); !errors.Is(err, schemas.ErrTooLarge) {
		t.Errorf("Decode: %v", err)
	}
}

func TestSerde_ManyAtOnce(t *testing.T) {
	srv := newServer(t)
	codec := schemas.NewCodec(srv.reg)
	writer := schemas.NewSerde(schemas.NewCodec(srv.reg), "account.events", schemas.FullTransitive, account.Kind.Events...)
	if err := writer.Register(t.Context()); err != nil {
		t.Fatal(err)
	}
	reader := schemas.NewSerde(codec, "account.events", schemas.FullTransitive, account.Kind.Events...)
	asked := srv.asked.Load()
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := range 500 {
				in := &account.MoneyWithdrawn{AmountMinor: int64(w), BalanceMinor: int64(i), Currency: "EUR"}
				data, err := writer.Append(nil, in)
				if err != nil {
					t.Error(err)
					return
				}
				out, err := reader.Decode(t.Context(), data)
				if err != nil || !reflect.DeepEqual(out, account.Event(in)) {
					t.Errorf("%+v, %v", out, err)
					return
				}
			}
		})
	}
	wg.Wait()
	if n := srv.asked.Load() - asked; n != 1 {
		t.Errorf("the registry was asked %d times for one schema", n)
	}
}
