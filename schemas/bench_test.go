package schemas_test

import (
	"testing"

	"github.com/ledgerline-es/ledgerline/schemas"
	"github.com/ledgerline-es/ledgerline/schemas/account"
)

func benchSerde(b *testing.B) (*server, *schemas.Serde[account.Event], *account.MoneyDeposited) {
	srv := newServer(b)
	s := schemas.NewSerde(schemas.NewCodec(srv.reg), "account.events", schemas.FullTransitive, account.Kind.Events...)
	if err := s.Register(b.Context()); err != nil {
		b.Fatal(err)
	}
	return srv, s, &account.MoneyDeposited{AmountMinor: 123456, BalanceMinor: 98765432, Currency: "CZK", Operation: "PREVOD Z UCTU", Category: "DUCHOD", Counterparty: "AB/41403269"}
}

func BenchmarkAppend(b *testing.B) {
	_, s, v := benchSerde(b)
	dst := make([]byte, 0, 1024)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Append(dst, v); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecode(b *testing.B) {
	_, s, v := benchSerde(b)
	data, err := s.Append(nil, v)
	if err != nil {
		b.Fatal(err)
	}
	ctx := b.Context()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Decode(ctx, data); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecodeOlder(b *testing.B) {
	srv, s, _ := benchSerde(b)
	older := withoutFields(b, depositedType(b).Schema, "counterparty")
	data := wire(srv.written(b, "older", older), encodeAs(b, older, map[string]any{"amount_minor": 123456, "balance_minor": 98765432, "currency": "CZK", "operation": "PREVOD Z UCTU", "category": "DUCHOD"}))
	ctx := b.Context()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Decode(ctx, data); err != nil {
			b.Fatal(err)
		}
	}
}
