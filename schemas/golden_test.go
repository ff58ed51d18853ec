package schemas_test

import (
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/ledgerline-es/ledgerline/schemas"
	"github.com/ledgerline-es/ledgerline/schemas/account"
	"github.com/ledgerline-es/ledgerline/schemas/ledgerline"
)

var update = flag.Bool("update", false, "keep golden bytes of schemas that have none yet; never changes what is kept")

// What was ever written stays in the log for ever, so bytes of every version of every schema are kept, and each must be
// read by today's code. Under <folder>/testdata/golden/<record>, version N is N.avsc (the writer's schema), N.hex (a
// value) and N.json (what it says).
func TestGolden_EveryVersionEverWrittenIsRead(t *testing.T) {
	srv := newServer(t)
	golden(t, srv, "account", schemas.FullTransitive, account.Kind.Events, map[string]string{
		"AccountOpened":   `{"owner":"Jana Nováková","currency":"CZK"}`,
		"MoneyDeposited":  `{"amount_minor":9007199254740993,"balance_minor":-1,"currency":"CZK","operation":"vklad","category":"mzda","counterparty":"AB/41403269"}`,
		"MoneyWithdrawn":  `{"amount_minor":1,"balance_minor":0,"currency":"EUR","operation":"","category":"rent","counterparty":""}`,
		"AccountFrozen":   `{"reason":"court order 12/2026"}`,
		"AccountUnfrozen": `{"reason":""}`,
		"AccountClosed":   `{"reason":"moved away"}`,

		"TransferStarted":      `{"target":"acc-2","amount_minor":9007199254740993,"currency":"CZK","day":20784,"transferred_minor":9007199254740994}`,
		"TransferCompleted":    `{"transfer_id":"acc-1:3"}`,
		"TransferRefunded":     `{"transfer_id":"acc-1:3","reason":"account_frozen"}`,
		"TransferStalled":      `{"transfer_id":"acc-1:3"}`,
		"TransferForgotten":    `{"transfer_id":"acc-1:3"}`,
		"TransferLegCancelled": `{"transfer_id":"acc-1:3"}`,
	})
	golden(t, srv, "account", schemas.BackwardTransitive, account.Kind.Commands, map[string]string{
		"OpenAccount":     `{"owner":"Jana Nováková","currency":"CZK","initial_deposit_minor":100}`,
		"DepositMoney":    `{"amount_minor":9223372036854775807,"currency":"CZK","operation":"vklad","category":"mzda","counterparty":"AB/41403269"}`,
		"WithdrawMoney":   `{"amount_minor":1,"currency":"","operation":"","category":"","counterparty":""}`,
		"FreezeAccount":   `{"reason":"court order 12/2026"}`,
		"UnfreezeAccount": `{"reason":""}`,
		"CloseAccount":    `{"reason":"moved away"}`,

		"TransferMoney":  `{"target":"acc-2","amount_minor":1,"currency":"EUR","category":"nájem"}`,
		"CreditTransfer": `{"transfer_id":"acc-1:3","amount_minor":1,"currency":"EUR","category":""}`,
		"CancelTransfer": `{"transfer_id":"acc-1:3"}`,
		"ForgetTransfer": `{"transfer_id":"acc-1:3"}`,
		"CheckTransfer":  `{"transfer_id":"acc-1:3"}`,
	})
	state := account.Kind.State
	golden(t, srv, "account", schemas.None, []schemas.Type[schemas.Record]{{
		Name: state.Name, Schema: state.Schema, New: func() schemas.Record { return state.Record(new(account.State)) },
	}}, map[string]string{"State": `{"status":"open","owner":"Jana Nováková","currency":"CZK","balance_minor":-5,"day":20784,"transferred_minor":7,"outgoing":[{"transfer_id":"acc-1:3","target":"acc-2","amount_minor":7,"day":20784,"stalled":true}],"incoming":[{"transfer_id":"acc-3:5","cancelled":false}]}`})
	golden(t, srv, "ledgerline", schemas.ForwardTransitive, []schemas.Type[*ledgerline.Reply]{ledgerline.ReplyType}, map[string]string{
		"Reply": `{"command_id":"account.commands/3/17","outcome":"rejected","duplicate":true,"code":"insufficient_funds","message":"3 < 5","first_sequence":0,"last_sequence":0,"version":7}`,
	})
	golden(t, srv, "ledgerline", schemas.FullTransitive, []schemas.Type[*ledgerline.Pin]{ledgerline.PinType}, map[string]string{
		"Pin": `{"cluster_id":"MkU3OEVBNTcwNTJENDM2Qg","topics":[{"topic":"account.events","topic_id":"AAAAAAAAAAAAAAAAAAAAAQ","partitions":12}]}`,
	})
	golden(t, srv, "ledgerline", schemas.FullTransitive, []schemas.Type[*ledgerline.Position]{ledgerline.PositionType}, map[string]string{
		"Position": `{"next_offset":4294967296,"sent":4294967297}`,
	})
	golden(t, srv, "ledgerline", schemas.FullTransitive, []schemas.Type[*ledgerline.Received]{ledgerline.ReceivedType}, map[string]string{
		"Received": `{"senders":[{"sender":"account/3","last":4294967296}]}`,
	})
	golden(t, srv, "ledgerline", schemas.FullTransitive, []schemas.Type[*ledgerline.Trial]{ledgerline.TrialType}, map[string]string{
		"Trial": `{"process":"0b6a","commands":4294967296,"internal":7,"starts":3,"topic":"account.commands","offset":4294967297,"tries":1}`,
	})
	golden(t, srv, "ledgerline", schemas.FullTransitive, []schemas.Type[*ledgerline.Snapshot]{ledgerline.SnapshotType}, map[string]string{
		"Snapshot": `{"sequence":4294967296,"revision":3,"state":"AAH/"}`,
	})
	golden(t, srv, "ledgerline", schemas.FullTransitive, []schemas.Type[*ledgerline.Checkpoint]{ledgerline.CheckpointType}, map[string]string{
		"Checkpoint": `{"events_offset":4294967296}`,
	})
	golden(t, srv, "ledgerline", schemas.FullTransitive, []schemas.Type[*ledgerline.Timer]{ledgerline.TimerType}, map[string]string{
		"Timer": `{"due":1767323045006,"fired":false,"command":"AAH/","headers":[{"key":"ce_id","value":"c2hvcC0x"}]}`,
	})
	golden(t, srv, "ledgerline", schemas.BackwardTransitive, []schemas.Type[*ledgerline.CancelScheduled]{ledgerline.CancelScheduledType}, map[string]string{
		"CancelScheduled": `{"command_id":"shop-1"}`,
	})
	golden(t, srv, "ledgerline", schemas.FullTransitive, []schemas.Type[*ledgerline.SourceMark]{ledgerline.SourceMarkType}, map[string]string{
		"SourceMark": `{"sequence":17,"outcome":"rejected","code":"insufficient_funds"}`,
	})
}

