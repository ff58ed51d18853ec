package bank

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
	"time"
)

const importHeader = "account_id,transaction_id,date,direction,amount_minor,balance_minor,operation,category,counterparty\n"

// readAll reads a whole file.
func readAll(t *testing.T, text string) (good []importRow, bad []badRow) {
	t.Helper()
	rows, err := readRows(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	for {
		g, b, err := rows.next()
		switch {
		case errors.Is(err, io.EOF):
			return good, bad
		case err != nil:
			t.Fatal(err)
		case b != nil:
			bad = append(bad, *b)
		default:
			good = append(good, g)
		}
	}
}

func gzipped(t *testing.T, text string) string {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// However the same row is written, it is the same row.
func TestImportRows_TheSameRowInEveryShape(t *testing.T) {
	want := importRow{
		line: 2, account: "ann", transaction: "t1", date: time.Date(2026, 1, 5, 0, 0, 0, 0, time.UTC), direction: "credit",
		amount: 250000, operation: "transfer_in", category: "wages, net", counterparty: `AB "bank"/1`,
	}
	const row = `ann,t1,2026-01-05,credit,250000,250000,transfer_in,"wages, net","AB ""bank""/1"`
	for name, text := range map[string]string{
		"plain":                importHeader + row + "\n",
		"no end of line":       importHeader + row,
		"lines of Windows":     strings.ReplaceAll(importHeader+row+"\n", "\n", "\r\n"),
		"byte order mark":      "\xef\xbb\xbf" + importHeader + row + "\n",
		"quoted header":        `"account_id","transaction_id","date","direction","amount_minor","balance_minor","operation","category","counterparty"` + "\n" + row,
		"gzip":                 gzipped(t, importHeader+row+"\n"),
		"gzip, with the mark":  gzipped(t, "\xef\xbb\xbf"+importHeader+row+"\n"),
		"reordered and spaced": "category, counterparty ,operation,balance_minor,amount_minor,direction,date,transaction_id,account_id\n" + `"wages, net","AB ""bank""/1",transfer_in,250000,250000,credit,2026-01-05,t1,ann`,
		"more columns":         "branch," + strings.TrimSpace(importHeader) + ",note\n" + "Prague," + row + ",hello",
	} {
		t.Run(name, func(t *testing.T) {
			good, bad := readAll(t, text)
			for i := range good {
				good[i].fields = nil // they differ with the columns
			}
			if !reflect.DeepEqual(good, []importRow{want}) || len(bad) > 0 {
				t.Errorf("read %+v, bad %+v; wanted %+v", good, bad, want)
			}
		})
	}
}

func TestImportRows_AFileWithoutTheColumnsIsRefused(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"empty":                {"", "the file is empty: its first line must name the columns account_id,transaction_id"},
		"empty gzip":           {gzipped(t, ""), "the file is empty"},
		"nothing but ends":     {"\n\n\r\n", "the file is empty"},
		"columns missing":      {"account_id,transaction_id,date,direction,amount_minor,operation,category\n", "header has no column balance_minor, counterparty: it must name account_id,"},
		"no header":            {"ann,t1,2026-01-05,credit,1,1,,,x\n", "header has no column account_id, transaction_id,"},
		"a column twice":       {strings.TrimSpace(importHeader) + ",date\n", `header names column "date" twice`},
		"quote without an end": {`account_id,"date` + "\n", "header, line 1: column 17"},
		"broken gzip":          {"\x1f\x8b no gzip", "gzip: "},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := readRows(strings.NewReader(c.text)); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("the error is %v, wanted %q in it", err, c.want)
			}
		})
	}
}

