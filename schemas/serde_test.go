package schemas_test

import (
	"context"
	"errors"
	"reflect"
	"testing"

	"github.com/twmb/franz-go/pkg/sr"
	"github.com/twmb/franz-go/pkg/sr/srfake"

	"github.com/ledgerline-es/ledgerline/schemas"
	"github.com/ledgerline-es/ledgerline/schemas/account"
)

func newRegistry(t *testing.T) *schemas.Registry {
	t.Helper()
	fake := srfake.New()
	t.Cleanup(fake.Close)
	cl, err := sr.NewClient(sr.URLs(fake.URL()))
	if err != nil {
		t.Fatal(err)
	}
	return schemas.NewRegistry(cl)
}

func TestSerde_RoundTrip(t *testing.T) {
	ctx := context.Background()
	reg := newRegistry(t)
	s := schemas.NewSerde(schemas.NewCodec(reg), "account.events", schemas.FullTransitive, account.Kind.Events...)
	in := &account.MoneyDeposited{AmountMinor: 5, BalanceMinor: 1 << 60, Currency: "CZK", Operation: "vklad", Category: "ž"}
	if _, err := s.Append(nil, in); !errors.Is(err, schemas.ErrNotRegistered) {
		t.Fatalf("Append before Register: %v", err)
	}
	for range 2 {
		if err := s.Register(ctx); err != nil {
			t.Fatal(err)
		}
	}
	data, err := s.Append([]byte("before"), in)
	if err != nil {
		t.Fatal(err)
	}
	data = data[len("before"):]
	out, err := s.Decode(ctx, data)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(out, account.Event(in)) {
		t.Fatalf("decoded %+v, encoded %+v", out, in)
	}
	if typ, err := s.TypeOf(ctx, data); err != nil || typ.ShortName() != "MoneyDeposited" {
		t.Fatalf("TypeOf = %s, %v", typ.Name, err)
	}
	for n := range data {
		if _, err := s.Decode(ctx, data[:n]); err == nil {
			t.Fatalf("the first %d of %d bytes decoded", n, len(data))
		}
	}
	if _, err := s.Decode(ctx, append(data, 0)); !errors.Is(err, schemas.ErrTrailingBytes) {
		t.Fatalf("one byte more: %v", err)
	}
}
