package schemas_test

import (
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"

	"github.com/ledgerline-es/ledgerline/schemas"
	"github.com/ledgerline-es/ledgerline/schemas/account"
)

func commands() *schemas.Serde[account.Command] {
	return schemas.NewSerde(schemas.NewCodec(schemas.NewRegistry(nil)), "account.commands", schemas.BackwardTransitive, account.Kind.Commands...)
}

func TestFromJSON_AbsentFieldsTakeDefaults(t *testing.T) {
	s := commands()
	for _, name := range []string{"DepositMoney", "ledgerline.account.DepositMoney"} {
		got, err := s.FromJSON(name, []byte(` {"amount_minor": 9007199254740993, "category": "ž\u00e9\n"} `))
		if err != nil {
			t.Fatal(err)
		}
		want := &account.DepositMoney{AmountMinor: 9007199254740993, Category: "žé\n"}
		if !reflect.DeepEqual(got, account.Command(want)) {
			t.Fatalf("got %+v, want %+v", got, want)
		}
		doc, err := s.ToJSON(got)
		if err != nil {
			t.Fatal(err)
		}
		if want := `{"amount_minor":9007199254740993,"currency":"","operation":"","category":"žé\n","counterparty":""}`; string(doc) != want {
			t.Fatalf("ToJSON %s, want %s", doc, want)
		}
	}
	got, err := s.FromJSON("DepositMoney", []byte(`{"amount_minor":-9223372036854775808}`))
	if err != nil || got.(*account.DepositMoney).AmountMinor != math.MinInt64 {
		t.Fatalf("%+v, %v", got, err)
	}
}

func TestFromJSON_ErrorsNameTheField(t *testing.T) {
	s := commands()
	for doc, says := range map[string]string{
		`{"amount_minor":5.0}`:                 "field amount_minor: is 5.0: give a whole number (long)",
		`{"amount_minor":5e2}`:                 "field amount_minor: is 5e2",
		`{"amount_minor":"5"}`:                 `field amount_minor: is "5"`,
		`{"amount_minor":null}`:                "field amount_minor: is null",
		`{"amount_minor":9223372036854775808}`: "field amount_minor: is 9223372036854775808, out of range",
		`{}`:                                   "field amount_minor: is missing and has no default: give a whole number (long)",
		`{"amount_minor":5,"amount":5}`:        "field amount: DepositMoney has no such field, it has amount_minor, currency",
		`{"amount_minor":5,"amount_minor":6}`:  "field amount_minor: is given twice",
		`{"amount_minor":5,"currency":7}`:      "field currency: is 7: give a string",
		`{"amount_minor":5,"currency":["x"]}`:  "field currency",
		`[]`:                                   "give an object",
		`null`:                                 "give an object",
		`{"amount_minor":5`:                    "unexpected end",
		`{"amount_minor":5} {}`:                "after top-level value",
		``:                                     "unexpected end",
		"{\"amount_minor\":5,\"currency\":\"\xff\"}": "UTF-8",
	} {
		_, err := s.FromJSON("DepositMoney", []byte(doc))
		if !errors.Is(err, schemas.ErrInvalidJSON) || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v; want it to say %q", doc, err, says)
		}
	}
	_, err := s.FromJSON("DepositMony", []byte(`{}`))
	if !errors.Is(err, schemas.ErrUnknownType) || !strings.Contains(err.Error(), "DepositMoney") {
		t.Errorf("unknown type: %v", err)
	}
}