func TestImportRows_BadOnesHaveLineReasonAndAccount(t *testing.T) {
	const ok = "ann,t1,2026-01-05,credit,5,5,,,\n"
	for name, c := range map[string]struct{ row, reason, account string }{
		"too few fields":        {"ann,t2,2026-01-05,credit,5", "5 fields, the header has 9", "ann"},
		"too many fields":       {"ann,t2,2026-01-05,credit,5,5,,,,", "10 fields, the header has 9", "ann"},
		"no account":            {",t2,2026-01-05,credit,5,5,,,", "account_id: aggregate id is empty", ""},
		"account with a slash":  {"a/b,t2,2026-01-05,credit,5,5,,,", `account_id: aggregate id "a/b" holds '/'`, "a/b"},
		"no transaction":        {"ann,,2026-01-05,credit,5,5,,,", "transaction_id is empty", "ann"},
		"date of another kind":  {"ann,t2,5.1.2026,credit,5,5,,,", `date is "5.1.2026", wanted YYYY-MM-DD`, "ann"},
		"no such day":           {"ann,t2,2026-02-30,credit,5,5,,,", `date is "2026-02-30"`, "ann"},
		"date before 1900":      {"ann,t2,1899-12-31,credit,5,5,,,", `date is "1899-12-31", wanted one of the years 1900 to 2261`, "ann"},
		"date far ahead":        {"ann,t2,9999-12-31,credit,5,5,,,", `date is "9999-12-31", wanted one of the years`, "ann"},
		"not UTF-8":             {"ann,t2,2026-01-05,credit,5,5,,,Caf\xe9", "counterparty is not UTF-8: save the file in that encoding", "ann"},
		"account not UTF-8":     {"ann\xff,t2,2026-01-05,credit,5,5,,,", "account_id is not UTF-8", "ann\xff"},
		"direction":             {"ann,t2,2026-01-05,Credit,5,5,,,", `direction is "Credit", wanted credit or debit`, "ann"},
		"amount not whole":      {"ann,t2,2026-01-05,credit,5.00,5,,,", `amount_minor is "5.00", wanted a whole number above 0`, "ann"},
		"amount zero":           {"ann,t2,2026-01-05,credit,0,5,,,", `amount_minor is "0"`, "ann"},
		"amount negative":       {"ann,t2,2026-01-05,debit,-5,5,,,", `amount_minor is "-5"`, "ann"},
		"amount too large":      {"ann,t2,2026-01-05,credit,9223372036854775808,5,,,", "wanted a whole number above 0", "ann"},
		"balance":               {"ann,t2,2026-01-05,credit,5,?,,,", `balance_minor is "?", wanted a whole number`, "ann"},
		"quote without an end":  {`ann,t2,2026-01-05,credit,5,5,,,"x`, "column 34: ", "ann"},
		"quote within a field":  {`ann,t2,2026-01-05,credit,5,5,,a"b,x`, `bare "`, "ann"},
		"quote in the account":  {`"ann,t2,2026-01-05,credit,5,5,,,x`, "column 34: ", ""},
		"longer than is bearab": {"ann,t2,2026-01-05,credit,5,5,,," + strings.Repeat("x", maxLine), "the line is longer than", ""},
	} {
		t.Run(name, func(t *testing.T) {
			// Empty lines count as lines and are no rows; the good rows around a bad one are read whatever is wrong with it.
			good, bad := readAll(t, importHeader+ok+"\n"+c.row+"\n"+ok)
			if len(good) != 2 || good[0].line != 2 || good[1].line != 5 {
				t.Errorf("good rows are %+v, wanted those of line 2 and 5", good)
			}
			if len(bad) != 1 || bad[0].line != 4 || !strings.Contains(bad[0].reason, c.reason) || bad[0].account != c.account {
				t.Errorf("bad rows are %+v, wanted line 4 with %q of %q", bad, c.reason, c.account)
			}
		})
	}
}

// A file that ends in the middle is not taken for a shorter one.
func TestImportRows_CutGzipIsAnError(t *testing.T) {
	whole := gzipped(t, importHeader+strings.Repeat("ann,t1,2026-01-05,credit,5,5,,,\n", 100))
	rows, err := readRows(strings.NewReader(whole[:len(whole)-10]))
	for err == nil {
		_, _, err = rows.next()
	}
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("the error is %v", err)
	}
}

func FuzzImportRows(f *testing.F) {
	f.Add(importHeader + "ann,t1,2026-01-05,credit,5,5,,,\n")
	f.Add(importHeader + "ann,\"t1,2026-01-05,credit,5,5,,,\n\r\n\"\"\nx")
	f.Add("\xef\xbb\xbf" + importHeader + ",,,,,,,,")
	f.Fuzz(func(t *testing.T, text string) {
		rows, err := readRows(strings.NewReader(text))
		for n := 0; err == nil; n++ {
			var bad *badRow
			var row importRow
			row, bad, err = rows.next()
			if err == nil && bad == nil && (row.amount <= 0 || row.account == "" || row.line > rows.line) {
				t.Fatalf("took %+v for a good row", row)
			}
			if n > len(text) {
				t.Fatal("there are more rows than bytes")
			}
		}
	})
}