func golden[T schemas.Record](t *testing.T, srv *server, folder string, level schemas.Compatibility, types []schemas.Type[T], samples map[string]string) {
	t.Helper()
	s := schemas.NewSerde(schemas.NewCodec(srv.reg), "golden."+folder, schemas.None, types...)
	if err := s.Register(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, typ := range types {
		dir := filepath.Join(folder, "testdata", "golden", typ.ShortName())
		var kept []string
		for n := 1; ; n++ {
			schema, err := os.ReadFile(filepath.Join(dir, fmt.Sprintf("%d.avsc", n)))
			if os.IsNotExist(err) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			kept = append(kept, strings.TrimSpace(string(schema)))
			readGolden(t, srv, s, dir, n, kept[n-1])
		}
		if len(kept) > 0 && kept[len(kept)-1] == typ.Schema {
			if err := schemas.CheckCompatible(level, typ.Schema, kept[:len(kept)-1]); err != nil {
				t.Errorf("%s: %v", typ.Name, err)
			}
			continue
		}
		if !*update {
			t.Errorf("%s: no golden bytes of today's schema in %s: run go test ./schemas -run Golden -update, and keep what it writes", typ.Name, dir)
			continue
		}
		writeGolden(t, s, dir, len(kept)+1, typ, samples[typ.ShortName()])
	}
}

func readGolden[T schemas.Record](t *testing.T, srv *server, s *schemas.Serde[T], dir string, n int, schema string) {
	t.Helper()
	read := func(ext string) []byte {
		content, err := os.ReadFile(filepath.Join(dir, fmt.Sprintf("%d.%s", n, ext)))
		if err != nil {
			t.Fatal(err)
		}
		return content
	}
	body, err := hex.DecodeString(strings.Join(strings.Fields(string(read("hex"))), ""))
	if err != nil {
		t.Fatal(err)
	}
	id := srv.written(t, fmt.Sprintf("%s-%d", dir, n), schema)
	v, err := s.Decode(t.Context(), wire(id, body))
	if err != nil {
		t.Errorf("%s version %d: %v", dir, n, err)
		return
	}
	doc, err := s.ToJSON(v)
	if err != nil {
		t.Fatal(err)
	}
	var want, got map[string]any
	if err := json.Unmarshal(read("json"), &want); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(doc, &got); err != nil {
		t.Fatal(err)
	}
	// A later version may have more fields, and fewer; what both have is the same.
	for field, value := range want {
		if now, ok := got[field]; ok && !reflect.DeepEqual(now, value) {
			t.Errorf("%s version %d: field %s is read as %v, it was %v", dir, n, field, now, value)
		}
	}
}

func writeGolden[T schemas.Record](t *testing.T, s *schemas.Serde[T], dir string, n int, typ schemas.Type[T], sample string) {
	t.Helper()
	v, err := s.FromJSON(typ.Name, []byte(sample))
	if err != nil {
		t.Fatal(err)
	}
	data, err := s.Append(nil, v)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for ext, content := range map[string]string{"avsc": typ.Schema, "hex": hex.EncodeToString(data[5:]), "json": sample} {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%d.%s", n, ext)), []byte(content+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
