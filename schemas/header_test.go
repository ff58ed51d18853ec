package schemas_test

import (
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"pgregory.net/rapid"

	"github.com/ledgerline-es/ledgerline/schemas"
)

func TestHeader_LastOneCounts(t *testing.T) {
	rec := &kgo.Record{Headers: []kgo.RecordHeader{{Key: "a", Value: []byte("1")}, {Key: "b"}, {Key: "a", Value: []byte("2")}}}
	for _, c := range []struct {
		key, want string
		found     bool
	}{{"a", "2", true}, {"b", "", true}, {"c", "", false}} {
		if got, ok := schemas.Header(rec, c.key); got != c.want || ok != c.found {
			t.Errorf("Header(%q) = %q, %v; want %q, %v", c.key, got, ok, c.want, c.found)
		}
	}
}

func TestFormatTime_AlwaysSixDecimalsInUTC(t *testing.T) {
	at := time.Date(2026, 2, 3, 4, 5, 6, 7999, time.FixedZone("x", 3600))
	if got, want := schemas.FormatTime(at), "2026-02-03T03:05:06.000007Z"; got != want {
		t.Errorf("FormatTime = %s, want %s", got, want)
	}
	rapid.Check(t, func(t *rapid.T) {
		micros := rapid.Int64Range(-62135596800_000000, 253402300799_999999).Draw(t, "micros")
		at := time.UnixMicro(micros).UTC()
		text := schemas.FormatTime(at)
		if len(text) != len("2026-02-03T03:05:06.000007Z") {
			t.Fatalf("%s has another length", text)
		}
		back, err := schemas.ParseTime(text)
		if err != nil || !back.Equal(at) || back.Location() != time.UTC {
			t.Fatalf("ParseTime(%s) = %v, %v", text, back, err)
		}
	})
}

func TestParseTime_OfOtherClients(t *testing.T) {
	for text, want := range map[string]string{
		"2026-02-03T04:05:06Z":                "2026-02-03T04:05:06.000000Z",
		"2026-02-03T04:05:06.123456789+01:00": "2026-02-03T03:05:06.123456Z",
		"1931-02-03T04:05:06.000000999Z":      "1931-02-03T04:05:06.000000Z",
	} {
		got, err := schemas.ParseTime(text)
		if err != nil || schemas.FormatTime(got) != want {
			t.Errorf("ParseTime(%s) = %v, %v; want %s", text, got, err, want)
		}
	}
	for _, text := range []string{"", "yesterday", "2026-02-03", "1700000000"} {
		if _, err := schemas.ParseTime(text); err == nil {
			t.Errorf("ParseTime(%q) gave no error", text)
		}
	}
}
