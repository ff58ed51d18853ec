package schemas

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestPosition_TextAndBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var p Position
		for _, kind := range []string{"account", "order-line", "t1.x"} {
			for partition := range rapid.Int32Range(0, 4).Draw(t, "partitions") {
				p = append(p, Place{kind, partition, rapid.Int64Min(0).Draw(t, "next")})
			}
		}
		got, err := ParsePosition(p.String())
		if err != nil || !slices.Equal(got, p) {
			t.Fatalf("%s became %v, %v", p, got, err)
		}
	})
	for _, bad := range []string{"account", "1:2", "account/1", "account/x:1", "account/1:x", "account/-1:1", "account/1:-1", "account/1:2,1:3", ",", "account/1:2,", "account/1:99999999999999999999", strings.Repeat("a/1:1,", maxPlaces) + "a/1:1"} {
		if p, err := ParsePosition(bad); err == nil {
			t.Errorf("%.40q was taken for %v", bad, p)
		}
	}
}

func FuzzParsePosition(f *testing.F) {
	f.Add("account/0:12,1:3,order/3:4")
	f.Fuzz(func(t *testing.T, token string) {
		p, err := ParsePosition(token)
		if err != nil {
			return
		}
		if again, err := ParsePosition(p.String()); err != nil || !slices.Equal(again, p) {
			t.Errorf("%q: %v became %v, %v", token, p, again, err)
		}
	})
}
